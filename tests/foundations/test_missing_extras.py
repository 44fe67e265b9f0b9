"""The base install carries no vendor: what needs one says which extra brings it, in one line with a code."""

from __future__ import annotations

import sys

import pytest

from mlops_obs.adapters.grafana import Grafana
from mlops_obs.adapters.kserve import KServeTarget
from mlops_obs.errors import ObsError


@pytest.mark.parametrize(
    ("modules", "use", "extra"),
    [
        (["kubernetes", "kubernetes.client.exceptions"], lambda: KServeTarget("models", "credit-risk").weights(), "k8s"),
        (["grafana_client"], lambda: Grafana("http://127.0.0.1:9", "token"), "grafana"),
    ],
    ids=["kserve", "grafana"],
)
def test_a_missing_library_names_the_extra_that_brings_it(monkeypatch, modules, use, extra):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)  # an import of it now fails

    with pytest.raises(ObsError, match=rf"pip install 'mlops-obs\[{extra}\]'.*\[OBS-") as caught:
        use()

    assert len(str(caught.value).splitlines()) == 1
