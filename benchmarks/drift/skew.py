"""How often a fault between training and serving is named rightly, how soon, how often a clean day is blamed, and what it costs.

    python -m benchmarks.drift.skew [--seeds 10]

Faults are put into a world of customers whose truth is known (`mlops_obs.testing.skew_world`): eight kinds, twenty features each. No
other tool of the field names the transformation, so there is no peer to run beside; Chronon reports that rows differ.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections import Counter

from mlops_obs.adapters.skew_log import SkewLog
from mlops_obs.collectors.skew import SkewKind, SkewWatch
from mlops_obs.testing import skew_world

_STEPS = (25, 50, 100, 200, 400, 700, 1000)


def named(fault: SkewKind | None, seed: int, share: float) -> tuple[dict[str, SkewKind], dict[str, int], float]:
    """Return what is named after 1,000 requests by feature, after how many requests each was named rightly, and the CPU seconds."""
    world = skew_world.make(fault, seed, share=share)
    watch = SkewWatch("shop", list(world.recomputed[0].values))
    soon: dict[str, int] = {}
    done, started = 0, time.process_time()
    for step in _STEPS:
        for at in range(done, step):
            watch.served(world.served[at])
            watch.recomputed(world.recomputed[at])
        done = step
        for finding in watch.findings():
            if finding.kind is fault:
                soon.setdefault(finding.feature, step)
    spent = time.process_time() - started
    return {one.feature: one.kind for one in watch.findings()}, soon, spent


def offer_seconds(features: int, requests: int = 20_000) -> tuple[float, float]:
    """Return the seconds of one offer of a request that is not in the sample, and of one that is."""
    values = {f"f{at}": 1.5 * at for at in range(features)}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for rate in (0.0, 1.0):
            log = SkewLog(folder, service="shop", rate=rate, capacity=2 * requests, every=3600.0)
            log._start = lambda: None  # the request thread alone
            started = time.perf_counter()
            for at in range(requests):
                log.offer("request", f"customer-{at}", 1.0, values, values)
            found.append((time.perf_counter() - started) / requests)
    return found[0], found[1]


def measure(seeds: int, first: int = 100, shares: tuple[float, ...] = (1.0, 0.3)) -> str:
    """Return the figures as Markdown."""
    lines = ["| fault | hits | named rightly | named otherwise | silent | median requests to the name |", "|---|---|---|---|---|---|"]
    total, right, seconds, requests = 0, 0, 0.0, 0
    for share in shares:
        for fault in skew_world.FAULTS:
            counts: Counter[str] = Counter()
            soon: list[int] = []
            for seed in range(first, first + seeds):
                found, when, spent = named(fault, seed, share)
                seconds, requests = seconds + spent, requests + _STEPS[-1]
                names = skew_world.make(fault, seed, share=share, requests=2).truth
                counts.update("right" if found.get(name) is fault else "silent" if name not in found else "other" for name in names)
                soon += when.values()
            count = sum(counts.values())
            total, right = total + count, right + counts["right"]
            middle = sorted(soon)[len(soon) // 2] if soon else 0
            figures = f"{counts['right']}/{count} | {counts['other']} | {counts['silent']} | {middle}"
            lines.append(f"| {fault.value} | {share:.0%} of requests | {figures} |")
    clean = sum(len(named(None, 1000 + seed, 1.0)[0]) for seed in range(2 * seeds))
    out, kept = offer_seconds(50)
    lines += [
        "",
        f"All: {right} of {total} named rightly ({right / total:.1%}).",
        f"Clean days: {clean} features named in {2 * seeds} days of 1,000 requests and 20 features, with 0.3 % of values a day old.",
        f"Naming: {1e6 * seconds / requests / 20:.1f} us of CPU per feature and request, seven looks included, outside of the request.",
        f"In the request, 50 features: {1e6 * out:.2f} us if the customer is not in the sample, {1e6 * kept:.2f} us if it is.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    warnings.simplefilter("ignore", RuntimeWarning)  # logarithms of what a fault made negative
    print(measure(parser.parse_args().seeds))
