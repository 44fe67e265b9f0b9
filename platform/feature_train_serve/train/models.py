"""One way to load and ask a model, whatever it is: boosted trees or a network.

A package names its kind; a kind that is not in this list is refused. No kind is ever unpickled: trees are arrays, networks are tensors
read with `weights_only`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from feature_train_serve.train.trees import Trees
from mlops_obs.errors import PlatformError

BOOSTED_TREES = "boosted_trees"
WEIGHTS = {BOOSTED_TREES: "weights.npz", "sequence_transformer": "weights.pt", "ft_transformer": "weights.pt"}
"""Model kinds and the file that each keeps its weights in."""


@dataclass(frozen=True, slots=True)
class Scores:
    """P(default) float32 (n,), and the pooled vectors float32 (n, size), None for a model that has none."""

    probability: np.ndarray
    embedding: np.ndarray | None


class Model(Protocol):
    """A loaded model."""

    def score(self, columns: np.ndarray, tensors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Scores:
        """Score n rows, given both as `columns` (n, F) float64 and as the networks' tensors."""
        ...


class TreeModel:
    """Boosted trees; they read the columns."""

    def __init__(self, trees: Trees) -> None:
        self.trees = trees

    def score(self, columns: np.ndarray, tensors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Scores:  # noqa: ARG002 - see Model
        """See `Model.score`."""
        return Scores(self.trees.probabilities(columns).astype(np.float32), None)


class NetworkModel:
    """A torch network; it reads the tensors."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def score(self, columns: np.ndarray, tensors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Scores:  # noqa: ARG002 - see Model
        """See `Model.score`."""
        from feature_train_serve.train.network import run

        return Scores(*run(self._network, tensors))


def load_model(schema: Mapping[str, Any], weights: bytes, where: str = "") -> Model:
    """Load a model from its weights; `schema` has `model`, `features` and, for networks, `width` and `layers`.

    Raises:
        PlatformError: OBS-PKG-004 for an unknown kind, OBS-PKG-005 if the weights are not that model's.
    """
    kind = schema.get("model")
    if kind == BOOSTED_TREES:
        return TreeModel(Trees.from_bytes(weights, len(schema["features"])))
    if kind not in WEIGHTS:
        raise unknown_kind(kind, where)
    import torch

    from feature_train_serve.train.network import NETWORKS

    torch.set_num_threads(1)
    network = NETWORKS[kind](len(schema["features"]), schema["width"], schema["layers"])
    try:
        network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, AttributeError, ValueError) as error:
        raise PlatformError(
            "OBS-PKG-005", f"not the weights of a {kind}: {_first(error)}", todo="train the revision again", where=where
        ) from error
    network.eval()
    return NetworkModel(network)


def unknown_kind(kind: object, where: str) -> PlatformError:
    """Return the error about a model that this version cannot serve."""
    return PlatformError("OBS-PKG-004", f"a model of kind {kind!r}", todo=f"this version serves {', '.join(WEIGHTS)}", where=where)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
