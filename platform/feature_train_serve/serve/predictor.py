"""The credit-risk predictor: one KServe `Model`, the same object behind KServe's own server and behind Ray Serve.

Scoring runs in one thread of its own: torch gains nothing from more on a small machine, and the event loop stays
free to answer health checks while a slow lookup runs. What a caller may read of a failure is one line; its
traceback is logged once per kind of failure, because a bad revision fails many times a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from kserve import InferResponse, Model
from kserve.errors import InferenceError, InvalidInput, ModelNotFound
from numpy.typing import NDArray

from feature_train_serve.serve import codec
from mlops_obs.collectors.drift.columns import Block
from mlops_obs.collectors.freshness import FreshnessMeter
from mlops_obs.lifecycle import instrument
from mlops_obs.metric_names import Reading

Rows = Block | NDArray[Any]
log = logging.getLogger(__name__)


class CustomerNotFound(ModelNotFound):  # type: ignore[misc]  # KServe ships no types
    """A customer without features: the caller's error. KServe answers 404 to what derives from ModelNotFound."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class ModelFailed(Exception):
    """The model raised; what it raised is the cause. `rows` are what it was given, for drift to be judged by."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer: `probabilities` of default, the `rows` that drift is judged by, and the `ages` of features read, in seconds by view."""

    probabilities: Sequence[float]
    rows: Rows
    ages: Mapping[str, Sequence[float]]


class Scorer(Protocol):
    """A loaded model package with its online store.

    `columns` name the columns of `Scored.rows` where these have no names of their own; `reference` is the drift profile over them, `limits`
    the age in seconds by feature view above which a feature counts as late; `collectors` are read at each scrape.
    """

    revision: str
    columns: Sequence[str]
    reference: bytes | None
    limits: Mapping[str, float]

    @property
    def collectors(self) -> Mapping[str, Callable[[], Iterable[Reading]]]:
        """Readings by collector."""
        ...

    def score(self, customers: Sequence[str]) -> Scored:
        """Score `customers`. Raises CustomerNotFound if the store knows one of them not, ModelFailed or any other error of the model."""
        ...


def open_package(package: str, store: str) -> Scorer:
    """Load the model package at `package` over the online store at `store`: the default way to get a `Scorer`."""
    from feature_train_serve.serve.scorer import PackageScorer

    return PackageScorer(package, store)


class CreditRiskModel(Model):  # type: ignore[misc]  # KServe ships no types
    """Answers v1 and Open Inference v2 requests for the probability of default of known customers.

    Args:
        name: model name in the URL, also the service that metrics are labelled with.
        package_path: folder of the model package.
        store_path: online feature store.
        opener: loads a `Scorer`; tests pass a small double.
    """

    def __init__(self, name: str, package_path: str, store_path: str, opener: Callable[[str, str], Scorer] = open_package) -> None:
        super().__init__(name)
        self.ready: bool = False
        self._source = (package_path, store_path)
        self._opener = opener
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._failures_seen: set[str] = set()

    def load(self) -> bool:
        """Load the package and announce this revision to the metrics. Called again, it does nothing."""
        if not self.ready:
            self._scorer = self._opener(*self._source)
            self.revision = self._scorer.revision
            self._telemetry = instrument(
                service=self.name,
                revision=self.revision,
                stage="serve",
                reference=self._scorer.reference,
                feature_names=self._scorer.columns,
            )
            self._freshness = FreshnessMeter(self.name, self._scorer.limits, lock=threading.Lock())
            self._telemetry.register_collector("freshness", self._freshness.read)
            for collector, read in self._scorer.collectors.items():
                self._telemetry.register_collector(collector, read)
            self.ready = True
        return self.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe the input for the v2 metadata endpoint."""
        return codec.input_types()

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe the output for the v2 metadata endpoint."""
        return codec.output_types()

    async def predict(
        self, payload: Any, headers: Mapping[str, str] | None = None, _response_headers: Any = None
    ) -> dict[str, Any] | InferResponse:
        """Score the customers of `payload` and answer in its protocol.

        Raises:
            InvalidInput: not a request for customers (400).
            CustomerNotFound: no features for one of them (404).
            InferenceError: the model failed (500); its text is one line.
        """
        with self._telemetry.request(headers=headers) as request:
            try:
                customers = codec.customer_ids(payload)
                scored = await asyncio.get_running_loop().run_in_executor(self._thread, self._scorer.score, customers)
                if not all(map(math.isfinite, scored.probabilities)):
                    raise ArithmeticError("the model answered a probability that is no number")
                answer = codec.answer(payload, self.name, scored.probabilities)
            except (InvalidInput, CustomerNotFound):
                raise  # the instrumentation knows these as the caller's errors
            except ModelFailed as error:
                request.features(error.rows)
                raise InferenceError(self._explain(error.__cause__ or error)) from error
            except Exception as error:
                raise InferenceError(self._explain(error)) from error
            request.features(scored.rows)
        for view, ages in scored.ages.items():
            for age in ages:
                self._freshness.served(view, None if math.isnan(age) else age)
        return answer

    def _explain(self, error: BaseException) -> str:
        kind = type(error).__name__
        if kind not in self._failures_seen:
            self._failures_seen.add(kind)
            log.error("first %s of revision %s", kind, self.revision, exc_info=error)
        detail = (str(error).splitlines() or [""])[0][:200]
        return f"{kind}: {detail}" if detail else kind
