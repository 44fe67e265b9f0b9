"""Checks live rows against the expectations that a reference carries, a window at a time.

The trap: counts for each feature, expectation and outcome are many series. A model of many features is checked on those that have
series of their own (`monitor_readings.FEATURES`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlops_obs.collectors.drift.columns import Block, rows_of
from mlops_obs.collectors.drift.expectations import ExpectationMeter, expectations_of
from mlops_obs.collectors.drift.expectations.derive import SECTION
from mlops_obs.collectors.drift.expectations.observe import Observed, add, observe_block
from mlops_obs.collectors.drift.monitor_readings import FEATURES
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.metric_names import Reading


class LiveChecks:
    """Looks at every `window_rows` rows.

    Args:
        reference: its section `expectations` says what is expected; without it nothing is checked.
        names: the watched columns.
        service, revision: label values.
        window_rows: rows of a check, at least.
        importance: of features, where it is known: the most important ones are checked if there are too many.
    """

    def __init__(
        self,
        reference: ReferenceProfile,
        names: Sequence[str],
        service: str,
        revision: str,
        window_rows: int,
        importance: Mapping[str, float],
    ) -> None:
        expected = expectations_of(reference) if SECTION in reference.sections else {}
        ordered = sorted((name for name in names if name in expected), key=lambda name: -importance.get(name, 0.0))
        self._meter = ExpectationMeter(service, revision, {name: expected[name] for name in ordered[:FEATURES]})
        self._window_rows = window_rows
        self._observed: dict[str, Observed] = {}
        self._rows = 0

    @property
    def failed(self) -> Mapping[str, str]:
        """What the last window failed, in words, by feature."""
        return self._meter.failed

    def look(self, block: Block) -> None:
        """Take rows in, and check them if there are enough."""
        if not self._meter.expectations:
            return
        found = observe_block(self._meter.expectations, block)
        self._observed = add(self._observed, found) if self._observed else found
        self._rows += rows_of(block)
        if self._rows >= self._window_rows:
            self._meter.look(self._observed)
            self._observed, self._rows = {}, 0

    def read(self) -> list[Reading]:
        """Return the counts of checks."""
        return self._meter.read()
