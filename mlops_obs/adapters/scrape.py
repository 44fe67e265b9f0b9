"""Finds instrumented processes by their file_sd files and reads their metrics once.

A target that cannot be read yields `up 0` and nothing else, in the same round: whoever reads the samples can tell
a dead exporter from an idle service.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_obs.adapters.exposition import ACCEPT, Malformed, Sample, parse, with_target_labels
from mlops_obs.adapters.http_client import Unreachable, fetch

log = logging.getLogger(__name__)
JOB = "mlops-obs"
_BODY_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Target:
    """One `/metrics` address and the labels that every sample from it gets, `instance` and `job` included."""

    address: str
    labels: Mapping[str, str]


def discovered(directory: Path) -> list[Target]:
    """Return the targets in the file_sd files of `directory`. A file that cannot be read is left out and logged, as Prometheus does."""
    targets: dict[str, Target] = {}
    for path in sorted(directory.glob("*.json")):
        try:
            groups = json.loads(path.read_text(encoding="utf-8"))
            for group in groups:
                labels = {str(name): str(value) for name, value in group.get("labels", {}).items() if not name.startswith("__")}
                for address in group["targets"]:
                    targets[address] = Target(address, {"job": JOB, **labels, "instance": address})
        except FileNotFoundError:
            continue  # its process ended between listing and reading
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s: not a file_sd file, left out (%s)", path, error)
    return list(targets.values())


def scrape(target: Target, timeout: float) -> list[Sample]:
    """Return every sample of `target` and its `up`: 1, or 0 alone if it did not answer in full within `timeout` seconds."""
    try:
        answer = fetch(f"http://{target.address}/metrics", timeout=timeout, headers={"Accept": ACCEPT}, limit=_BODY_LIMIT)
        if answer.status != 200:
            raise Unreachable(f"HTTP {answer.status}")
        found = with_target_labels(parse(answer.body.decode("utf-8"), answer.content_type), target.labels)
    except (Unreachable, Malformed, UnicodeDecodeError) as error:
        log.warning("%s: scrape failed: %s", target.address, error)
        return [Sample("up", target.labels, 0.0, "gauge")]
    return [*found, Sample("up", target.labels, 1.0, "gauge")]
