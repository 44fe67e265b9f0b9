"""Which alerts silence which, decided as Alertmanager decides it.

The traps are Alertmanager's own: a label that is missing reads as the empty string, on both sides and in `equal`; patterns are
anchored; an alert that is inhibited itself goes on inhibiting; and one that matches both sides of a rule is never silenced by
another that does, or two alerts would silence each other and nobody would be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label; `=~` and `!~` are anchored regular expressions."""

    label: str
    operator: Literal["=", "!=", "=~", "!~"]
    value: str

    def holds(self, labels: Labels) -> bool:
        """Say whether an alert with `labels` meets the condition."""
        found = labels.get(self.label, "")
        hit = _pattern(self.value).fullmatch(found) is not None if self.operator.endswith("~") else found == self.value
        return hit is not self.operator.startswith("!")

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{json.dumps(self.value, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert that meets all of `source` fires, those that meet all of `target` and have the same `equal` labels are not told.

    `why` is for people: it stands above the rule in the generated configuration.
    """

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]
    why: str = ""


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.DOTALL)


def one_of(label: str, values: Sequence[str]) -> Matcher:
    """Return the matcher of exactly `values`, sorted; plain names only, nothing is escaped."""
    found = sorted(set(values))
    return Matcher(label, "=", found[0]) if len(found) == 1 else Matcher(label, "=~", "|".join(found))


def matches(matchers: Sequence[Matcher], labels: Labels) -> bool:
    """Say whether `labels` meet every one of `matchers`."""
    return all(one.holds(labels) for one in matchers)


def inhibits(rules: Sequence[Inhibition], source: Labels, target: Labels) -> bool:
    """Say whether the alert `source` silences the alert `target` while both fire."""
    return any(_silenced_by(rule, [source], target) for rule in rules)


def muted(rules: Sequence[Inhibition], alerts: Sequence[Labels]) -> list[bool]:
    """Return, for each of the alerts that fire together, whether another one of them silences it."""
    out = [False] * len(alerts)
    for rule in rules:
        sources = [one for one in alerts if matches(rule.source, one)]
        if sources:
            out = [silent or _silenced_by(rule, sources, one) for silent, one in zip(out, alerts, strict=True)]
    return out


def _silenced_by(rule: Inhibition, candidates: Sequence[Labels], target: Labels) -> bool:
    if not matches(rule.target, target):
        return False
    two_sided = matches(rule.source, target)
    return any(
        matches(rule.source, one)
        and all(one.get(label, "") == target.get(label, "") for label in rule.equal)
        and not (two_sided and matches(rule.target, one))
        for one in candidates
    )
