"""Reading the `collector.yaml` of an exporter: one line for every way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mlops_obs.errors import SpecError, UsageError

Config = TypeVar("Config", bound=BaseModel)


def read_config(path: Path, model: type[Config], *, missing: str, wrong: str, example: str) -> Config:
    """Return the configuration in `path`.

    Args:
        path: a YAML file.
        model: what it must be.
        missing: the code of the error if it cannot be read.
        wrong: the code of the error if it is no such configuration.
        example: the file that ships.

    Raises:
        UsageError: with the code `missing`.
        SpecError: with the code `wrong`.
    """
    advice = f"see {example}"
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(missing, f"cannot read the configuration: {error.strerror}", where=str(path), todo="pass --config FILE") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise SpecError(wrong, f"{place}: {first['msg']}", where=str(path), todo=advice) from error
    except UnicodeDecodeError as error:
        raise SpecError(wrong, "not UTF-8 text", where=str(path), todo="save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError(wrong, f"not YAML: {problem}", where=where, todo=advice) from error
