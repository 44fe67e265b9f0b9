"""`obs.yaml`: found where it is said to be, read strictly, and every mistake is one line with its code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mlops_obs.cli import wiring
from mlops_obs.errors import UsageError

GOOD = {
    "service": "credit-risk",
    "state": "state.db",
    "metrics": {"prometheus": "http://127.0.0.1:9090"},
    "target": {"kserve": {"namespace": "models", "name": "credit-risk"}},
}


def write(folder: Path, document: object) -> Path:
    path = folder / "obs.yaml"
    path.write_bytes(document if isinstance(document, bytes) else yaml.safe_dump(document).encode())
    return path


def refused(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        wiring.load_environment(path)
    assert str(path) in caught.value.where
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.todo
    return caught.value


def test_the_flag_wins_over_the_variable_and_that_over_the_folder(tmp_path, monkeypatch):
    places = []
    for name in ("flag", "variable", "folder"):
        (tmp_path / name).mkdir()
        places.append(write(tmp_path / name, {**GOOD, "service": name}))
    monkeypatch.chdir(tmp_path / "folder")

    monkeypatch.delenv(wiring.ENV_VARIABLE, raising=False)
    assert wiring.load_environment().service == "folder"
    monkeypatch.setenv(wiring.ENV_VARIABLE, str(places[1]))
    assert wiring.load_environment().service == "variable"
    assert wiring.load_environment(places[0]).service == "flag"


def test_relative_paths_are_relative_to_the_file_wherever_obs_is_called(tmp_path, monkeypatch):
    document = {
        **GOOD,
        "discovery": "found",
        "metrics": {"embedded": "metrics.db"},
        "target": {"ray_serve": {"address": "h:1", "url": "http://h", "import_path": "app:predictor_app", "store": "online.db"}},
        "slos": ["slo/a.yaml", "/elsewhere/b.yaml"],
    }
    path = write(tmp_path, document)
    monkeypatch.chdir("/")

    read = wiring.load_environment(path)

    assert [read.state, read.discovery, read.metrics.embedded] == [tmp_path / "state.db", tmp_path / "found", tmp_path / "metrics.db"]
    assert read.target.ray_serve is not None
    assert read.target.ray_serve.store == tmp_path / "online.db"
    assert read.slos == (tmp_path / "slo/a.yaml", Path("/elsewhere/b.yaml"))


def test_a_missing_file_is_001_and_names_the_three_ways_to_give_one(tmp_path):
    error = refused(tmp_path / "obs.yaml")

    assert error.code == "OBS-ENV-001"
    assert all(way in error.todo for way in ("--env", wiring.ENV_VARIABLE, wiring.DEFAULT_FILE))


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"just words", b"\xff\xfe", b"a\x00b", b"a: [1\nb: {", b"when: 2026-99-99\n"],
    ids=["empty", "a list", "words", "not UTF-8", "a zero byte", "broken YAML", "no such day"],
)  # fmt: skip
def test_what_is_no_mapping_in_yaml_is_002(tmp_path, content):
    assert refused(write(tmp_path, content)).code == "OBS-ENV-002"


def test_broken_yaml_is_said_with_its_line(tmp_path):
    assert refused(write(tmp_path, b"service: x\nstate: [1\nmetrics: {")).where.endswith("obs.yaml:3")


WRONG = {
    "a key is missing": ({"service": None}, "service"),
    "a key is misspelt": ({"metric": {}}, "metric"),
    "a nested key is misspelt": ({"target": {"kserve": {"namespace": "a", "name": "b", "kubconfig": "c"}}}, "target.kserve.kubconfig"),
    "no metrics": ({"metrics": {}}, "exactly one of prometheus, embedded"),
    "an address that was left empty": ({"metrics": {"prometheus": ""}}, "exactly one of prometheus, embedded"),
    "two sources of metrics": ({"metrics": {"prometheus": "http://h", "embedded": "m.db"}}, "exactly one of prometheus, embedded"),
    "no target": ({"target": {}}, "exactly one of ray_serve, kserve"),
    "a target that is a word": ({"target": "kserve"}, "target"),
    "SLOs that are no list": ({"slos": 3}, "slos"),
    "somebody to tell who is misspelt": ({"notify": {"alertmanger": "http://h"}}, "notify.alertmanger"),
    "two targets": ({"target": {**GOOD["target"], "kuberay": {"namespace": "a", "name": "b"}}}, "exactly one of ray_serve, kserve"),
    "a store that is none": ({"store": {"sqlite": "x"}}, "store.sqlite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_key_is_003_and_named(tmp_path, case):
    change, named = WRONG[case]
    document = {key: value for key, value in {**GOOD, **change}.items() if value is not None}

    error = refused(write(tmp_path, document))

    assert error.code == "OBS-ENV-003"
    assert named in error.what


TARGETS = {
    "ray_serve": ({"address": "h:1", "url": "http://h", "import_path": "app:predictor_app"}, "RayServeTarget"),
    "kserve": ({"namespace": "a", "name": "b", "mode": "Standard"}, "KServeTarget"),
    "kserve_llm": ({"namespace": "a", "stable": "b", "canary": "c", "group": "g"}, "KServeLLMTarget"),
    "kuberay": ({"namespace": "a", "name": "b", "kubeconfig": "cluster.yaml"}, "KubeRayTarget"),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_every_kind_of_target_has_its_adapter_which_asks_nobody_before_it_is_used(tmp_path, kind):
    given, name = TARGETS[kind]
    environment = wiring.load_environment(write(tmp_path, {**GOOD, "target": {kind: given}}))

    target = wiring.traffic_target(environment)

    assert type(target).__name__ == name
    assert environment.target.kind == kind
    assert all(line.strip() for line in target.limits())


def test_paths_of_a_target_and_of_those_who_are_told_are_relative_to_the_file(tmp_path):
    told = {"grafana": {"url": "http://g", "token_file": "keys/grafana"}, "webhook": {"url": "http://w", "token_file": "keys/hook"}}
    target = {"kuberay": {"namespace": "a", "name": "b", "kubeconfig": "cluster.yaml"}}

    read = wiring.load_environment(write(tmp_path, {**GOOD, "target": target, "notify": told}))

    assert read.target.kuberay is not None
    assert read.target.kuberay.kubeconfig == tmp_path / "cluster.yaml"
    assert read.notify.grafana is not None
    assert read.notify.grafana.token_file == tmp_path / "keys/grafana"
    assert read.notify.webhook.token_file == tmp_path / "keys/hook"  # type: ignore[union-attr]


def test_rollouts_that_are_kept_in_a_cluster_need_no_state_file(tmp_path):
    document = {key: value for key, value in GOOD.items() if key != "state"}

    read = wiring.load_environment(write(tmp_path, {**document, "store": {"kubernetes": {"namespace": "models"}}}))

    assert read.store is not None
    assert read.store.kubernetes.namespace == "models"
    assert refused(write(tmp_path, document)).code == "OBS-ENV-003"


def test_the_environment_in_the_readme_is_complete_and_valid(tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    examples = [block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "target:" in block]

    assert len(examples) == 1
    read = wiring.load_environment(write(tmp_path, examples[0].encode()))
    assert {key for key in type(read).model_fields if key not in yaml.safe_load(examples[0])} == {"path", "store"}  # store replaces state
