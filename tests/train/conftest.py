"""A small lender with its training set, online store and packages of untrained networks: enough to test packages without Ray."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from feature_train_serve.features.batch import evaluate, snapshots
from feature_train_serve.features.events import events_of
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.simulator.lender import simulate
from feature_train_serve.train.fit import Fitted, describe
from feature_train_serve.train.network import NETWORKS
from feature_train_serve.train.package import write_package
from feature_train_serve.train.recipes import CHALLENGERS, RECIPES, Recipe
from feature_train_serve.train.rows import read_slice
from feature_train_serve.train.slices import fit_preprocess, prepared
from feature_train_serve.train.trees import Trees
from sklearn.ensemble import HistGradientBoostingClassifier

END = 1_731_104_000_000


@pytest.fixture(scope="session")
def lender_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lender")
    events = simulate(seed=3, customers=600, days=360, end_ms=END).events
    (folder / "training_set").mkdir()
    pq.write_table(evaluate(events, snapshots(events["event_time"][0].as_py(), END)), folder / "training_set" / "part.parquet")
    store = OnlineStore(folder / "online.db", create=True)
    store.apply(events_of(events))
    store.set_now(END)
    store.advance(END)
    store.close()
    return folder


@pytest.fixture
def store(lender_folder: Path) -> OnlineStore:
    frozen = OnlineStore(lender_folder / "online.db", wall_ms=lambda: END)
    frozen._behind_ms = 0  # the stream's clock stands at the end of the data
    return frozen


@pytest.fixture(scope="session")
def recipes() -> dict[str, Recipe]:
    return {recipe.revision: recipe for recipe in (*RECIPES, *CHALLENGERS)}


@pytest.fixture(scope="session")
def untrained(lender_folder: Path, recipes: dict[str, Recipe]) -> Callable[[str], Fitted]:
    """Everything of a revision but a good training: random weights or two trees, real preprocessing, peers and reference."""
    import torch

    @cache
    def build(revision: str) -> Fitted:
        recipe = recipes[revision]
        learn = read_slice(lender_folder / "training_set", "train", amount_unit=recipe.amount_unit)
        preprocess, peers = fit_preprocess(recipe, learn)
        if recipe.model == "boosted_trees":
            classifier = HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=40, random_state=0)
            weights = Trees.of(classifier.fit(prepared(preprocess, peers, learn).columns, learn.label)).to_bytes()
        else:
            torch.manual_seed(1)
            buffer = io.BytesIO()
            torch.save(NETWORKS[recipe.model](len(preprocess.names), recipe.width, recipe.layers).state_dict(), buffer)
            weights = buffer.getvalue()
        return describe(recipe, preprocess, peers, weights, {"auc": 0.5, "rows": 1.0}, lender_folder / "training_set")

    return build


@pytest.fixture
def pack(untrained: Callable[[str], Fitted], tmp_path: Path) -> Callable[[str], Path]:
    def write(revision: str) -> Path:
        made = datetime(2026, 1, 2, tzinfo=UTC)
        return write_package(
            untrained(revision), tmp_path / "packages", run_id="run", trace_id="0" * 31 + "1", created_at=made, synthetic=True
        )

    return write
