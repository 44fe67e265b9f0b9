"""The HTML of the on-call inbox. Every value that came over the wire is escaped: an alert's text may hold a model's input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from mlops_obs.adapters.inbox_store import Page
from mlops_obs.paging.page import render_page

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --page: #c62828; --ticket: #b26a00; --calm: #2e7d32; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
article { border: 1px solid var(--line); border-left: 6px solid var(--calm); border-radius: 6px; }
article { margin: 1rem 0; padding: .2rem 1rem .8rem; }
article.firing.page { border-left-color: var(--page); } article.firing { border-left-color: var(--ticket); }
h2 { font-size: 1.05rem; margin: .6rem 0 .2rem; } .meta { opacity: .75; font-size: .85rem; }
pre, code { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; white-space: pre-wrap; background: #8881; padding: .8rem; border-radius: 6px; }
code { background: #8882; padding: 0 .25em; border-radius: 3px; } pre code { background: none; padding: 0; }
table { border-collapse: collapse; } td, th { border: 1px solid var(--line); padding: .2rem .6rem; text-align: left; }
"""
_LINK = re.compile(r"https?://[^\s<>]+[^\s<>.,;)\]]")


def document(title: str, body: str, *, refresh: int = 0) -> str:
    """Return a whole HTML page; `body` is HTML, `title` is text. `refresh` reloads it after that many seconds."""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def overview(pages: Sequence[Page]) -> str:
    """Return the list of pages, newest first."""
    firing = sum(page.status == "firing" for page in pages)
    state = f"{firing} open, {len(pages) - firing} resolved" if pages else "No page has arrived. Nothing is known to be wrong."
    body = f"<h1>On-call inbox</h1><p>{state}</p>" + "".join(_article(page) for page in reversed(pages))
    return document(f"({firing}) On-call inbox" if firing else "On-call inbox", body, refresh=5)


def _article(page: Page) -> str:
    more = f", {page.notifications} notifications" if page.notifications > 1 else ""
    kind = escape(page.severity)
    return (
        f'<article class="{kind} {escape(page.status)}" id="page-{page.number}"><h2>{escape(_headline(page))}</h2>'
        f'<p class="meta">Came {_clock(page.received_at)}{more}</p>'
        f"<pre>{linked(page.text)}</pre>{_outcome(page)}</article>"
    )


def _outcome(page: Page) -> str:
    """What has become of it: the newest notification, where it says more than the one that paged. Open, for the list reloads itself."""
    now = render_page(page.latest)
    return (
        ""
        if now == page.text
        else f"<details open><summary>Newest notification, {_clock(page.updated_at)}</summary><pre>{linked(now)}</pre></details>"
    )


def _headline(page: Page) -> str:
    about = ", ".join(str(value) for value in page.payload["groupLabels"].values()) or page.incident
    return f"{page.severity.capitalize()} {page.number}: {about}, {page.status}"


def linked(text: str) -> str:
    """Return `text` as HTML with its addresses clickable."""
    out, end = [], 0
    for found in _LINK.finditer(text):
        address = escape(found.group(), quote=True)
        out += [escape(text[end : found.start()]), f'<a href="{address}">{address}</a>']
        end = found.end()
    return "".join([*out, escape(text[end:])])


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
