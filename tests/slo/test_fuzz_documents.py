"""10,000 broken documents: each is read, or refused with what is wrong and where; nothing crashes, hangs or is half written."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlops_obs.adapters.files import load_slos, promql_problem
from mlops_obs.adapters.yaml_documents import parse_documents
from mlops_obs.cli import slo as slo_command
from mlops_obs.errors import ObsError
from mlops_obs.slo.foreign.carry import Options, carry, carry_rules
from mlops_obs.slo.foreign.openslo_export import render_openslo
from mlops_obs.slo.foreign.yaml_writer import document
from mlops_obs.slo.spec import SpecErrors
from mlops_obs.slo.spec_document import parse_slos
from mlops_obs.slo.tiers import plan_tiers
from tests.slo.broken_documents import broken
from tests.slo.foreign_documents import OPENSLO, PYRRA, SLOTH, SLOTH_RESOURCE, WINDOWS

ROOT = Path(__file__).parents[2]
OURS = [
    parse_documents(path.read_text(), "spec")[0].value
    for path in (ROOT / "slo/credit-risk.yaml", Path(__file__).parent / "every_indicator.yaml")
]
VALID = {"ours": OURS, "sloth": [SLOTH, SLOTH_RESOURCE], "rules": [SLOTH], "pyrra": PYRRA, "openslo": OPENSLO, "windows": [WINDOWS]}
EXAMPLES, EACH = 84, 20  # of each of six kinds: 10,080 documents
MET: Counter[str] = Counter()  # what became of them
MADE: list[str] = []  # rule files that were made of them


def keys(node):
    if isinstance(node, dict):
        yield from node
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from keys(one)


KEYS = sorted({key for documents in VALID.values() for one in documents for key in keys(one)})


def read(kind, text):
    """Do with `text` what the command for `kind` does; what was carried over can be carried on."""
    sources = [(one.value, one.locate) for one in parse_documents(text, "it.yaml")]
    if kind == "ours":
        return [parse_slos(value, locate, promql_problem) for value, locate in sources]
    if kind == "rules":
        text, _ = carry_rules(sources, Options(promql=promql_problem))
        parse_documents(text, "rules")
        return MADE.append(text)
    if kind == "windows":
        return carry_rules([(SLOTH, str)], Options(period="7d", catalogues=sources))
    carried, _ = carry(kind, sources, Options())
    slos = [slo for one in carried for slo in parse_slos(parse_documents(document(one.body), "spec")[0].value, one.locate, promql_problem)]
    return comes_back(slos)


def comes_back(slos):
    try:
        for slo in slos:
            plan_tiers(slo)
    except ObsError:
        return  # an alert that cannot fire is refused when it is rendered
    sources = [(one.value, one.locate) for one in parse_documents(render_openslo(slos), "openslo")]
    if not slos:
        return
    carried, _ = carry("openslo", sources, Options())
    back = [slo for one in carried for slo in parse_slos(one.body)]
    assert sorted(back, key=lambda slo: slo.ref) == sorted(slos, key=lambda slo: slo.ref)


@pytest.mark.parametrize("kind", VALID)
def test_the_documents_that_are_broken_here_are_sound(kind):
    read(kind, "---\n".join(document(one) for one in VALID[kind]))


@pytest.mark.parametrize("kind", VALID)
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_a_broken_document_is_read_or_refused_with_what_is_wrong_and_where(kind, seed):
    rng, valid = random.Random(seed), VALID[kind]
    for _ in range(EACH):
        at = rng.randrange(len(valid))
        several = kind in ("openslo", "pyrra")  # objects that refer to each other, documents that make one service
        text = "---\n".join(
            broken(rng, one, KEYS) if index == at else document(one) for index, one in enumerate(valid) if several or index == at
        )

        try:
            read(kind, text)
        except ObsError as error:
            MET[error.code] += 1
            for one in error.errors if isinstance(error, SpecErrors) else [error]:
                assert one.code.startswith("OBS-"), text
                assert one.what, text
                assert str(one).count("\n") == 0 or not one.code.startswith("OBS-IMP"), text
        else:
            MET["read"] += 1


def test_the_broken_documents_reached_every_check():
    assert MET["read"] > EXAMPLES, MET
    assert {"OBS-SLO-001", "OBS-SLO-005", "OBS-IMP-001", "OBS-IMP-002", "OBS-IMP-003", "OBS-IMP-006", "OBS-PQL-001"} <= set(MET), MET


def test_prometheus_takes_every_rule_file_that_was_made_of_them(promtool, tmp_path):
    paths = [tmp_path / f"{index}.yaml" for index in range(min(100, len(MADE)))]
    for path, text in zip(paths, MADE, strict=False):
        path.write_text(text)

    code, output = promtool("check", "rules", *paths)

    assert code == 0, output


@pytest.mark.parametrize("tool", ["sloth", "pyrra", "openslo"])
def test_a_broken_document_leaves_files_as_they_were(tmp_path, tool):
    out, rng = tmp_path / "mine.yaml", random.Random(1)
    for _ in range(40):
        out.write_text("as it was")
        (tmp_path / "it.yaml").write_text(broken(rng, VALID[tool][0], KEYS), encoding="utf-8", errors="replace")

        done = CliRunner().invoke(slo_command.app, ["import", tool, str(tmp_path / "it.yaml"), "--out", str(out), "--force", "--team", "x"])

        assert done.exception is None or isinstance(done.exception, ObsError | SystemExit), done.exception
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        if isinstance(done.exception, ObsError):
            assert out.read_text() == "as it was"
        else:
            assert load_slos(out, replan=True)
