"""What must be true at the end of the demo. Pure: the exit code is a function of what was observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing the demo promises: `text` in the reader's words, whether it held, and what was seen."""

    text: str
    held: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the caller saw it: `status` 0 is a connection that broke; `revision` is empty if nobody answered."""

    at: float
    revision: str
    status: int
    seconds: float

    @property
    def failed(self) -> bool:
        """A server error or no answer. A 4xx is the caller's own mistake and its right answer."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True, slots=True)
class Named:
    """A feature of a revision that `by` ("drift" or "skew") named, with the kind of change, first at `at` (Unix seconds)."""

    by: str
    revision: str
    feature: str
    kind: str
    at: float


MONEY = frozenset({"loan_amount", "salary_30d", "spend_30d", "spend_90d", "cash_30d", "gambling_30d"})
"""The features in currency units: what the broken model reads in cents."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was `named` of every revision's inputs, told in `words`, and when the bad revision was seen to be rolled back."""

    named: Sequence[Named]
    words: str
    rolled_back_at: float


def judge(
    *,
    good: Mapping[str, object],
    bad: Mapping[str, object],
    pages: Sequence[Mapping[str, object]],
    requests: Sequence[Request],
    inputs: Inputs | None = None,
) -> list[Claim]:
    """Check the promises.

    Args:
        good: final state of the good revision's rollout: `canary`, `phase`, `reason`.
        bad: the same of the bad revision's.
        pages: incidents of severity page that reached the inbox: `incident`, `summary`.
        requests: every request that the traffic generator sent.
        inputs: what drift and skew said of the models' inputs; None leaves that promise out.
    """
    canary = str(bad["canary"])
    stable = [request for request in requests if request.revision != canary]
    failed = [request for request in stable if request.failed]
    claims = [
        Claim(f"{good['canary']}, the better model, was promoted", good["phase"] == "Promoted", f"{good['phase']}: {good['reason']}"),
        Claim(f"{canary}, the broken model, was rolled back", bad["phase"] == "RolledBack", f"{bad['phase']}: {bad['reason']}"),
        Claim("on-call got exactly one page", len(pages) == 1, "; ".join(str(page["summary"]) for page in pages) or "no page"),
        Claim(
            "no request of the stable path failed",
            bool(stable) and not failed,
            f"{len(failed)} of {len(stable)} failed" if stable else "no traffic was seen",
        ),
    ]
    return claims if inputs is None else [*claims, _fault_named(canary, inputs)]


def _fault_named(canary: str, inputs: Inputs) -> Claim:
    """Whether the fault, money in the wrong unit, was named by its features, and by nothing else, before the rollback or with it."""
    units = [one for one in inputs.named if one.revision == canary and one.kind == "unit" and one.at <= inputs.rolled_back_at]
    held = bool(units) and {one.feature for one in units} <= MONEY
    seen = inputs.words
    if units:
        seen += f"; first {max(0.0, inputs.rolled_back_at - units[0].at):.0f} s before the rollback"
    return Claim(f"the fault of {canary}, money in the wrong unit, was named by feature", held, seen)
