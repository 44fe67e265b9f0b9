"""`obs rollout lint`: what is wrong with a rollout document beyond its grammar, told before the night in which it would matter."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mlops_obs.cli import wiring
from mlops_obs.cli.rollout.setting import surroundings
from mlops_obs.cli.rollout.shared import Env, Out, Output, show


def lint(
    files: Annotated[list[Path], typer.Argument(help="Rollout documents, bare or as Kubernetes objects.")],
    env: Env = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings, too.")] = False,
    output: Out = Output.text,
) -> None:
    """Find what a valid document would still get wrong: steps that decide nothing, gates that hold for ever, no way back.

    With an environment file the traffic is measured and the SLOs and the target are known. Exit 1: there is an error.
    """
    from mlops_obs.adapters.files import load_yaml
    from mlops_obs.rollout.spec.document import body_of, parse_document
    from mlops_obs.rollout.spec.lint import lint as find

    given = env is not None or wiring.ENV_VARIABLE in os.environ or Path(wiring.DEFAULT_FILE).exists()
    environment = wiring.load_environment(env) if given else None
    listed, lines = [], []
    for file in files:
        document, places = load_yaml(file)
        body, base = body_of(document)
        if isinstance(body, dict):
            for key in ("canary", "package") if not base else ():
                body.setdefault(key, f"<{key}>")  # `start` takes them from its flags
            if environment is not None:
                body.setdefault("service", environment.service)
        spec = parse_document(document, places).spec
        known = surroundings(environment, spec, time.time())
        if environment is not None and spec.service != environment.service:
            known.notes.append(f"obs.yaml is {environment.service}'s, so start would refuse this document of {spec.service}")
        found = find(spec, known.setting(), partial(_located, places, base))
        listed += [{"file": str(file), **one.document()} for one in found]
        lines += [str(one) for one in found]
        lines += [f"{file}: note: {text}" for text in known.notes]
        lines += [f"{file}: nothing to say"] if not found and not known.notes else []
    failing = ("error", "warning") if strict else ("error",)
    data = {"findings": listed, "failed": any(one["level"] in failing for one in listed)}
    show(data, "\n".join(lines), output)
    raise typer.Exit(1 if data["failed"] else 0)


def _located(places: Callable[[tuple[int | str, ...]], str], base: tuple[int | str, ...], keys: tuple[int | str, ...]) -> str:
    return str(places((*base, *keys)))
