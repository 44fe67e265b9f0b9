"""Which recording rules write the series that a selector reads: found by labels, since a file may hold thousands of one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_obs.slo.promql_tree import Expr, VectorSelector


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule: its name, its own labels and its tree."""

    name: str
    labels: Mapping[str, str]
    tree: Expr


_FEW = 10


@dataclass(slots=True)
class Recordings:
    """Recording rules by name."""

    by_name: Mapping[str, Sequence[Recording]]
    _index: dict[str, dict[str, dict[str, list[Recording]]]] = field(default_factory=dict)

    def rules_of(self, node: VectorSelector) -> list[Recording]:
        """Return the recordings whose series `node` may select."""
        wanted = {one.label: one.value for one in node.matchers if one.op == "="}
        return [one for one in self._candidates(node.metric, wanted) if _agrees(one.labels, wanted)]

    def _candidates(self, metric: str, wanted: Mapping[str, str]) -> Sequence[Recording]:
        """Return the recordings of `metric` that may agree: those of the label that leaves fewest. A file may hold thousands."""
        recorded = self.by_name.get(metric, ())
        if len(recorded) < _FEW:
            return recorded
        if metric not in self._index:
            self._index[metric] = _indexed(recorded)
        index = self._index[metric]
        known = [(index[label].get(value, []), index[label].get("", [])) for label, value in wanted.items() if label in index and value]
        if not known:
            return recorded
        exact, open_ = min(known, key=lambda pair: len(pair[0]) + len(pair[1]))
        return [*exact, *open_]


def _indexed(recorded: Sequence[Recording]) -> dict[str, dict[str, list[Recording]]]:
    """Return label -> value -> recordings; under the empty value those that leave the label open."""
    index: dict[str, dict[str, list[Recording]]] = {label: {} for one in recorded for label in one.labels}
    for label, values in index.items():
        for one in recorded:
            value = one.labels.get(label, "")
            values.setdefault("" if "{{" in value else value, []).append(one)
    return index


def _agrees(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all("{{" in labels[key] or labels[key] == value for key, value in wanted.items() if key in labels)
