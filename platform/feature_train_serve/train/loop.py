"""What runs in the Ray Train worker: train, checkpoint, evaluate.

Each epoch draws its randomness from (seed, epoch) alone, and each ends in a checkpoint. A run that lost its worker therefore ends with
the very weights of a run that did not: that is what the test compares.
The trap: the worker is a process of its own. It is instrumented here, not where `fit` was called.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from feature_train_serve.config import SERVICE
from feature_train_serve.train.models import load_model
from feature_train_serve.train.peers import PeerGroups
from feature_train_serve.train.preprocess import Preprocess
from feature_train_serve.train.recipes import Recipe
from feature_train_serve.train.rows import read_slice
from feature_train_serve.train.slices import Prepared, prepared

BATCH = 256
STATE, WEIGHTS, METRICS, READINGS = "state.pt", "weights.bin", "metrics.json", "readings.json"
ATTEMPTS = "attempts"
_RATE = 3e-3


class _Job:
    """What both sorts of training share: the recipe, the slices, the meter and the way to report."""

    def __init__(self, config: dict[str, Any]) -> None:
        from mlops_obs.lifecycle import instrument

        self.recipe = Recipe(**config["recipe"])
        self.seed: int = config["seed"]
        self.meter = instrument(service=SERVICE, revision=self.recipe.revision, stage="train").training()
        self.preprocess = Preprocess.from_json(config["preprocess"])
        self._peers = PeerGroups(**config["peers"]) if config["peers"] else None
        self._folder = Path(config["training_set"])
        self._on_epoch: Callable[[int], None] | None = config["on_epoch"]
        for _ in range(_earlier_attempts(Path(config["attempts"]))):
            self.meter.restart()

    def slice(self, split: str) -> Prepared:
        """Read and transform a slice."""
        return prepared(self.preprocess, self._peers, read_slice(self._folder, split, amount_unit=self.recipe.amount_unit))

    def report(self, epoch: int, loss: float, weights: bytes, *, last: bool, save: Callable[[Path], None] = lambda _: None) -> None:
        """End an epoch: evaluate after the last one, write the checkpoint, tell Ray."""
        from ray import train

        from feature_train_serve.train.evaluate import metrics

        with tempfile.TemporaryDirectory() as directory:
            out, told = Path(directory), {"epoch": epoch, "loss": loss}
            if last:
                with self.meter.phase("evaluate"):
                    later = self.slice("test")
                    schema = {"features": self.preprocess.names, "model": self.recipe.model, "width": self.recipe.width}
                    model = load_model({**schema, "layers": self.recipe.layers}, weights)
                    judged = metrics(later.label, model.score(later.columns, later.tensors).probability)
                    (out / METRICS).write_text(json.dumps(judged))
                    told |= judged
            with self.meter.phase("checkpoint"):
                (out / WEIGHTS).write_bytes(weights)
                save(out)
                readings = [(reading.metric.name, reading.labels, reading.value) for reading in self.meter.read()]
                (out / READINGS).write_text(json.dumps(readings))
                train.report(told, checkpoint=train.Checkpoint.from_directory(directory))
            self.meter.checkpoint()
        if self._on_epoch is not None:
            self._on_epoch(epoch)


def train_trees(config: dict[str, Any]) -> None:
    """Fit boosted trees: seconds, so one checkpoint at the end."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    from feature_train_serve.train.trees import Trees

    job = _Job(config)
    with job.meter.phase("data_wait"):
        learn = job.slice("train")
    classifier = HistGradientBoostingClassifier(
        max_iter=job.recipe.epochs,
        learning_rate=0.08,
        max_leaf_nodes=12,
        min_samples_leaf=80,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=job.seed,
    )
    with job.meter.phase("compute"):
        # scikit-learn stumbles over a column without any value; one of zeros can split nothing, so no tree will look at it
        empty = np.isnan(learn.columns).all(axis=0)
        classifier.fit(np.where(empty, 0.0, learn.columns), learn.label)
        trees = Trees.of(classifier)
    odds = trees.log_odds(learn.columns)
    loss = float(np.mean(np.logaddexp(0.0, odds) - learn.label * odds))
    job.meter.step(loss, len(learn.label))
    job.report(0, loss, trees.to_bytes(), last=True)


