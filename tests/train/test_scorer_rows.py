"""What serving shows to drift and skew: named columns, also of rows that the model failed on, and both sides of sampled customers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.serve import scorer as scorers
from feature_train_serve.serve.predictor import CustomerNotFound, ModelFailed
from feature_train_serve.serve.scorer import PackageScorer
from feature_train_serve.train import peers

from mlops_obs.adapters.skew_log import read_records
from mlops_obs.collectors.drift.alarms import Budget, Detector
from mlops_obs.collectors.drift.columns import Categories
from mlops_obs.collectors.drift.monitor import DriftMonitor
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.metric_names import DRIFT_ALARMS, SKEW_NAMED

Open = Callable[[str], PackageScorer]
MONEY = {"loan_amount", "salary_30d", "spend_30d", "spend_90d", "cash_30d", "gambling_30d"}


@pytest.fixture
def scorer(pack: Callable[[str], Path], lender_folder: Path, store: OnlineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv(scorers.SKEW_FOLDER, str(tmp_path / "skew"))
    monkeypatch.setenv(scorers.SKEW_RATE, "1.0")
    monkeypatch.setattr(peers, "WAITS_SECONDS", (0.0,))
    monkeypatch.setattr(scorers, "OnlineStore", lambda _: store)
    store.put_lookup("peer_default_rate/v3", {})  # no peers are published: v3 fails on every customer
    return lambda revision: PackageScorer(str(pack(revision)), str(lender_folder / "online.db"))


def test_rows_are_columns_by_name_with_codes_as_categories_and_the_pooled_vector(scorer: Open) -> None:
    one = scorer("v2")

    scored = one.score(["c00001", "c00002"])

    channel = scored.rows["channel"]
    assert isinstance(channel, Categories)
    assert {channel.names[code] for code in channel.codes} <= {"branch", "web", "partner"}
    assert np.shape(scored.rows["embedding"]) == (2, 16)
    assert np.allclose(scored.rows["prediction"], scored.probabilities)


def test_a_model_that_fails_leaves_the_rows_that_it_failed_on(scorer: Open) -> None:
    one = scorer("v3")

    with pytest.raises(ModelFailed) as caught:
        one.score(["c00001"])

    assert type(caught.value.__cause__).__name__ == "PeerGroupMissing"
    assert np.isfinite(caught.value.rows["loan_amount"]).all()
    assert np.isnan(caught.value.rows["prediction"]).all()


def test_an_unknown_customer_is_no_failure_of_the_model(scorer: Open) -> None:
    with pytest.raises(CustomerNotFound, match="nobody"):
        scorer("v1").score(["nobody"])


def test_the_third_revisions_fault_is_named_by_feature_within_forty_requests(scorer: Open, store: OnlineStore) -> None:
    one = scorer("v3")
    reference = ReferenceProfile.from_bytes(one.reference or b"")
    detector = Detector.of(reference, Budget(), features=reference.feature_names)
    monitor = DriftMonitor(reference, service="s", revision="v3", detector=detector)
    for second, customer in enumerate(store.customers()[:40]):
        with pytest.raises(ModelFailed) as caught:
            one.score([customer])
        monitor.capture(caught.value.rows)
        monitor.fold(float(second))

    skew, drift = (
        {reading.labels["feature"]: reading.labels["kind"] for reading in readings if reading.metric is metric}
        for readings, metric in ((one.collectors["skew"](), SKEW_NAMED), (monitor.read(), DRIFT_ALARMS))
    )
    assert {"loan_amount", "spend_90d"} <= set(skew) <= MONEY
    assert set(skew.values()) == {"unit"}
    assert {"loan_amount", "spend_90d"} <= set(drift) <= MONEY | {"peer_default_rate", "prediction"}
    assert {drift["loan_amount"], drift["spend_90d"]} == {"unit"}


@pytest.mark.parametrize("revision", ["v1", "v2"])
def test_a_healthy_revision_has_no_skew(scorer: Open, store: OnlineStore, revision: str) -> None:
    one = scorer(revision)

    one.score(store.customers()[:200])

    readings = one.collectors["skew"]()
    pairs = [reading for reading in readings if reading.metric.name == "mlops_obs_skew_pairs_total" and reading.value]
    assert {reading.labels["kind"] for reading in pairs} == {"equal"}
    assert min(reading.value for reading in pairs) == 200


def test_both_sides_of_a_sampled_customer_are_in_the_log_as_of_their_own_moment(scorer: Open, store: OnlineStore, tmp_path: Path) -> None:
    one = scorer("v1")
    one.score(["c00005"])
    assert one._skew is not None
    one._skew._log.flush()

    (record,) = read_records(tmp_path / "skew")

    (state,) = store.states(["c00005"])
    assert state is not None
    assert (record.entity, record.revision, record.time) == ("c00005", "v1", store.now_ms() / 1000)
    assert record.online["loan_amount"] == record.inputs["loan_amount"] == state.features(store.now_ms())["loan_amount"]
    assert record.online["channel"] in ("branch", "web", "partner")
    assert set(record.inputs) == {"loan_amount", "channel", "bureau_score", "bureau_age_days"}
    assert record.ages["spend_30d"] == 0.0


def test_without_a_folder_nothing_is_logged(scorer: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(scorers.SKEW_FOLDER)

    one = scorer("v1")

    one.score(["c00005"])
    assert one.collectors == {}
    assert not (tmp_path / "skew").exists()
