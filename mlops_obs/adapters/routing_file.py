"""Reading who is told: a routing file if there is one, else one webhook for all."""

from __future__ import annotations

from pathlib import Path

from mlops_obs.adapters.files import load_yaml
from mlops_obs.paging.routing import Routing, one_webhook, parse_routing

INBOX = "http://127.0.0.1:9099/alerts"
PLACE = Path("paging") / "routing.yaml"
"""Where the routing file is looked for, from the folder of the SLO files (not in it: each file there is a service's)."""


def load_routing(path: Path) -> Routing:
    """Return the routing in `path`.

    Raises:
        SpecErrors: every mistake with file and line: OBS-PAGE-006, 001 for a URL, 007 for a key that is written out.
        SpecError: OBS-SLO-001 if the file cannot be read or is not YAML.
    """
    return parse_routing(*load_yaml(path))


def routing_of(path: Path | None, folder: Path, webhook: str | None) -> Routing:
    """Return the routing in `path`; else the one that tells `webhook` everything; else `folder`'s own routing file; else the local inbox.

    Raises:
        SpecError: as `load_routing`.
        UsageError: OBS-PAGE-001 if `webhook` is not http(s).
    """
    if path is not None:
        return load_routing(path)
    if webhook is None and (folder / PLACE).is_file():
        return load_routing(folder / PLACE)
    return one_webhook(webhook or INBOX)
