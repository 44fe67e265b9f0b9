"""`obs rollout` as a person uses it, with a real controller process that is killed and started again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from simulated_world import SERVICE
from typer.testing import CliRunner

from mlops_obs.cli import rollout, wiring
from mlops_obs.cli.rollout import controller as controller_command
from mlops_obs.cli.rollout import shared
from mlops_obs.cli.rollout.start import read_spec
from mlops_obs.errors import SpecError, UsageError

ENV = """
service: credit-risk
state: state.db
discovery: discovery
metrics: {embedded: metrics.db}
target: {kserve: {namespace: default, name: credit-risk}}
"""
SPEC = """
service: credit-risk
canary: v2
package: /packages/v2
step_duration_min: 1s
slice: 500ms
non_inferiority_margin: 0.3
slow_margin: 0.3
"""
NO_FLAGS = {"canary": None, "package": None, "steps": None}


@pytest.fixture
def env(tmp_path):
    (tmp_path / "obs.yaml").write_text(ENV)
    (tmp_path / "rollout.yaml").write_text(SPEC)
    return tmp_path / "obs.yaml"


def obs(*arguments):
    result = CliRunner().invoke(rollout.app, [str(one) for one in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_start_says_that_no_controller_runs_and_status_shows_what_waits(env):
    started = obs("start", "--env", env, "-f", env.parent / "rollout.yaml")
    status = obs("status", "--env", env, "-o", "json")

    assert started.stdout == "credit-risk-v2-1: started; follow it with: obs rollout watch\n"
    assert "no controller is running" in started.stderr
    assert "no controller is running" in obs("watch", "--env", env, "--timeout", "100ms").stderr
    assert json.loads(status.stdout)["phase"] == "Pending"
    assert status.exit_code == 0


def test_status_with_a_timeout_tells_a_pipeline_that_nothing_was_decided_in_time(env):
    obs("start", "--env", env, "-f", env.parent / "rollout.yaml")

    waited = obs("status", "--env", env, "--timeout", "100ms", "-o", "json")

    assert (waited.exit_code, json.loads(waited.stdout)["exit_code"], json.loads(waited.stdout)["phase"]) == (4, 4, "Pending")


def test_watching_in_a_pipe_is_one_line_of_json_for_each_change(env):
    obs("start", "--env", env, "-f", env.parent / "rollout.yaml")

    lines = obs("watch", "--env", env, "--timeout", "700ms", "-o", "json").stdout.splitlines()

    assert [json.loads(line)["phase"] for line in lines] == ["Pending"]


@pytest.mark.parametrize("command", ["status", "watch", "pause", "history", "explain", "replay", "verify", "report", "retry", "rollback"])
def test_every_command_says_what_to_do_where_there_is_no_rollout_yet(env, command, tmp_path):
    if command == "verify":
        assert "has no records yet" in obs(command, "--env", env).stdout
        return

    with pytest.raises(UsageError, match=r"credit-risk has no rollout yet; start one: obs rollout start -f rollout.yaml \[OBS-ROLL-014\]"):
        obs(command, "--env", env)


def test_flags_replace_what_the_file_says(env):
    started = obs("start", "--env", env, "-f", env.parent / "rollout.yaml", "--revision", "v7", "--steps", "10,100", "-o", "json")

    assert json.loads(started.stdout)["canary"] == "v7"
    assert json.loads(started.stdout)["steps"] == [10, 100]


def test_a_package_is_named_by_its_full_path_because_the_controller_runs_elsewhere(env, monkeypatch):
    (env.parent / "models" / "v2").mkdir(parents=True)
    monkeypatch.chdir(env.parent)
    spec = env.parent / "rollout.yaml"
    by_flag = read_spec("", spec, {**NO_FLAGS, "package": "models/v2"})
    spec.write_text(SPEC.replace("/packages/v2", "models/v2"))
    monkeypatch.chdir("/")
    by_file = read_spec("", spec, NO_FLAGS)

    assert by_flag.package == str(env.parent / "models" / "v2")
    assert by_file.package == str(env.parent / "models" / "v2")


def test_a_package_that_is_not_named_is_asked_for(env):
    with pytest.raises(SpecError, match="package is missing"):
        obs("start", "--env", env, "--revision", "v2")


def test_mistakes_are_one_line_with_place_and_code(env):
    (env.parent / "rollout.yaml").write_text(SPEC + "alfa: 0.01\n")

    with pytest.raises(SpecError, match=r"rollout\.yaml:9: unknown key alfa; did you mean alpha\?.*OBS-ROLL-002"):
        obs("start", "--env", env, "-f", env.parent / "rollout.yaml")
    (env.parent / "rollout.yaml").write_text(SPEC.replace("credit-risk", "fraud"))
    with pytest.raises(UsageError, match="OBS-ROLL-015"):
        obs("start", "--env", env, "-f", env.parent / "rollout.yaml")


def test_a_spec_for_another_target_is_refused_before_it_moves_the_traffic_of_this_one(env):
    spec = env.parent / "rollout.yaml"
    spec.write_text(SPEC + "target: {kserve: {namespace: default, name: fraud}}\n")
    for extra in ([], ["--dry-run"]):
        with pytest.raises(UsageError, match=r"the spec's target \(kserve\) is not the one of the environment.*OBS-ROLL-073"):
            obs("start", "--env", env, "-f", spec, *extra)

    spec.write_text(SPEC + "target: {kserve: {namespace: default, name: credit-risk}}\n")
    assert obs("start", "--env", env, "-f", spec).exit_code == 0


def test_requests_are_recorded_with_actor_and_reason_and_a_finished_rollout_takes_none(env):
    obs("start", "--env", env, "-f", env.parent / "rollout.yaml")
    obs("pause", "--env", env, "--reason", "release freeze")
    store = wiring.rollout_store(wiring.load_environment(env))
    asked = store.load(SERVICE).requests[0]

    assert (asked.kind, asked.reason) == ("pause", "release freeze")
    assert asked.actor

    state = store.load(SERVICE).state.model_copy(update={"phase": "RolledBack"})
    store.save(store.load(SERVICE), state, [], store.lease("test", 0.0, 1.0))
    with pytest.raises(UsageError, match="OBS-ROLL-018"):
        obs("promote", "--env", env)
    assert obs("status", "--env", env).exit_code == 3


def controller(env: Path, errors: int) -> subprocess.Popen:
    program = [sys.executable, str(Path(__file__).parent / "realtime_world.py"), str(env), str(errors), "controller", "--interval", "0.1"]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.stack
@pytest.mark.parametrize(("errors", "code", "phase"), [(50, 3, "RolledBack"), (0, 0, "Promoted")])
def test_a_controller_killed_in_the_middle_is_continued_by_the_next_to_the_same_end(env, errors, code, phase):
    first = controller(env, errors)
    first.stdout.readline()  # it is running
    obs("start", "--env", env, "-f", env.parent / "rollout.yaml")
    for line in first.stdout:
        if "20 %" in line:
            break
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    middle = json.loads(obs("status", "--env", env, "-o", "json").stdout)

    second = controller(env, errors)
    seen = threading.Thread(target=second.stdout.read)
    seen.start()
    try:
        status = obs("status", "--env", env, "--timeout", "60s", "-o", "json")
    finally:
        second.terminate()
        seen.join()
    history = obs("history", "--env", env)

    assert middle["phase"] in ("Progressing", "Pending")
    assert middle["controller"] is None
    assert (status.exit_code, json.loads(status.stdout)["phase"]) == (code, phase)
    assert second.wait() == 0
    assert not list((env.parent / "discovery").glob(f"*{second.pid}.json"))
    assert "evidence 10^" in history.stdout
    applied = [weights.get("v2", 0) for _, weights in json.loads((env.parent / "target.json").read_text())]
    assert applied == ([0, 20, 0] if errors else [0, 20, 50, 100])


def test_a_user_without_a_name_as_in_a_container_can_steer_a_rollout(env, monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr(shared.getpass, "getuser", nameless)
    obs("start", "--env", env, "-f", env.parent / "rollout.yaml")
    obs("abort", "--env", env, "--reason", "wrong package")

    (asked,) = wiring.rollout_store(wiring.load_environment(env)).load(SERVICE).requests
    assert asked.actor == f"uid {os.getuid()}"


def test_a_second_controller_says_that_it_stands_by(env, capsys):
    store = wiring.rollout_store(wiring.load_environment(env))
    store.lease("elsewhere/1/2", time.time(), 60.0)
    stop, looks = [], []

    class StandingBy:
        def step(self):
            looks.append(1)
            if len(looks) == 3:
                stop.append(signal.SIGTERM)

    controller_command.run(StandingBy(), store, 0.1, stop, "here/3/4", shared.Output.text)

    assert capsys.readouterr().err == "obs: another controller is at work (elsewhere/1/2); this one stands by\n"


def test_a_misspelt_key_of_the_environment_is_named_with_the_nearest_known_one(env):
    env.write_text(ENV.replace("metrics:", "metrcs:"))

    with pytest.raises(UsageError, match=r"unknown key metrcs; did you mean metrics\?.*OBS-ENV-003"):
        obs("status", "--env", env)
    env.write_text(ENV.replace("namespace", "namspace"))
    with pytest.raises(UsageError, match=r"unknown key target\.kserve\.namspace; did you mean namespace\?"):
        obs("status", "--env", env)


def test_a_second_ctrl_c_does_not_wait_for_a_slow_deploy(env, monkeypatch):
    from mlops_obs.adapters import telemetry
    from mlops_obs.testing.targets import FakeTarget

    loading = threading.Event()

    class Slow(FakeTarget):
        def deploy(self, revision, package):
            os.kill(os.getpid(), signal.SIGTERM)  # two of one kind that wait are delivered as one
            os.kill(os.getpid(), signal.SIGINT)
            loading.wait(60)
            self.calls.append("went on")

    env.write_text(ENV.replace("discovery: discovery\n", ""))
    target = Slow({"v1": 100})
    monkeypatch.setattr(wiring, "traffic_target", lambda _: target)
    monkeypatch.setattr(telemetry, "register_collector", lambda *_: None)
    obs("start", "--env", env, "-f", env.parent / "rollout.yaml")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(KeyboardInterrupt):
            controller_command.controller(env=env, interval=0.1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert "went on" not in target.calls
    loading.set()
    assert wiring.rollout_store(wiring.load_environment(env)).controller(time.time()) is None
