"""Writes Evidently's drift report of two tables: pictures for people. Verdicts come from our own test.

Evidently's default categorical test treats the reference as exact and alarms on identical data (29 % of windows with
five categories); it is therefore asked for PSI here, and its flags are never read back. Its import takes seconds and
would send usage statistics: both happen in this function only, the second not at all.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlops_obs.adapters.tables import NumericTable
from mlops_obs.errors import SpecError, UsageError


def write_report(reference: NumericTable, current: NumericTable, html: Path) -> list[str]:
    """Write the HTML report over the columns that both tables have; return their names. Atomic: no half-written report.

    Raises:
        UsageError: OBS-EVI-001 if Evidently is not installed.
        SpecError: OBS-EVI-002 if the tables share no column, OBS-EVI-003 if Evidently cannot compare them.
    """
    shared = [name for name in reference.columns if name in current.columns]
    if not shared:
        raise SpecError("OBS-EVI-002", "the tables share no numeric column", todo="compare tables of the same features")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset
    except ImportError as error:
        raise UsageError("OBS-EVI-001", f"Evidently cannot be imported: {error}", todo="pip install 'mlops-obs[drift]'") from error
    definition = DataDefinition(numerical_columns=shared)
    tables = [
        Dataset.from_pandas(pd.DataFrame({name: table.columns[name] for name in shared}), data_definition=definition)
        for table in (current, reference)
    ]
    draft = html.with_name(html.name + ".part")
    try:
        run = Report([DataDriftPreset(num_method="psi", num_threshold=0.2)]).run(*tables)
        run.save_html(str(draft))
        draft.replace(html)
    except OSError as error:
        raise UsageError(
            "OBS-EVI-004", f"cannot write the report: {error.strerror}", where=str(html), todo="choose another place"
        ) from error
    except Exception as error:  # Evidently raises what it likes, for example on a column without any value
        raise SpecError("OBS-EVI-003", f"Evidently cannot compare the tables: {error}", todo="drop columns without values") from error
    finally:
        draft.unlink(missing_ok=True)
    return shared
