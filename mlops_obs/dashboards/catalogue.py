"""The list of dashboards. A dashboard is data (see `panels.py`); adding one means adding it here and rendering."""

from __future__ import annotations

from mlops_obs.dashboards.drift_board import DRIFT
from mlops_obs.dashboards.features_board import FEATURES
from mlops_obs.dashboards.panels import Dashboard
from mlops_obs.dashboards.rollout_board import ROLLOUT
from mlops_obs.dashboards.service_board import SERVICE_OVERVIEW
from mlops_obs.dashboards.slo_board import SLO_BOARD
from mlops_obs.dashboards.training_board import GPU_TRAINING
from mlops_obs.errors import UsageError

DASHBOARDS: tuple[Dashboard, ...] = (SERVICE_OVERVIEW, SLO_BOARD, ROLLOUT, DRIFT, GPU_TRAINING, FEATURES)


def dashboard(uid: str) -> Dashboard:
    """Return the dashboard with this uid.

    Raises:
        UsageError: OBS-DASH-001 if there is none.
    """
    for one in DASHBOARDS:
        if one.uid == uid:
            return one
    raise UsageError("OBS-DASH-001", f"no dashboard {uid!r}", todo=f"choose one of {', '.join(one.uid for one in DASHBOARDS)}")
