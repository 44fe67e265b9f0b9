"""The Lease: one leader, whatever clocks say and whoever sleeps; and a token that only grows."""

import itertools
import threading

import pytest

from mlops_obs.adapters.kubernetes.api import ApiError
from mlops_obs.adapters.kubernetes.lease import Elector, LeaseLock
from mlops_obs.adapters.kubernetes.resources import LEASES
from tests.kubernetes.conftest import Clock

WALL = itertools.count(1_800_000_000.0)  # a renewal that changes nothing would be no renewal


@pytest.fixture
def candidate(api, namespace, clock):
    def make(owner, own_clock=None, client=None, **more):
        return Elector(LeaseLock(client or api, namespace, "op", wall=lambda: next(WALL)), owner, clock=own_clock or clock, **more)

    return make


def test_the_first_leads_and_the_second_waits_for_the_whole_lease(candidate, clock):
    first, second = candidate("a"), candidate("b")
    first.step()
    second.step()
    assert (first.token(), second.token()) == (1, None)

    clock.now = 14.9
    second.step()
    assert second.token() is None
    clock.now = 15.0
    second.step()
    assert second.token() == 2


def test_a_leader_that_renews_is_never_replaced(candidate, clock):
    first, second = candidate("a"), candidate("b")
    for second_number in range(0, 100, 2):
        clock.now = float(second_number)
        first.step()
        second.step()

    assert (first.token(), second.token()) == (1, None)


def test_there_is_no_moment_with_two_leaders(candidate, clock):
    first, second = candidate("a"), candidate("b")
    first.step()
    second.step()
    both = []
    for tenth in range(300):  # the first one is stopped, as by SIGSTOP
        clock.now = tenth / 10
        second.step()
        both.append((first.token(), second.token()))

    assert all(a is None or b is None for a, b in both)
    assert both[-1] == (None, 2)


def test_a_sleeper_knows_at_the_first_question_after_waking_that_it_leads_no_longer(candidate, clock):
    first = candidate("a")
    first.step()
    clock.now = 10.0

    assert first.token() is None


def test_clocks_that_disagree_by_hours_change_nothing(candidate):
    ahead, behind = Clock(50_000.0), Clock(3.0)
    first, second = candidate("a", ahead), candidate("b", behind)
    first.step()
    second.step()
    for _ in range(20):
        ahead.now += 5
        behind.now += 5
        first.step()
        second.step()

    assert (first.token(), second.token()) == (1, None)


def test_a_clean_stop_hands_over_at_once(candidate, clock):
    first, second = candidate("a"), candidate("b")
    first.step()
    second.step()
    stop = threading.Event()
    stop.set()
    first.run(stop)
    second.step()

    assert (first.token(), second.token()) == (None, 2)


def test_a_silent_server_takes_the_leadership_away_at_the_deadline_and_not_before(candidate, clock, proxied, proxy):
    told = []
    only = candidate("a", client=proxied, tell=told.append)
    only.step()
    proxy.down()
    clock.now = 9.9
    only.step()
    still = only.token()
    clock.now = 10.1
    only.step()
    proxy.up()
    lost = only.token()
    only.step()

    assert (still, lost, only.token()) == (1, None, 1)
    assert told == [True, False, True]
    assert only.problem == ""


def test_a_lost_answer_to_a_renewal_does_not_cost_the_leadership(candidate, clock, proxied, proxy):
    only = candidate("a", client=proxied)
    only.step()
    proxy.fail("PUT", "/leases", "timeout-after")
    clock.now = 2.0
    only.step()
    clock.now = 4.0
    only.step()

    assert only.token() == 1


def test_two_that_race_for_a_free_lease_do_not_both_get_it(api, namespace):
    locks = [LeaseLock(api, namespace, "op") for _ in range(6)]
    got = []
    threads = [threading.Thread(target=lambda n=n: got.append(locks[n].acquire(f"o{n}", 0.0, 15.0))) for n in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert sorted(token for token in got if token) == [1]


def test_the_lease_is_what_client_go_writes(api, namespace):
    LeaseLock(api, namespace, "op", wall=lambda: 1_800_000_000.0).acquire("a", 0.0, 15.0)
    spec = api.get(LEASES, namespace, "op")["spec"]

    assert spec == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2027-01-15T08:00:00.000000Z",
        "renewTime": "2027-01-15T08:00:00.000000Z",
        "leaseTransitions": 0,
    }


def test_settings_with_which_two_could_lead_are_refused(candidate):
    with pytest.raises(ValueError, match="two could lead"):
        candidate("a", lease_seconds=10.0, deadline=10.0)


def test_a_server_that_refuses_is_told_in_words(candidate, proxied, proxy):
    only = candidate("a", client=proxied)
    proxy.fail("GET", "/leases", "500")
    only.step()

    assert only.token() is None
    assert "HTTP 500" in only.problem


def test_release_leaves_the_lease_of_somebody_else_alone(candidate, api, namespace, clock):
    candidate("a").step()
    LeaseLock(api, namespace, "op").release("b")

    assert api.get(LEASES, namespace, "op")["spec"]["holderIdentity"] == "a"
    with pytest.raises(ApiError, match="404"):
        LeaseLock(api, namespace, "nothing").release("a")
