"""YAML as people write it, read safely: exact decimals, no repeated keys, the line of every key, and no way to hang.

A spec comes from a repository that many people write to. Three traps: libyaml's own tree builder overflows the C stack on
`[[[[...` and kills the process; nine anchors that name each other stand for a billion values, which the first `str(value)`
then writes out; and a binary float makes 99.9 another number. So the tree is built here, from libyaml's flat list of events,
with a limit on depth and on the text that aliases stand for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from mlops_obs.errors import SpecError

MAX_BYTES, MAX_DEPTH, MAX_SIZE = 1_000_000, 64, 3_000_000
Path_ = tuple[int | str, ...]
Locate = Callable[[Path_], str]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {word: truth for truth, words in ((True, "true yes on"), (False, "false no off")) for base in words.split() for word in
         (base, base.capitalize(), base.upper())}  # fmt: skip
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,40})")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]{0,40}\.[0-9_]{0,40}|\.[0-9][0-9_]{0,40})(?:[eE][-+]?[0-9]{1,2})?")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """One `---` document: its value (mappings, lists, text, int, exact Decimal, bool, None) and where each path of keys stands."""

    value: object
    locate: Locate
    line: int


@dataclass(slots=True)
class _Node:
    line: int
    value: object = None
    keys: dict[str, tuple[int, _Node]] | None = None
    items: list[_Node] | None = None
    size: int = 1
    merged: set[str] = field(default_factory=set)


class _Broken(Exception):
    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def read_documents(path: Path) -> list[Document]:
    """Return the documents in the file at `path`, without empty ones.

    Raises:
        SpecError: OBS-SLO-001 if it cannot be read, is larger than 1 MB, is not YAML, repeats a key or is nested beyond reason.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)  # a device or a pipe may never end
        if len(raw) > MAX_BYTES:
            raise SpecError("OBS-SLO-001", f"is larger than {MAX_BYTES} bytes", todo="split it by service", where=str(path))
        text = raw.decode("utf-8")
    except OSError as error:
        raise SpecError("OBS-SLO-001", f"cannot be read: {error.strerror}", todo="check the path", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise SpecError("OBS-SLO-001", "is not UTF-8 text", todo="save it as UTF-8", where=str(path)) from error
    return parse_documents(text, str(path))


def read_document(path: Path) -> tuple[object, Locate]:
    """Return the one document in `path` (None if it is empty) and a function from a path of keys to `file:line`.

    Raises:
        SpecError: OBS-SLO-001 as in `read_documents`, and if there is a second document.
    """
    documents = read_documents(path)
    if len(documents) > 1:
        raise SpecError("OBS-SLO-001", "holds a second document", todo="keep one document in a file", where=f"{path}:{documents[1].line}")
    return (documents[0].value, documents[0].locate) if documents else (None, lambda _keys: f"{path}:1")


def parse_documents(text: str, name: str) -> list[Document]:
    """Return the documents in `text`; `name` stands for it in messages.

    Raises:
        SpecError: OBS-SLO-001 if it is not YAML, repeats a key or is nested beyond reason.
    """
    try:
        return [_document(node, name) for node in _trees(text)]
    except _Broken as error:
        raise SpecError("OBS-SLO-001", f"is not valid YAML: {error}", todo="correct that line", where=f"{name}:{error.line}") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError("OBS-SLO-001", f"is not valid YAML: {problem}", todo="correct that line", where=where) from error


def _document(node: _Node, name: str) -> Document:
    def locate(keys: Path_) -> str:
        """Return the place of the deepest node on the way down `keys`: a missing key is reported at its parent."""
        here, line = node, node.line
        for key in keys:
            if here.keys is not None and key in here.keys:
                line, here = here.keys[str(key)]
            elif here.items is not None and isinstance(key, int) and key < len(here.items):
                here = here.items[key]
                line = here.line
            else:
                break
        return f"{name}:{line}"

    return Document(node.value, locate, node.line)


def _trees(text: str) -> Iterator[_Node]:
    loader = _LOADER(text)
    most = max(MAX_SIZE, 2 * len(text))  # a long file may stand for itself
    try:
        open_: list[_Node] = []  # the collections we are inside of
        names: list[str | None] = []  # their anchors
        pending: list[tuple[str, int] | None] = []  # per open mapping the key that waits for its value
        anchors: dict[str, _Node] = {}
        while loader.check_event():
            event = loader.get_event()
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                anchors = {}
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                is_map = isinstance(event, yaml.MappingStartEvent)
                if event.tag not in (None, "!", f"{_TAG}{'map' if is_map else 'seq'}"):
                    raise _Broken(line, f"the tag {event.tag!r} is not known here")
                if len(open_) >= MAX_DEPTH:
                    raise _Broken(line, f"nested deeper than {MAX_DEPTH} levels")
                if open_ and open_[-1].keys is not None and pending[-1] is None:
                    raise _Broken(line, "a key is not plain text")
                open_.append(_Node(line, keys={}) if is_map else _Node(line, items=[]))
                pending.append(None)
                names.append(event.anchor)
            elif isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent, yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                if isinstance(event, yaml.ScalarEvent):
                    if open_ and open_[-1].keys is not None and pending[-1] is None:
                        pending[-1] = (_key(open_[-1], event, line), line)
                        continue
                    node = _Node(line, value=_scalar(event, line), size=1 + len(event.value))
                    anchor = event.anchor
                elif isinstance(event, yaml.AliasEvent):
                    if event.anchor not in anchors:
                        raise _Broken(line, f"the alias *{event.anchor} names nothing before it")
                    if open_ and open_[-1].keys is not None and pending[-1] is None:
                        raise _Broken(line, "a key is not plain text")
                    node, anchor = anchors[event.anchor], None
                else:
                    node, anchor = open_.pop(), names.pop()
                    pending.pop()
                    _close(node)
                if anchor:
                    anchors[anchor] = node
                if not open_:
                    if node.value is not None:
                        yield node
                    continue
                _put(open_[-1], pending, node, line, most)
    finally:
        loader.dispose()


def _put(parent: _Node, pending: list[tuple[str, int] | None], node: _Node, line: int, most: int) -> None:
    parent.size += node.size
    if parent.size > most:
        raise _Broken(line, f"with its aliases it stands for more than {most} characters")
    if parent.items is not None:
        parent.items.append(node)
        return
    waiting = pending[-1]
    assert parent.keys is not None and waiting is not None  # noqa: S101, PT018 - a value in a mapping follows its key
    key, key_line = waiting
    pending[-1] = None
    if key == "<<":
        for source in node.items if node.items is not None else [node]:
            if source.keys is None:
                raise _Broken(line, "<< merges mappings only")
            for merged, place in source.keys.items():
                if merged not in parent.keys:
                    parent.keys[merged] = place
                    parent.merged.add(merged)
        return
    parent.keys[key] = (key_line, node)


def _key(parent: _Node, event: Any, line: int) -> str:
    key = str(event.value)
    assert parent.keys is not None  # noqa: S101 - only asked of mappings
    if key in parent.keys and key not in parent.merged:
        raise _Broken(line, f"the key {key!r} stands here for the second time")
    parent.merged.discard(key)
    return key


def _close(node: _Node) -> None:
    if node.keys is not None:
        node.value = {key: child.value for key, (_, child) in node.keys.items()}
    else:
        node.value = [child.value for child in node.items or ()]


def _scalar(event: Any, line: int) -> object:
    text, tag = str(event.value), event.tag
    if tag is not None and tag != "!":
        if tag == f"{_TAG}str":
            return text
        if tag not in {f"{_TAG}{kind}" for kind in ("int", "float", "bool", "null")}:
            raise _Broken(line, f"the tag {tag!r} is not known here")
    elif tag == "!" or event.style not in (None, ""):
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return Decimal(text.replace("_", ""))
    return text
