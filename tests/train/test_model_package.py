"""A package is whole or refused, scores what the offline table would have scored, and carries its own reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from feature_train_serve.features.definitions import VIEWS
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.train.fit import Fitted
from feature_train_serve.train.package import UnknownCustomer, load_package, write_package

from mlops_obs.collectors.drift.attribution.impact import impact_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import PlatformError

Pack = Callable[[str], Path]


def test_the_manifest_says_what_the_model_is_and_where_it_came_from(pack: Pack) -> None:
    manifest = json.loads((pack("v2") / "package.json").read_text())

    expected = {"service": "credit-risk", "revision": "v2", "run_id": "run", "trace_id": "0" * 31 + "1", "synthetic": True}
    assert {name: manifest[name] for name in expected} == expected
    assert manifest["created_at"] == "2026-01-02T00:00:00+00:00"
    assert manifest["schema"]["features"] == list(load_package(pack("v2")).feature_names)


@pytest.mark.parametrize("revision", ["v1", "v2", "ft"])
def test_online_scores_equal_offline_scores_bit_for_bit(
    pack: Pack, store: OnlineStore, lender_folder: Path, untrained: Callable[[str], Fitted], revision: str
) -> None:
    package = load_package(pack(revision))
    live = pq.read_table(lender_folder / "training_set").filter(pc.field("split") == "live").sort_by("customer_id")
    customers = live["customer_id"].to_pylist()

    inputs = package.inputs_for(customers, store)

    offline = untrained(revision).live
    scores = package.score(inputs)
    assert np.array_equal(inputs.features.view(np.int64), np.ascontiguousarray(offline.columns).view(np.int64))
    assert np.array_equal(scores.probability, offline.scores.probability)
    assert (scores.embedding is None) == (offline.scores.embedding is None)


@pytest.mark.parametrize("revision", ["v1", "v2", "ft"])
def test_scores_are_float32_probabilities_and_do_not_depend_on_the_batch(pack: Pack, store: OnlineStore, revision: str) -> None:
    package = load_package(pack(revision))
    customers = store.customers()[:20]

    together = package.score(package.inputs_for(customers, store)).probability
    alone = np.concatenate([package.score(package.inputs_for([customer], store)).probability for customer in customers])

    assert together.dtype == np.float32
    assert together.shape == (20,)
    assert ((together > 0) & (together < 1)).all()
    assert np.allclose(together, alone, atol=1e-6)


def test_inputs_carry_the_row_for_drift_and_the_age_of_every_view(pack: Pack, store: OnlineStore) -> None:
    package = load_package(pack("v1"))

    inputs = package.inputs_for(store.customers()[:3], store)

    assert inputs.features.dtype == np.float64
    assert inputs.features.shape == (3, len(package.feature_names))
    assert {view: ages.tolist() for view, ages in inputs.ages.items()} == {view: [0.0] * 3 for view in VIEWS}


@pytest.mark.parametrize(("revision", "more"), [("v1", ()), ("v3", ("embedding",))])
def test_the_reference_profiles_every_model_column_the_prediction_and_the_pooled_vector(
    pack: Pack, revision: str, more: tuple[str, ...]
) -> None:
    package = load_package(pack(revision))

    profile = ReferenceProfile.from_bytes(package.reference)

    assert profile.feature_names == (*package.feature_names, "prediction", *more)
    kinds = {one.name: one.kind.value for one in profile.schema}
    assert (kinds["loan_amount"], kinds["channel"], kinds.get("embedding", "embedding")) == ("number", "category", "embedding")
    assert set(profile.sections) == {"natural", "joint", "impact", "expectations"}


def test_the_reference_knows_what_each_feature_is_worth_and_what_a_loan_costs(pack: Pack) -> None:
    package = load_package(pack("v1"))

    impact = impact_of(ReferenceProfile.from_bytes(package.reference))

    assert impact is not None
    worth = {name: one.importance for name, one in impact.features.items()}
    assert worth == pytest.approx(package.manifest["importance"], abs=1e-6)
    assert max(worth, key=lambda name: worth[name] or 0.0) == "bureau_score"
    assert impact.currency == "EUR"


def test_a_model_of_an_unknown_kind_is_refused_by_its_package(pack: Pack) -> None:
    folder = pack("v1")
    manifest = json.loads((folder / "package.json").read_text())
    manifest["schema"]["model"] = "pickled_forest"
    (folder / "package.json").write_text(json.dumps(manifest))

    with pytest.raises(PlatformError, match="pickled_forest.*boosted_trees.*OBS-PKG-004"):
        load_package(folder)


def test_an_unknown_customer_is_the_callers_mistake_and_is_named(pack: Pack, store: OnlineStore) -> None:
    package = load_package(pack("v1"))

    with pytest.raises(UnknownCustomer, match="unknown customer: nobody") as caught:
        package.inputs_for([store.customers()[0], "nobody"], store)

    assert caught.value.customer_ids == ("nobody",)


@pytest.mark.parametrize("name", ["weights.npz", "reference.bin", "package.json"])
def test_a_package_that_was_touched_is_refused(pack: Pack, name: str) -> None:
    folder = pack("v1")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(
        content.replace(b"currency", b"cents") if name == "package.json" else content[:-1] + bytes([content[-1] ^ 1])
    )

    with pytest.raises(PlatformError, match="digest does not match.*OBS-PKG-002"):
        load_package(folder)


@pytest.mark.parametrize("name", ["weights.npz", "reference.bin", "package.json"])
def test_a_package_with_a_missing_file_is_refused(pack: Pack, name: str) -> None:
    folder = pack("v1")
    (folder / name).unlink()

    with pytest.raises(PlatformError, match="not a model package.*OBS-PKG-001"):
        load_package(folder)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"])
def test_an_interrupted_write_leaves_nothing_behind(
    untrained: Callable[[str], Fitted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(_: int) -> None:
        raise failure

    monkeypatch.setattr("os.fsync", fail)

    with pytest.raises((PlatformError, KeyboardInterrupt)) as caught:
        write_package(untrained("v1"), tmp_path, run_id="r", trace_id="t", created_at=__import__("datetime").datetime.now(), synthetic=True)

    assert list(tmp_path.iterdir()) == []
    assert isinstance(failure, KeyboardInterrupt) or "OBS-PKG-003" in str(caught.value)


def test_writing_a_revision_again_replaces_it_whole(pack: Pack) -> None:
    (pack("v1") / "stray").write_text("left over")

    assert sorted(path.name for path in pack("v1").iterdir()) == ["package.json", "reference.bin", "weights.npz"]
    assert [path.name for path in pack("v1").parent.iterdir()] == ["v1"]
