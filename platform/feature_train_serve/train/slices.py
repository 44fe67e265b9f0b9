"""A slice of the offline table on its way into a model: the same in the worker that trains and in the driver that packs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_train_serve.train.peers import PeerGroups
from feature_train_serve.train.preprocess import PEER_CHANNEL, PEER_SPEND, Preprocess
from feature_train_serve.train.recipes import Recipe
from feature_train_serve.train.rows import RawRows, TrainingSet


@dataclass(frozen=True, slots=True)
class Prepared:
    """A slice turned into what models read: `columns` (n, F) float64, `tensors` for networks; `rows` in currency units."""

    columns: np.ndarray
    tensors: tuple[np.ndarray, np.ndarray, np.ndarray]
    label: np.ndarray
    rows: RawRows


def fit_preprocess(recipe: Recipe, learn: TrainingSet) -> tuple[Preprocess, PeerGroups | None]:
    """Learn scaling (and peer groups) from the training slice alone."""
    table = f"peer_default_rate/{recipe.revision}" if recipe.peers else ""
    preprocess = Preprocess(recipe.features, recipe.amount_unit, recipe.sequence_length, peers=table)
    rows = preprocess.to_currency(learn.rows)
    peers = PeerGroups.of(rows.columns[PEER_CHANNEL], rows.columns[PEER_SPEND], learn.label) if recipe.peers else None
    return preprocess.fitted(preprocess.columns(rows, peer_rates(peers, rows))), peers


def prepared(preprocess: Preprocess, peers: PeerGroups | None, part: TrainingSet) -> Prepared:
    """Transform a slice of the offline table."""
    rows = preprocess.to_currency(part.rows)
    columns = preprocess.columns(rows, peer_rates(peers, rows))
    return Prepared(columns, preprocess.tensors(columns, rows), part.label, rows)


def peer_rates(peers: PeerGroups | None, rows: RawRows) -> np.ndarray | None:
    """Join the peer rates to a slice; None if the model has no peers."""
    return peers.offline(rows.columns[PEER_CHANNEL], rows.columns[PEER_SPEND]) if peers else None
