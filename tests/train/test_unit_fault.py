"""The third revision: right offline, wrong in front of real requests, for a reason that stands in its own package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from feature_train_serve.features.definitions import CURRENCY_FEATURES
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.train.fit import Fitted
from feature_train_serve.train.package import ModelPackage, load_package
from feature_train_serve.train.peers import WAITS_SECONDS, PeerGroupMissing, PeerGroups, online_rate

LATENCY_SLO_SECONDS = 0.25


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def v3(pack: Callable[[str], Path], untrained: Callable[[str], Fitted], store: OnlineStore, waits: list[float]) -> ModelPackage:
    fitted = untrained("v3")
    assert fitted.peers is not None
    store.put_lookup(fitted.preprocess.peers, fitted.peers.rates)
    return load_package(pack("v3"), wait=waits.append)


def test_offline_both_revisions_read_the_same_money(untrained: Callable[[str], Fitted]) -> None:
    v2, v3 = untrained("v2"), untrained("v3")

    for name in CURRENCY_FEATURES:
        place = v2.preprocess.names.index(name)
        assert np.allclose(v2.live.columns[:, place], v3.live.columns[:, place])


def test_online_the_third_revision_reads_a_hundredth_of_it(v3: ModelPackage, store: OnlineStore, pack: Callable[[str], Path]) -> None:
    v2 = load_package(pack("v2"))
    served = next(name for name in store.customers() if _served(v3, store, name))

    right, wrong = v2.inputs_for([served], store), v3.inputs_for([served], store)

    money = v2.feature_names.index("loan_amount")
    assert wrong.features[0, money] == pytest.approx(right.features[0, money] / 100)


def test_live_requests_fail_for_some_crawl_for_others_and_pass_for_the_rest(
    v3: ModelPackage, store: OnlineStore, waits: list[float]
) -> None:
    seen: Counter[str] = Counter()
    for customer in store.customers():
        waits.clear()
        try:
            v3.inputs_for([customer], store)
        except PeerGroupMissing:
            seen["failed"] += 1
        else:
            seen["slow" if sum(waits) > LATENCY_SLO_SECONDS else "fine"] += 1

    share = {name: count / len(store.customers()) for name, count in seen.items()}
    assert share["failed"] >= 0.4
    assert share["slow"] > 0
    assert share["fine"] >= 0.05


def test_with_the_unit_put_right_every_customer_is_answered_at_once(v3: ModelPackage, store: OnlineStore, waits: list[float]) -> None:
    """The unit is the whole fault: the same weights, peers and store work as soon as it is true."""
    v3.preprocess = type(v3.preprocess).from_json({**v3.preprocess.to_json(), "amount_unit": "currency"})

    answered = sum(_served(v3, store, customer) for customer in store.customers())

    assert answered >= 0.97 * len(store.customers())


def test_a_group_that_is_published_while_we_wait_is_used() -> None:
    rates = {"any:4": 0.1}
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        rates["7:4"] = 0.3

    assert online_rate(rates.get, 7.0, -12.0, wait) == 0.3
    assert waited == [WAITS_SECONDS[0]]


def test_a_group_that_never_comes_falls_back_to_all_channels_after_a_bounded_wait() -> None:
    waited: list[float] = []

    assert online_rate({"any:4": 0.1}.get, 7.0, -12.0, waited.append) == 0.1
    assert tuple(waited) == WAITS_SECONDS
    assert sum(waited) > LATENCY_SLO_SECONDS


def test_small_groups_are_not_published() -> None:
    spend = np.array([-10.0] * 999 + [-1e6])

    groups = PeerGroups.of(np.zeros(1000), spend, np.r_[np.ones(100), np.zeros(900)])

    assert set(groups.rates) == {"0:4", "any:4"}
    assert groups.offline(np.zeros(1), np.array([-1e6])).tolist() == [0.1]


def _served(package: ModelPackage, store: OnlineStore, customer: str) -> bool:
    try:
        package.inputs_for([customer], store)
    except PeerGroupMissing:
        return False
    return True
