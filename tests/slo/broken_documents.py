"""Documents as they should not be: valid ones with something broken, and trees of anything."""

import random
from collections.abc import Iterator
from decimal import Decimal

from mlops_obs.slo.foreign.yaml_writer import document

ODD_TEXTS = (
    "", " ", "\n", "x", "null", "yes", "{{.window}}", "sum(rate(x[{{.window}}]))", 'a{b="c"}', "a{", "1e999", "-1", "99.9", "100%", "1d",
    "30d", "0m", "9" * 30, "month", "Etc/UTC", "../../x", "%s {0}", "é\u2028\x85", "$labels.x", "{{ .x }}", "a" * 300, "[5m]", "1|2", "\\",
    "`", "le", "__name__", "sum(x) - sum(y)", "(" * 40, "{}", "[]", "# no", "- a", "a: b", "openslo/v1", "SLO", "page", "0.5",
)  # fmt: skip
ODD_VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1,
    10**18,
    Decimal("99.9"),
    Decimal("0.000000000001"),
    Decimal(100),
    [],
    {},
    [None],
    [[]],
    [{}],
    {"": ""},
)
NOISE = "\t:{}[]&*!|>'\"%@`,#-? \n\r\x00\ufeff\u2028é0a~<="


def broken(rng: random.Random, valid: dict, others: list[str]) -> str:
    """Return the text of a document: `valid` with a few things broken in its tree or its text, or noise."""
    kind = rng.random()
    if kind < 0.1:
        return document({str(rng.choice(ODD_TEXTS)): tree(rng, 4) for _ in range(rng.randint(1, 5))})
    copy = {**valid}
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        copy = mutated(rng, copy, others)
    text = document(copy if isinstance(copy, dict) else {"slos": copy})
    if kind < 0.65:
        return text
    for _ in range(rng.choice((1, 1, 2, 5))):
        text = scratched(rng, text)
    return text


def mutated(rng: random.Random, node: object, others: list[str]) -> object:
    """Return `node` with one place in it, any of them alike, replaced, removed, renamed or doubled."""
    return _changed(rng, node, rng.choice(list(_paths(node)) or [()]), others)


def _paths(node: object, path: tuple = ()) -> Iterator[tuple]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _paths(value, (*path, key))


def _changed(rng: random.Random, node: object, path: tuple, others: list[str]) -> object:
    if len(path) > 1:
        key, rest = path[0], path[1:]
        if isinstance(node, dict):
            return {**node, key: _changed(rng, node[key], rest, others)}
        return [_changed(rng, one, rest, others) if index == key else one for index, one in enumerate(node)]
    choice = rng.random()
    if isinstance(node, dict) and path:
        value = node[path[0]]
        others_of = {key: one for key, one in node.items() if key != path[0]}
        if choice < 0.2:
            return others_of
        if choice < 0.35:
            return {**others_of, rng.choice((*others, *ODD_TEXTS)): value}
        return {**node, path[0]: [value] if choice < 0.4 else _odd(rng, value)}
    if isinstance(node, list) and path:
        index = path[0]
        changed = [] if choice < 0.3 else [node[index]] * 2 if choice < 0.5 else [_odd(rng, node[index])]
        return [*node[:index], *changed, *node[index + 1 :]]
    return _odd(rng, node)


def _odd(rng: random.Random, value: object) -> object:
    if isinstance(value, str) and value and rng.random() < 0.6:
        at = rng.randrange(len(value) + 1)
        return value[:at] + rng.choice((rng.choice(NOISE), rng.choice(ODD_TEXTS), "")) + value[at + rng.randint(0, 3) :]
    return tree(rng, 2)


def tree(rng: random.Random, depth: int) -> object:
    """Return any value that YAML can hold."""
    choice = rng.random()
    if depth == 0 or choice < 0.5:
        return rng.choice((rng.choice(ODD_TEXTS), rng.choice(ODD_VALUES)))
    if choice < 0.75:
        return [tree(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    return {rng.choice(ODD_TEXTS): tree(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def scratched(rng: random.Random, text: str) -> str:
    """Return `text` with a few characters or lines lost, doubled, moved or replaced."""
    at, choice = rng.randrange(len(text) + 1), rng.random()
    if choice < 0.3:
        return text[:at] + rng.choice(NOISE) + text[at:]
    if choice < 0.5:
        return text[:at] + text[at + rng.randint(1, 20) :]
    lines = text.split("\n")
    line = rng.randrange(len(lines))
    if choice < 0.65:
        return "\n".join([*lines[:line], *lines[line + 1 :]])
    if choice < 0.8:
        return "\n".join([*lines[:line], lines[line], *lines[line:]])
    if choice < 0.9:
        return "\n".join([*lines[:line], " " * rng.randint(1, 4) + lines[line], *lines[line + 1 :]])
    return rng.choice((text[:at], text + "\n---\n" + text[:at], "&a " + text, text.replace(": ", ": *a ", 1), "[" * 500 + text))
