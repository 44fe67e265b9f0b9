"""What is known of a service before a rollout begins: its traffic as measured, its SLOs, and what its platform cannot do.

Every part may be missing, for the commands that ask are run before anything works; what could not be asked is said in `notes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_obs.cli import wiring
from mlops_obs.errors import ObsError
from mlops_obs.metric_names import OUTCOME, OUTCOME_ERROR, REQUEST_DURATION, REQUESTS, REVISION, SERVICE, STAGE
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.gates import GateWatch
from mlops_obs.rollout.spec.lint import BASE_RATIO, Setting
from mlops_obs.rollout.spec.rollout import Rollout

if TYPE_CHECKING:
    from mlops_obs.rollout.ports import TrafficTarget
    from mlops_obs.slo.counters import CounterSource
    from mlops_obs.slo.spec import SLO

_WINDOW = 600.0  # seconds of past traffic that are counted
_ENOUGH = 20  # errors from which on their share is known


@dataclass(frozen=True)
class Traffic:
    """Requests per second of the service, the share of bad ones by test; how many were counted, and seconds between samples.

    Without `scrape` nothing was measured: the rate is declared, the shares are assumed.
    """

    rps: float
    bad: dict[str, float]
    counted: float = 0.0
    scrape: float | None = None
    revision: str = ""  # that answers most of them

    @property
    def measured(self) -> bool:
        """Whether the numbers were counted."""
        return self.scrape is not None


@dataclass
class Surroundings:
    """What could be found out, and in words what could not."""

    traffic: Traffic | None = None
    target: TrafficTarget | None = None
    slos: list[SLO] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def setting(self) -> Setting:
        """Return what `lint` wants to know."""
        seen = self.traffic if self.traffic and self.traffic.measured else None
        tells = self.target if hasattr(self.target, "limits") and hasattr(self.target, "keeps_the_way_back") else None
        return Setting(
            requests=seen.rps if seen else None,
            scrape=seen.scrape if seen else None,
            # Of a few errors in ten minutes no ratio can be told; what a healthy service has is the better guess then.
            base_ratio=seen.bad["errors"] if seen and seen.bad["errors"] * seen.counted >= _ENOUGH else None,
            target=tells,  # type: ignore[arg-type]  # it has just been looked at
            slos=self.slos,
            silent=self.silent,
        )


def surroundings(environment: wiring.Environment | None, spec: Rollout, now: float) -> Surroundings:
    """Ask the metrics and build the adapter of the target; nothing is asked of the platform yet."""
    found = Surroundings()
    if environment is not None:
        try:
            found.traffic = measured(wiring.counter_source(environment), spec, now)
        except (ObsError, OSError, ValueError) as error:
            found.notes.append(f"the traffic cannot be measured: {error}")
        if environment.slos:
            from mlops_obs.adapters.files import load_slos

            found.slos = load_slos(*environment.slos)
        if found.traffic is not None and spec.gates:
            found.silent = silent_gates(wiring.counter_source(environment), spec, found.slos, found.traffic.revision, now)
    if found.traffic is None and spec.requests_per_second:
        found.traffic = Traffic(spec.requests_per_second, {"errors": BASE_RATIO, "slow": BASE_RATIO})
    try:
        if spec.target is not None:
            found.target = wiring.target_of(spec.target, spec.service)
        elif environment is not None:
            found.target = wiring.traffic_target(environment)
    except Exception as error:  # noqa: BLE001 - an adapter's library may be missing here; everything else can still be told
        found.notes.append(f"the target cannot be asked: {error}")
    return found


def silent_gates(source: CounterSource, spec: Rollout, slos: Sequence[SLO], revision: str, now: float) -> dict[str, str]:
    """Return the gates that have no data of the revision that serves now, and why: they would have none of the next one either."""
    arms = Arms(revision, revision, stable_live=True, canary_since=now - _WINDOW)
    readings = GateWatch(spec, source, slos).look(arms, now - _WINDOW, now - _WINDOW, now)
    return {one.name: one.words for one in readings if one.ok is None and one.value_canary is None}


def measured(source: CounterSource, spec: Rollout, now: float) -> Traffic | None:
    """Count the last ten minutes of the service at the judged stage; None if there was no request."""
    from mlops_obs.slo.counters import sum_increase

    where = {SERVICE: spec.service, STAGE: spec.stage}
    start = now - _WINDOW
    requests = source.series(REQUESTS.name, where, start, now)
    times = sorted({at for one in requests for at, _ in one.samples})
    total = sum_increase(requests, start, now)
    if len(times) < 2 or total <= 0:
        return None
    bad = {"errors": sum_increase([one for one in requests if one.labels.get(OUTCOME) == OUTCOME_ERROR], start, now) / total}
    timed = sum_increase(source.series(f"{REQUEST_DURATION.name}_count", where, start, now), start, now)
    bound = {**where, "le": repr(float(spec.latency_threshold))}
    fast = sum_increase(source.series(f"{REQUEST_DURATION.name}_bucket", bound, start, now), start, now)
    if timed > 0:
        bad["slow"] = max(0.0, timed - fast) / timed
    revisions = sorted({one.labels.get(REVISION, "") for one in requests})
    own = max(([at for at, _ in one.samples] for one in requests), key=len)
    scrape = (own[-1] - own[0]) / max(len(own) - 1, 1)
    # Half an event more, or a service without any error so far would be one in which no error can ever be seen.
    by_revision = {one: sum_increase([row for row in requests if row.labels.get(REVISION) == one], start, now) for one in revisions}
    shares = {name: max(share, 0.5 / total) for name, share in bad.items()}
    return Traffic(total / (times[-1] - times[0]), shares, total, round(scrape, 3), max(by_revision, key=lambda one: by_revision[one]))
