"""What every KServe adapter refuses in the same words, whichever mode splits the traffic.

The trap is the same condition told three ways: a code means one thing, so its sentence stands once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlops_obs.adapters.kubernetes.api import Object
from mlops_obs.adapters.platform_object import PACKAGES, annotation, wait_until
from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import Weights, compact


def refuse_another_package(revision: str, runs: object, package: str, where: str) -> None:
    """Refuse to deploy `package` as a revision that `runs` something else. Raises Conflict OBS-KSERVE-001."""
    if runs != package:
        raise Conflict("OBS-KSERVE-001", f"{revision} already runs {runs}", where=where, todo="name the new package another revision")


def wait_for_start(
    revision: str, adopted: Callable[[], bool], why_not: Callable[[], str], *, timeout: float, poll: float, where: str, todo: str
) -> None:
    """Wait until `adopted()` is so. Raises TargetError OBS-KSERVE-002, with `why_not()` as the reason, after `timeout` seconds."""
    if not wait_until(adopted, timeout, poll):
        why = why_not() or f"not ready within {timeout:g} s"
        raise TargetError("OBS-KSERVE-002", f"{revision} did not start: {why}", where=where, todo=todo)


def refuse_a_changed_split(now: Mapping[str, int], wanted: Mapping[str, int], expected: Weights, where: str) -> None:
    """Refuse to overwrite a split that is neither `wanted` nor `expected`. Raises Conflict OBS-KSERVE-004."""
    if now not in (wanted, compact(expected)):
        raise Conflict("OBS-KSERVE-004", f"the split is {now}, not {dict(expected)}", where=where, todo="read again")


def not_all_on(revision: str, now: Mapping[str, int], where: str) -> Conflict:
    """Return the Conflict OBS-KSERVE-004 of a revision that is to be finished without all the traffic."""
    return Conflict("OBS-KSERVE-004", f"the split is {now}, not all on {revision}", where=where, todo="read again")


def refuse_an_edited(seen: Object, revision: str, runs: object, where: str) -> None:
    """Refuse to ship a `revision` whose package is another one than was deployed: the evidence is that of another model.

    Raises:
        Conflict: OBS-KSERVE-005.
    """
    noted = annotation(seen, PACKAGES).get(revision)
    if noted is not None and runs != noted:
        what = f"{revision} was edited: it has {runs} now, not {noted}"
        raise Conflict("OBS-KSERVE-005", what, where=where, todo="abort, and look who edits it")
