"""The page as the on-call engineer reads it at three in the morning: what burns, how fast, who did what, where to look.

It is made from an Alertmanager v4 webhook payload, which comes over the network: anything in it may be missing, of
another type, or hold control characters. A page that fails to render is a page that nobody reads, so nothing here raises.
"""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime

from mlops_obs.metric_names import REVISION, SERVICE, SEVERITY, SLO, TEAM, TEST, TIER

WIDTH, MAX_LINES = 80, 25
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_GO_DURATION = re.compile(r"^(?:(\d+)d )?(?:(\d+)h )?(?:(\d+)m )?(\d+)s$")


def render_page(payload: Mapping[str, object]) -> str:
    """Return the page for `payload` as plain text: at most 25 lines of 80 columns, only URLs may be longer."""
    alerts = _alerts(payload)
    if not alerts:
        return "An alert notification without alerts arrived; look at Alertmanager.\n"
    lead, *others = alerts
    labels, texts = _mapping(lead, "labels"), _mapping(lead, "annotations")
    resolved = _text(payload.get("status")) == "resolved"
    kind = "RESOLVED" if resolved else "TICKET" if labels.get(SEVERITY) == "ticket" else "PAGE"
    if labels.get(TEST):
        kind += " (test, no action needed)"
    lines = _wrapped("", f"{kind}: {texts.get('summary') or labels.get('alertname') or 'an alert'}", 3)
    lines += [_since(lead, resolved), ""]
    burn, left = texts.get("burn_rate", ""), texts.get("budget_left", "unknown")
    if texts.get("description"):
        lines += _wrapped("What", texts["description"], 4)
    if burn and burn != "no budget":
        lines += _wrapped("Burn", f"{burn} times the sustainable rate" if burn != "unknown" else "unknown", 2)
        gone = _tidy(texts.get("time_to_exhaustion", "unknown"))
        # The rules say `nothing burns now` where there is no rate to divide by.
        rate = f"; gone in {gone} at this rate" if gone[:1].isdigit() else "" if gone in ("unknown", "exhausted") else f"; {gone}"
        lines += _wrapped("Budget", left if left in ("exhausted", "unknown") else f"{left} left{rate}", 2)
    lines += _wrapped("Revision", texts.get("revision") or labels.get(REVISION) or "all", 1)
    lines += _wrapped("Done", texts.get("action_taken") or "none yet", 2)
    if others:
        lines += _wrapped("Also", "; ".join(_brief(other) for other in others), 3)
    lines += ["", f"Runbook    {texts.get('runbook_url') or 'none'}", f"Dashboard  {texts.get('dashboard_url') or 'none'}"]
    return "\n".join(lines[:MAX_LINES]) + "\n"


def incident_key(payload: Mapping[str, object]) -> str:
    """Return what identifies the incident: the same for every notification of one group, as PagerDuty's dedup key is."""
    identity = payload.get("groupKey") or payload.get("groupLabels") or [_mapping(alert, "labels") for alert in _alerts(payload)]
    text = identity if isinstance(identity, str) else json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def is_page(payload: Mapping[str, object]) -> bool:
    """Say whether `payload` wakes somebody: it has an alert of severity `page`, a test excepted."""
    found = [_mapping(alert, "labels") for alert in _alerts(payload)]
    return any(labels.get(SEVERITY) == "page" and not labels.get(TEST) for labels in found)


def make_test_alert(service: str, team: str, severity: str = "page", mark: str = "") -> tuple[dict[str, str], dict[str, str]]:
    """Return labels and annotations of a test page (or ticket).

    Its own `service` label keeps it out of real incidents; `mark` makes it a new incident, so that a second test within the
    repeat interval is told as well.
    """
    labels = {
        "alertname": "TestPage",
        SERVICE: f"{service} (test{f' {mark}' if mark else ''})",
        SLO: f"test-{severity}",  # of its own: a page silences the tickets of its SLO
        TEAM: team,
        SEVERITY: severity,
        TIER: f"{severity}-quick",
        TEST: "true",
    }
    annotations = {
        "summary": f"{service}: this {severity} proves that {severity}s for team {team} arrive",
        "description": "Sent by obs page test. It ends by itself.",
        "action_taken": "nothing is wrong, so nothing was done",
    }
    return labels, annotations


