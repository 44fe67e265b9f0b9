"""A `Scorer` over a model package and the online store: where serving meets training.

The first pass through a network costs a hundred times the second, so it is spent while loading and not on a caller.
What the model was given is watched even when the model then fails: a broken revision is the one whose inputs people want to see.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from feature_train_serve.config import FRESHNESS_LIMITS, SERVICE
from feature_train_serve.features.definitions import CATEGORIES, FEATURE_NAMES, VIEW_OF_FEATURE
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.serve.predictor import CustomerNotFound, ModelFailed, Scored
from feature_train_serve.train.package import Found, UnknownCustomer, load_package
from feature_train_serve.train.reference import block_of
from mlops_obs.adapters.skew_log import SkewLog
from mlops_obs.collectors.skew import Joiner, Served, SkewWatch
from mlops_obs.metric_names import SKEW_UNJOINED, Reading

SKEW_FOLDER, SKEW_RATE = "MLOPS_OBS_SKEW_DIR", "MLOPS_OBS_SKEW_RATE"
_DEFAULT_RATE = 0.05
_WAITING = 4_096  # requests between two reads; the oldest are given up

Value = float | str | None


class PackageScorer:
    """Scores with the package at `package` on features of the store at `store`.

    With MLOPS_OBS_SKEW_DIR set, a sample of customers (MLOPS_OBS_SKEW_RATE, 0.05 by default) is written there with what the store said and
    what the model was fed, so that both can be compared with a recomputation.

    Raises:
        PlatformError: OBS-PKG-001, -002, -004 or -005: no package, a damaged one, or one that this version cannot serve.
        StateError: OBS-ONLINE-001, no store.
        SpecError: OBS-SKW-001, the rate is no share.
    """

    def __init__(self, package: str, store: str) -> None:
        self._package = load_package(package)
        self._store = OnlineStore(store)
        self.revision = self._package.revision
        self.columns: Sequence[str] = ()  # the reference's own
        self.reference: bytes | None = self._package.reference
        self.limits: Mapping[str, float] = FRESHNESS_LIMITS
        self._skew: SkewSides | None = None
        with contextlib.suppress(Exception):  # a package that fails on this customer is judged on its callers' requests
            self.score(self._store.customers()[:1])
        if folder := os.environ.get(SKEW_FOLDER):
            self._skew = SkewSides(folder, self.revision, float(os.environ.get(SKEW_RATE) or _DEFAULT_RATE))

    @property
    def collectors(self) -> Mapping[str, Callable[[], Iterable[Reading]]]:
        """What this scorer can be asked for, by collector."""
        return {"skew": self._skew.read} if self._skew else {}

    def score(self, customers: Sequence[str]) -> Scored:
        """Score `customers`. Raises CustomerNotFound, or ModelFailed with the rows that the model failed on."""
        try:
            found = self._package.find(customers, self._store)
        except UnknownCustomer as error:
            raise CustomerNotFound(str(error)) from error
        names = self._package.feature_names
        try:
            inputs = self._package.inputs_of(found, self._store)
            scores = self._package.score(inputs)
        except Exception as error:
            columns = self._package.columns_of(found)
            self._compare(customers, found, columns)
            raise ModelFailed(block_of(names, columns, None)) from error
        self._compare(customers, found, inputs.features)
        ages = {view: one.tolist() for view, one in found.ages.items()}
        return Scored(scores.probability.tolist(), block_of(names, inputs.features, scores), ages)

    def _compare(self, customers: Sequence[str], found: Found, columns: np.ndarray) -> None:
        """Leave the two sides of the sampled customers in the skew log: what the store gave, and what the model was fed of it."""
        if self._skew is None:
            return
        for row, customer in enumerate(customers):
            if not self._skew.wants(customer):
                continue
            online = {name: _named(name, found.online.columns[name][row]) for name in FEATURE_NAMES}
            fed = {name: _named(name, columns[row, place]) for place, name in enumerate(self._package.feature_names) if name in online}
            ages = {name: float(found.ages[view][row]) for name, view in VIEW_OF_FEATURE.items()}
            self._skew.offer(customer, found.as_of / 1000, online, fed, ages)


class SkewSides:
    """The skew log of this replica, and a watch that compares its two sides here and now.

    What needs the third side, the offline recomputation, reads the log. The request only appends; the comparison is made when somebody
    reads the metrics.
    """

    def __init__(self, folder: str, revision: str, rate: float) -> None:
        self._revision = revision
        self._log = SkewLog(folder, service=SERVICE, revision=revision, rate=rate)
        self._watch = SkewWatch(SERVICE, FEATURE_NAMES, joiner=Joiner(capacity=1))
        self._waiting: deque[Served] = deque(maxlen=_WAITING)
        self._reading = threading.Lock()

    def wants(self, customer: str) -> bool:
        """Whether this customer is in the sample."""
        return self._log.wants(customer)

    def offer(self, customer: str, at: float, online: Mapping[str, Value], fed: Mapping[str, Value], ages: Mapping[str, float]) -> None:
        """Keep one request; never waits."""
        request_id = uuid.uuid4().hex
        self._log.offer(request_id, customer, at, online, fed, ages)
        self._waiting.append(Served(request_id, customer, at, online, fed, ages, self._revision))

    def read(self) -> list[Reading]:
        """Compare what has come since the last time; return the counts of the log and what the comparison names."""
        with self._reading:
            for _ in range(len(self._waiting)):
                self._watch.served(self._waiting.popleft())
            return [*self._log.read(), *(one for one in self._watch.read() if one.metric is not SKEW_UNJOINED)]


def _named(name: str, value: float) -> Value:
    """Return a value as people read it: the name behind a code, None for NaN."""
    if value != value:
        return None
    return CATEGORIES[name][int(value)] if name in CATEGORIES else float(value)
