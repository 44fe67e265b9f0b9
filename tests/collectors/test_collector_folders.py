from pathlib import Path

import pytest
import yaml

from mlops_obs.collectors.readme import GROUPS, with_table
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import METRICS

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "collectors" / name for name in GROUPS]
CODE = "".join(path.read_text() for path in (ROOT / "mlops_obs").rglob("*.py"))


def documents(path):
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_metric_table_in_the_readme_is_current(folder):
    readme = (folder / "README.md").read_text()

    assert with_table(readme, folder.name) == readme, "run `obs collect tables`"


def test_every_collector_has_code_and_a_folder_and_every_collected_metric_is_documented():
    code = {path.name for path in (ROOT / "mlops_obs" / "collectors").iterdir() if (path / "__init__.py").is_file()}

    assert set(GROUPS) == code
    assert {path.name for path in (ROOT / "collectors").iterdir() if path.is_dir()} == code
    assert {metric.collector for metric in METRICS.values()} - {"rollout", "operator"} == {
        group for groups in GROUPS.values() for group in groups
    }


def test_a_readme_without_markers_is_refused():
    with pytest.raises(SpecError, match="OBS-COL-001"):
        with_table("# GPU\n", "gpu")


@pytest.mark.parametrize(
    "folder", [one for one in FOLDERS if one.name not in ("freshness", "drift", "quality", "skew")], ids=lambda path: path.name
)
def test_every_setting_is_read_by_the_code(folder):
    (config,) = documents(folder / "collector.yaml")

    assert config["data"]
    assert [key for key in config["data"] if f'"{key}"' not in CODE] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_manifests_refer_to_what_exists(folder):
    settings = documents(folder / "collector.yaml")[0]
    for document in documents(folder / "manifest.yaml"):
        assert document["metadata"]["name"] == f"mlops-obs-{folder.name}"
        if document["kind"] == "PodMonitor":
            assert document["spec"]["selector"]["matchLabels"] == {"mlops-obs/collector": folder.name}
            continue
        if document["kind"] == "Service":
            assert document["spec"]["selector"] == {"mlops-obs/collector": folder.name}
            continue
        pod = document["spec"].get("template") or document["spec"]["jobTemplate"]["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        assert pod["metadata"]["labels"] == {"mlops-obs/collector": folder.name}
        assert container["image"].startswith(f"mlops-obs-{folder.name}:")
        for source in container.get("envFrom", []):
            assert source["configMapRef"]["name"] == settings["metadata"]["name"]
        for word in container.get("args", []):
            assert not word.startswith("$(") or word[2:-1] in settings["data"]
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes


def test_the_port_that_an_exporter_listens_on_is_the_one_its_pod_names():
    (settings,) = documents(ROOT / "collectors" / "gpu" / "collector.yaml")
    daemon_set = documents(ROOT / "collectors" / "gpu" / "manifest.yaml")[0]

    (port,) = daemon_set["spec"]["template"]["spec"]["containers"][0]["ports"]

    assert str(port["containerPort"]) == settings["data"]["MLOPS_OBS_METRICS_PORT"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_image_starts_a_command_that_exists(folder):
    from typer.main import get_command

    from mlops_obs.cli import collect, drift

    groups = {"collect": collect.app, "drift": drift.app}
    lines = (folder / "Dockerfile").read_text().splitlines()
    entry = [line for line in lines if line.startswith("ENTRYPOINT")]

    assert any(line.startswith("FROM ") for line in lines)
    for line in entry:
        _, group, command, *_ = yaml.safe_load(line.removeprefix("ENTRYPOINT "))
        assert command in get_command(groups[group]).commands
    assert bool(entry) == (folder.name not in ("latency", "training"))
