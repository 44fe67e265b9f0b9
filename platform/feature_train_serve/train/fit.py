"""Fit one revision with Ray Train, and survive the loss of the worker.

Each epoch draws its randomness from (seed, epoch) alone, and each ends in a checkpoint. A run that lost its worker therefore ends with
the very weights of a run that did not: that is what the test compares.
The trap: the worker is a process of its own. It is instrumented there, not where `fit` was called.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_train_serve.config import SERVICE
from feature_train_serve.train.peers import PeerGroups
from feature_train_serve.train.preprocess import PEER_CHANNEL, PEER_SPEND, Preprocess
from feature_train_serve.train.recipes import Recipe
from feature_train_serve.train.rows import RawRows, TrainingSet, read_slice
from mlops_obs.errors import PlatformError
from mlops_obs.metric_names import METRICS, Reading

BATCH = 256
_STATE, _WEIGHTS, _LIVE, _METRICS, _READINGS = "state.pt", "weights.pt", "live.npy", "metrics.json", "readings.json"
_ATTEMPTS = "attempts"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model, ready to be packed: weights, metrics of the later slice, columns and predictions of the live population.

    `rows` were learnt from; `readings` are the worker's last ones, which would be lost with it.
    """

    recipe: Recipe
    preprocess: Preprocess
    peers: PeerGroups | None
    weights: bytes
    metrics: dict[str, float]
    live_columns: dict[str, np.ndarray]
    rows: int = 0
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A slice turned into what the network reads."""

    columns: np.ndarray
    tensors: tuple[np.ndarray, np.ndarray, np.ndarray]
    label: np.ndarray


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
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    learn = read_slice(training_set, "train", amount_unit=recipe.amount_unit)
    preprocess, peers = fit_preprocess(recipe, learn)
    config = {
        "recipe": asdict(recipe),
        "training_set": str(training_set),
        "preprocess": preprocess.to_json(),
        "peers": asdict(peers) if peers else None,
        "seed": seed,
        "on_epoch": on_epoch,
        "attempts": str(work / _ATTEMPTS),
    }
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    trainer = TorchTrainer(
        train_loop,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        torch_config=TorchConfig(backend="gloo"),
        run_config=RunConfig(
            name=recipe.revision, storage_path=str(work.resolve()), failure_config=FailureConfig(max_failures=max_failures)
        ),
    )
    try:
        result = trainer.fit()
        with result.checkpoint.as_directory() as folder:
            weights = (Path(folder) / _WEIGHTS).read_bytes()
            live_scores = np.load(Path(folder) / _LIVE)
            metrics = json.loads((Path(folder) / _METRICS).read_text())
            readings = tuple(
                Reading(METRICS[name], labels, value) for name, labels, value in json.loads((Path(folder) / _READINGS).read_text())
            )
    except Exception as error:
        raise PlatformError(
            "OBS-TRAIN-001", f"training {recipe.revision} failed: {_cause(error)}", todo="read the worker's log above", where=str(work)
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    live = prepared(preprocess, peers, read_slice(training_set, "live", amount_unit=recipe.amount_unit))
    columns = {name: live.columns[:, index] for index, name in enumerate(preprocess.names)}
    columns["prediction"] = live_scores.astype(np.float64)
    return Fitted(recipe, preprocess, peers, weights, metrics, columns, len(learn.label), readings)


def fit_preprocess(recipe: Recipe, learn: TrainingSet) -> tuple[Preprocess, PeerGroups | None]:
    """Learn scaling (and peer groups) from the training slice alone."""
    table = f"peer_default_rate/{recipe.revision}" if recipe.peers else ""
    preprocess = Preprocess(recipe.features, recipe.amount_unit, recipe.sequence_length, peers=table)
    rows = preprocess.to_currency(learn.rows)
    peers = PeerGroups.of(rows.columns[PEER_CHANNEL], rows.columns[PEER_SPEND], learn.label) if recipe.peers else None
    return preprocess.fitted(preprocess.columns(rows, _peer_rates(peers, rows))), peers


def prepared(preprocess: Preprocess, peers: PeerGroups | None, part: TrainingSet) -> Prepared:
    """Transform a slice of the offline table."""
    rows = preprocess.to_currency(part.rows)
    columns = preprocess.columns(rows, _peer_rates(peers, rows))
    return Prepared(columns, preprocess.tensors(columns, rows), part.label)


def train_loop(config: dict[str, Any]) -> None:
    """Run in the Ray Train worker: train, checkpoint every epoch, evaluate after the last."""
    import torch
    from ray import train

    from feature_train_serve.train.evaluate import metrics
    from feature_train_serve.train.network import RiskTransformer, probabilities
    from mlops_obs.lifecycle import instrument

    torch.set_num_threads(1)
    recipe = Recipe(**config["recipe"])
    meter = instrument(service=SERVICE, revision=recipe.revision, stage="train").training()
    preprocess = Preprocess.from_json(config["preprocess"])
    peers = PeerGroups(**config["peers"]) if config["peers"] else None
    folder = Path(config["training_set"])

    with meter.phase("data_wait"):
        learn = prepared(preprocess, peers, read_slice(folder, "train", amount_unit=recipe.amount_unit))
        arrays = [torch.from_numpy(array) for array in (*learn.tensors, learn.label.astype(np.float32))]
    torch.manual_seed(config["seed"])
    model = RiskTransformer(len(preprocess.names), recipe.width, recipe.layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    loss_of = torch.nn.BCEWithLogitsLoss()
    steps = -(-len(learn.label) // BATCH) * recipe.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    first = 0
    checkpoint = train.get_checkpoint()
    if checkpoint is not None:
        with meter.phase("restart"), checkpoint.as_directory() as saved:
            state = torch.load(Path(saved) / _STATE, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["epoch"] + 1
    for _ in range(_earlier_attempts(Path(config["attempts"]))):
        meter.restart()

    for epoch in range(first, recipe.epochs):
        torch.manual_seed(config["seed"] * 1_000 + epoch)
        model.train()
        for rows in torch.randperm(len(learn.label)).split(BATCH):
            with meter.phase("data_wait"):
                *inputs, label = (array[rows] for array in arrays)
            with meter.phase("compute"):
                loss = loss_of(model(*inputs), label)
                optimizer.zero_grad()
                loss.backward()
            with meter.phase("optimizer"):
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            meter.step(loss.item(), len(rows))
        with tempfile.TemporaryDirectory() as directory:
            out, report = Path(directory), {"epoch": epoch, "loss": loss.item()}
            if epoch == recipe.epochs - 1:
                with meter.phase("evaluate"):
                    later = prepared(preprocess, peers, read_slice(folder, "test", amount_unit=recipe.amount_unit))
                    judged = metrics(later.label, probabilities(model, later.tensors))
                    live = prepared(preprocess, peers, read_slice(folder, "live", amount_unit=recipe.amount_unit))
                    np.save(out / _LIVE, probabilities(model, live.tensors))
                    (out / _METRICS).write_text(json.dumps(judged))
                    report |= judged
            with meter.phase("checkpoint"):
                torch.save(model.state_dict(), out / _WEIGHTS)
                saved_state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "epoch": epoch,
                }
                torch.save(saved_state, out / _STATE)
                readings = [(reading.metric.name, reading.labels, reading.value) for reading in meter.read()]
                (out / _READINGS).write_text(json.dumps(readings))
                train.report(report, checkpoint=train.Checkpoint.from_directory(directory))
            meter.checkpoint()
        if config["on_epoch"] is not None:
            config["on_epoch"](epoch)


def _earlier_attempts(path: Path) -> int:
    """Note that a worker starts; return how many did before it. A worker can die before its first checkpoint, and that counts too."""
    with path.open("a+") as attempts:
        attempts.seek(0)
        before = len(attempts.read())
        attempts.write(".")
    return before


def _peer_rates(peers: PeerGroups | None, rows: RawRows) -> np.ndarray | None:
    return peers.offline(rows.columns[PEER_CHANNEL], rows.columns[PEER_SPEND]) if peers else None


def _cause(error: Exception) -> str:
    """The last line of what Ray says is the worker's own exception; the lines before are its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
