"""Evidently's report of the columns that have drifted: pictures for people, from a sample of rows. Verdicts come from our own tests.

Evidently's default categorical test treats the reference as exact and alarms on identical data (29 % of windows with five
categories); it is therefore asked for PSI here, and its flags are never read back. Its import takes seconds and would send usage
statistics; its preset takes 17 s for 50 columns of 100,000 rows, hence few columns and a sample.

The trap: one column without any value aborts Evidently's whole report; such columns are left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.errors import SpecError, UsageError

MOST_COLUMNS = 20
_PSI_LIMIT = 0.2

Frame = Mapping[str, NDArray[Any]]


def write_report(reference: Frame, current: Frame, html: Path) -> list[str]:
    """Write Evidently's HTML report over the columns that both samples have and that hold a value; return their names.

    Args:
        reference: column name -> values (float64 with NaN, or objects: names and None), as `drift_samples` returns them.
        current: the same.
        html: written whole or not at all.

    Raises:
        UsageError: OBS-EVI-001 if Evidently is not installed, OBS-EVI-004 if the file cannot be written.
        SpecError: OBS-EVI-002 if no column can be shown, OBS-EVI-003 if Evidently cannot compare them.
    """
    shared = [name for name in reference if name in current and _holds_values(reference[name]) and _holds_values(current[name])]
    if not shared:
        raise SpecError("OBS-EVI-002", "no column has values on both sides", todo="compare tables of the same features")
    os.environ["DO_NOT_TRACK"] = "1"
    try:
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset
    except ImportError as error:
        raise UsageError("OBS-EVI-001", f"Evidently cannot be imported: {error}", todo="pip install 'mlops-obs[drift]'") from error
    named = [name for name in shared if reference[name].dtype == object]
    definition = DataDefinition(numerical_columns=[name for name in shared if name not in named], categorical_columns=named)
    tables = [
        Dataset.from_pandas(pd.DataFrame({name: side[name] for name in shared}), data_definition=definition)
        for side in (current, reference)
    ]
    draft = html.with_name(html.name + ".part")
    try:
        preset = DataDriftPreset(num_method="psi", num_threshold=_PSI_LIMIT, cat_method="psi", cat_threshold=_PSI_LIMIT)
        run = Report([preset]).run(*tables)
        run.save_html(str(draft))
        draft.replace(html)
    except OSError as error:
        raise UsageError(
            "OBS-EVI-004", f"cannot write the report: {error.strerror}", where=str(html), todo="choose another place"
        ) from error
    except Exception as error:  # Evidently raises what it likes
        raise SpecError("OBS-EVI-003", f"Evidently cannot compare the tables: {error}", todo="leave out the column named") from error
    finally:
        draft.unlink(missing_ok=True)
    return shared


def _holds_values(values: NDArray[Any]) -> bool:
    return any(one is not None for one in values.tolist()) if values.dtype == object else bool(np.isfinite(values).any())
