"""The local copy: right again after every way in which a watch can fail."""

import threading

import pytest

from mlops_obs.adapters.kubernetes.api import ApiError
from mlops_obs.adapters.kubernetes.informer import Informer
from mlops_obs.adapters.kubernetes.resources import LEASES


class Copy:
    """An informer on its thread; `until` waits for what must become true."""

    def __init__(self, api, namespace, **more):
        self.told = []
        self.changed = threading.Condition()
        self.informer = Informer(api, LEASES, namespace, self.take, **more)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.informer.run, args=(self.stop,), daemon=True)
        self.thread.start()
        assert self.informer.synced.wait(30)

    def take(self, key):
        with self.changed:
            self.told.append(key[1])
            self.changed.notify_all()

    def until(self, true, seconds=30.0):
        with self.changed:
            return self.changed.wait_for(true, seconds)


@pytest.fixture
def lease(api, namespace):
    def write(name, holder):
        body = {
            "apiVersion": LEASES.api_version,
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace, "annotations": {"holder": holder}},
            "spec": {},
        }
        try:
            found = api.get(LEASES, namespace, name)
        except ApiError:
            return api.create(LEASES, namespace, body)
        return api.put(LEASES, namespace, name, {**found, "metadata": {**found["metadata"], "annotations": {"holder": holder}}})

    return write


def holder(copy, namespace, name):
    found = copy.informer.get(namespace, name)
    return found and found["metadata"]["annotations"]["holder"]


def test_what_is_there_and_what_comes_later_is_told(api, namespace, lease):
    lease("a", "1")
    copy = Copy(api, namespace)
    lease("b", "1")

    assert copy.until(lambda: copy.told == ["a", "b"])
    assert copy.informer.known() == [(namespace, "a"), (namespace, "b")]
    copy.stop.set()


def test_a_watch_that_is_cut_misses_nothing(proxied, proxy, api, namespace, lease):
    copy = Copy(proxied, namespace)
    lease("a", "1")
    assert copy.until(lambda: "a" in copy.told)
    proxy.cut_watches()
    lease("a", "2")

    assert copy.until(lambda: holder(copy, namespace, "a") == "2")
    copy.stop.set()


def test_a_server_that_was_away_and_forgot_is_listed_again(proxied, proxy, api, namespace, lease):
    lease("a", "1")
    lease("gone", "1")
    copy = Copy(proxied, namespace)
    proxy.down()
    lease("a", "2")
    api.delete(LEASES, namespace, "gone")
    proxy.up()

    assert copy.until(lambda: holder(copy, namespace, "a") == "2" and copy.informer.get(namespace, "gone") is None)
    assert "gone" in copy.told[2:]
    copy.stop.set()


def test_events_that_come_twice_are_told_once(proxied, proxy, namespace, lease):
    proxy.twice = True
    copy = Copy(proxied, namespace)
    lease("a", "1")
    lease("b", "1")
    assert copy.until(lambda: "b" in copy.told)

    assert copy.told == ["a", "b"]
    copy.stop.set()


def test_a_watch_that_is_silent_instead_of_broken_is_overtaken_by_the_resync(proxied, proxy, namespace, lease):
    copy = Copy(proxied, namespace, resync=1.0)
    proxy.silence(True)
    lease("a", "1")

    assert copy.until(lambda: holder(copy, namespace, "a") == "1")
    proxy.silence(False)
    copy.stop.set()


def test_an_older_event_never_replaces_a_newer_object(api, namespace, lease):
    informer = Informer(api, LEASES, namespace, lambda _: None)
    old = lease("a", "1")
    new = lease("a", "2")
    informer.take(new)
    informer.take(old)

    assert informer.get(namespace, "a")["metadata"]["annotations"]["holder"] == "2"


def test_a_version_that_the_server_forgot_leads_to_a_new_list(api, namespace, lease):
    class Forgetful:
        lists = 0

        def list_all(self, *arguments):
            self.lists += 1
            items, version = api.list_all(*arguments)
            return items, "1" if self.lists == 1 else version  # version 1 is compacted away, as after five minutes

        def watch(self, *arguments, **more):
            return api.watch(*arguments, **more)

    lease("a", "1")
    forgetful = Forgetful()
    copy = Copy(forgetful, namespace)
    lease("a", "2")

    assert copy.until(lambda: holder(copy, namespace, "a") == "2")
    assert forgetful.lists == 2
    assert copy.informer.problem == ""
    copy.stop.set()


def test_a_change_of_the_status_alone_is_not_told(api, namespace, lease):
    told = []
    informer = Informer(api, LEASES, namespace, told.append)
    first = lease("a", "1")
    informer.take(first)
    informer.take({**first, "metadata": {**first["metadata"], "resourceVersion": "999999999"}, "status": {"x": 1}})

    assert told == [(namespace, "a")]
    assert informer.get(namespace, "a")["status"] == {"x": 1}
