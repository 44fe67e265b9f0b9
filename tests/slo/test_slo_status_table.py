"""The live table: what it shows, what it never shows as current, and how it ends."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlops_obs.cli import slo as slo_command
from mlops_obs.cli import wiring
from mlops_obs.cli.slo import status
from mlops_obs.errors import TelemetryUnavailable, UsageError
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.verdict import GroupStatus, Verdict
from mlops_obs.testing.counters import ScriptedCounters

NOW = 1_800_000_000.0
POLICY = [{"below": "0.25", "action": "warn"}, {"below": "0.1", "action": "freeze"}, {"below": 0, "action": "rollback"}]


def make(name="availability", **changes):
    fields = {"service": "shop", "team": "web", "name": name, "objective": "0.99", "indicator": {"type": "availability"}}
    return SLO.model_validate({**fields, "budget_policy": POLICY, **changes})


def one(left, verdict=Verdict.HEALTHY, group=None, tiers=(), burn=0.5, gone=None, name="availability"):
    return GroupStatus(make(name), group or {}, verdict, 12.0, 3_456.0, 12 / 3_456, burn, left, gone, tiers)


def shown(*found, problem="", now=NOW, width=150):
    console = Console(width=width, record=True, force_terminal=False, file=io.StringIO())
    console.print(status.table(list(found), NOW, problem, now, width=width))
    return console.export_text()


@pytest.mark.parametrize(("left", "policy"), [(0.9, ""), (0.25, ""), (0.2, "warn"), (0.05, "freeze"), (-0.5, "rollback")])
def test_the_sternest_step_of_the_policy_in_force_stands_in_its_row(left, policy):
    row = shown(one(left)).splitlines()[1]

    assert row.split("%")[1].split()[1:] == ([policy] if policy else [])
    assert (status.document(one(left))["policy"] or "") == policy


def test_a_group_has_no_policy_of_its_own_and_an_unknown_budget_none_at_all():
    assert status.policy_of(one(-0.5, group={"revision": "v2"})) == ""
    assert status.policy_of(one(-0.5, verdict=Verdict.UNKNOWN)) == ""
    assert "-" in shown(one(1.0, verdict=Verdict.UNKNOWN)).splitlines()[1]


def test_the_bar_is_as_long_as_what_is_left():
    assert [status._bar(one(left)).split("]")[1].split("[")[0] for left in (1.0, 0.5, 0.51, 0.0, -2.0)] == [
        "████████",
        "████    ",
        "████▏   ",
        "        ",
        "        ",
    ]


def test_a_narrow_screen_gets_no_bars_and_loses_no_column():
    row = shown(one(0.05, burn=14.4, gone=90_000.0), width=90).splitlines()[1]

    assert "█" not in row
    assert "5.0 %" in row
    assert row.split()[-1] == "freeze"


def test_the_summary_counts_objectives_and_names_services_whose_promotions_are_frozen():
    text = shown(
        one(0.05, Verdict.BURNING, tiers=("page-quick",)),
        one(0.05, group={"revision": "v2"}),
        one(0.9, name="b"),
        one(1.0, Verdict.UNKNOWN, name="c"),
    )

    assert "3 SLOs at" in text
    assert "1 burning, 1 unknown, 1 healthy; the budget policy freezes promotions of shop" in text
    assert "page-quick" in text


def test_while_the_metrics_cannot_be_read_no_row_looks_current():
    text = shown(one(0.9), problem="metrics cannot be read: 503 [OBS-PROM-002]", now=NOW + 90)

    assert "unknown (was healthy)" in text
    assert "nothing above is newer than 1 min 30 s" in text
    assert "OBS-PROM-002" in text


@pytest.fixture
def env(tmp_path, monkeypatch):
    (tmp_path / "slo.yaml").write_text(
        "service: shop\nteam: web\nslos:\n- {name: a, objective: 0.99, indicator: {type: availability}, "
        "budget_policy: [{below: 0.5, action: freeze}]}\n"
    )
    (tmp_path / "obs.yaml").write_text(
        "service: shop\nstate: s.db\nslos: [slo.yaml]\nmetrics: {embedded: m.db}\ntarget: {kserve: {namespace: n, name: n}}\n"
    )
    counters = ScriptedCounters()
    for minute in range(120):
        counters.add_requests("shop", "v1", total=100, errors=0)
        counters.scrape(NOW - 7_200 + 60 * (minute + 1))
    monkeypatch.setattr(wiring, "counter_source", lambda _: counters)
    monkeypatch.setattr(status.time, "time", lambda: NOW)
    counters.folder = tmp_path
    return counters


def watch(env, monkeypatch, *arguments, looks=3, between=lambda look: None):
    """Run the live table for some looks, then press Ctrl-C."""
    seen = []

    def sleep(_):
        seen.append(1)
        between(len(seen))
        if len(seen) == looks:
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", sleep)
    return CliRunner().invoke(slo_command.app, ["status", "--env", str(env.folder / "obs.yaml"), "--watch", *arguments])


def test_the_live_table_goes_on_through_an_outage_and_ends_with_ctrl_c_by_what_it_last_saw(env, monkeypatch):
    def weather(look):
        if look == 1:
            env.start_outage("503 from Prometheus")
        if look == 2:
            env.end_outage()

    done = watch(env, monkeypatch, "-o", "json", between=weather)
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.exit_code == 0
    assert [line["problem"] is None for line in lines] == [True, False, True]
    assert "503 from Prometheus" in lines[1]["problem"]
    assert lines[1]["at"] == lines[0]["at"], "the time of what is shown is that of the last good look"


def test_the_live_table_is_drawn(env, monkeypatch):
    done = watch(env, monkeypatch, looks=1)

    assert done.exit_code == 0, done.exception
    assert "shop a" in done.stdout
    assert "1 SLO at" in done.stdout


def test_a_live_table_that_never_saw_anything_ends_as_unknown(env, monkeypatch):
    env.start_outage()

    done = watch(env, monkeypatch, "-o", "json", looks=1)

    assert done.exit_code == 4


def test_teams_and_services_are_chosen_and_a_choice_of_nothing_is_an_error(env):
    arguments = ["status", "--env", str(env.folder / "obs.yaml"), "-o", "json"]

    assert len(json.loads(CliRunner().invoke(slo_command.app, [*arguments, "--team", "web", "--service", "shop"]).stdout)) == 1
    refused = CliRunner().invoke(slo_command.app, [*arguments, "--team", "nobody"])
    assert isinstance(refused.exception, UsageError)
    env.start_outage()
    with pytest.raises(TelemetryUnavailable):
        CliRunner().invoke(slo_command.app, arguments, catch_exceptions=False)


@pytest.mark.parametrize("revision", ["v1[beta]", "[/red]", "v2 [bold]x"])
def test_a_revision_with_brackets_in_its_name_is_shown_as_it_is(revision):
    assert revision in shown(one(0.9, group={"revision": revision}))
