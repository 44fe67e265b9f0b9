"""The house rules that no linter knows."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mlops_obs.metric_names import METRICS

ROOT = Path(__file__).parents[2]
CODE = sorted(path for folder in ("mlops_obs", "platform") for path in (ROOT / folder).rglob("*.py"))


def test_the_mirror_rule_holds_every_root_folder_has_its_code_and_real_content():
    mirrors = {"collectors": "collectors", "slo": "slo", "dashboards": "dashboards", "runbooks": "runbooks", "platform": "lifecycle"}
    for folder, code in mirrors.items():
        assert (ROOT / "mlops_obs" / code / "__init__.py").is_file()
        assert sum(1 for path in (ROOT / folder).rglob("*") if path.is_file() and path.stat().st_size > 200) >= 3, folder


def test_platform_never_shadows_the_standard_library():
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "mlops_obs" / "platform").exists()
    assert "site-packages" not in (importlib.import_module("platform").__file__ or "")


def test_only_the_package_is_built():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert config["build-system"]["build-backend"] == "setuptools.build_meta"
    assert config["tool"]["setuptools"]["packages"]["find"]["include"] == ["mlops_obs", "mlops_obs.*"]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_small_enough_to_read_and_opens_with_its_reason(path: Path):
    text = path.read_text()

    assert text.count("\n") <= 400
    assert not text.strip() or text.lstrip().startswith(('"""', "#!"))


def test_metric_names_follow_prometheus():
    for name, metric in METRICS.items():
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert metric.help.endswith("."), name
        if metric.kind == "histogram":
            assert list(metric.buckets) == sorted(metric.buckets)


def test_an_error_code_belongs_to_one_kind_of_error():
    kinds: dict[str, set[str]] = {}
    for path in CODE:
        for kind, code in re.findall(r'(\w+Error|TelemetryUnavailable|Conflict)\(\s*"(OBS-[A-Z0-9]+-[0-9A-Z]+)"', path.read_text()):
            assert re.fullmatch(r"OBS-[A-Z0-9]{2,10}-\d{3}", code), code
            kinds.setdefault(code, set()).add(kind)

    assert {code: sorted(names) for code, names in kinds.items() if len(names) > 1} == {}


def test_help_imports_nothing_heavy():
    heavy = {"torch", "ray", "kserve", "evidently", "kubernetes", "pandas", "numpy", "prometheus_client", "opentelemetry", "pydantic"}
    code = f"import sys; from mlops_obs.cli.main import app; print([m for m in sys.modules if m in {heavy!r}])"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert out.strip() == "[]"


def test_every_module_imports_without_the_extras_or_says_which_one_it_needs():
    code = """
import importlib, pkgutil, sys
EXTRAS = {"aiohttp", "evidently", "grafana_client", "grafana_foundation_sdk", "jsonschema", "kserve", "kubernetes", "pandas", "pyarrow",
          "pynvml", "pytest", "ray", "scipy", "torch", "urllib3"}

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
for module in pkgutil.walk_packages(importlib.import_module("mlops_obs").__path__, "mlops_obs."):
    try:
        importlib.import_module(module.name)
    except Exception as error:
        print(module.name, error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()

    assert [line for line in out if "pip install 'mlops-obs[" not in line] == []


def test_the_right_grafana_sdk_is_installed():
    """PyPI's highest version of this package is an epoch release for Grafana 10.1 without dashboardv2."""
    assert importlib.import_module("grafana_foundation_sdk.builders.dashboardv2")


def test_nothing_personal_or_local_is_in_the_repository():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    banned = re.compile("/" + "work/|/" + "root/|/opt/" + "wheels|/opt/" + "pypi")
    for name in listed:
        path = ROOT / name
        if (
            path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".sh", ".json", ".txt", ""}
            and path.is_file()
            and path != Path(__file__)
        ):
            assert not banned.search(path.read_text(errors="ignore")), name
