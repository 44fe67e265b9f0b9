"""What a replica knows about drift survives its death, and replicas add up exactly."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mlops_obs.adapters.drift_snapshots import Snapshots, merged
from mlops_obs.collectors.drift.alarms import Budget, Detector
from mlops_obs.collectors.drift.columns import Column, ColumnKind, Schema
from mlops_obs.collectors.drift.encode import Encoder
from mlops_obs.collectors.drift.monitor import SECTION, DriftMonitor
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import PlatformError, StateError
from mlops_obs.metric_names import DRIFT_ALARM, DRIFT_ALARMS, DRIFT_BUDGET_USED, DRIFT_ROWS

NOON = 1_795_435_200.0  # 2026-11-23 12:00 UTC
DAY = 86_400.0
SCHEMA = Schema((Column("income"), Column("channel", ColumnKind.CATEGORY)))
LABELS = ("credit risk/v3", "v2", "serve")


def rows_of(random, count):
    names = ["web", "branch", "partner"]
    return [
        {"income": value, "channel": names[place]}
        for value, place in zip(random.lognormal(8, 1, count), random.integers(0, 3, count), strict=True)
    ]


def profile_of(rows):
    """The profile that a table of these rows would have."""
    ring = Encoder.ring(SCHEMA.columns, len(rows))
    encoder = Encoder(SCHEMA.columns, {}, ring)
    encoder.put(rows)
    return ReferenceProfile.from_block(encoder.block(ring.drain()), SCHEMA)


def reference(random):
    return profile_of(rows_of(random, 2_000))


class Replica:
    """One replica: a monitor over its files."""

    def __init__(self, folder, profile):
        detector = Detector.of(profile, Budget.parse("1 per 90d"), started=NOON)
        self.monitor = DriftMonitor(profile, service="credit risk/v3", revision="v2", detector=detector)
        self.files = Snapshots(folder, *LABELS, seconds=30)

    def see(self, rows, now=NOON):
        for row in rows:
            self.monitor.capture(row)
        self.monitor.fold(now)

    @property
    def rows(self):
        return next(one.value for one in self.monitor.read() if one.metric is DRIFT_ROWS)


def test_a_successor_goes_on_where_a_killed_replica_was_last_flushed(tmp_path):
    random = np.random.default_rng(1)
    profile, rows = reference(random), rows_of(random, 900)
    first = Replica(tmp_path, profile)
    first.see(rows[:600])
    first.files.flush(first.monitor, 0.0)
    first.see(rows[600:700])  # lost: the next flush never comes
    first.files.close()  # what the kernel does with the lock of a killed process

    second = Replica(tmp_path, profile)
    restored = second.files.restore(second.monitor)
    second.see(rows[700:])

    assert restored
    assert second.rows == 800
    assert second.monitor.windows == {**first.monitor.windows}
    assert second.monitor.profile().to_bytes() == profile_of(rows[:600] + rows[700:]).to_bytes()


def test_an_alarm_that_a_replica_raised_is_remembered_by_its_successor(tmp_path):
    random = np.random.default_rng(1)
    profile, rows = reference(random), rows_of(random, 600)
    first = Replica(tmp_path, profile)
    for place in range(0, 600, 50):
        first.see([{**row, "income": row["income"] * 100} for row in rows[place : place + 50]], NOON + place)
    first.files.flush(first.monitor, 0.0)
    first.files.close()

    second = Replica(tmp_path, profile)
    second.files.restore(second.monitor)
    second.monitor.fold(NOON + 700)

    (alarm,) = first.monitor.take_alarms()
    assert alarm.feature == "income"
    assert alarm_state(second) == alarm_state(first)
    assert alarm_state(second) == {
        "mlops_obs_drift_alarm": 1.0,
        "mlops_obs_drift_alarms_total": 1.0,
        "mlops_obs_drift_budget_used_ratio": 1.0,
    }


def alarm_state(replica):
    return {one.metric.name: one.value for one in replica.monitor.read() if one.metric in (DRIFT_ALARM, DRIFT_ALARMS, DRIFT_BUDGET_USED)}


def test_flushes_come_at_most_as_often_as_they_should(tmp_path):
    random = np.random.default_rng(1)
    one = Replica(tmp_path, reference(random))
    one.see(rows_of(random, 10))

    assert [one.files.flush(one.monitor, now) for now in (0.0, 10.0, 29.9, 30.0, 31.0)] == [True, False, False, True, False]


def test_replicas_have_files_of_their_own_and_add_up_to_the_bytes_of_one(tmp_path):
    random = np.random.default_rng(1)
    profile, rows = reference(random), rows_of(random, 900)
    replicas = [Replica(tmp_path, profile) for _ in range(3)]
    for place, one in enumerate(replicas):
        one.see(rows[place::3])
        one.files.flush(one.monitor, 0.0)

    assert len({one.files.path for one in replicas}) == 3
    assert merged(tmp_path, *LABELS).to_bytes() == profile_of(rows).to_bytes()


def test_a_day_that_ends_is_kept_by_its_date_and_old_days_go(tmp_path):
    random = np.random.default_rng(1)
    profile, rows = reference(random), rows_of(random, 120)
    one = Replica(tmp_path, profile)
    for number in range(12):
        one.see(rows[10 * number : 10 * number + 10], NOON + number * DAY)
        one.files.flush(one.monitor, 30.0 * number)

    kept = sorted(path.name.split(".")[-2] for path in tmp_path.glob("*.profile"))
    assert kept[0] == "2026-11-26"
    assert kept[-1] == "2026-12-03"
    assert merged(tmp_path, *LABELS, day="2026-12-03").to_bytes() == profile_of(rows[100:110]).to_bytes()
    assert merged(tmp_path, *LABELS).rows == 10  # today's


def test_yesterdays_snapshot_of_a_killed_replica_becomes_yesterdays_profile(tmp_path):
    random = np.random.default_rng(1)
    profile, rows = reference(random), rows_of(random, 30)
    first = Replica(tmp_path, profile)
    first.see(rows[:20], NOON)
    first.files.flush(first.monitor, 0.0)
    first.files.close()

    second = Replica(tmp_path, profile)
    second.files.restore(second.monitor)
    second.see(rows[20:], NOON + DAY)
    second.files.flush(second.monitor, 0.0)

    assert merged(tmp_path, *LABELS, day="2026-11-23").to_bytes() == profile_of(rows[:20]).to_bytes()
    assert merged(tmp_path, *LABELS).to_bytes() == profile_of(rows[20:]).to_bytes()


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "no state"])
def test_a_damaged_snapshot_is_set_aside_with_a_warning_and_the_replica_starts_anew(tmp_path, caplog, damage):
    random = np.random.default_rng(1)
    profile = reference(random)
    first = Replica(tmp_path, profile)
    first.see(rows_of(random, 100))
    first.files.flush(first.monitor, 0.0)
    content = first.files.path.read_bytes()
    other = ReferenceProfile.from_columns({"x": [1.0]}).with_section(SECTION, ReferenceProfile.from_bytes(content).sections[SECTION])
    damaged = {"cut": content[:-3], "empty": b"", "other": other.to_bytes(), "no state": profile.to_bytes()}[damage]
    first.files.path.write_bytes(damaged)
    first.files.close()

    second = Replica(tmp_path, profile)
    with caplog.at_level(logging.WARNING, "mlops_obs"):
        restored = second.files.restore(second.monitor)
        second.see(rows_of(random, 5))
        second.files.flush(second.monitor, 0.0)

    assert not restored
    assert "set aside" in caplog.text
    assert second.files.path.with_suffix(".damaged").read_bytes() == damaged
    assert merged(tmp_path, *LABELS).rows == 5


def test_what_cannot_be_read_or_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(PlatformError, match="OBS-CAP-002"):
        Snapshots(tmp_path / "file", *LABELS)
    with pytest.raises(StateError, match="OBS-CAP-003"):
        merged(tmp_path, *LABELS)


PROGRAM = """
import sys, time
import numpy as np
from mlops_obs.lifecycle import instrument
from mlops_obs.adapters import telemetry
handle = instrument("credit-risk", "v2", reference=open(sys.argv[1], "rb").read())
for row in np.random.default_rng(5).normal(size=(700, 2)):
    handle.features(row)
