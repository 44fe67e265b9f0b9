"""Profiles of tables on Ray Data: the same sketches as on one machine, made where the files are read, merged exactly.

Only file names go to the workers and only sketches come back (some kilobytes for a file), so the tables may be larger than the memory
of all nodes; the driver keeps what has come back, see `drift_scan`. A path must mean the same file on every node: a shared file system
or URLs.

The trap: a Ray Dataset has blocks, not files; what `profile_dataset` returns has no order to depend on, because sketches have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlops_obs.adapters.drift_scan import Over, Work, pack, sketch_file, unpack
from mlops_obs.collectors.drift.columns import Schema
from mlops_obs.collectors.drift.inference import SAMPLE_ROWS
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError, UsageError


def on_ray() -> Over:
    """Return an engine for `drift_scan.scan` that reads on Ray; connects to RAY_ADDRESS, or starts Ray here.

    Raises:
        UsageError: OBS-DRF-033 if Ray is not installed.
    """
    data = _ray_data()

    def over(sources: Sequence[str], work: Work) -> Iterator[tuple[str, bytes]]:
        if not sources:
            return

        def sketched(row: dict[str, Any]) -> dict[str, Any]:
            try:
                return {"source": row["source"], "sketch": sketch_file(row["source"], work), "error": ""}
            except SpecError as error:  # as data: Ray would bury it in a traceback of its own
                return {"source": row["source"], "sketch": b"", "error": f"{error.code}\n{error.what}\n{error.where}\n{error.todo}"}

        files = data.from_items([{"source": source} for source in sources], override_num_blocks=len(sources))
        for row in files.map(sketched).iter_rows():
            if row["error"]:
                code, what, where, todo = row["error"].split("\n", 3)
                raise SpecError(code, what, where=where, todo=todo)
            yield row["source"], row["sketch"]

    return over


def profile_dataset(dataset: Any, schema: Schema | None = None) -> ReferenceProfile:
    """Return the profile of a Ray Dataset, without sections.

    Args:
        dataset: a `ray.data.Dataset` of rows; its blocks are sketched where they are.
        schema: its columns; by default inferred from its first rows.
    """
    from mlops_obs.adapters.tables import block_of_arrow, schema_of_arrow

    known = schema or schema_of_arrow(next(iter(dataset.iter_batches(batch_size=SAMPLE_ROWS, batch_format="pyarrow"))))

    def sketched(table: Any) -> dict[str, Any]:
        profile = ReferenceProfile.from_block(block_of_arrow(table, known), known)
        return {"sketch": [pack(profile, table.num_rows)]}

    whole: ReferenceProfile | None = None
    for row in dataset.map_batches(sketched, batch_format="pyarrow", batch_size=None).iter_rows():
        part, _ = unpack(row["sketch"])
        whole = whole.merge(part) if whole else part
    if whole is None:
        raise SpecError("OBS-DRF-002", "the dataset has no rows", todo="profile the table that the model was trained on")
    return whole


def _ray_data() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("OBS-DRF-033", f"Ray Data cannot be imported: {error}", todo="pip install ray[data], or --no-ray") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level="warning")
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data