def make_test_payload(labels: Mapping[str, str], annotations: Mapping[str, str], at: str) -> dict[str, object]:
    """Return the Alertmanager v4 payload of one firing alert that started `at` (ISO 8601)."""
    group = {SERVICE: labels.get(SERVICE, "")}
    alert = {"status": "firing", "labels": dict(labels), "annotations": dict(annotations), "startsAt": at, "endsAt": "0001-01-01T00:00:00Z"}
    return {
        "version": "4",
        "groupKey": "{}/{" + f'{TEST}="true"' + "}:{" + f'{SERVICE}="{group[SERVICE]}"' + "}",
        "status": "firing",
        "receiver": "test",
        "groupLabels": group,
        "commonLabels": dict(labels),
        "commonAnnotations": dict(annotations),
        "externalURL": "",
        "alerts": [alert],
    }


def _alerts(payload: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the alerts, the one that says most first: firing, page, quick, of one revision, fastest burn."""
    found = payload.get("alerts")
    alerts = [alert for alert in found if isinstance(alert, Mapping)] if isinstance(found, list) else []

    def order(alert: Mapping[str, object]) -> tuple[object, ...]:
        labels = _mapping(alert, "labels")
        try:
            burn = float(_mapping(alert, "annotations").get("burn_rate", ""))
        except ValueError:
            burn = 0.0
        return (
            _text(alert.get("status")) == "resolved",
            labels.get(SEVERITY) != "page",
            not labels.get(TIER, "").endswith("-quick"),
            not labels.get(REVISION),
            -burn if burn == burn else 0.0,
            sorted(labels.items()),
        )

    return sorted(alerts, key=order)


def _mapping(alert: Mapping[str, object], key: str) -> dict[str, str]:
    found = alert.get(key)
    return {_text(name): _text(value) for name, value in found.items()} if isinstance(found, Mapping) else {}


def _text(value: object) -> str:
    return "" if value is None else _CONTROL.sub(" ", str(value)).strip()


def _brief(alert: Mapping[str, object]) -> str:
    labels, burn = _mapping(alert, "labels"), _mapping(alert, "annotations").get("burn_rate", "")
    what = labels.get(SLO) or labels.get("alertname") or labels.get(SERVICE) or "another alert"
    of = f" {labels[REVISION]}" if labels.get(REVISION) else ""
    fast = f" burns {burn}x" if re.fullmatch(r"[\d.]+", burn) else f" {labels.get('alertname', '')}".rstrip()
    over = " (over)" if _text(alert.get("status")) == "resolved" else ""
    return f"{what}{of}{fast}{over}"


def _since(alert: Mapping[str, object], resolved: bool) -> str:
    start, end = (_clock(_text(alert.get(key))) for key in ("startsAt", "endsAt"))
    return f"Fired from {start} to {end}" if resolved else f"Firing since {start}"


def _clock(text: str) -> str:
    try:
        # Alertmanager writes nanoseconds, datetime reads microseconds.
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError):
        return "an unknown time"


def _tidy(text: str) -> str:
    """Shorten Prometheus' `4d 18h 23m 11s` to two units."""
    match = _GO_DURATION.match(text)
    if not match:
        return text
    parts = [f"{int(count)} {unit}" for count, unit in zip(match.groups(), ("d", "h", "min", "s"), strict=True) if count and int(count)]
    return " ".join(parts[:2]) or "0 s"


def _wrapped(title: str, text: str, lines: int) -> list[str]:
    head = f"{title:<11}" if title else ""
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), max_lines=lines, placeholder=" ...") or [
        head.rstrip()
    ]
