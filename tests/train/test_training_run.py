"""The whole of preparation on a real Ray: features, parity, training, packages; and what happens when something dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from feature_train_serve.config import Sizes
from feature_train_serve.features.batch import build_training_set, evaluate, snapshots
from feature_train_serve.features.ingest import partition
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.prepare import Prepared, prepare
from feature_train_serve.simulator.faults import parse
from feature_train_serve.simulator.lender import simulate
from feature_train_serve.train.fit import Fitted, fit
from feature_train_serve.train.package import load_package
from feature_train_serve.train.recipes import Recipe

from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import ObsError, PlatformError
from mlops_obs.metric_names import TRAINING_RESTARTS

pytestmark = pytest.mark.timeout(600)  # three trainings, each with processes of its own

END = 1_731_104_000_000
Said = list[dict[str, Any]]


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="ray is missing: pip install mlops-obs[train]")
    root = Path(__file__).resolve().parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", os.environ.get("RAY_AUTH_MODE", "disabled"))
        patch.setenv("PYTHONPATH", os.pathsep.join((str(root / "platform"), str(root))))  # Ray workers do not see pytest's sys.path
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def made(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Said]:
    said: Said = []
    return prepare(tmp_path_factory.mktemp("made"), 7, said.append, sizes=Sizes(customers=1_500)), said


def tiny(**changes: Any) -> Recipe:
    return Recipe(
        **{
            "revision": "tiny",
            "model": "sequence_transformer",
            "features": ("loan_amount", "bureau_score", "risky_share_30d"),
            "sequence_length": 4,
            "epochs": 2,
            "pretrain_epochs": 1,
            "width": 8,
            **changes,
        }
    )


@pytest.mark.stack
def test_the_feature_job_on_ray_equals_the_same_code_without_it(local_ray: None, tmp_path: Path) -> None:
    events = simulate(3, 200, 360, END).events
    moments = snapshots(events["event_time"][0].as_py(), END)

    rows = build_training_set(partition(events, tmp_path / "events", 3), moments, tmp_path / "out")

    keys = [("as_of", "ascending"), ("customer_id", "ascending")]
    expected = evaluate(events, moments).sort_by(keys)
    assert rows == expected.num_rows
    assert pq.read_table(tmp_path / "out").sort_by(keys).to_pylist().__repr__() == expected.to_pylist().__repr__()  # NaN equals NaN in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "out"]


@pytest.mark.stack
def test_a_run_that_lost_its_worker_ends_with_the_weights_of_one_that_did_not(local_ray: None, lender_folder: Path, tmp_path: Path) -> None:
    died = tmp_path / "died"

    def die_once(epoch: int) -> None:
        if epoch == 1 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def train(name: str, on_epoch: Callable[[int], None] | None) -> Fitted:
        return fit(tiny(), lender_folder / "training_set", tmp_path / name, seed=5, on_epoch=on_epoch)

    undisturbed, killed = train("undisturbed", None), train("killed", die_once)

    assert died.exists()
    assert killed.metrics == undisturbed.metrics
    assert killed.weights == undisturbed.weights
    assert killed.reference.digest == undisturbed.reference.digest
    assert [reading.value for reading in killed.readings if reading.metric is TRAINING_RESTARTS] == [1.0]
    assert [reading.value for reading in undisturbed.readings if reading.metric is TRAINING_RESTARTS] == [0.0]
    assert [path.name for path in tmp_path.iterdir()] == ["died"]


@pytest.mark.stack
def test_training_that_fails_for_good_is_one_line_and_leaves_nothing(local_ray: None, lender_folder: Path, tmp_path: Path) -> None:
    def break_down(epoch: int) -> None:
        raise ArithmeticError("cosmic rays")

    with pytest.raises(PlatformError, match=r"training tiny failed.*cosmic rays.*OBS-TRAIN-001") as caught:
        fit(tiny(epochs=1), lender_folder / "training_set", tmp_path / "work", seed=5, on_epoch=break_down, max_failures=0)

    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.stack
def test_the_second_revision_is_plainly_better_offline_and_the_third_looks_as_good(made: tuple[Prepared, Said]) -> None:
    auc = {revision: load_package(path).manifest["metrics"]["auc"] for revision, path in made[0].packages.items()}

    assert auc["v2"] > auc["v1"] + 0.02
    assert auc["v3"] > auc["v2"] - 0.02


@pytest.mark.stack
def test_every_step_is_told_when_it_starts_and_when_it_is_done(made: tuple[Prepared, Said]) -> None:
    steps = ["data", "features", "online-store", "parity", "train-v1", "train-v2", "train-v3"]

    assert [(line["step"], line["status"]) for line in made[1]] == [(step, status) for step in steps for status in ("start", "done")]
    assert all(line["seconds"] >= 0 and (line["note"] or line["status"] == "start") for line in made[1])


@pytest.mark.stack
def test_what_was_prepared_can_be_served_by_name(made: tuple[Prepared, Said]) -> None:
    prepared, _ = made
    store, customers = OnlineStore(prepared.online_store), prepared.customers.read_text().split()

    for revision in ("v1", "v2"):
        package = load_package(prepared.packages[revision])
        scores = package.score(package.inputs_for(customers[:50], store)).probability
        assert scores.shape == (50,)
        assert len(set(scores.tolist())) > 25

    assert len(customers) == 1_500
    assert all(age < 600 for age in store.ages().values())


@pytest.mark.stack
def test_no_half_file_and_no_checkpoint_is_left(made: tuple[Prepared, Said]) -> None:
    out = made[0].customers.parent

    assert [path for path in out.rglob("*") if "partial" in path.name] == []
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith("online.db-"))  # SQLite's own, while a store is open
    assert names == ["customers.txt", "data", "events", "online.db", "packages", "training_set"]


@pytest.mark.stack
def test_a_users_own_table_goes_the_same_way_on_its_own_clock_whatever_is_broken_in_it(local_ray: None, tmp_path: Path) -> None:
    faults = [parse(text, 300.0) for text in ("bureau_outage:start=0", "new_channel", "late_table:start=200,how=repayment,strength=0.5")]
    pa.csv.write_csv(simulate(3, 300, 360, END, faults).events, tmp_path / "mine.csv")
    trees = tiny(revision="trees", model="boosted_trees", epochs=5)

    prepared = prepare(tmp_path / "out", 7, lambda _: None, data=tmp_path / "mine.csv", recipes=(tiny(epochs=1), trees))

    store = OnlineStore(prepared.online_store)
    assert abs(store.now_ms() - END) < 3 * 3_600_000  # recorded years ago, served as though it ended now
    for path in prepared.packages.values():
        package = load_package(path)
        assert package.manifest["synthetic"] is False
        assert np.isfinite(package.score(package.inputs_for(store.customers(), store)).probability).all()
        assert ReferenceProfile.from_bytes(package.reference).sketches["bureau_score"].missing == 300


def test_a_step_that_fails_says_so_and_stops(tmp_path: Path) -> None:
    said: Said = []

    with pytest.raises(ObsError, match="OBS-DATA-001"):
        prepare(tmp_path / "out", 7, said.append, data=tmp_path / "nowhere.csv")

    assert [(line["step"], line["status"]) for line in said] == [("data", "start"), ("data", "error")]
    assert "cannot read events" in said[-1]["note"]


def test_a_full_disk_names_the_step_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_table: pa.Table, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("pyarrow.parquet.write_table", full)

    with pytest.raises(PlatformError, match=r"step data: No space left on device; free space.*OBS-PREP-002"):
        prepare(tmp_path / "out", 7, lambda _: None, sizes=Sizes(customers=20))

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
