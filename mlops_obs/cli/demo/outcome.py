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


def judge(
    *, good: Mapping[str, object], bad: Mapping[str, object], pages: Sequence[Mapping[str, object]], requests: Sequence[Request]
) -> list[Claim]:
    """Check the four promises.

    Args:
        good: final state of the good revision's rollout: `canary`, `phase`, `reason`.
        bad: the same of the bad revision's.
        pages: incidents of severity page that reached the inbox: `incident`, `summary`.
        requests: every request that the traffic generator sent.
    """
    canary = str(bad["canary"])
    stable = [request for request in requests if request.revision != canary]
    failed = [request for request in stable if request.failed]
    return [
        Claim(f"{good['canary']}, the better model, was promoted", good["phase"] == "Promoted", f"{good['phase']}: {good['reason']}"),
        Claim(f"{canary}, the broken model, was rolled back", bad["phase"] == "RolledBack", f"{bad['phase']}: {bad['reason']}"),
        Claim("on-call got exactly one page", len(pages) == 1, "; ".join(str(page["summary"]) for page in pages) or "no page"),
        Claim(
            "no request of the stable path failed",
            bool(stable) and not failed,
            f"{len(failed)} of {len(stable)} failed" if stable else "no traffic was seen",
        ),
    ]
