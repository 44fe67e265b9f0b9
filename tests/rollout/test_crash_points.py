"""The controller on the real store is stopped at every write, before and after, and started again: the end is the same.

`test_exhaustive` does so at every call and with two faults, on a store in memory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated_world import BAD, HEALTHY, SERVICE, World

from mlops_obs.errors import StateError


class Killed(BaseException):
    """kill -9: nothing after it runs."""


class Mortal:
    """Calls through to `inner`; the process dies when the fuse has burnt down, before or after a call."""

    def __init__(self, inner: Any, fuse: dict[str, int], methods: tuple[str, ...]) -> None:
        self._inner, self._fuse, self._methods = inner, fuse, methods

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in self._methods:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            self._burn()
            result = method(*args, **kwargs)
            self._burn()
            return result

        return call

    def _burn(self) -> None:
        self._fuse["seen"] += 1
        if self._fuse["seen"] == self._fuse["at"]:
            raise Killed


def life(folder: Path, canary: tuple[float, float], kill_at: int, methods: tuple[str, ...], **spec: Any) -> tuple[World, int]:
    """Run one rollout to its end with one kill at the given call; return the world and how many calls there were."""
    folder.mkdir()
    world = World(
        folder,
        canary=canary,
        spec={"step_duration_min": "4s", "steps": (20, 100), "non_inferiority_margin": 0.3, "slow_margin": 0.3, **spec},
    )
    world.start()
    fuse = {"seen": 0, "at": kill_at}

    def reborn() -> Any:
        return world.controller(Mortal(world.store, fuse, methods), Mortal(world.target, fuse, methods), ttl=0.5)

    controller = reborn()
    for _ in range(80):
        world.pass_second()
        try:
            controller.step()
        except Killed:
            controller = reborn()
        if world.state.over:
            break
    return world, fuse["seen"]


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of runs that each write through to a disk would take minutes."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


WRITES = ("save", "deploy", "set_weights")


@pytest.mark.parametrize(
    ("canary", "phase", "shares"),
    [(BAD, "RolledBack", [0, 20, 0]), (HEALTHY, "Promoted", [0, 20, 100])],
    ids=["bad", "healthy"],
)
def test_a_kill_at_any_call_changes_nothing_about_the_end(fast_folder, canary, phase, shares):
    _, calls = life(fast_folder / "whole", canary, 0, WRITES)

    for kill_at in range(1, calls + 1):
        world, _ = life(fast_folder / str(kill_at), canary, kill_at, WRITES)

        assert world.state.phase == phase, f"killed at call {kill_at}"
        assert [split.get("v2", 0) for split in world.target.history] == shares, f"killed at call {kill_at}"
        intents = [one["weights_after"] for one in world.store.records(SERVICE) if one["kind"] == "intent"]
        assert all(split in intents for split in world.target.history[1:]), "a change was made that was not written down before"
        assert world.store.broken_record() is None
    assert calls > 15


def test_only_the_holder_of_the_lease_acts(tmp_path):
    world = World(tmp_path)
    world.start()
    first, second = world.controller(), world.controller()

    for _ in range(5):
        world.pass_second()
        assert first.step() is not None
        assert second.step() is None

    assert world.target.calls.count("deploy") == 1


def test_a_controller_that_was_asleep_while_another_took_over_does_nothing(tmp_path):
    world = World(tmp_path)
    world.start()
    world.run(2, world.controller(ttl=0.5))
    successor = world.controller(ttl=60)

    class Sleeper:
        """The old controller's target: while it is asked for its weights, a minute passes and another controller takes over."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.target, name)

        def weights(self) -> Any:
            found = world.target.weights()
            world.pass_second()
            successor.step()
            return found

    before = len(world.target.history)
    world.pass_second()
    sleeper = world.controller(target=Sleeper(), ttl=0.5)

    with pytest.raises(StateError, match="OBS-ROLL-01[23]"):
        sleeper.step()
    assert len(world.target.history) <= before + 1
    assert world.target.calls.count("set_weights") <= 1


def test_a_store_that_cannot_be_written_stops_the_controller_before_it_acts(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.start()
    controller = world.controller()

    def full(*args: Any, **kwargs: Any) -> None:
        raise StateError("OBS-ROLL-011", "database or disk is full")

    monkeypatch.setattr(world.store, "save", full)
    world.pass_second()

    with pytest.raises(StateError, match="disk is full"):
        controller.step()
    assert world.target.calls == ["weights"]
