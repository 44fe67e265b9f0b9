"""No field of a foreign document is dropped in silence."""

import pytest

from mlops_obs.slo.foreign.carry import Options, carry
from mlops_obs.slo.foreign.fields import Fields, Report
from mlops_obs.slo.spec import SpecErrors
from tests.slo.foreign_documents import OPENSLO, PYRRA, SLOTH, SLOTH_RESOURCE

STRAY = "unheard_of"
# Mappings whose keys people choose: a stray one is a label or an annotation, or part of a query's own settings.
OPEN = ("labels", "annotations", "connectionDetails")


def mappings(node, path=()):
    """Return the paths of all mappings in `node`."""
    if isinstance(node, dict):
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from mappings(value, (*path, key))


def with_stray(node, path):
    if not path:
        return {**node, STRAY: "x"}
    key, rest = path[0], path[1:]
    if isinstance(node, list):
        return [with_stray(one, rest) if index == key else one for index, one in enumerate(node)]
    return {**node, key: with_stray(node[key], rest)}


CASES = [
    (tool, index, path)
    for tool, documents in (("sloth", [SLOTH]), ("sloth", [SLOTH_RESOURCE]), ("pyrra", PYRRA), ("openslo", OPENSLO))
    for index, document in enumerate(documents)
    for path in mappings(document)
    if not set(path) & set(OPEN)
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{'.'.join(map(str, case[2]))}")
def test_a_key_that_nobody_knows_is_listed_wherever_it_stands(case):
    tool, index, path = case
    documents = {"pyrra": PYRRA, "openslo": OPENSLO}.get(tool) or (
        [SLOTH_RESOURCE] if path and path[0] in ("metadata", "spec") else [SLOTH]
    )
    strayed = [with_stray(one, path) if at == index else one for at, one in enumerate(documents)]

    said, losses = "", []
    try:
        _, losses = carry(tool, [(one, str) for one in strayed], Options())
    except SpecErrors as error:
        said = str(error)

    if STRAY not in said:
        place = ".".join(str(key) for key in (*path, STRAY) if not isinstance(key, int))
        listed = {loss.field for loss in losses if loss.kind in ("dropped", "left out")}
        assert any(place == field or place.startswith(f"{field}.") for field in listed if field), f"{place} is dropped in silence"


def test_a_mapping_that_was_read_to_the_end_has_no_losses():
    report = Report()
    fields = Fields({"a": 1, "b": None}, (), report)

    fields.text("a")
    fields.rest()

    assert not report.losses
    assert not report.errors
