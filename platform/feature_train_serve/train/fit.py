"""Fit one revision with Ray Train, survive the loss of the worker, and say how the model sees its customers.

The trap: what the package says of a model (its scores on the live population, what each feature is worth) is worked out here, from the
very bytes that are packed, not in the worker from the model in memory: the reference then is of what will be served.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_train_serve.train.evaluate import auc
from feature_train_serve.train.loop import ATTEMPTS, METRICS, READINGS, WEIGHTS, train_network, train_trees
from feature_train_serve.train.models import BOOSTED_TREES, Model, Scores, TreeModel, load_model
from feature_train_serve.train.peers import PeerGroups
from feature_train_serve.train.preprocess import Preprocess
from feature_train_serve.train.recipes import Recipe
from feature_train_serve.train.reference import reference_of
from feature_train_serve.train.rows import read_slice
from feature_train_serve.train.slices import Prepared, fit_preprocess, prepared
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import PlatformError
from mlops_obs.metric_names import METRICS as KNOWN_METRICS
from mlops_obs.metric_names import Reading

_PERMUTED_ROWS = 1_000
_LEAST_IMPORTANCE = 0.05  # of the most important feature's, for what a model reads at all


@dataclass(frozen=True, slots=True)
class Slice:
    """The live slice as the trained model saw it: `columns` (n, F) float64 and its `scores`."""

    columns: np.ndarray
    scores: Scores


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model, ready to be packed: weights, metrics of the later slice, and the drift reference.

    `live` is the population of now; `importance` is the loss of AUC by column when its values are shuffled; `rows` were learnt from;
    `readings` are the worker's last ones, which would be lost with it.
    """

    recipe: Recipe
    preprocess: Preprocess
    peers: PeerGroups | None
    weights: bytes
    metrics: dict[str, float]
    reference: ReferenceProfile
    live: Slice
    importance: dict[str, float]
    rows: int = 0
    readings: tuple[Reading, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """What `load_model` needs to know, as it stands in package.json."""
        return schema_of(self.recipe, self.preprocess)


def schema_of(recipe: Recipe, preprocess: Preprocess) -> dict[str, Any]:
    """Return what `load_model` needs to know."""
    return {"model": recipe.model, "features": list(preprocess.names), "width": recipe.width, "layers": recipe.layers}


def fit(
    recipe: Recipe, training_set: Path, work: Path, seed: int, on_epoch: Callable[[int], None] | None = None, max_failures: int = 2
) -> Fitted:
    """Train `recipe` on the offline table at `training_set`. Ray must be initialised.

    Args:
        recipe: what to build.
        training_set: the Parquet folder that the feature job wrote.
        work: folder for checkpoints; emptied first, else Ray would go on from those of a killed run, and removed at the end.
        seed: decides every random draw.
        on_epoch: called in the worker after each checkpoint; for tests and for people who want a say.
        max_failures: how often a lost worker is replaced before training gives up.

    Raises PlatformError OBS-TRAIN-001 if training failed for good.
    """
    learn = read_slice(training_set, "train", amount_unit=recipe.amount_unit)
    preprocess, peers = fit_preprocess(recipe, learn)
    config = {
        "recipe": asdict(recipe),
        "training_set": str(training_set),
        "preprocess": preprocess.to_json(),
        "peers": asdict(peers) if peers else None,
        "seed": seed,
        "on_epoch": on_epoch,
        "attempts": str(work / ATTEMPTS),
    }
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    trainer = _trainer(recipe, config, work, max_failures)
    try:
        result = trainer.fit()
        with result.checkpoint.as_directory() as folder:
            weights = (Path(folder) / WEIGHTS).read_bytes()
            metrics = json.loads((Path(folder) / METRICS).read_text())
            readings = tuple(
                Reading(KNOWN_METRICS[name], labels, value) for name, labels, value in json.loads((Path(folder) / READINGS).read_text())
            )
    except Exception as error:
        raise PlatformError(
            "OBS-TRAIN-001", f"training {recipe.revision} failed: {_cause(error)}", todo="read the worker's log above", where=str(work)
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return describe(recipe, preprocess, peers, weights, metrics, training_set, rows=len(learn.label), readings=readings)


def describe(
    recipe: Recipe,
    preprocess: Preprocess,
    peers: PeerGroups | None,
    weights: bytes,
    metrics: dict[str, float],
    training_set: Path,
    *,
    rows: int = 0,
    readings: tuple[Reading, ...] = (),
) -> Fitted:
    """Load the trained `weights` as serving will, and make the reference of what the model says.

    Raises PlatformError OBS-PKG-005 if the weights are not that model's.
    """
    model = load_model(schema_of(recipe, preprocess), weights)
    recent, judged, live = (
        prepared(preprocess, peers, read_slice(training_set, split, amount_unit=recipe.amount_unit)) for split in ("recent", "test", "live")
    )
    worth = importance(model, preprocess, judged)
    reference = reference_of(preprocess, model, worth, live, judged, recent)
    seen = Slice(live.columns, model.score(live.columns, live.tensors))
    return Fitted(recipe, preprocess, peers, weights, metrics, reference, seen, worth, rows, readings)


def importance(model: Model, preprocess: Preprocess, part: Prepared, seed: int = 0) -> dict[str, float]:
    """Return the loss of AUC when a column is shuffled (permutation importance, Breiman 2001), by column.

    Measured on few rows, so a small figure may be chance: what the model reads at all counts at least a twentieth of the most important
    column. Exactly 0 is left to columns that trees never look at. The events of a sequence stay with their customer.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(part.label))[:_PERMUTED_ROWS])
    raw, columns, label = part.rows.take(rows), part.columns[rows], part.label[rows]

    def judge(values: np.ndarray) -> float:
        return auc(label, model.score(values, preprocess.tensors(values, raw)).probability)

    whole, lost = judge(columns), {}
    for index, name in enumerate(preprocess.names):
        shuffled = columns.copy()
        shuffled[:, index] = rng.permutation(shuffled[:, index])
        lost[name] = float(np.nan_to_num(whole - judge(shuffled)))
    unread = {name for index, name in enumerate(preprocess.names) if isinstance(model, TreeModel) and index not in model.trees.used}
    least = _LEAST_IMPORTANCE * max(max(lost.values()), 1e-3)
    return {name: 0.0 if name in unread else max(value, least) for name, value in lost.items()}


def _trainer(recipe: Recipe, config: dict[str, Any], work: Path, max_failures: int) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    shared: dict[str, Any] = {
        "train_loop_config": config,
        "scaling_config": ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        "run_config": RunConfig(
            name=recipe.revision, storage_path=str(work.resolve()), failure_config=FailureConfig(max_failures=max_failures)
        ),
    }
    if recipe.model == BOOSTED_TREES:
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

        return DataParallelTrainer(train_trees, **shared)
    from ray.train.torch import TorchConfig, TorchTrainer

    return TorchTrainer(train_network, torch_config=TorchConfig(backend="gloo"), **shared)


def _cause(error: Exception) -> str:
    """The last line of what Ray says is the worker's own exception; the lines before are its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
