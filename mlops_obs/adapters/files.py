"""Reading specs from disk, with the line of every mistake, and writing generated files whole or not at all.

PromQL in a spec is parsed here, because the parser is a library of others, and references between SLOs are looked up once
all files are read. The trap is a half-written rule file that Prometheus then loads: everything is written beside its place,
flushed and renamed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mlops_obs.adapters.yaml_documents import Locate
from mlops_obs.adapters.yaml_documents import read_document as load_yaml
from mlops_obs.errors import ObsError, PlatformError, SpecError
from mlops_obs.slo.relations import broken_references
from mlops_obs.slo.spec import SLO, SpecErrors
from mlops_obs.slo.spec_document import parse_slos, services_of
from mlops_obs.slo.tiers import plan_tiers

__all__ = ["load_slos", "load_yaml", "write_atomically"]


def load_slos(*paths: Path, replan: bool = False) -> list[SLO]:
    """Return the SLOs in `paths`, in order; a folder stands for its `*.yaml` and `*.yml` files, sorted. Every alert of theirs can fire.

    Args:
        paths: files and folders.
        replan: stretch alert windows that could never fire, whatever the specs say.

    Raises:
        SpecErrors: all mistakes of all files, each with file and line.
    """
    slos: list[SLO] = []
    errors: list[ObsError] = []
    places: dict[str, tuple[Locate, int]] = {}
    unread: set[str] = set()
    complete = True
    for path in _expand(paths):
        try:
            document, locate = load_yaml(path)
        except SpecError as error:
            errors.append(error)
            complete = False
            continue
        try:
            found = parse_slos(document, locate, promql_problem, lambda slo, where: _dead_alerts(_planned(slo, replan), where))
        except SpecErrors as error:
            errors.extend(error.errors)
            unread |= services_of(document)
            continue
        for index, one in enumerate(found):
            slo = _planned(one, replan)
            if slo.ref in places:
                where = locate(("slos", index, "name"))
                first = places[slo.ref][0](("slos", places[slo.ref][1], "name"))
                errors.append(SpecError("OBS-SLO-009", f"SLO {slo.ref} is also defined in {first}", todo="keep one", where=where))
            else:
                places[slo.ref] = (locate, index)
                slos.append(slo)

    def place(slo: SLO, keys: tuple[int | str, ...]) -> str:
        locate, index = places[slo.ref]
        return locate(("slos", index, *keys))

    if complete:  # else what is missing may stand in the file that could not be read
        errors += broken_references(slos, place, unread)
    if errors:
        raise SpecErrors(errors)
    return slos


def _planned(slo: SLO, replan: bool) -> SLO:
    return slo.model_copy(update={"replan": True}) if replan else slo


def _dead_alerts(slo: SLO, where: str) -> list[ObsError]:
    try:
        plan_tiers(slo)
    except SpecErrors as error:
        return [SpecError(one.code, one.what, todo=one.todo, where=where) for one in error.errors]
    return []


def promql_problem(kind: str, text: str, where: str) -> ObsError | None:
    """Return what is wrong with the PromQL that a person wrote: a `selector`, or an `expression` with {{.window}}."""
    from mlops_obs.adapters.promql import check_expression, check_selector

    try:
        (check_selector if kind == "selector" else check_expression)(text, where)
    except SpecError as error:
        return error
    return None


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` as a whole or not at all.

    Raises:
        PlatformError: OBS-FILE-001 if it cannot be written (no space, no permission).
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise PlatformError(
            "OBS-FILE-001", f"cannot be written: {error.strerror}", todo="free space or fix permissions", where=str(path)
        ) from error
    finally:
        with suppress(OSError):
            if temporary:
                Path(temporary).unlink(missing_ok=True)


def _expand(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found.extend(sorted(one for one in path.glob("*.y*ml") if one.suffix in (".yaml", ".yml")) if path.is_dir() else [path])
    if not found:
        raise SpecErrors([SpecError("OBS-SLO-001", "no SLO file was named or found", todo="name slo/*.yaml files")])
    return found
