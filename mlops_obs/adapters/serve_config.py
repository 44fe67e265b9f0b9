"""Which package a Ray Serve config runs, and the same config for another one.

A config names its package in the `args` of an application (`args: {revision: v1, package: ...}`), and names revisions in other
places too: the application's own name, the ingress's arguments and weights. The trap is to replace text: `v1` is part of
many words. So values are compared as a whole, and only names that end in the revision are changed in part.
"""

from __future__ import annotations

from typing import Any

import yaml


def package_of(config: str) -> str | None:
    """Return the package of the application that names one, None if none does or several differ."""
    found = {str(one["package"]) for one in _args(config) if one.get("package")}
    return found.pop() if len(found) == 1 else None


def renamed(config: str, old: str, new: str, package: str) -> str:
    """Return `config` with revision `old` called `new` everywhere, and running `package`."""
    before = package_of(config)

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {(new if name == old else name): walk(one, str(name)) for name, one in value.items()}
        if isinstance(value, list):
            return [walk(one, key) for one in value]
        if key == "package" and value == before:
            return package
        if value == old:
            return new
        if key == "name" and isinstance(value, str) and value.endswith(f"-{old}"):
            return value[: -len(old)] + new
        return value

    return str(yaml.safe_dump(walk(yaml.safe_load(config)), sort_keys=False))


def _args(config: str) -> list[dict[str, Any]]:
    try:
        parsed = yaml.safe_load(config)
    except yaml.YAMLError:
        return []
    apps = parsed.get("applications") if isinstance(parsed, dict) else None
    return [app["args"] for app in apps or [] if isinstance(app, dict) and isinstance(app.get("args"), dict)]
