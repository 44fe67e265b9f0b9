"""What people write in `slo/paging/routing.yaml`: which receivers exist, and which of them each team is told by.

The trap is the secret: routing is committed, so keys and secret URLs stand in files on Alertmanager's machine and only the path of
the file stands here. A key that is written out is refused, also inside a URL. The other trap is the alert that nobody owns:
`default` is required, so that an alert of an unknown team is delivered and not dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mlops_obs.durations import parse_duration
from mlops_obs.errors import ObsError, SpecError, UsageError
from mlops_obs.metric_names import SERVICE, SLO, TEAM
from mlops_obs.slo.spec_errors import SpecErrors

Locate = Callable[[tuple[int | str, ...]], str]
GROUP_LABELS = (SERVICE, SLO, TEAM, "alertname", "revision")
SEVERITIES = ("page", "ticket")
_NAME = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_SECRETS = {"routing_key", "service_key", "api_key", "password", "token", "credentials", "bearer_token", "basic_auth"}


def _mistake(what: str, todo: str, code: str = "OBS-PAGE-006") -> PydanticCustomError:
    return PydanticCustomError(code, "{what}", {"what": what, "todo": todo})


def _web_address(value: str) -> str:
    if not re.match(r"https?://[^\s/?#]+", value) or re.search(r"[\s\x00-\x1f]", value):
        raise _mistake(f"{value!r} is not an http(s) URL", "write for example https://alerts.example/hook", "OBS-PAGE-001")
    if "@" in value.split("//", 1)[1].split("/", 1)[0]:
        raise _mistake("the URL holds a password", "put it into a file and write credentials_file: PATH", "OBS-PAGE-007")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Webhook(_Strict):
    """Alertmanager v4 JSON to `url`; `credentials_file` holds a bearer token."""

    url: str
    credentials_file: str | None = None

    _url = field_validator("url")(_web_address)


class PagerDuty(_Strict):
    """Events API v2. `url` is for the EU region: https://events.eu.pagerduty.com/v2/enqueue."""

    routing_key_file: str
    url: str | None = None

    @field_validator("url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return None if value is None else _web_address(value)


class Slack(_Strict):
    """A channel; `api_url_file` holds the incoming-webhook URL, which is a secret."""

    api_url_file: str
    channel: str

    @field_validator("channel")
    @classmethod
    def _channel(cls, value: str) -> str:
        if not re.match(r"^[#@][^\s]+$|^[A-Z0-9]{6,}$", value):
            raise _mistake(f"{value!r} is not a Slack channel", 'write for example channel: "#on-call" (with quotes)')
        return value


class Opsgenie(_Strict):
    """The alert API. `url` is for the EU region: https://api.eu.opsgenie.com/. `team` is the responder there."""

    api_key_file: str
    url: str | None = None
    team: str | None = None

    @field_validator("url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return None if value is None else _web_address(value)


class Receiver(_Strict):
    """Where one notification goes; several kinds in one receiver are all told."""

    webhook: Webhook | None = None
    pagerduty: PagerDuty | None = None
    slack: Slack | None = None
    opsgenie: Opsgenie | None = None

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Receiver:
        if not any((self.webhook, self.pagerduty, self.slack, self.opsgenie)):
            raise _mistake("the receiver goes nowhere", f"write one of {', '.join(type(self).model_fields)} under it")
        return self


class Told(_Strict):
    """Names of receivers by severity. Whoever is paged and has no `ticket` of its own gets tickets by the default."""

    page: tuple[str, ...] = ()
    ticket: tuple[str, ...] = ()


class Delays(_Strict):
    """How long a notification waits, as Prometheus durations.

    `downstream_group_wait` is for pages of services that have something upstream: rules are evaluated at different moments, so
    the cause may fire half a minute after its effect, and only what still waits can be silenced.
    """

    group_wait: str = "10s"
    downstream_group_wait: str = "1m"
    ticket_group_wait: str = "5m"
    group_interval: str = "1m"
    repeat_interval: str = "4h"

    @field_validator("*")
    @classmethod
    def _duration(cls, value: str) -> str:
        try:
            parse_duration(value)
        except SpecError as error:
            raise _mistake(error.what, error.todo, error.code) from None
        return value


class Routing(_Strict):
    """Who is told of what, and how alerts become one notification."""

    receivers: dict[str, Receiver]
    default: Told
    teams: dict[str, Told] = Field(default_factory=dict)
    grouping: tuple[str, ...] = (SERVICE,)
    delays: Delays = Delays()

    @field_validator("grouping")
    @classmethod
    def _known_labels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for label in value:
            if label not in GROUP_LABELS:
                raise _mistake(f"alerts cannot be grouped by {label!r}", f"known: {', '.join(GROUP_LABELS)}")
        return value

    def told(self, team: str, severity: str) -> tuple[str, ...]:
        """Return the names of the receivers that alerts of `team` and `severity` reach."""
        own = self.teams.get(team, Told())
        return getattr(own, severity) or getattr(self.default, severity) or self.default.page


def one_webhook(url: str, delays: Delays | None = None) -> Routing:
    """Return the routing that tells one webhook everything.

    Raises:
        UsageError: OBS-PAGE-001 if `url` is not http(s).
    """
    try:
        receiver = Receiver(webhook=Webhook(url=url))
    except ValidationError:
        raise UsageError("OBS-PAGE-001", f"webhook {url!r} is not an http(s) URL", todo="write http://127.0.0.1:9099/alerts") from None
    return Routing(receivers={"webhook": receiver}, default=Told(page=("webhook",)), delays=delays or Delays())


def parse_routing(document: object, locate: Locate = lambda _path: "") -> Routing:
    """Turn a loaded YAML document into a Routing; `locate` says where (`file:line`) a path of keys stands.

    Raises:
        SpecErrors: every mistake of the document: OBS-PAGE-006, or 001 for a URL, 007 for a key that is written out.
    """
    if not isinstance(document, Mapping):
        raise SpecErrors(
            [SpecError("OBS-PAGE-006", "the document is not a mapping", todo="write receivers: and default:", where=locate(()))]
        )
    errors: list[ObsError] = []
    routing = None
    try:
        routing = Routing.model_validate(_as_tuples(document))
    except ValidationError as error:
        errors = [_translate(item, locate) for item in error.errors(include_url=False, include_input=False)]
    errors += _references(document, locate)
    if errors or routing is None:
        raise SpecErrors(sorted(errors, key=_line))
    return routing


def _references(document: Mapping[object, object], locate: Locate) -> list[ObsError]:
    """Check names; done on the document, so that they are reported together with all other mistakes."""
    receivers = document.get("receivers")
    known = [str(name) for name in receivers] if isinstance(receivers, Mapping) else []
    errors: list[ObsError] = []
    for name in known:
        if not _NAME.match(name):
            errors.append(_wrong(f"{name!r} is not a plain name", "use letters, digits, - and _", locate(("receivers", name))))
    teams = document.get("teams")
    owners: list[tuple[tuple[int | str, ...], object]] = [(("default",), document.get("default"))]
    if isinstance(teams, Mapping):
        owners += [(("teams", str(team)), told) for team, told in teams.items()]
    for path, told in owners:
        if path[-1] != "default" and not re.match(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", str(path[-1])):
            errors.append(_wrong(f"{path[-1]!r} is not a team's name", "use a-z, 0-9 and -, as in the SLO files", locate(path)))
        if not isinstance(told, Mapping):
            continue
        if path == ("default",) and not told.get("page"):
            errors.append(_wrong("default pages nobody", "write page: [a receiver] under it", locate(path)))
        for severity in SEVERITIES:
            names = told.get(severity)
            for index, name in enumerate(names if isinstance(names, list | tuple) else ()):
                if name not in known:
                    todo = f"known: {', '.join(sorted(known)) or 'none yet'}"
                    errors.append(_wrong(f"no receiver is called {name!r}", todo, locate((*path, severity, index))))
    return errors


def _line(error: ObsError) -> int:
    line = error.where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def _wrong(what: str, todo: str, where: str) -> SpecError:
    return SpecError("OBS-PAGE-006", what, todo=todo, where=where)


def _translate(item: Any, locate: Locate) -> ObsError:
    path, kind = tuple(item["loc"]), item["type"]
    last = str(path[-1]) if path else "the document"
    where = locate(path)
    if kind.startswith("OBS-"):
        return SpecError(kind, str(item["ctx"]["what"]), todo=str(item["ctx"]["todo"]), where=where)
    if kind == "extra_forbidden" and (last in _SECRETS or (last == "api_url" and "slack" in path)):
        return SpecError(
            "OBS-PAGE-007", f"{last} stands in the file, where everybody reads it", todo=f"write {last}_file: PATH instead", where=where
        )
    if kind == "extra_forbidden":
        return SpecError("OBS-PAGE-006", f"unknown key {last!r}", todo=f"known: {', '.join(_known(path[:-1]))}", where=where)
    if kind == "missing":
        return SpecError("OBS-PAGE-006", f"{last} is missing", todo=f"add {last}:", where=locate(path[:-1]))
    return SpecError("OBS-PAGE-006", f"{last}: {item['msg'].lower()}", todo="see slo/paging/routing.yaml", where=where)


def _known(path: Sequence[int | str]) -> Sequence[str]:
    kinds: dict[str, type[BaseModel]] = {"webhook": Webhook, "pagerduty": PagerDuty, "slack": Slack, "opsgenie": Opsgenie}
    owner: type[BaseModel] = Routing
    if path[:1] == ("delays",):
        owner = Delays
    elif path[:1] in (("default",), ("teams",)):
        owner = Told
    elif path[:1] == ("receivers",):
        owner = kinds.get(str(path[-1]), Receiver) if len(path) > 2 else Receiver
    return tuple(owner.model_fields)


def _as_tuples(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _as_tuples(one) for key, one in value.items()}
    return tuple(_as_tuples(one) for one in value) if isinstance(value, list | tuple) else value
