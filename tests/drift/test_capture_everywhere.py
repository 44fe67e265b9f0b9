"""The same call watches rows wherever a model runs: in KServe's predictor, in a plain loop, in a forked worker, in a job over blocks."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from mlops_obs.adapters import telemetry, telemetry_process
from mlops_obs.adapters.drift_capture import slices
from mlops_obs.adapters.drift_snapshots import merged
from mlops_obs.adapters.telemetry_process import Process
from mlops_obs.collectors.drift import ReferenceProfile
from mlops_obs.lifecycle import instrument
from mlops_obs.lifecycle.batches import WatchBatches

TABLE = {"income": np.random.default_rng(1).lognormal(8, 1, 4_000), "age": np.arange(4_000.0) % 70}
PROFILE = ReferenceProfile.from_columns(TABLE)
REFERENCE = PROFILE.to_bytes()


@pytest.fixture
def process(monkeypatch):
    for name in (
        "MLOPS_OBS_DISCOVERY_DIR",
        "MLOPS_OBS_METRICS_PORT",
        "MLOPS_OBS_STATE_DIR",
        "MLOPS_OBS_DRIFT_BUDGET",
        "MLOPS_OBS_DRIFT_SPEC",
    ):
        monkeypatch.delenv(name, raising=False)
    fresh = Process()
    monkeypatch.setattr(telemetry_process, "_process", fresh)
    yield fresh
    fresh.close()


def value(process, start):
    """Fold what was captured and return the value of the series whose line starts with `start`."""
    for fold in process.folds.values():
        fold()
    (line,) = (one for one in telemetry.telemetry_text().splitlines() if one.startswith(start))
    return float(line.rsplit(" ", 1)[1])


def test_a_kserve_predictor_may_hand_on_its_payload_as_it_came(process):
    kserve = pytest.importorskip("kserve")
    handle = instrument("credit-risk", "v1", reference=REFERENCE)

    class Predictor(kserve.Model):
        def predict(self, payload, headers=None):
            handle.features(payload)
            return {"predictions": [0.5] * len(payload["instances"])}

    model = handle.wrap(Predictor("credit-risk"))
    model.ready = True
    asyncio.run(model({"instances": [[1_000.0, 30.0], [2_000.0, 40.0]]}, headers={}))
    asyncio.run(model({"instances": [{"income": 1_000.0, "age": 30}]}, headers={}))

    assert value(process, "mlops_obs_drift_rows_total") == 3.0
    assert value(process, "mlops_obs_observations_dropped_total") == 0.0


def test_handles_with_the_same_labels_share_their_rows(process):
    for row in ([1_000.0, 30.0], [2_000.0, 40.0]):
        pickle.loads(pickle.dumps(instrument("credit-risk", "v1", reference=REFERENCE))).features(row)
        gc.collect()

    assert value(process, "mlops_obs_drift_rows_total") == 2.0


def test_a_unit_change_in_a_plain_loop_is_an_alarm_that_names_it(process):
    handle = instrument("credit-risk", "v3", reference=REFERENCE)

    for income, age in zip(TABLE["income"][:400] * 100, TABLE["age"][:400], strict=True):
        with handle.request() as request:
            request.features([income, age])
    for fold in process.folds.values():
        fold()
    process.folds[next(iter(process.folds))]()

    assert value(process, 'mlops_obs_drift_windows_total{revision="v3",service="credit-risk",verdict="drifted"') >= 1.0
    assert value(process, 'mlops_obs_feature_drift_psi{feature="income"') > 1.0


@pytest.mark.parametrize("budget", ["off", "one a day, please"])
def test_a_budget_can_be_off_and_one_that_cannot_be_read_is_said_and_replaced(process, monkeypatch, caplog, budget):
    monkeypatch.setenv("MLOPS_OBS_DRIFT_BUDGET", budget)
    instrument("credit-risk", "v1", reference=REFERENCE)
    value(process, "mlops_obs_drift_rows_total")

    text = telemetry.telemetry_text()

    assert ("mlops_obs_drift_budget_used_ratio" in text) is (budget != "off")
    assert ("OBS-ALM-001" in caplog.text) is (budget != "off")


def test_a_drift_document_says_what_counts_and_a_broken_one_is_said(process, monkeypatch, tmp_path, caplog):
    path = tmp_path / "drift.yaml"
    path.write_text("service: credit-risk\nbudget: 2 per 90d\nimportance: {income: 0, age: 1}\n")
    monkeypatch.setenv("MLOPS_OBS_DRIFT_SPEC", str(path))
    handle = instrument("credit-risk", "v1", reference=REFERENCE)
    handle.feature_table({"income": TABLE["income"] * 100, "age": TABLE["age"]})
    unused = value(process, 'mlops_obs_drift_windows_total{revision="v1",service="credit-risk",verdict="drifted"')

    path.write_text("budgte: 2 per 90d\n")
    instrument("credit-risk", "v2", reference=REFERENCE)

    assert unused == 0.0
    assert "OBS-ALM-004" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_has_files_of_its_own_and_leaves_its_parents_alone(process, monkeypatch, tmp_path):
    monkeypatch.setenv("MLOPS_OBS_STATE_DIR", str(tmp_path))
    handle = instrument("credit-risk", "v1", reference=REFERENCE)
    handle.feature_table([[1_000.0, 30.0]] * 10)

    child = os.fork()
    if not child:
        try:
            handle.feature_table([[2_000.0, 40.0]] * 5)
            telemetry_process.current().close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    handle.feature_table([[1_000.0, 30.0]] * 10)

    assert len(list(tmp_path.glob("*.snapshot"))) == 2
    assert merged(tmp_path, "credit-risk", "v1").rows == 25


def test_a_job_over_blocks_loses_no_row_and_hands_its_blocks_on(process, monkeypatch, tmp_path):
    monkeypatch.setenv("MLOPS_OBS_STATE_DIR", str(tmp_path))
    watch = pickle.loads(pickle.dumps(WatchBatches("credit-risk", "v1", REFERENCE)))
    big = {name: np.tile(data, 10) for name, data in TABLE.items()}  # ten times what the ring holds

    handed_on = watch(big)

    assert handed_on is big
    assert value(process, "mlops_obs_drift_rows_total") == 40_000.0
    assert value(process, "mlops_obs_drift_rows_dropped_total") == 0.0
    assert merged(tmp_path, "credit-risk", "v1", "features").to_bytes() == ReferenceProfile.from_columns(big).to_bytes()


def test_tables_of_every_form_are_cut_into_parts():
    pandas, arrow, torch = (pytest.importorskip(name) for name in ("pandas", "pyarrow", "torch"))
    columns = {"a": list(range(10)), "b": list(range(10))}
    rows = [[one, one] for one in range(10)]

    for table in (columns, pandas.DataFrame(columns), arrow.table(columns), np.array(rows), torch.tensor(rows), rows):
        parts = list(slices(table, 4))
        sizes = [len(next(iter(one.values()))) if isinstance(one, dict) else len(one) for one in parts]
        assert sizes == [4, 4, 2]
    assert list(slices({"a": 1, "b": "text"}, 4)) == [{"a": 1, "b": "text"}]
    assert len(list(slices(np.arange(10.0), 4))) == 1


def test_no_vendors_library_is_imported_for_a_row_of_numbers():
    code = (
        "import sys, numpy; from mlops_obs.lifecycle import instrument; from mlops_obs.collectors.drift import ReferenceProfile;"
        "r = ReferenceProfile.from_columns({'a': numpy.arange(100.0)}).to_bytes();"
        "h = instrument('s', 'v', reference=r); h.features([1.0]); h._drift.fold();"
        "print([m for m in ('pandas', 'pyarrow', 'torch', 'scipy', 'ray', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
