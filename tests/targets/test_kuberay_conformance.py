"""KubeRay's incremental upgrades keep every promise of a traffic target that they can, against a real API server."""

from __future__ import annotations

import pytest
from rigs import KubeRayRig

from mlops_obs.testing.conformance import TargetConformance

pytestmark = pytest.mark.stack


class TestKubeRay(TargetConformance):
    # Its status is read back from the route.
    test_weights_that_are_only_echoed_are_not_believed = None

    @pytest.fixture
    def rig(self, cluster):
        rig = KubeRayRig(cluster)
        yield rig
        rig.close()
