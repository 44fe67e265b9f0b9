"""What the README tells a newcomer to do works as it is written there."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import click
import pytest
import typer
import yaml
from typer.testing import CliRunner

from mlops_obs.adapters.files import load_slos
from mlops_obs.cli import main as cli
from mlops_obs.rollout.spec.rollout import parse_rollout
from mlops_obs.slo.tiers import plan_all

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    part.strip()
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    for part in line.split("#")[0].rstrip(" &").split("&&")
    if re.match(r"(\w+=\S+ )*obs ", part.strip())
] + re.findall(r"`(obs [^`\n]+)`", README)
# The reader's own, what a run makes, and the X of the mirror rule.
MADE = re.compile(r"out/|slo/my-model|(mlops_obs/)?X/")


def block(kind: str, containing: str) -> str:
    (found,) = [text for one, text in BLOCKS if one == kind and containing in text]
    return str(found)


def test_every_path_that_is_named_exists():
    named = {path for path in re.findall(r"`([\w./*-]+/[\w./*-]*)`|\]\(([\w./]+)\)", README) for path in path if path}

    assert [path for path in named if not MADE.match(path) and not list(ROOT.glob(path))] == []


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_command_and_flag_that_is_named_exists(command):
    words = command[command.index("obs ") :].split()[1:]
    module = cli.COMMANDS[words[0]][0]
    found: click.Command = typer.main.get_command(importlib.import_module(module).app)
    if hasattr(found, "commands") and len(words) > 1:
        found = found.commands[words[1]]

    flags = {flag for parameter in found.params for flag in (*parameter.opts, *parameter.secondary_opts)}

    assert [word for word in words if word.startswith("-") and word not in flags] == []


def test_the_model_of_the_tour_serves_the_counts_that_it_promises(tmp_path):
    (tmp_path / "model.py").write_text(block("python", "instrument("))
    env = {**os.environ, "MLOPS_OBS_DISCOVERY_DIR": str(tmp_path / "discovery")}
    model = subprocess.Popen([sys.executable, "model.py"], cwd=tmp_path, env=env)
    try:
        deadline = time.monotonic() + 60
        counted = ""
        while 'outcome="error",revision="v1",service="my-model",stage="serve"} 1.0' not in counted:
            assert model.poll() is None
            assert time.monotonic() < deadline, counted
            time.sleep(0.1)
            for path in (tmp_path / "discovery").glob("*.json"):
                target = json.loads(path.read_text())[0]["targets"][0]
                with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer:
                    counted = answer.read().decode()
    finally:
        model.kill()
        model.wait()


def test_the_slo_of_the_tour_compiles_and_its_alerts_can_fire(tmp_path):
    (tmp_path / "slo").mkdir()
    (tmp_path / "slo" / "my-model.yaml").write_text(block("yaml", "slos:\n"))

    slos = load_slos(tmp_path / "slo")
    plan_all(slos)
    compiled = ["render", str(tmp_path / "slo"), "--out", str(tmp_path / "slo" / "generated")]
    done = CliRunner().invoke(importlib.import_module("mlops_obs.cli.slo").app, compiled)

    assert done.exit_code == 0
    assert [(slo.service, slo.indicator.stage) for slo in slos] == [("my-model", "serve")]
    assert sorted(path.name for path in (tmp_path / "slo").rglob("*.yaml")) == [
        "alertmanager.yaml", "my-model-rules.yaml", "my-model-tests-1h.yaml", "my-model-tests-5m.yaml", "my-model-tests.yaml",
        "my-model.yaml", "platform-rules.yaml", "routes.yaml",
    ]  # fmt: skip


def test_the_rollout_file_that_it_points_to_needs_only_what_the_command_adds():
    document = yaml.safe_load((ROOT / "platform/local/rollout.yaml").read_text())

    spec = parse_rollout({**document, "service": "my-model", "stage": "serve", "canary": "v2", "package": "models/v2"})

    assert (spec.service, spec.stage) == ("my-model", "serve")
