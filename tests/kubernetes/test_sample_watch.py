"""A rollout is looked at when its next slice is complete, by one question for all of them; and still without an answer."""

import shutil
import subprocess

import pytest
import yaml

from mlops_obs.adapters.kubernetes.sample_watch import QUERY, SampleWatch
from mlops_obs.errors import TelemetryUnavailable

KEY = ("models", "credit-risk")


class World:
    def __init__(self):
        self.newest, self.poked, self.asked, self.away = {}, [], 0, False
        self.watch = SampleWatch(self.ask, self.poked.append)

    def ask(self):
        self.asked += 1
        if self.away:
            raise TelemetryUnavailable("OBS-PROM-002", "away")
        return self.newest

    def at(self, **newest):
        self.newest = {name.replace("_", "-"): at for name, at in newest.items()}
        self.poked.clear()
        self.watch.step()
        return list(self.poked)


@pytest.fixture
def world():
    return World()


def test_a_rollout_is_looked_at_once_for_each_slice_that_is_complete(world):
    world.watch.follow(KEY, "credit-risk", 100.0, 2.0)

    assert [world.at(credit_risk=at) for at in (101.9, 102.0, 103.5, 104.1, 109.0)] == [[KEY], [KEY], [], [KEY], [KEY]]


def test_following_again_with_every_look_pokes_nobody_twice(world):
    world.watch.follow(KEY, "credit-risk", 100.0, 2.0)
    world.at(credit_risk=103.0)
    world.watch.follow(KEY, "credit-risk", 100.0, 2.0)

    assert world.at(credit_risk=103.0) == []


def test_a_service_that_has_no_fresh_samples_is_left_to_its_pause(world):
    world.watch.follow(KEY, "credit-risk", 100.0, 2.0)

    assert world.at(fraud=200.0) == []
    assert world.watch.works


def test_nobody_is_asked_while_no_rollout_runs(world):
    world.watch.step()
    world.watch.follow(KEY, "credit-risk", 100.0, 2.0)
    world.watch.forget(KEY)
    world.watch.step()

    assert world.asked == 0


def test_an_outage_is_noted_so_that_looks_go_on_at_intervals(world):
    world.watch.follow(KEY, "credit-risk", 100.0, 2.0)
    world.away = True
    during = world.at(credit_risk=110.0), world.watch.works
    world.away = False

    assert during == ([], False)
    assert world.at(credit_risk=110.0) == [KEY]


def test_the_question_is_one_that_prometheus_parses():
    import promql_parser

    promql_parser.parse(QUERY)
    assert "by (service)" in QUERY


def test_a_real_prometheus_answers_with_the_time_up_to_which_all_living_processes_were_scraped(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing")
    document = {
        "evaluation_interval": "10s",
        "tests": [
            {
                "interval": "10s",
                "input_series": [
                    {"series": 'mlops_obs_requests_total{service="a",instance="1"}', "values": "1x12"},
                    {"series": 'mlops_obs_requests_total{service="a",instance="2"}', "values": "1x11 stale"},
                    {"series": 'mlops_obs_requests_total{service="a",instance="gone"}', "values": "1x2 _x10"},
                    {"series": 'mlops_obs_requests_total{service="b",instance="1"}', "values": "1x10 _ _"},
                ],
                "promql_expr_test": [
                    {
                        "expr": QUERY,
                        "eval_time": "119s",
                        "exp_samples": [{"labels": '{service="a"}', "value": 110}, {"labels": '{service="b"}', "value": 100}],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))

    done = subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
