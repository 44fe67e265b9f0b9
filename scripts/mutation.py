"""How many wrong rule files do the generated tests notice? `make mutation` runs it and prints a table.

Every SLO of the specs is rendered by itself, its rule file is made wrong in one place at a time (`mlops_obs/slo/mutants.py`), and promtool
runs the SLO's generated tests on it, the quickest first. Most are tried together, each wrong rule beside the right ones; what that does
not kill is tried alone, as a rule file of its own. A mutant is killed as soon as one test fails. What no test can tell from the
original is listed with its reason, and what survives is listed in full.

Counted apart, and not in the score: calendar rules that are wrong at dates that no story reaches (promtool's clock begins in 1970). They
are asked for at every change of clocks and every turn of a period on a real Prometheus, where one is installed; `pytest` does it with some
(`tests/slo/test_rules_on_prometheus.py`). What is wrong there and not seen is a survivor like any other.

    .venv/bin/python scripts/mutation.py                       # a sample of each spec, the same every time
    .venv/bin/python scripts/mutation.py --all slo/*.yaml      # every mutant: hours on two cores
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mlops_obs.adapters.files import load_slos
from mlops_obs.adapters.processes import Daemon, free_port
from mlops_obs.slo.equivalent_mutants import equivalent
from mlops_obs.slo.indicators import Parts, source
from mlops_obs.slo.mutants import Mutant, mutants, without_annotations
from mlops_obs.slo.real_dates import equal_at_all_dates, filled_in, instants, judged_at_real_dates, recorded_at
from mlops_obs.slo.rule_tests import render_test_files
from mlops_obs.slo.rules.prometheus_rules import render_rules
from mlops_obs.slo.spec import SLO

GOAL = 0.95
BATCH = 12


@dataclass
class Subject:
    """One SLO: its rules, the mutants that are tried on them, and its tests, the quickest first."""

    slo: SLO
    rules: str
    tests: list[str]
    chosen: list[Mutant] = field(default_factory=list)


def main() -> int:
    """Try the mutants and return the exit code: 1 if fewer than 95 % of them were killed."""
    arguments = _arguments()
    found = [one for spec in arguments.specs for one in _subjects(spec, arguments)]
    subjects = [one for one in found if one.tests]
    untold = [one for one in found if not one.tests]
    killed: list[Mutant] = []
    survived: list[Mutant] = []
    same: list[tuple[Mutant, str]] = []
    apart: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        work = []
        for number, subject in enumerate(subjects):
            told = [(one, equivalent(one)) for one in subject.chosen]
            same += [(one, reason) for one, reason in told if reason]
            tried = [one for one, reason in told if not reason]
            work.append(pool.submit(_try, Path(folder) / str(number), subject, tried))
        for subject, done in zip(subjects, work, strict=True):
            dead, alive = done.result()
            dated = _at_real_dates(Path(folder) / "prometheus", subject.slo, [one for one in alive if judged_at_real_dates(one)])
            alive = [one for one in alive if one not in dated]
            killed, survived = killed + dead, survived + alive
            apart += [one for one, reason in dated.items() if not reason]
            same += [(one, reason) for one, reason in dated.items() if reason]
            print(f"{subject.slo.ref}: {len(dead)} of {len(dead) + len(alive)} killed", file=sys.stderr, flush=True)
    code = _report(killed, survived, same)
    if apart:
        print("\nnot in the score, as no story reaches the date; each was seen at a real date on a Prometheus:")
        print("\n".join(f"  {one.where}" for one in apart))
    if untold:
        print("\nnot in the score, as promtool cannot be told their series (native histograms, PromQL of the user's own):")
        print("\n".join(f"  {one.slo.ref}: {len(one.chosen)} mutants" for one in untold))
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", type=Path, default=[Path("slo/credit-risk.yaml"), Path("tests/slo/every_indicator.yaml")])
    parser.add_argument("--all", action="store_true", help="try every mutant")
    parser.add_argument("--sample", type=int, default=300, help="mutants per spec (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="promtool processes at a time")
    parser.add_argument("--slo", action="append", default=[], help="only this SLO; may be given several times")
    return parser.parse_args()


def _subjects(spec: Path, arguments: argparse.Namespace) -> list[Subject]:
    """Return the SLOs of `spec` with their share of the sample: as many of each as it has mutants."""
    slos = load_slos(spec)
    by_the_hour = "".join(text for name, text in render_test_files(slos, ["rules.yaml"]).items() if name.endswith("-1h.yaml"))
    found = []
    for slo in slos:
        if arguments.slo and slo.name not in arguments.slo:
            continue
        kind = source(slo)
        stages = [one for one in slos if isinstance(kind, Parts) and (one.service, one.name) in kind.of]
        rules = render_rules([*stages, slo])
        files = render_test_files([*stages, slo], ["rules.yaml"])
        if f'slo=\\"{slo.name}\\"' not in by_the_hour:  # told once for all SLOs with the same windows
            files = {name: text for name, text in files.items() if not name.endswith("-1h.yaml")}
        tests = list(_by_cost(files, slo))
        found.append(Subject(slo, rules, tests, [one for one in mutants(rules) if one.slo == slo.name]))
    every = sum(len(one.chosen) for one in found)
    chance = random.Random(arguments.seed)
    for one in found:
        share = len(one.chosen) if arguments.all else min(len(one.chosen), -(-arguments.sample * len(one.chosen) // every))
        one.chosen = chance.sample(one.chosen, share)
    return found


def _by_cost(files: dict[str, str], slo: SLO) -> Iterator[str]:
    """Yield test files that together hold the cases about `slo`, those with the fewest evaluations first."""
    for name in sorted(files, key=lambda one: ("-1h" in one, "-5m" in one)):
        head, *cases = re.split(r"(?=^  - name: )", files[name], flags=re.MULTILINE)
        mine = [case for case in cases if f'slo=\\"{slo.name}\\"' in case or f'sloth_id=\\"{slo.service}-{slo.name}\\"' in case]
        ends = [max(map(int, re.findall(r"eval_time: (\d+)m", case))) for case in mine]
        for least, most in ((0, 2), (2, 13), (13, 30), (30, 10**9)):
            part = [case for case, end in zip(mine, ends, strict=True) if least < end <= most]
            if part:
                yield head + "".join(part)


def _try(folder: Path, subject: Subject, tried: Sequence[Mutant]) -> tuple[list[Mutant], list[Mutant]]:
    """Return which mutants of one SLO are killed and which survive."""
    folder.mkdir()
    alive = dict(enumerate(tried))
    for test in subject.tests:
        together = {number: one for number, one in alive.items() if one.kind != "rule"}
        for number in _killed_together(folder, subject.rules, test, together):
            del alive[number]
    for test in subject.tests:
        # Weeks by the hour cost most, and say nothing of a date that was not seen above.
        by_the_hour = "evaluation_interval: 1h\n" in test
        left = [(number, one) for number, one in alive.items() if not (by_the_hour and judged_at_real_dates(one))]
        for at in range(0, len(left), BATCH):
            for number in _killed_alone(folder, subject.rules, test, dict(left[at : at + BATCH])):
                del alive[number]
    return [one for number, one in enumerate(tried) if number not in alive], list(alive.values())


def _killed_together(folder: Path, rules: str, test: str, tried: dict[int, Mutant]) -> set[int]:
    """Run many wrong rules beside the right ones in one promtool, and return those whose output is not that of the right one.

    It is the verdict that each would get alone, since the right rule gives at the judged minutes what the tests expect.
    """
    gone: set[int] = set()
    queries, asked = _asking(test)
    while left := {number: one for number, one in tried.items() if number not in gone}:
        (folder / "rules.yaml").write_text(without_annotations(_with(rules, left)), encoding="utf-8")
        (folder / "test.yaml").write_text(asked, encoding="utf-8")
        done = subprocess.run(["promtool", "test", "rules", str(folder / "test.yaml")], capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        failed = {int(number) for number in re.findall(r"rule: mutant:(\d+), time", output)}
        if not failed - gone:
            return gone | _different(queries, output, left)
        gone |= failed
    return gone


@dataclass(frozen=True)
class Query:
    """What a case asks for at one minute: `count` of alerts by tier, all `labels` of alerts, or `records` by name.

    `by` are the labels by which records are added up before they are compared; none if they are compared as they are.
    """

    case: int
    minute: str
    kind: str
    records: frozenset[str] = frozenset()
    by: tuple[str, ...] = ()


def _asking(test: str) -> tuple[list[Query], str]:
    """Return the questions of a test file, and the file with nothing expected, so that promtool prints what there is."""
    head, *cases = re.split(r"(?=^  - name: )", test, flags=re.MULTILINE)
    queries, parts = [], [head]
    for number, case in enumerate(cases):
        stories, _, questions = case.partition("    promql_expr_test:\n")
        minutes: set[str] = set()
        for expr, minute in re.findall(r'      - expr: (".*")\n        eval_time: (\w+)\n', questions):
            minutes.add(minute)
            text = json.loads(expr)
            named = re.search(r'__name__=~"([^"]*)"', text)
            kind = "count" if text.startswith("count by") else "labels" if text.startswith("ALERTS") else "records"
            summed = re.search(r"sum by \(([^)]*)\)", text)
            by = tuple(summed[1].split(", ")) if summed else ()
            queries.append(Query(number, minute, kind, frozenset(named[1].split("|")) if named else frozenset(), by))
        asked = "".join(
            f'      - {{expr: \'{{__name__=~"ALERTS|mutant:.+|slo:.+|sloth_.+", alertstate!="pending", of_case!="{number}"}}\', '
            f"eval_time: {minute}, exp_samples: [{{labels: nothing, value: 1}}]}}\n"
            for minute in sorted(minutes)
        )
        parts.append(f"{stories}    promql_expr_test:\n{asked}")
    return queries, "".join(parts)


def _different(queries: Sequence[Query], output: str, tried: dict[int, Mutant]) -> set[int]:
    """Return the numbers of the wrong rules whose output differs where a test looks at it."""
    answers: dict[tuple[int, int], dict[str, list[tuple[tuple[tuple[str, str], ...], float]]]] = {}
    for case, minute, got in re.findall(r'of_case!=\\"(\d+)\\".*?, time: (\w+),?\s+exp:.*?\n\s+got:(.*?)\n', output):
        found = answers.setdefault((int(case), _minutes(minute)), {})
        for labels_text, value in re.findall(r"\{([^}]*)\} (\S+?)(?:,|$)", got.strip()):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', labels_text))
            name = labels.pop("__name__")
            name = (
                f"{labels.pop('alertname')} {labels['tier']}"
                if name == "ALERTS" and not labels["alertname"].startswith("mutant:")
                else labels.pop("alertname", name)
            )
            found.setdefault(name, []).append((tuple(sorted(labels.items())), _rounded(float(value))))
    killed = set()
    for number, one in tried.items():
        for query in queries:
            found = answers.get((query.case, _minutes(query.minute)), {})
            right, wrong = sorted(found.get(one.rule, [])), sorted(found.get(f"mutant:{number}", []))
            record = one.rule in query.records
            if query.by:
                right, wrong = (
                    [(tuple(pair for pair in labels if pair[0] in query.by), value) for labels, value in part] for part in (right, wrong)
                )
                right, wrong = sorted(right), sorted(wrong)
            if query.kind == "count" and not one.rule.startswith(("slo:", "sloth_")):
                right, wrong = ([dict(labels)["tier"] for labels, _ in part if "tier" in dict(labels)] for part in (right, wrong))
                if sorted(right) != sorted(wrong):
                    killed.add(number)
            elif (record or (query.kind == "labels" and not one.rule.startswith(("slo:", "sloth_")))) and right != wrong:
                killed.add(number)
    return killed


def _at_real_dates(folder: Path, slo: SLO, tried: Sequence[Mutant]) -> dict[Mutant, str]:
    """Return which calendar rules record something wrong at a real date (""), and which never do (why they mean the same)."""
    program = shutil.which("prometheus")
    if not tried or program is None:
        return {}
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yml").write_text("{}", encoding="utf-8")
    flags = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    daemon = Daemon(
        "Prometheus", lambda listen: [program, *flags, f"--web.listen-address={listen}"], "/-/ready", folder / "log", free_port()
    )
    daemon.start()
    try:
        found = {one: "" if _wrong_at_some_date(daemon.url, slo, one) else equal_at_all_dates(one) or "survived" for one in tried}
    finally:
        daemon.stop()
    return {one: reason for one, reason in found.items() if reason != "survived"}


def _wrong_at_some_date(url: str, slo: SLO, one: Mutant) -> bool:
    """Ask a Prometheus for the mutated expression, a vector of one value, at each instant that matters."""
    expr = yaml.safe_load(f"expr: {one.replacement}")["expr"]
    for now in instants(slo):
        query = urllib.parse.urlencode({"query": filled_in(slo, expr, now), "time": now})
        with urllib.request.urlopen(f"{url}/api/v1/query?{query}") as answer:
            result = json.load(answer)["data"]["result"]
        right = recorded_at(slo, now)[one.rule]
        if [float(sample["value"][1]) for sample in result] != [right]:  # NaN is not right either
            return True
    return False


def _rounded(value: float) -> float:
    return math.floor(value * 1e6 + 0.5) if math.isfinite(value) else value


def _minutes(text: str) -> int:
    return sum(int(number) * {"d": 1440, "h": 60, "m": 1}[unit] for number, unit in re.findall(r"(\d+)([dhm])", text))


def _killed_alone(folder: Path, rules: str, test: str, tried: dict[int, Mutant]) -> set[int]:
    """Run each wrong rule file by itself under the test, and return those that fail it."""
    for number, one in tried.items():
        wrong = one.apply(rules)
        wrong = wrong if "alert_rule_test" in test else without_annotations(wrong)  # most of the work of an evaluation
        (folder / f"rules{number}.yaml").write_text(wrong, encoding="utf-8")
        (folder / f"test{number}.yaml").write_text(test.replace('"rules.yaml"', f'"rules{number}.yaml"'), encoding="utf-8")
    files = [str(folder / f"test{number}.yaml") for number in tried]
    done = subprocess.run(["promtool", "test", "rules", *files], capture_output=True, text=True, check=False)
    passed = {int(number) for number in re.findall(r"test(\d+)\.yaml\n  SUCCESS", done.stdout)}
    return {number for number in tried if number not in passed}


def _with(rules: str, tried: dict[int, Mutant]) -> str:
    """Return the rules with each wrong one right behind the one it was made from."""
    behind: dict[int, list[str]] = {}
    for number, one in tried.items():
        behind.setdefault(one.span[1], []).append(one.beside(rules, number))
    parts, at = [], 0
    for end in sorted(behind):
        parts += [rules[at:end], *behind[end]]
        at = end
    return "".join([*parts, rules[at:]])


def _report(killed: Sequence[Mutant], survived: Sequence[Mutant], same: Sequence[tuple[Mutant, str]]) -> int:
    print(f"{'kind':<12}{'mutants':>9}{'killed':>9}{'survived':>10}{'equivalent':>12}{'score':>9}")
    columns = [Counter(one.kind for one in part) for part in (killed, survived, [one for one, _ in same])]
    for kind in [*sorted({kind for column in columns for kind in column}), "all"]:
        dead, alive, equal = (sum(column.values()) if kind == "all" else column[kind] for column in columns)
        score = f"{dead / (dead + alive):.1%}" if dead + alive else "-"
        print(f"{kind:<12}{dead + alive + equal:>9}{dead:>9}{alive:>10}{equal:>12}{score:>9}")
    for reason, count in Counter(reason for _, reason in same).most_common():
        print(f"\nequivalent ({count}): {reason}")
        print("\n".join(f"  {one.where}" for one, why in same if why == reason))
    if survived:
        print("\nsurvived:\n" + "\n".join(f"  {one.where}" for one in survived))
    tried = len(killed) + len(survived)
    return 0 if tried and len(killed) / tried >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
