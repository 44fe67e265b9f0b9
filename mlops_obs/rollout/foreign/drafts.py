"""What both importers need: a draft of a rollout that collects steps and gates, each gate proven before it is taken.

The trap is the query that does not ask for the canary. There it is often about the whole service, so a shared incident rolls
back a healthy revision; such a metric is left out, with the way to say whose value is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from mlops_obs.durations import format_duration, parse_duration
from mlops_obs.errors import SpecError
from mlops_obs.rollout.foreign.conditions import Bounds
from mlops_obs.rollout.spec.gates import RESERVED, REVISION_MARK, Gate
from mlops_obs.slo.foreign.fields import Fields

_GO_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_MARK = re.compile(r"\{\{(.*?)\}\}")
_GATE: TypeAdapter[Any] = TypeAdapter(Gate)
Promql = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Options:
    """What the documents do not say.

    `service` is the label of our metrics (default: the name of their resource). `values` fill the marks of their queries;
    `{{revision}}` in a value stands for the canary. `on_fail` is what a gate does that fails. `promql` says what is wrong with a query.
    """

    service: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    on_fail: Literal["hold", "rollback"] = "hold"
    promql: Promql = lambda _query: ""


@dataclass(slots=True)
class Draft:
    """One rollout document of ours in the making."""

    name: str
    service: str
    where: str = ""
    steps: list[int] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """Return the document; the revision and its package are given when it is started."""
        out: dict[str, Any] = {"service": self.service}
        if self.steps:
            out["steps"] = list(self.steps)
        return out | self.more | ({"gates": list(self.gates)} if self.gates else {})

    def add(self, at: Fields, gate: dict[str, Any], options: Options) -> None:
        """Take `gate` if it is one; a metric that cannot be one is left out, and said."""
        about = str(gate["name"])
        gate["name"] = _unique(about, [one["name"] for one in self.gates])
        problem = options.promql(gate["query"].replace(REVISION_MARK, "v1"))
        if problem:
            at.loss("left out", f"its query is no PromQL: {problem}")
            return
        try:
            _GATE.validate_python(gate)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]
            at.loss("left out", str(said.get("ctx", {}).get("what", said["msg"])))
            return
        if gate["name"] != about:
            at.loss("changed", f"the gate is called {gate['name']}", "name")
        self.gates.append(gate)


def promql_gate(
    name: str, query: str, bounds: Bounds, hold: Decimal, *, dry_run: bool = False, on_fail: Literal["hold", "rollback"] = "hold"
) -> dict[str, Any]:
    """Return a gate that asks `query`; a bound that is left out is none."""
    gate: dict[str, Any] = {"name": name, "type": "promql", "query": query.strip()}
    gate |= {key: value for key, value in (("min", bounds.low), ("max", bounds.high)) if value is not None}
    gate["for"] = format_duration(hold)
    return gate | ({"on_fail": on_fail} if on_fail != "hold" else {}) | ({"dry_run": True} if dry_run else {})


def assume_steps(at: Fields, draft: Draft) -> None:
    """Say which steps are taken where the document has no weights."""
    if not draft.steps:
        at.loss("assumed", "there are no weights, so the steps are 20, 50 and 100; write steps: if you want others")


def said_of(at: Fields, bounds: Bounds, key: str) -> None:
    """Report what a condition said and a gate cannot."""
    if bounds.open_:
        at.loss("changed", "its bound itself is bad there and good here", key)
    if bounds.no_data is not None:
        was = "passes" if bounds.no_data else "fails"
        at.loss("changed", f"no data {was} there; here it holds the rollout, and neither passes nor fails", key)


def filled(query: str, values: Mapping[str, str]) -> tuple[str, list[str]]:
    """Put `values` into the marks of `query` (`{{ name }}`); return it and the names that have none."""
    missing: list[str] = []

    def put(found: re.Match[str]) -> str:
        name = found[1].strip()
        if name == "revision":
            return REVISION_MARK
        if name not in values:
            missing.append(name)
            return found[0]
        return values[name]

    return _MARK.sub(put, query), list(dict.fromkeys(missing))


def go_duration(at: Fields, key: str, text: str | None = None) -> Decimal | None:
    """Return the seconds of a Go duration (`1m30s`, `0.5h`) under `key`, None if it is not there; a wrong one is an error.

    `text` is what stands there with its marks filled.
    """
    text = at.text(key) if text is None else text
    if not text:
        return None
    parts = _GO_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        try:
            return parse_duration(text)  # days and weeks, which Flagger takes
        except SpecError:
            at.wrong(key, f"{text[:40]!r} is not a duration", "write for example 30s, 5m or 1h")
            return None
    return sum((Decimal(number) * _UNIT[unit] for number, unit in parts), Decimal(0)) or None


def _unique(name: str, taken: Sequence[str]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:56].strip("-") or "gate"
    plain = f"{plain}-gate" if plain in RESERVED else plain
    number, found = 2, plain
    while found in taken:
        found, number = f"{plain}-{number}", number + 1
    return found
