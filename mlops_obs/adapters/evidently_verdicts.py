"""Which columns Evidently's defaults call drifted: for `obs drift calibrate` only, which counts how often they are wrong.

No verdict of ours is read from it. The trap: a bare result of Evidently says neither drifted nor which way a number points; only its
tests do, so the report is run with them.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import INVALID_CODE, Block, Categories
from mlops_obs.errors import UsageError


def alarmed(reference: Block, current: Block) -> set[str]:
    """Return the columns that Evidently's drift preset, as it comes, calls drifted.

    Raises:
        UsageError: OBS-EVI-001 if Evidently is not installed.
    """
    os.environ["DO_NOT_TRACK"] = "1"
    try:
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset
    except ImportError as error:
        raise UsageError("OBS-EVI-001", f"Evidently cannot be imported: {error}", todo="pip install 'mlops-obs[drift]'") from error
    sides = [
        {name: _plain(data) for name, data in block.items() if name in reference and name in current} for block in (current, reference)
    ]
    named = [name for name, values in sides[0].items() if values.dtype == object]
    definition = DataDefinition(numerical_columns=[name for name in sides[0] if name not in named], categorical_columns=named)
    tables = [Dataset.from_pandas(pd.DataFrame(side), data_definition=definition) for side in sides]
    run = Report([DataDriftPreset()], include_tests=True).run(*tables)
    found = set()
    for test in run.dict()["tests"]:
        column = (test.get("metric_config") or {}).get("params", {}).get("column")
        if column and test["status"] == "FAIL":
            found.add(str(column))
    return found


def _plain(data: object) -> NDArray[np.object_] | NDArray[np.float64]:
    if isinstance(data, Categories):
        names = np.array([*data.names, None, None], dtype=object)
        codes = np.where(data.codes >= 0, data.codes, len(data.names) + (data.codes == INVALID_CODE))
        found: NDArray[np.object_] = names[codes]
        return found
    return np.asarray(data, dtype=np.float64)