print("captured", flush=True)
while True:
    time.sleep(0.05)
"""


def snapshot_of(folder):
    paths = list(folder.glob("*.snapshot"))
    return json.loads(ReferenceProfile.from_bytes(paths[0].read_bytes()).sections[SECTION]) if paths else {}


def test_a_process_killed_by_the_kernel_loses_no_row_that_was_flushed(tmp_path):
    table = np.random.default_rng(3).normal(size=(2_000, 2))
    path = tmp_path / "reference"
    path.write_bytes(ReferenceProfile.from_columns({"a": table[:, 0], "b": table[:, 1]}).to_bytes())
    state = tmp_path / "state"
    env = {**os.environ, "MLOPS_OBS_STATE_DIR": str(state), "MLOPS_OBS_STATE_SECONDS": "0.1"}
    for expected in (700, 1_400):  # the second replica finds what the first one left
        replica = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], env=env, stdout=subprocess.PIPE)
        try:
            replica.stdout.readline()
            deadline = time.monotonic() + 60
            while snapshot_of(state).get("rows") != expected and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            replica.send_signal(signal.SIGKILL)
            replica.wait(30)
            replica.stdout.close()
        assert snapshot_of(state)["rows"] == expected
    assert len(list(state.glob("*.snapshot"))) == 1
    assert merged(state, "credit-risk", "v2").rows == 1_400
