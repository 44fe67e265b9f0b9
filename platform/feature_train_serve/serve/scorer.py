"""A `Scorer` over a model package and the online store: where serving meets training.

The first pass through a network costs a hundred times the second, so it is spent while loading and not on a caller.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np

from feature_train_serve.config import FRESHNESS_LIMITS
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.serve.predictor import CustomerNotFound, Scored
from feature_train_serve.train.package import PREDICTION, UnknownCustomer, load_package


class PackageScorer:
    """Scores with the package at `package` on features of the store at `store`.

    Raises:
        PlatformError: OBS-PKG-001 or OBS-PKG-002, no package or a damaged one.
        StateError: OBS-ONLINE-001, no store.
    """

    def __init__(self, package: str, store: str) -> None:
        self._package = load_package(package)
        self._store = OnlineStore(store)
        self.revision = self._package.revision
        self.columns: Sequence[str] = (*self._package.feature_names, PREDICTION)
        self.reference: bytes | None = self._package.reference
        self.limits: Mapping[str, float] = FRESHNESS_LIMITS
        with contextlib.suppress(Exception):  # a package that fails on this customer is judged on its callers' requests
            self.score(self._store.customers()[:1])

    def score(self, customers: Sequence[str]) -> Scored:
        """Score `customers`. Raises CustomerNotFound; other errors are the model's."""
        try:
            inputs = self._package.inputs_for(customers, self._store)
        except UnknownCustomer as error:
            raise CustomerNotFound(str(error)) from error
        probabilities = self._package.score(inputs)
        rows = np.column_stack([inputs.features, probabilities])
        return Scored(probabilities.tolist(), rows, {view: ages.tolist() for view, ages in inputs.ages.items()})
