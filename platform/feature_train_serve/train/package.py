"""The model package: everything a revision needs to be served and watched, in one folder that is written at once or not at all.

    <revision>/package.json    what it is, where it came from, how its inputs are made, how good it was, and the digest
    <revision>/weights.*       the model: `.pt` tensors of a network, `.npz` arrays of boosted trees
    <revision>/reference.bin   drift reference: the model's columns, predictions and pooled vectors on the live population

The digest covers every other file and the rest of package.json, so a package that was edited or cut short is refused, not served.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from feature_train_serve.config import SERVICE
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.train.fit import Fitted
from feature_train_serve.train.models import WEIGHTS, Scores, load_model, unknown_kind
from feature_train_serve.train.peers import online_rate
from feature_train_serve.train.preprocess import PEER_CHANNEL, PEER_SPEND, Preprocess
from feature_train_serve.train.reference import PREDICTION
from feature_train_serve.train.rows import RawRows, of_states
from mlops_obs.errors import PlatformError

MANIFEST, REFERENCE = "package.json", "reference.bin"


class UnknownCustomer(LookupError):
    """The online store has never heard of these customers: the caller's mistake, not the model's."""

    def __init__(self, customer_ids: Sequence[str]) -> None:
        self.customer_ids = tuple(customer_ids)
        super().__init__(f"unknown customer: {', '.join(self.customer_ids[:5])}")


@dataclass(frozen=True, slots=True)
class Found:
    """What the store knows of n customers: `online` as it gave it, `rows` as this revision reads it.

    `ages` in seconds by view (NaN: never read); `as_of` (ms, UTC) is the moment that the features speak of.
    """

    online: RawRows
    rows: RawRows
    ages: dict[str, np.ndarray]
    as_of: int


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """Inputs of n customers: `features` float64 (n, F) as drift sees them, `ages` in seconds by view (NaN: never read), and tensors."""

    features: np.ndarray
    ages: dict[str, np.ndarray]
    tensors: tuple[np.ndarray, np.ndarray, np.ndarray]


class ModelPackage:
    """A loaded revision. Use `load_package`.

    Args:
        folder: where it came from.
        manifest: the parsed package.json.
        wait: how to wait for a lookup that is being published, in seconds.

    Raises:
        PlatformError: OBS-PKG-004 for a model of an unknown kind, OBS-PKG-005 if the weights are not that model's.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], wait: Callable[[float], None] = time.sleep) -> None:
        self.folder = folder
        self.manifest = manifest
        self.revision: str = manifest["revision"]
        self.preprocess = Preprocess.from_json(manifest["preprocess"])
        self.feature_names = self.preprocess.names
        self.reference: bytes = (folder / REFERENCE).read_bytes()
        self._wait = wait
        schema = manifest["schema"]
        self._model = load_model(schema, (folder / WEIGHTS[schema["model"]]).read_bytes(), str(folder))

    def find(self, customer_ids: Sequence[str], store: OnlineStore) -> Found:
        """Read the customers' features from the store, and put them into this revision's units.

        Raises:
            UnknownCustomer: the caller's mistake.
            StateError: the store cannot be read.
        """
        found = store.states(customer_ids)
        unknown = [name for name, state in zip(customer_ids, found, strict=True) if state is None]
        if unknown:
            raise UnknownCustomer(unknown)
        ages = {view: np.full(len(found), age) for view, age in store.ages().items()}
        as_of = store.now_ms()
        online = of_states([state for state in found if state], as_of)
        return Found(online, self.preprocess.to_currency(online), ages, as_of)

    def inputs_of(self, found: Found, store: OnlineStore) -> ModelInputs:
        """Transform what was found as this revision does. Raises whatever the transformation raises; that is the model's failure."""
        columns = self.preprocess.columns(found.rows, self._peer_rates(found.rows, store))
        return ModelInputs(columns, found.ages, self.preprocess.tensors(columns, found.rows))

    def inputs_for(self, customer_ids: Sequence[str], store: OnlineStore) -> ModelInputs:
        """Read the customers' features from the store and transform them: `find`, then `inputs_of`."""
        return self.inputs_of(self.find(customer_ids, store), store)

    def columns_of(self, found: Found) -> np.ndarray:
        """Return the model's columns (n, F) without asking for peers, NaN in their place: what is left to watch when the model failed."""
        return self.preprocess.columns(found.rows, np.full(found.rows.size, np.nan) if self.preprocess.peers else None)

    def score(self, inputs: ModelInputs) -> Scores:
        """Return P(default) as float32 (n,), and the pooled vectors of a network."""
        return self._model.score(inputs.features, inputs.tensors)

    def _peer_rates(self, rows: RawRows, store: OnlineStore) -> np.ndarray | None:
        table = self.preprocess.peers
        if not table:
            return None
        customers = zip(rows.columns[PEER_CHANNEL], rows.columns[PEER_SPEND], strict=True)
        return np.array([online_rate(lambda key: store.lookup(table, key), channel, spend, self._wait) for channel, spend in customers])


def write_package(fitted: Fitted, folder: Path, *, run_id: str, trace_id: str, created_at: datetime, synthetic: bool) -> Path:
    """Write `<folder>/<revision>/` atomically and return it; an interrupted write leaves nothing under that name.

    Raises PlatformError OBS-PKG-003 if the folder cannot be written, for example because the disk is full.
    """
    recipe = fitted.recipe
    target = folder / recipe.revision
    temporary = folder / f".{recipe.revision}.partial-{os.getpid()}"
    files = {WEIGHTS[recipe.model]: fitted.weights, REFERENCE: fitted.reference.to_bytes()}
    manifest = {
        "service": SERVICE,
        "revision": recipe.revision,
        "created_at": created_at.isoformat(timespec="seconds"),
        "run_id": run_id,
        "trace_id": trace_id,
        "synthetic": synthetic,
        "schema": {**fitted.schema, "output": PREDICTION},
        "recipe": asdict(recipe),
        "metrics": fitted.metrics,
        "importance": fitted.importance,
        "preprocess": fitted.preprocess.to_json(),
    }
    manifest["digest"] = _digest(manifest, files)
    try:
        temporary.mkdir(parents=True)
        for name, content in {**files, MANIFEST: json.dumps(manifest, indent=2).encode()}.items():
            with (temporary / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except OSError as error:
        raise PlatformError(
            "OBS-PKG-003", f"cannot write the package: {error.strerror}", todo="free space, then train again", where=str(target)
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def load_package(path: Path | str, wait: Callable[[float], None] = time.sleep) -> ModelPackage:
    """Load the package at `path`.

    Raises PlatformError OBS-PKG-001 if there is none or it is incomplete, OBS-PKG-002 if its digest does not match its files, OBS-PKG-004
    or -005 if its model is of a kind that this version does not know, or its weights are not that model's.
    """
    folder = Path(path)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        kind = manifest["schema"]["model"]
        files = {name: (folder / name).read_bytes() for name in (WEIGHTS.get(kind, REFERENCE), REFERENCE)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlatformError(
            "OBS-PKG-001", f"not a model package: {error}", todo="point to <packages>/<revision>", where=str(folder)
        ) from error
    if kind in WEIGHTS and manifest.get("digest") != _digest(manifest, files):
        raise PlatformError("OBS-PKG-002", "the digest does not match the files", todo="train or copy the package again", where=str(folder))
    if kind not in WEIGHTS:
        raise unknown_kind(kind, str(folder))
    return ModelPackage(folder, manifest, wait)


def _digest(manifest: dict[str, Any], files: dict[str, bytes]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    hashed = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(files):
        hashed.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return hashed.hexdigest()
