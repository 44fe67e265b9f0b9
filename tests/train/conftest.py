"""A small lender with its training set, online store and packages of untrained networks: enough to test packages without Ray."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from feature_train_serve.features.batch import evaluate, snapshots
from feature_train_serve.features.events import events_of
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.simulator.lender import simulate
from feature_train_serve.train.fit import Fitted, fit_preprocess, prepared
from feature_train_serve.train.package import write_package
from feature_train_serve.train.recipes import RECIPES, Recipe
from feature_train_serve.train.rows import read_slice

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
    return {recipe.revision: recipe for recipe in RECIPES}


@pytest.fixture(scope="session")
def untrained(lender_folder: Path, recipes: dict[str, Recipe]) -> Callable[[str], Fitted]:
    """Everything of a revision but the training: random weights, real preprocessing, peers and reference columns."""
    import torch
    from feature_train_serve.train.network import RiskTransformer, probabilities

    def build(revision: str) -> Fitted:
        recipe = recipes[revision]
        torch.manual_seed(1)
        preprocess, peers = fit_preprocess(recipe, read_slice(lender_folder / "training_set", "train", amount_unit=recipe.amount_unit))
        network = RiskTransformer(len(preprocess.names), recipe.width, recipe.layers)
        buffer = io.BytesIO()
        torch.save(network.state_dict(), buffer)
        live = prepared(preprocess, peers, read_slice(lender_folder / "training_set", "live", amount_unit=recipe.amount_unit))
        columns = {name: live.columns[:, index] for index, name in enumerate(preprocess.names)}
        scores = probabilities(network, live.tensors).astype(np.float64)
        return Fitted(recipe, preprocess, peers, buffer.getvalue(), {"auc": 0.5, "rows": 1.0}, {**columns, "prediction": scores})

    return build


@pytest.fixture
def pack(untrained: Callable[[str], Fitted], tmp_path: Path) -> Callable[[str], Path]:
    def write(revision: str) -> Path:
        made = datetime(2026, 1, 2, tzinfo=UTC)
        return write_package(
            untrained(revision), tmp_path / "packages", run_id="run", trace_id="0" * 31 + "1", created_at=made, synthetic=True
        )

    return write
