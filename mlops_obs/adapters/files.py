"""Reading specs from disk, with the line of every key, and writing generated files whole or not at all.

YAML would read 0.999 as a binary float and accept a key twice; here numbers stay exact decimals, and a repeated key is
an error. The trap is a half-written rule file that Prometheus then loads: everything is written beside its place,
flushed and renamed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from mlops_obs.errors import PlatformError, SpecError
from mlops_obs.slo.spec import SLO, SpecErrors, parse_slos

_MAX_BYTES = 1_000_000
Path_ = tuple[int | str, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader with exact numbers, no dates, and no repeated keys."""


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _number(loader: _Loader, node: yaml.ScalarNode) -> object:
    text = _text(loader, node)
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:
        return text


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[object, Any]:
    seen: dict[object, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(None, None, "a key is not plain text", key_node.start_mark)
        key = key_node.value
        if key in seen:
            raise yaml.MarkedYAMLError(None, None, f"the key {key!r} stands here for the second time", key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load_yaml(path: Path) -> tuple[object, Callable[[Path_], str]]:
    """Return the document in `path` and a function from a path of keys to `file:line`.

    Raises:
        SpecError: OBS-SLO-001 if the file cannot be read, is not YAML, repeats a key or is larger than 1 MB.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except OSError as error:
        raise SpecError("OBS-SLO-001", f"cannot be read: {error.strerror}", todo="check the path", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise SpecError("OBS-SLO-001", "is not UTF-8 text", todo="save it as UTF-8", where=str(path)) from error
    if len(raw) > _MAX_BYTES:
        raise SpecError("OBS-SLO-001", f"is larger than {_MAX_BYTES} bytes", todo="split it by service", where=str(path))
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            document = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError("OBS-SLO-001", f"is not valid YAML: {problem}", todo="correct that line", where=where) from error

    def locate(keys: Path_) -> str:
        return f"{path}:{_line(node, keys)}"

    return document, locate


def load_slos(*paths: Path) -> list[SLO]:
    """Return the SLOs in `paths`, in order; a folder stands for its `*.yaml` files, sorted.

    Raises:
        SpecErrors: all mistakes of all files, each with file and line.
    """
    slos: list[SLO] = []
    errors: list[SpecError] = []
    for path in _expand(paths):
        try:
            slos.extend(parse_slos(*load_yaml(path)))
        except SpecErrors as error:
            errors.extend(e for e in error.errors if isinstance(e, SpecError))
        except SpecError as error:
            errors.append(error)
    seen: set[tuple[str, str]] = set()
    for slo in slos:
        if (slo.service, slo.name) in seen:
            errors.append(SpecError("OBS-SLO-009", f"SLO {slo.service}/{slo.name} is defined in two files", todo="keep one"))
        seen.add((slo.service, slo.name))
    if errors:
        raise SpecErrors(errors)
    return slos


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
        found.extend(sorted(path.glob("*.yaml")) if path.is_dir() else [path])
    if not found:
        raise SpecErrors([SpecError("OBS-SLO-001", "no SLO file was named or found", todo="name slo/*.yaml files")])
    return found


def _line(node: yaml.Node | None, keys: Path_) -> int:
    """Return the line of the deepest node on the way down `keys`: a missing key is reported at its parent."""
    line = 1 if node is None else node.start_mark.line + 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if getattr(k, "value", None) == key), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            return line
    return line
