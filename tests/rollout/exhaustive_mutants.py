"""Deliberate mistakes in the controller, each of which the search must find: `python exhaustive_mutants.py`.

A search that finds nothing proves nothing until it is known to find what is there. Each mutant is one edit of the source,
loaded in a process of its own; the search stops at the first violation. Mistakes that a second guard makes harmless (an old
token, which an old version refuses as well) are not in the list: no search of ends can tell them.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

R, T = "mlops_obs.rollout.", "mlops_obs.testing."
SAVES = "        stored = self._save(stored, decision.state, decided(stored.state, decision, seen, look), token, memory, answered=True)\n"
ACTS = "        error = self._try(action, token)\n"
MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    ("proven harm is ignored", R + "machine.decide", "    if harm:\n", "    if False:\n"),
    ("a second request turns a retreat around", R + "machine.obey", '        elif state.goal != "forward":\n', "        elif False:\n"),
    ("a failure passes for a success", R + "machine.decide", "    if error is None:\n        done", "    if True:\n        done"),
    ("a freeze is ignored", R + "machine.decide", "policy={**asked, **budget.actions}), frozen", 'policy={**asked, **budget.actions}), ""'),
    ("a request is answered again and again", R + "controller", "look), token, memory, answered=True)", "look), token, memory)"),
    (
        "acts before the intent is written",
        R + "controller",
        f"{SAVES}        self._hold_lease(token)\n{ACTS}",
        ACTS + SAVES,
    ),
    ("notices are lost with a pager", R + "machine.delivery", "return tuple(left)", "return ()"),
    ("nobody is told of a rollback", R + "machine.notices", 'add("rollback", "step" if', '0 and add("rollback", "step" if'),
    ("the first step counts as no step", R + "machine.retreat", "    if state.step < 0 or (share", "    if state.step <= 0 or (share"),
    ("a step that comes after the end stays", R + "machine.retreat", "    if not state.over or left", "    if True or left"),
    (
        "the guard of a rollback guards a promotion",
        R + "machine.retreat",
        'if state.phase == "Promoted" or (state.phase == "Aborted" and not late):',
        'if state.phase == "Aborted" and not late:',
    ),
    (
        "blindness does not stop a step",
        R + "machine.forward",
        '    if verdict.kind == "unknown":\n        return hold',
        "    if False:\n        return hold",
    ),
    ("blindness does not stop a second try", R + "machine.forward", "        if why_not:\n", "        if False:\n"),
    ("a shared incident does not stop a step", R + "machine.forward", '    if verdict.attribution == "shared":\n', "    if False:\n"),
    ("overwrites what somebody else did", R + "machine.forward", "    if quarrel:\n", "    if False:\n"),
    ("the watch is over at once", R + "machine.forward", "(left <= 0 and verdict.kind", "(True and verdict.kind"),
    ("ends with a share left to stable", R + "machine.forward", "    if found != {canary: 100}:\n", "    if False:\n"),
    ("the target never finishes", R + "machine.forward", "if seen.finishes and not state.finished:", "if seen.finishes:"),
    ("a manual gate is open", R + "machine.forward", "if weight in spec.manual_gates and not waived:", "if False:"),
    ("rises without a way back", R + "machine.readiness", 'return "" if way is None or way.ready else', 'return "" if True else'),
    ("a retry waits for a clock that was set back", R + "machine.clocks", "if state.retry_at > now + LONGEST_PAUSE:", "if False:"),
    ("a step began in the future", R + "machine.clocks", "_POINTS = (", "_POINTS = () and ("),
    ("a lease lasts as long as a wrong clock says", T + "rollout_memory", "<= now + 4 * ttl", ""),
    ("the store takes an old version", T + "rollout_memory", "if self._rollouts[index][1] != stored.version:", "if False:"),
)


class Mutating(importlib.machinery.SourceFileLoader):
    """Loads one module with one edit."""

    edit = ("", "")

    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text()
        old, new = self.edit
        if source.count(old) < 1:
            raise SystemExit(f"the mutant's text is not in {fullname} any more: {old!r}")
        return compile(source.replace(old, new), self.path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, old: str, new: str) -> None:
        self.module, Mutating.edit = module, (old, new)

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> Any:
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = Mutating(fullname, spec.origin)
        return spec


def find(number: int, most: int) -> str:
    """Search with mutant `number`; return the first violation, or an empty string."""
    _, module, old, new = MUTANTS[number]
    sys.meta_path.insert(0, Finder(module, old, new))
    from exhaustive_search import SCENARIOS, search

    # Many a mistake shows without any fault: all stories as they are first, then each with every single fault, then two with pairs.
    rounds = [(one, 1, True) for one in SCENARIOS] + [(one, 1, False) for one in SCENARIOS]
    for scenario, schedules, bare in [*rounds, *((one, most, False) for one in SCENARIOS if "race" in one.name or one.name == "healthy")]:
        try:
            found = search(scenario, schedules, stop_at=1, bare=bare)
        except Exception as error:  # noqa: BLE001 - a mutant that breaks the controller is found as well
            return f"{scenario.name}: {type(error).__name__}: {error}"
        if found.violations:
            name, schedule, words = found.violations[0]
            return f"{name} {schedule}: {words}"
    return ""


def main() -> None:
    if len(sys.argv) > 1:
        found = find(int(sys.argv[1]), 4_000)
        sys.stdout.write(found + "\n")
        sys.exit(0 if found else 1)
    missed = 0
    for number, (name, *_) in enumerate(MUTANTS):
        run = subprocess.run([sys.executable, __file__, str(number)], capture_output=True, text=True, cwd=Path(__file__).parent)
        caught = run.returncode == 0
        missed += not caught
        words = (run.stdout.strip() or run.stderr.strip())[-150:]
        sys.stdout.write(f"{'caught' if caught else 'MISSED'}  {name}: {words}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(MUTANTS) - missed} of {len(MUTANTS)} mistakes found\n")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