def train_network(config: dict[str, Any]) -> None:
    """Train a network: first on masked events where the recipe says so, then on the labels; a checkpoint after every epoch."""
    import io

    import torch
    from ray import train

    from feature_train_serve.train.network import NETWORKS, MaskedEvents, SequenceTransformer

    torch.set_num_threads(1)
    job = _Job(config)
    recipe, meter, seed = job.recipe, job.meter, job.seed
    with meter.phase("data_wait"):
        learn = job.slice("train")
        arrays = [torch.from_numpy(array) for array in (*learn.tensors, learn.label.astype(np.float32))]
    torch.manual_seed(seed)
    model = NETWORKS[recipe.model](len(job.preprocess.names), recipe.width, recipe.layers)
    classify = torch.nn.BCEWithLogitsLoss()
    per_epoch = -(-len(learn.label) // BATCH)

    def on_labels(*batch: Any) -> Any:
        return classify(model(*batch[:-1])[0], batch[-1])

    stages = [_Stage(torch, model, on_labels, recipe.epochs, per_epoch)]
    if recipe.pretrain_epochs and isinstance(model, SequenceTransformer):
        guess = MaskedEvents(model, recipe.width)
        stages.insert(0, _Stage(torch, guess, lambda *batch: guess(*batch[:-1]), recipe.pretrain_epochs, per_epoch))
    total, first = sum(stage.epochs for stage in stages), 0
    checkpoint = train.get_checkpoint()
    if checkpoint is not None:
        with meter.phase("restart"), checkpoint.as_directory() as saved:
            state = torch.load(Path(saved) / STATE, weights_only=True)
        model.load_state_dict(state["model"])
        for stage, kept in zip(stages, state["stages"], strict=True):
            stage.load(kept)
        first = state["epoch"] + 1

    for epoch in range(first, total):
        stage = stages[0] if epoch < stages[0].epochs else stages[-1]
        torch.manual_seed(seed * 1_000 + epoch)
        stage.module.train()
        for rows in torch.randperm(len(learn.label)).split(BATCH):
            with meter.phase("data_wait"):
                batch = [array[rows] for array in arrays]
            with meter.phase("compute"):
                loss = stage.loss(*batch)
                stage.optimizer.zero_grad()
                loss.backward()
            with meter.phase("optimizer"):
                torch.nn.utils.clip_grad_norm_(stage.module.parameters(), 1.0)
                stage.optimizer.step()
                stage.schedule.step()
            meter.step(loss.item(), len(rows))
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        kept = {"model": model.state_dict(), "stages": [stage.state() for stage in stages], "epoch": epoch}
        job.report(
            epoch,
            loss.item(),
            buffer.getvalue(),
            last=epoch == total - 1,
            save=lambda out, kept=kept: torch.save(kept, out / STATE),  # type: ignore[misc]
        )


class _Stage:
    """A loss with its own optimizer and schedule: the pre-training must not leave its momentum behind."""

    def __init__(self, torch: Any, module: Any, loss: Callable[..., Any], epochs: int, per_epoch: int) -> None:
        self.module, self.loss, self.epochs = module, loss, epochs
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=_RATE, weight_decay=0.01)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr=_RATE, total_steps=epochs * per_epoch)

    def state(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def _earlier_attempts(path: Path) -> int:
    """Note that a worker starts; return how many did before it. A worker can die before its first checkpoint, and that counts too."""
    with path.open("a+") as attempts:
        attempts.seek(0)
        before = len(attempts.read())
        attempts.write(".")
    return before
