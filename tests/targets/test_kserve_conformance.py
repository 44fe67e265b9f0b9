"""KServe's two modes keep every promise of a traffic target, against a real API server."""

from __future__ import annotations

import pytest
from rigs import KServeRig, LLMRig, serve_knative_revisions

from mlops_obs.adapters.kubernetes.api import KubernetesApi
from mlops_obs.testing.conformance import TargetConformance

pytestmark = pytest.mark.stack


class TestKServeKnative(TargetConformance):
    # Its status is Knative's route.
    test_weights_that_are_only_echoed_are_not_believed = None

    @pytest.fixture
    def rig(self, cluster):
        serve_knative_revisions(KubernetesApi(cluster))
        rig = KServeRig(cluster, "Knative")
        yield rig
        rig.close()


class TestKServeStandard(TargetConformance):
    @pytest.fixture
    def rig(self, cluster):
        rig = KServeRig(cluster, "Standard")
        yield rig
        rig.close()


class TestKServeLLM(TargetConformance):
    @pytest.fixture
    def rig(self, cluster):
        rig = LLMRig(cluster)
        yield rig
        rig.close()
