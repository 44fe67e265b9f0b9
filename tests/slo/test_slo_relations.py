"""What an SLO says of another is looked up, and a circle is found."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.adapters.files import load_slos
from mlops_obs.slo.relations import circle, direct_upstream
from mlops_obs.slo.spec import SpecErrors

HEAD = "service: shop\nteam: web\nslos:\n"


def one(name: str, more: str = "", indicator: str = "type: availability") -> str:
    return f"  - name: {name}\n    objective: 0.99\n    indicator: {{{indicator}}}\n{more}"


def load(folder: Path, **bodies: str):
    for service, body in bodies.items():
        (folder / f"{service}.yaml").write_text(HEAD.replace("shop", service) + body)
    return load_slos(folder)


def mistakes(folder: Path, **bodies: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        load(folder, **bodies)
    return str(caught.value).replace(str(folder) + "/", "").splitlines()


def test_a_composite_says_that_each_stage_lies_upstream_of_the_next_and_all_of_itself(tmp_path):
    journey = one("journey", indicator="type: composite, of: [features/fresh, train, serve]")

    slos = load(tmp_path, features=one("fresh"), shop=one("train") + one("serve", "    upstream: [other/db]\n") + journey)

    assert direct_upstream(slos) == {
        ("shop", "train"): {("features", "fresh")},
        ("shop", "serve"): {("shop", "train"), ("other", "db")},
        ("shop", "journey"): {("shop", "serve")},
    }


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (one("serve", "    upstream: [srve]\n"), "shop.yaml:7: upstream: there is no SLO shop/srve; did you mean 'serve'? [OBS-SLO-026]"),
        (one("serve", "    upstream: [shop/serve]\n"), "shop.yaml:7: upstream names the SLO itself; name another one [OBS-SLO-026]"),
        (one("serve", "    upstream: [train/x]\n"), "shop.yaml:7: upstream: there is no SLO train/x; known: fit [OBS-SLO-026]"),
        (
            one("all", indicator="type: composite, of: [train/fit, away/x]"),
            "shop.yaml:6: of: there is no SLO away/x; name the file of that service as well [OBS-SLO-026]",
        ),
        (
            one("a") + one("b") + one("j", indicator="type: composite, of: [a, b]") + one("k", indicator="type: composite, of: [j, a]"),
            "shop.yaml:15: shop/j is a composite itself; list its stages instead [OBS-SLO-031]",
        ),
        (
            one("a") + one("q", indicator="type: quality, maturity: 1d") + one("j", indicator="type: composite, of: [q, a]"),
            (
                "shop.yaml:12: shop/q counts predictions once their labels are there, not when they were served; "
                "name it in upstream instead [OBS-SLO-031]"
            ),
        ),
        (
            one("a", "    upstream: [b]\n") + one("b", "    upstream: [c]\n") + one("c", "    upstream: [a]\n"),
            (
                "shop.yaml:4: upstream goes in a circle: shop/a < shop/b < shop/c < shop/a; "
                "remove one of these relations from `upstream` or `of` [OBS-SLO-027]"
            ),
        ),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_its_line(tmp_path, body, line):
    assert mistakes(tmp_path, shop=body, train=one("fit")) == [line]


def test_a_service_that_nobody_loaded_may_be_upstream(tmp_path):
    (slo,) = load(tmp_path, shop=one("serve", "    upstream: [elsewhere/db]\n"))

    assert slo.upstream == ("elsewhere/db",)


def test_what_refers_to_a_file_with_mistakes_is_not_blamed_for_them(tmp_path):
    journey = one("journey", indicator="type: composite, of: [train/fit, serve]")

    found = mistakes(tmp_path, shop=one("serve", "    upstream: [train/fit]\n") + journey, train=one("fit", "    period: never\n"))

    assert len(found) == 1
    assert found[0].startswith("train.yaml:7: ")


def test_an_slo_in_two_files_is_told_with_both_places(tmp_path):
    (tmp_path / "b.yaml").write_text(HEAD + one("serve"))

    (line,) = mistakes(tmp_path, shop=one("serve"))

    assert line == f"shop.yaml:4: SLO shop/serve is also defined in {tmp_path}/b.yaml:4; keep one [OBS-SLO-009]".replace(f"{tmp_path}/", "")


def test_a_chain_that_is_longer_than_pythons_stack_is_no_circle():
    chain = {("s", str(number)): {("s", str(number + 1))} for number in range(5_000)}

    assert circle(chain) == []
    assert circle({**chain, ("s", "5000"): {("s", "0")}})


@given(st.dictionaries(st.integers(0, 6), st.frozensets(st.integers(0, 6), max_size=3)))
def test_a_circle_is_found_if_and_only_if_there_is_one(graph):
    named = {("s", str(key)): {("s", str(one)) for one in of} for key, of in graph.items()}
    reach = {key: set(of) for key, of in named.items()}
    for _ in range(8):
        reach = {key: of | {far for near in of for far in reach.get(near, ())} for key, of in reach.items()}

    found = circle(named)

    assert bool(found) == any(key in of for key, of in reach.items())
    assert all(after in named[before] for before, after in pairwise(found))
