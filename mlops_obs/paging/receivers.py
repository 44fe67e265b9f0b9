"""What each vendor is sent, as sections of Alertmanager's configuration.

The texts are Alertmanager templates, filled when a notification goes out. The traps: the first alert of a group is any of them, also
one that is over, so the headline is about one that fires and counts the others, and every alert is written out; a label or annotation
that is missing prints as an empty string, and vendors refuse a page without a headline; `index` into an empty list drops the whole
notification. Budget left and time to exhaustion come from the alert, which has computed
them from the remaining budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlops_obs.paging.routing import Opsgenie, PagerDuty, Receiver, Routing, Slack, Webhook

Section = dict[str, object]
_TOLD = "(or .Alerts.Firing .Alerts)"
_FIRST = f"(index {_TOLD} 0)"
_MORE = f"{{{{ if gt (len {_TOLD}) 1 }}}} (and {{{{ len (slice {_TOLD} 1) }}}} more){{{{ end }}}}"
_OVER = '{{ if eq .Status "resolved" }}Over: {{ end }}'
HEADLINE = f'{_OVER}{{{{ or {_FIRST}.Annotations.summary {_FIRST}.Labels.alertname "an alert without a name" }}}}{_MORE}'
_BUDGET = (
    '{{ with .Annotations.budget_left }}{{ if ne . "no budget" }}Budget left: {{ . }}.{{ end }}{{ end }}'
    '{{ with .Annotations.time_to_exhaustion }}{{ if match "^[0-9]" . }} Gone in {{ . }} at this rate.{{ end }}{{ end }}'
)
_COLOUR = f'good{{{{ else if eq {_FIRST}.Labels.severity "page" }}}}danger{{{{ else }}}}warning{{{{ end }}}}'
BODY = (
    f'{{{{ range .Alerts }}}}{_OVER}{{{{ or .Annotations.summary .Labels.alertname "an alert without a name" }}}}\n'
    "{{ with .Annotations.description }}{{ . }}\n{{ end }}"
    f"{_BUDGET}\n"
    "{{ with .Annotations.action_taken }}Done so far: {{ . }}.\n{{ end }}"
    "{{ with .Annotations.runbook_url }}Runbook: {{ . }}\n{{ end }}"
    "{{ with .Annotations.dashboard_url }}Dashboard: {{ . }}\n{{ end }}\n"
    "{{ end }}"
)
_DETAILS = ("burn_rate", "error_ratio", "budget_left", "time_to_exhaustion", "revision", "action_taken", "runbook_url", "dashboard_url")


def sections(routing: Routing, names: Sequence[str], *, severity: str) -> dict[str, list[Section]]:
    """Return the `*_configs` of the receiver that tells all of `names`, in a fixed order."""
    found: dict[str, list[Section]] = {}
    for name in sorted(set(names)):
        for key, section in _of(routing.receivers[name], severity):
            found.setdefault(key, []).append(section)
    return found


def _of(receiver: Receiver, severity: str) -> list[tuple[str, Section]]:
    found: list[tuple[str, Section]] = []
    if receiver.webhook:
        found.append(("webhook_configs", _webhook(receiver.webhook)))
    if receiver.pagerduty:
        found.append(("pagerduty_configs", _pagerduty(receiver.pagerduty, severity)))
    if receiver.slack:
        found.append(("slack_configs", _slack(receiver.slack)))
    if receiver.opsgenie:
        found.append(("opsgenie_configs", _opsgenie(receiver.opsgenie, severity)))
    return found


def _webhook(one: Webhook) -> Section:
    section: Section = {"url": one.url, "send_resolved": True}
    if one.credentials_file:
        section["http_config"] = {"authorization": {"type": "Bearer", "credentials_file": one.credentials_file}}
    return section


def _pagerduty(one: PagerDuty, severity: str) -> Section:
    section: Section = {"routing_key_file": one.routing_key_file}
    if one.url:
        section["url"] = one.url
    return section | {
        "severity": "critical" if severity == "page" else "warning",
        "description": HEADLINE,
        "client": "mlops-obs",
        "client_url": f"{{{{ {_FIRST}.Annotations.dashboard_url }}}}",
        "class": f"{{{{ {_FIRST}.Labels.alertname }}}}",
        "group": "{{ .GroupLabels.service }}",
        "details": _details(),
        "links": [{"href": f"{{{{ {_FIRST}.Annotations.runbook_url }}}}", "text": "Runbook"}],
    }


def _slack(one: Slack) -> Section:
    return {
        "api_url_file": one.api_url_file,
        "channel": one.channel,
        "send_resolved": True,
        "color": '{{ if eq .Status "resolved" }}' + _COLOUR,
        "title": HEADLINE,
        "title_link": f"{{{{ {_FIRST}.Annotations.runbook_url }}}}",
        "text": BODY,
        "fallback": HEADLINE,
    }


def _opsgenie(one: Opsgenie, severity: str) -> Section:
    section: Section = {"api_key_file": one.api_key_file}
    if one.url:
        section["api_url"] = one.url
    if one.team:
        section["responders"] = [{"name": one.team, "type": "team"}]
    return section | {
        "message": HEADLINE,
        "description": BODY,
        "priority": "P1" if severity == "page" else "P3",
        "source": "mlops-obs",
        "entity": "{{ .GroupLabels.service }}",
        "details": _details(),
    }


def _details() -> Mapping[str, str]:
    return {key: f"{{{{ {_FIRST}.Annotations.{key} }}}}" for key in _DETAILS}
