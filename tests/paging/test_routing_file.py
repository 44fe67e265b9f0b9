"""Every mistake in a routing file is named with its line, all at once; a key that is written out is refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.adapters.routing_file import load_routing
from mlops_obs.errors import SpecError
from mlops_obs.paging.case_file import parse_cases, render_cases
from mlops_obs.paging.route_cases import Case, Expected
from mlops_obs.paging.routing import parse_routing
from mlops_obs.slo.spec_errors import SpecErrors

SOUND = """\
receivers:
  pager: {pagerduty: {routing_key_file: /k}}
default: {page: [pager]}
"""


def mistakes(tmp_path, text):
    path = tmp_path / "routing.yaml"
    path.write_text(text)
    with pytest.raises(SpecErrors) as caught:
        load_routing(path)
    return [(str(error.where).rpartition(":")[2], error.code, error.what) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "line", "code", "says"),
    [
        ("receivers: {a: {pagerduty: {routing_key: abc}}}\ndefault: {page: [a]}", "1", "OBS-PAGE-007", "routing_key stands in the file"),
        ("receivers: {a: {opsgenie: {api_key: abc}}}\ndefault: {page: [a]}", "1", "OBS-PAGE-007", "api_key stands in the file"),
        (
            "receivers: {a: {slack: {api_url: 'https://h/s', channel: '#x'}}}\ndefault: {page: [a]}",
            "1",
            "OBS-PAGE-007",
            "api_url stands in the file",
        ),
        ("receivers:\n  a:\n    webhook: {url: 'https://me:pw@h/x'}\ndefault: {page: [a]}", "3", "OBS-PAGE-007", "holds a password"),
        ("receivers:\n  a:\n    webhook: {url: 'ftp://h/x'}\ndefault: {page: [a]}", "3", "OBS-PAGE-001", "is not an http(s) URL"),
        (SOUND + "teams:\n  web: {page: [pagr]}\n", "5", "OBS-PAGE-006", "no receiver is called 'pagr'"),
        (SOUND + "teams:\n  Web: {page: [pager]}\n", "5", "OBS-PAGE-006", "is not a team's name"),
        (SOUND + "delays:\n  group_wait: soon\n", "5", "OBS-DUR-001", "is not a duration"),
        (SOUND + "grouping: [pod]\n", "4", "OBS-PAGE-006", "cannot be grouped by 'pod'"),
        (SOUND + "team: {}\n", "4", "OBS-PAGE-006", "unknown key 'team'"),
        ("receivers: {a: {}}\ndefault: {page: [a]}", "1", "OBS-PAGE-006", "goes nowhere"),
        ("receivers: {a: {webhook: {url: 'http://h/a'}}}\ndefault: {ticket: [a]}", "2", "OBS-PAGE-006", "default pages nobody"),
        ("receivers: {a: {webhook: {url: 'http://h/a'}}}\n", "1", "OBS-PAGE-006", "default is missing"),
        (
            "receivers: {a: {slack: {api_url_file: /s, channel: on-call}}}\ndefault: {page: [a]}",
            "1",
            "OBS-PAGE-006",
            "is not a Slack channel",
        ),
        ("- nothing\n", "1", "OBS-PAGE-006", "not a mapping"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, line, code, says):
    found = mistakes(tmp_path, text)

    assert any(one[:2] == (line, code) and says in one[2] for one in found), found


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path):
    found = mistakes(tmp_path, "receivers: {a: {pagerduty: {routing_key: k}}}\ndefault: {page: [b]}\nteams: {x: {page: [c]}}\nfoo: 1\n")

    assert len(found) >= 4
    assert [line for line, *_ in found] == sorted(line for line, *_ in found)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(SpecError, match="OBS-SLO-001"):
        load_routing(tmp_path / "none.yaml")


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["http://h/a", "#x", "1m", "pager", "service"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "config",
                    "cases",
                    "name",
                    "alerts",
                    "labels",
                    "receiver",
                    "told",
                    "receivers",
                    "default",
                    "teams",
                    "grouping",
                    "delays",
                    "page",
                    "ticket",
                    "webhook",
                    "url",
                    "slack",
                    "pager",
                    "group_wait",
                ]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(trees)
def test_no_document_ends_in_a_traceback(document):
    try:
        routing = parse_routing(document)
    except SpecErrors as error:
        told = tuple(one.code for one in error.errors)
    else:
        told = routing.told("any", "page")

    assert told


@given(trees)
def test_no_file_of_route_tests_ends_in_a_traceback(document):
    try:
        found = parse_cases(document)
    except SpecErrors as error:
        found = error.errors

    assert found


def test_route_tests_are_read_as_they_were_written():
    cases = [Case("a 'quoted' name: here", (Expected({"a": "b\n", "c": '"'}, "r"), Expected({"a": "x"}, "r", told=False)), 2)]

    assert parse_cases(yaml.safe_load(render_cases(cases, "x.yaml"))) == ("x.yaml", cases)
