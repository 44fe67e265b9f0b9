"""Those who are told of a rollout: on-call by Alertmanager, dashboards by annotations, anybody else by a webhook.

All of them keep the port's promise: the same notice again is no second message. Nobody here delays a rollout: a receiver that
does not answer is left alone for a while (`Patient`), and the controller keeps the notice until it was taken.
"""

from mlops_obs.adapters.notify.alertmanager import AlertmanagerNotifier, PagerNotifier, Sender
from mlops_obs.adapters.notify.all_of import AllOf, Patient
from mlops_obs.adapters.notify.annotations import GrafanaAnnotations
from mlops_obs.adapters.notify.webhook import WebhookNotifier

__all__ = ["AlertmanagerNotifier", "AllOf", "GrafanaAnnotations", "PagerNotifier", "Patient", "Sender", "WebhookNotifier"]
