"""A comparison in a terminal: one sentence, then the columns, worst first, in 80 characters, with or without colours.

It is read at night: a column that has drifted gets a line of words below it, what is well stays one line, and of many columns
that are well only the number is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_TONES = {"drifted": "bold red", "inconclusive": "yellow", "stable": "green"}
_WELL = 20  # columns without drift that are listed
_LISTED = 200
_PROBLEMS = 20


def show(document: Mapping[str, Any], headline: str) -> None:
    """Print the document of `obs drift score`."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mlops_obs.collectors.drift.report import printable

    console = Console(highlight=False, soft_wrap=False)
    rows = document["rows"]
    tone = _TONES["drifted" if document["alarm"] else document["verdict"]]
    console.print(Text(headline, style=tone))
    console.print(Text(f"{rows['current']:,} rows against a reference of {rows['reference']:,}", style="dim"))
    for segment in document.get("segments", ()):
        if segment["alarm"]:
            named = ", ".join(printable(one["name"], 30) for one in segment["features"] if one["alarm"])
            console.print(Text(f"segment {printable(segment['segment'])}: {named}", style=_TONES["drifted"]))
    features = [one for one in document["features"] if one["alarm"]]
    quiet = [one for one in document["features"] if not one["alarm"]]
    shown = [*features[:_LISTED], *quiet[:_WELL]]
    if shown:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("column", overflow="fold", max_width=30)
        for name in ("PSI", "chance", "missing"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for one in shown:
            table.add_row(Text(printable(one["name"])), *_numbers(one), Text(_verdict(one), style=_TONES[one["verdict"]]))
        console.print()
        console.print(table)
        rest = len(features) + len(quiet) - len(shown)
        if rest:
            console.print(Text(f"and {rest:,} more columns, in -o json", style="dim"))
    said = [one for one in features[:_LISTED] if _words(one)]
    if said:
        console.print()
    for one in said:
        console.print(Text.assemble((printable(one["name"]), "bold"), ": ", printable(_words(one), 400)))
    for line in filter(None, (_performance(document), _joint(document["joint"]))):
        console.print()
        console.print(Text(line, style="dim"))
    if document["problems"]:
        console.print()
    for problem in document["problems"][:_PROBLEMS]:
        console.print(Text(f"! {printable(problem, 300)}", style="yellow"))
    if len(document["problems"]) > _PROBLEMS:
        console.print(Text(f"! and {len(document['problems']) - _PROBLEMS:,} more, in -o json", style="yellow"))


def _verdict(one: Mapping[str, Any]) -> str:
    return f"{one['verdict']}: {one['kind'].replace('_', ' ')}" if one["kind"] else str(one["verdict"])


def _numbers(one: Mapping[str, Any]) -> Sequence[str]:
    statistics = one["statistics"]
    psi, chance, missing = statistics.get("psi"), statistics.get("p_value"), statistics.get("missing")
    return (
        "-" if psi is None else f"{psi:.3f}",
        "-" if chance is None else _chance(chance),
        "-" if missing is None else f"{missing:.1%}",
    )


def _performance(document: Mapping[str, Any]) -> str:
    auc = document.get("performance", {}).get("auc")
    if not auc or auc["estimated"] is None or auc["low"] is None or auc["reference"] is None:
        return ""
    return (
        f"estimated from the scores alone: AUC {auc['estimated']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}), was {auc['reference']:.3f}"
    )


def _joint(joint: Mapping[str, Any]) -> str:
    said = []
    for name, label in (("correlation", "largest change of a correlation"), ("mmd_relative", "difference of the rows as a whole (MMD)")):
        if joint.get(name) is not None:
            chance = joint.get({"mmd_relative": "mmd_p_value"}.get(name, f"{name}_p_value"))
            said.append(f"{label} {joint[name]:.2g}" + ("" if chance is None else f", chance {_chance(chance)}"))
    if joint.get("domain_auc") is not None:
        said.append(f"a classifier's AUC {joint['domain_auc']:.2f} ({joint['domain_auc_low']:.2f} to {joint['domain_auc_high']:.2f})")
    return "columns together: " + "; ".join(said) if said else ""


def _chance(value: float) -> str:
    return "< 1e-9" if value < 1e-9 else f"{value:.2g}"


def _words(one: Mapping[str, Any]) -> str:
    words, cost = str(one["words"]), one["cost"]
    if cost and cost["auc"] is not None and "AUC" not in words:
        words += f"; predicted AUC {cost['auc']:+.3f} ({cost['auc_low']:+.3f} to {cost['auc_high']:+.3f})"
        if cost["money"] is not None:
            words += f", {cost['money']:,.0f} per 1,000 predictions"
    return words
