"""Gates in whole rollouts: what counts condemns, what has a threshold holds, what has no data holds and says why."""

from __future__ import annotations

from simulated_world import SERVICE, World

from mlops_obs.metric_names import DRIFT_PSI, DRIFT_WINDOWS
from mlops_obs.slo.spec import SLO

AVAILABILITY = SLO.model_validate(
    {"service": SERVICE, "team": "risk", "name": "availability", "objective": "0.99", "indicator": {"type": "availability"}}
)


class Scored(World):
    """A world in which a drift job scores both revisions every second, and a model may refuse to answer."""

    psi = {"v1": 0.05, "v2": 0.05}
    refuses = {"v1": 0.02, "v2": 0.02}
    job_runs = True

    def pass_second(self) -> None:
        for revision, psi in self.psi.items():
            labels = {"service": SERVICE, "revision": revision}
            here = self.counters._values.get((DRIFT_PSI.name, tuple(sorted({**labels, "feature": "income"}.items()))), 0.0)
            if self.job_runs:
                self.counters.add(DRIFT_PSI.name, {**labels, "feature": "income"}, psi - here)
                self.counters.add(DRIFT_WINDOWS.name, {**labels, "verdict": "stable"}, 1.0)
            count = int(self.random.poisson(20))
            self.counters.add("answers_total", {**labels, "verdict": "refused"}, int(self.random.binomial(count, self.refuses[revision])))
            self.counters.add("answers_total", {**labels, "verdict": "given"}, count)
        super().pass_second()


def run(folder, gate, seconds=240, slos=(), **changes):
    world = Scored(folder, spec={"gates": [{"name": "mine", **gate}], "warm_up": "0s"}, slos=slos)
    for name, value in changes.items():
        setattr(world, name, value)
    world.start()
    return world.run(seconds), world


DRIFT = {"type": "drift", "max_psi": 0.2, "for": "10s"}


def test_a_canary_whose_inputs_drift_alone_goes_no_further_and_is_not_rolled_back(tmp_path):
    state, world = run(tmp_path, DRIFT, 60, psi={"v1": 0.1, "v2": 0.6})

    assert (state.phase, world.share) == ("Holding", 20)
    assert "gate mine: income of v2 is at PSI 0.600 against 0.100 of v1, more than 0.2 above for 10 s" in state.reason


def test_without_the_drift_job_a_rollout_holds_and_says_so(tmp_path):
    state, world = run(tmp_path, DRIFT, 60, job_runs=False)

    assert (state.phase, world.share) == ("Holding", 20)
    assert "no window of v2 has been scored since the step began" in state.reason


def test_drift_that_both_revisions_share_is_no_reason_to_hold(tmp_path):
    state, _ = run(tmp_path, DRIFT, psi={"v1": 0.6, "v2": 0.6})

    assert state.phase == "Promoted"


COUNTERS = {"type": "counters", "bad": 'answers_total{verdict="refused"}', "total": "answers_total", "margin": 0.2}


def test_counters_of_ones_own_condemn_a_canary_that_answers_every_request(tmp_path):
    state, world = run(tmp_path, COUNTERS, refuses={"v1": 0.02, "v2": 0.7})

    assert (state.phase, world.share) == ("RolledBack", 0)
    assert "v2" in state.why


def test_a_gate_in_a_dry_run_condemns_nobody(tmp_path):
    state, _ = run(tmp_path, {**COUNTERS, "dry_run": True}, refuses={"v1": 0.02, "v2": 0.7})

    assert state.phase == "Promoted"


def test_a_gate_on_an_slo_that_is_not_there_holds_and_names_it(tmp_path):
    state, world = run(tmp_path, {"type": "slo", "slo": "latency"}, 40, slos=[AVAILABILITY])

    assert (state.phase, world.share) == ("Holding", 20)
    assert "the service has no SLO latency; known: availability" in state.reason


def test_a_query_holds_where_nothing_answers_promql(tmp_path):
    state, _ = run(tmp_path, {"type": "promql", "query": 'x{r="{{revision}}"}', "max": 1.0}, 40)

    assert state.phase == "Holding"
    assert "answers no PromQL" in state.reason
