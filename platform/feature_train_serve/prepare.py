"""Everything before serving: events, features offline and online, parity, and three trained packages.

Each step is instrumented like anybody's job: two lines of `mlops_obs.lifecycle`. A step that fails says so and leaves no half result.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_train_serve.config import SERVICE, Sizes
from feature_train_serve.features.batch import build_training_set, snapshots
from feature_train_serve.features.events import events_of
from feature_train_serve.features.ingest import partition, read_events
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.features.parity import check_parity
from feature_train_serve.files import replacing
from feature_train_serve.simulator.lender import simulate
from feature_train_serve.train.fit import fit
from feature_train_serve.train.package import write_package
from feature_train_serve.train.recipes import RECIPES, Recipe
from mlops_obs.errors import PlatformError
from mlops_obs.lifecycle import instrument

SIZES = Sizes()
Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What serving needs: package folder by revision, the online store, and a text file with one customer id per line."""

    packages: dict[str, Path]
    online_store: Path
    customers: Path


def prepare(
    out: Path, seed: int, progress: Progress, data: Path | None = None, sizes: Sizes = SIZES, recipes: Sequence[Recipe] = RECIPES
) -> Prepared:
    """Build features and models under `out`. Ray must be initialised.

    Args:
        out: folder for everything that is written.
        seed: decides the synthetic lender and every random draw of training.
        progress: called with {"step", "status": start | done | error, "seconds", "note"}.
        data: a user's own event table instead of the simulator.
        sizes: how much to simulate.
        recipes: the revisions to train.

    Raises:
        SpecError: the user's table is wrong.
        PlatformError: OBS-PREP-001 if offline and online features differ; OBS-TRAIN-*, OBS-PKG-* from training.
        StateError: the online store cannot be written.
        PlatformError: OBS-PREP-002 if a file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    features = instrument(service=SERVICE, revision="", stage="features")
    now = time.time_ns() // 1_000_000

    with _step(progress, "data") as note:
        events = read_events(data) if data else _simulated(out / "data", seed, sizes, now)
        last = events["event_time"][-1].as_py()
        moments = snapshots(events["event_time"][0].as_py(), last if data else now)
        note(f"{events.num_rows:,} events{'' if data else ' (synthetic)'}")

    training_set = out / "training_set"
    with _step(progress, "features") as note, features.stage() as run:
        rows = build_training_set(partition(events, out / "events", sizes.partitions), moments, training_set)
        run.rows(rows)
        note(f"{rows:,} rows on Ray Data")

    with _step(progress, "online-store") as note, features.stage() as run:
        store = _fill_store(out / "online.db", events, moments.live)
        customers = store.customers()
        run.rows(len(customers))
        note(f"{len(customers):,} customers")

    with _step(progress, "parity") as note:
        report = check_parity(events, pq.read_table(training_set), store)
        if not report.equal:
            worst = report.mismatches[0] if report.mismatches else "nothing to compare"
            raise PlatformError(
                "OBS-PREP-001", f"{len(report.mismatches)} feature values differ online: {worst}", todo="do not train on them"
            )
        note(f"{report.values:,} values equal bit for bit")

    packages = {recipe.revision: _train(recipe, out, training_set, seed, store, progress, data is None) for recipe in recipes}
    (out / "checkpoints").rmdir()
    listing = out / "customers.txt"
    _write_text(listing, "".join(f"{name}\n" for name in customers))
    store.close()
    return Prepared(packages, out / "online.db", listing)


def _simulated(folder: Path, seed: int, sizes: Sizes, now: int) -> pa.Table:
    simulation = simulate(seed, sizes.customers, sizes.days, now)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("events", simulation.events), ("truth", simulation.truth)):
        with replacing(folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary)
    _write_text(
        folder / "truth.json",
        json.dumps({"synthetic": True, "seed": seed, "customers": sizes.customers, "days": sizes.days, "ends_at_ms": now}),
    )
    return read_events(folder / "events.parquet")


def _fill_store(path: Path, events: pa.Table, live: int) -> OnlineStore:
    for leftover in (Path(f"{path}-wal"), Path(f"{path}-shm")):
        leftover.unlink(missing_ok=True)
    with replacing(path) as temporary:
        temporary.unlink(missing_ok=True)
        store = OnlineStore(temporary, create=True)
        try:
            store.apply(events_of(events))
            store.set_now(live)
            store.advance(live)
        finally:
            store.close()  # the last connection folds SQLite's write-ahead log into the file
    return OnlineStore(path)


def _train(recipe: Recipe, out: Path, training_set: Path, seed: int, store: OnlineStore, progress: Progress, synthetic: bool) -> Path:
    telemetry = instrument(service=SERVICE, revision=recipe.revision, stage="train")
    with _step(progress, f"train-{recipe.revision}") as note, telemetry.stage() as run:
        fitted = fit(recipe, training_set, out / "checkpoints" / recipe.revision, seed)
        if fitted.peers is not None:
            store.put_lookup(fitted.preprocess.peers, fitted.peers.rates)
        package = write_package(
            fitted, out / "packages", run_id=uuid.uuid4().hex, trace_id=run.trace_id, created_at=datetime.now(UTC), synthetic=synthetic
        )
        telemetry.register_collector("training", lambda: fitted.readings)  # the worker that measured them is gone
        run.rows(fitted.rows)
        note(f"AUC {fitted.metrics['auc']:.3f}, calibration error {fitted.metrics['calibration_error']:.3f}")
    return package


@contextmanager
def _step(progress: Progress, name: str) -> Iterator[Callable[[str], None]]:
    started = time.monotonic()
    notes: list[str] = []

    def say(status: str) -> None:
        progress({"step": name, "status": status, "seconds": round(time.monotonic() - started, 3), "note": "; ".join(notes)})

    say("start")
    try:
        yield notes.append
    except BaseException as error:
        notes.append(str(error).splitlines()[0] if str(error) else type(error).__name__)
        say("error")
        if isinstance(error, OSError):
            todo = "free space or choose another --out"
            raise PlatformError(
                "OBS-PREP-002", f"step {name}: {error.strerror or error}", todo=todo, where=str(error.filename or "")
            ) from error
        raise
    say("done")


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)
