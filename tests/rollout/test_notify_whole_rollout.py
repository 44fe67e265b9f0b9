"""A whole rollout with its pager down: the canary is taken back as fast as ever, and on-call is told of it once, later."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from mlops_obs.adapters.local_prometheus import alertmanager_program
from mlops_obs.adapters.notify import AlertmanagerNotifier, AllOf, Patient, Sender
from mlops_obs.adapters.processes import Daemon
from mlops_obs.paging.alertmanager import render_config
from mlops_obs.rollout.controller import Controller
from mlops_obs.rollout.ports import Notifier
from tests.paging.alertmanager_server import until, vendors
from tests.rollout.simulated_world import BAD, SERVICE, World


def controller(world: World, notifier: Notifier | None) -> Controller:
    return Controller(SERVICE, world.store, world.target, world.counters, owner="one", clock=lambda: world.now, ttl=15.0, notifier=notifier)


def seconds_to_roll_back(world: World, notifier: Notifier | None) -> float:
    world.start()
    began = world.now
    state = world.run(900, controller(world, notifier))
    assert state.phase == "RolledBack"
    return world.now - began


@pytest.mark.stack
@pytest.mark.skipif(alertmanager_program() is None, reason="alertmanager is missing: apt-get install prometheus-alertmanager")
def test_a_pager_that_is_down_delays_no_rollback_and_is_told_once_when_it_is_back(tmp_path):
    for name in ("well", "ill", "alertmanager"):
        (tmp_path / name).mkdir()
    now = time.time()
    usual = seconds_to_roll_back(World(tmp_path / "well", canary=BAD, now=now), None)
    with vendors() as pager:
        config = tmp_path / "alertmanager" / "config.yaml"
        config.write_text(render_config([], f"{pager.url}/alerts", group_wait="1s", ticket_group_wait="1s", group_interval="1s"))
        flags = [f"--config.file={config}", f"--storage.path={tmp_path / 'alertmanager' / 'data'}", "--cluster.listen-address="]
        program = str(alertmanager_program())
        daemon = Daemon(
            "Alertmanager", lambda listen: [program, *flags, f"--web.listen-address={listen}"], "/-/ready", tmp_path / "alertmanager.log"
        )
        daemon.start()
        daemon.stop()
        world = World(tmp_path / "ill", canary=BAD, now=now)
        notifier = AllOf([Patient(AlertmanagerNotifier(daemon.url, Sender("platform"), time.time), lambda: world.now)])

        delayed = seconds_to_roll_back(world, notifier)
        waiting = [one for one in world.state.outbox if one.kind == "rollback"]
        daemon.start()
        try:
            world.run(120, controller(world, notifier), until=lambda state: not state.outbox)
            again = controller(world, notifier)  # started anew, as after a kill
            for notice in waiting:
                notifier.deliver(replace(notice))
            world.run(5, again, until=lambda _: False)
            assert until(lambda: pager.bodies)
            assert not until(lambda: len(pager.bodies) > 1, patience=3)
        finally:
            daemon.stop()

    assert delayed == usual
    assert len(waiting) == 1
    assert world.state.outbox == ()
    (alert,) = pager.bodies[0][2]["alerts"]
    assert alert["labels"]["alertname"] == "RolloutRolledBack"
    assert alert["labels"]["revision"] == "v2"
    assert "of v2's requests" in alert["annotations"]["description"]
    assert "obs rollout explain" in alert["annotations"]["evidence"]
