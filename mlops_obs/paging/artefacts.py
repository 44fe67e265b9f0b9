"""The files about pages that `obs slo render` writes: Alertmanager's configuration, and the tests that prove its routes."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_obs.paging.alertmanager import render_routing
from mlops_obs.paging.case_file import render_cases
from mlops_obs.paging.inhibition_cases import inhibition_cases
from mlops_obs.paging.route_cases import Case, route_cases
from mlops_obs.paging.routing import Routing
from mlops_obs.slo import spec

CONFIG, TESTS = "alertmanager.yaml", "tests/paging/routes.yaml"


def paging_files(slos: Sequence[spec.SLO], routing: Routing, *, generated: str = "generated") -> dict[str, str]:
    """Return text by path, relative to the folder above `generated` (the name of the folder of generated rules).

    The tests have a folder of their own because people run `promtool test rules slo/tests/*.yaml`, which would refuse them.

    Raises:
        SpecError: OBS-SLO-027 if upstream relations go in a circle.
    """
    return {
        f"{generated}/{CONFIG}": render_routing(slos, routing),
        TESTS: render_cases(cases_of(slos, routing), f"../../{generated}/{CONFIG}"),
    }


def cases_of(slos: Sequence[spec.SLO], routing: Routing) -> list[Case]:
    """Return every route and inhibition test for `slos` with the teams and the grouping of `routing`."""
    found = [*route_cases(slos, sorted(routing.teams), routing.grouping), *inhibition_cases(slos)]
    return list({case.name: case for case in found}.values())
