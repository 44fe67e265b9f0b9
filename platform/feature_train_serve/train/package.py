"""The model package: everything a revision needs to be served and watched, in one folder that is written at once or not at all.

    <revision>/package.json    what it is, where it came from, how its inputs are made, how good it was, and the digest
    <revision>/weights.pt      the network
    <revision>/reference.bin   drift reference: the model's columns and its predictions on the live population

The digest covers every other file and the rest of package.json, so a package that was edited or cut short is refused, not served.
"""

from __future__ import annotations

import hashlib
import io
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
from feature_train_serve.train.peers import online_rate
from feature_train_serve.train.preprocess import PEER_CHANNEL, PEER_SPEND, Preprocess
from feature_train_serve.train.rows import RawRows, of_states
from mlops_obs.collectors.drift import ReferenceProfile
from mlops_obs.errors import PlatformError

MANIFEST, WEIGHTS, REFERENCE = "package.json", "weights.pt", "reference.bin"
PREDICTION = "prediction"


class UnknownCustomer(LookupError):
    """The online store has never heard of these customers: the caller's mistake, not the model's."""

    def __init__(self, customer_ids: Sequence[str]) -> None:
        self.customer_ids = tuple(customer_ids)
        super().__init__(f"unknown customer: {', '.join(self.customer_ids[:5])}")


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
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], wait: Callable[[float], None] = time.sleep) -> None:
        import torch

        from feature_train_serve.train.network import RiskTransformer

        torch.set_num_threads(1)
        self.folder = folder
        self.manifest = manifest
        self.revision: str = manifest["revision"]
        self.preprocess = Preprocess.from_json(manifest["preprocess"])
        self.feature_names = self.preprocess.names
        self.reference: bytes = (folder / REFERENCE).read_bytes()
        self._wait = wait
        self._network = RiskTransformer(len(self.feature_names), manifest["schema"]["width"], manifest["schema"]["layers"])
        self._network.load_state_dict(torch.load(io.BytesIO((folder / WEIGHTS).read_bytes()), weights_only=True))
        self._network.eval()

    def inputs_for(self, customer_ids: Sequence[str], store: OnlineStore) -> ModelInputs:
        """Read the customers' features from the store and transform them as this revision does.

        Raises:
            UnknownCustomer: the caller's mistake.
            StateError: the store cannot be read.
            Exception: whatever this revision's own transformation raises; that is the model's failure.
        """
        found = store.states(customer_ids)
        unknown = [name for name, state in zip(customer_ids, found, strict=True) if state is None]
        if unknown:
            raise UnknownCustomer(unknown)
        ages = {view: np.full(len(found), age) for view, age in store.ages().items()}
        rows = self.preprocess.to_currency(of_states([state for state in found if state], store.now_ms()))
        columns = self.preprocess.columns(rows, self._peer_rates(rows, store))
        return ModelInputs(columns, ages, self.preprocess.tensors(columns, rows))

    def score(self, inputs: ModelInputs) -> np.ndarray:
        """Return P(default) as float32 (n,)."""
        from feature_train_serve.train.network import probabilities

        result: np.ndarray = probabilities(self._network, inputs.tensors)
        return result

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
    files = {WEIGHTS: fitted.weights, REFERENCE: ReferenceProfile.from_columns(fitted.live_columns).to_bytes()}
    manifest = {
        "service": SERVICE,
        "revision": recipe.revision,
        "created_at": created_at.isoformat(timespec="seconds"),
        "run_id": run_id,
        "trace_id": trace_id,
        "synthetic": synthetic,
        "schema": {"features": list(fitted.preprocess.names), "output": PREDICTION, "width": recipe.width, "layers": recipe.layers},
        "recipe": asdict(recipe),
        "metrics": fitted.metrics,
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

    Raises PlatformError OBS-PKG-001 if there is none or it is incomplete, OBS-PKG-002 if its digest does not match its files.
    """
    folder = Path(path)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files = {name: (folder / name).read_bytes() for name in (WEIGHTS, REFERENCE)}
    except (OSError, ValueError) as error:
        raise PlatformError(
            "OBS-PKG-001", f"not a model package: {error}", todo="point to <packages>/<revision>", where=str(folder)
        ) from error
    if not isinstance(manifest, dict) or manifest.get("digest") != _digest(manifest, files):
        raise PlatformError("OBS-PKG-002", "the digest does not match the files", todo="train or copy the package again", where=str(folder))
    return ModelPackage(folder, manifest, wait)


def _digest(manifest: dict[str, Any], files: dict[str, bytes]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    hashed = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(files):
        hashed.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return hashed.hexdigest()
