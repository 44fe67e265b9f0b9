"""Documents as block YAML that people read and edit: the output of imports and exports. Same input, same bytes.

Text stands plain only where every YAML reader takes it for text: `no`, `1e3`, `2026-01-01` and `a: b` are quoted. Expressions of
several lines are literal blocks, with an indentation indicator where the first line begins with a space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from mlops_obs.slo.yaml_text import quoted

_PLAIN = re.compile(r"[A-Za-z/_(](?:[A-Za-z0-9 _./()@%+*=<>~^|$;,?!'\"-]|:(?=[A-Za-z]))*")
_DURATION = re.compile(r"[1-9][0-9]*(?:ms|[smhdw])")
_WORDS = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"])
_FLOW = re.compile(r"[,\[\]{}]")
_LITERAL = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]*")
_WIDTH = 100


def document(value: Mapping[str, object], comments: Sequence[str] = ()) -> str:
    """Return `value` (mappings, sequences, text, numbers, truths) as one YAML document; `comments` stand before it, a line each."""
    lines = [f"# {line}".rstrip() for comment in comments for line in _safe(comment).split("\n")]
    return "\n".join([*lines, *_mapping(value, 0)]) + "\n"


def _mapping(value: Mapping[str, object], indent: int) -> list[str]:
    pad, lines = " " * indent, []
    for key, one in value.items():
        name = _text(str(key))
        if isinstance(one, Mapping) and one:
            lines += [f"{pad}{name}:", *_mapping(one, indent + 2)]
        elif isinstance(one, Sequence) and not isinstance(one, str) and one:
            flow = _flow(one)
            if flow is not None and indent + len(name) + len(flow) < _WIDTH:
                lines.append(f"{pad}{name}: {flow}")
            else:
                lines += [f"{pad}{name}:", *_sequence(one, indent + 2)]
        else:
            lines.append(f"{pad}{name}: {_scalar(one, indent + 2)}")
    return lines


def _sequence(value: Sequence[object], indent: int) -> list[str]:
    pad, lines = " " * indent, []
    for one in value:
        if isinstance(one, Mapping) and one:
            first, *others = _mapping(one, indent + 2)
            lines += [f"{pad}- {first[indent + 2 :]}", *others]
        elif isinstance(one, Sequence) and not isinstance(one, str) and one:
            lines += [f"{pad}-", *_sequence(one, indent + 2)]
        else:
            lines.append(f"{pad}- {_scalar(one, indent + 2)}")
    return lines


def _flow(value: Sequence[object]) -> str | None:
    if any(isinstance(one, Mapping) or (isinstance(one, Sequence) and not isinstance(one, str)) for one in value):
        return None
    words = [_scalar(one, 0) for one in value]
    words = [quoted(str(one)) if isinstance(one, str) and _FLOW.search(word) and word[0] not in "\"'" else word
             for one, word in zip(value, words, strict=True)]  # fmt: skip
    return None if any("\n" in word for word in words) else f"[{', '.join(words)}]"


def _scalar(value: object, indent: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{}"
    if not isinstance(value, str):
        return "[]" if isinstance(value, Sequence) else "null"
    return _block(value, indent) if "\n" in value and _LITERAL.fullmatch(value) and value.strip("\n") else _text(value)


def _block(text: str, indent: int) -> str:
    body = text.rstrip("\n")
    end = len(text) - len(body)
    hint = str(2) if body[0] in " \n" else ""
    chomp = "-" if end == 0 else "" if end == 1 else "+"
    pad = " " * indent
    return "\n".join([f"|{hint}{chomp}", *(pad + line if line else "" for line in body.split("\n")), *[""] * (end - 1)])


def _text(text: str) -> str:
    if (_PLAIN.fullmatch(text) and text == text.strip() and text.lower() not in _WORDS) or _DURATION.fullmatch(text):
        return text
    # Single quotes escape nothing, so selectors stay readable.
    return "'" + text.replace("'", "''") + "'" if '"' in text and text.isprintable() and text.isascii() else quoted(text)


def _safe(text: str) -> str:
    return "".join(char if char == "\n" or char.isprintable() else "?" for char in text)
