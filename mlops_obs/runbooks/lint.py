"""Check runbooks against what exists: alerts, commands with their options, metrics. A runbook rots silently; this is its alarm.

It reads the Markdown files, not our data, so that runbooks which a team writes by hand are checked alike.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping

from mlops_obs import metric_names as names
from mlops_obs.runbooks.render import SECTIONS

Commands = Mapping[str, Collection[str]]  # "rollout status" -> its options
_BUILT_IN = {"up", "ALERTS"}
_FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_METRIC = re.compile(r"\b((?:mlops_obs_|slo:)[\w:]+)")


def lint(alerts: Collection[str], runbooks: Mapping[str, str], commands: Commands) -> list[str]:
    """Return what is wrong, one sentence each.

    Args:
        alerts: names of all alerts that can fire.
        runbooks: alert name -> Markdown.
        commands: every `obs` command, e.g. `rollout status`, with the options it knows.
    """
    problems = [f"{alert}: has no runbook; its page would link to nothing" for alert in sorted(set(alerts) - set(runbooks))]
    problems += [f"{name}.md: no alert has this name" for name in sorted(set(runbooks) - set(alerts))]
    for name, text in sorted(runbooks.items()):
        problems += [f"{name}.md: {problem}" for problem in _lint_one(text, commands)]
    return problems


def _lint_one(text: str, commands: Commands) -> list[str]:
    found = re.findall(r"^## (.+)$", text, re.MULTILINE)
    problems = [] if tuple(found) == SECTIONS else [f"its sections are {found}, not {list(SECTIONS)}"]
    fences = [(language, body.strip()) for language, body in _FENCE.findall(text)]
    if not any(language == "sh" for language, _ in fences) and not any(language == "promql" for language, _ in fences):
        problems.append("it has nothing to paste")
    for language, body in fences:
        for line in filter(None, map(str.strip, body.splitlines())):
            problem = _command_problem(line, commands) if language == "sh" else _query_problem(line) if language == "promql" else ""
            problems += [problem] if problem else []
    return problems


def _command_problem(line: str, commands: Commands) -> str:
    words = shlex.split(line)
    if not words or words[0] != "obs":
        return ""
    plain = [word for word in words[1:] if not word.startswith("-")]
    name = next((one for one in (" ".join(plain[:2]), " ".join(plain[:1])) if one in commands), "")
    if not name:
        return f"there is no command `obs {' '.join(plain[:2])}`"
    unknown = [word for word in words if word.startswith("-") and word.split("=")[0] not in commands[name]]
    return f"`obs {name}` has no option {', '.join(unknown)}" if unknown else ""


def _query_problem(query: str) -> str:
    import promql_parser

    try:
        promql_parser.parse(query)
    except ValueError as error:
        return f"not PromQL: {query} ({str(error).splitlines()[0]})"
    known = {metric.name for metric in names.METRICS.values()} | _BUILT_IN
    known |= {
        f"{metric.name}{suffix}"
        for metric in names.METRICS.values()
        if metric.kind == "histogram"
        for suffix in ("_bucket", "_sum", "_count")
    }
    recorded = [value for key, value in vars(names).items() if key.startswith("SLO_") and isinstance(value, str)]
    pattern = "|".join(re.escape(value).replace(r"\{window\}", r"(\d+[smhd]|_week|_month|_quarter)") for value in recorded)
    unknown = [name for name in _METRIC.findall(query) if name not in known and not re.fullmatch(pattern, name)]
    return f"no metric is called {', '.join(unknown)}" if unknown else ""
