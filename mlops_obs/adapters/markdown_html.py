"""Runbooks as HTML: the small part of Markdown that runbooks use, and nothing executable.

Headings, paragraphs, nested-free lists, fenced code, tables, `code`, **bold**, *emphasis* and links. Everything is escaped first,
and a link may only lead to http(s) or to a place on this server: a runbook is reviewed text, but the page that shows it
should not depend on that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import escape

_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])|\[([^\]]+)\]\(([^)\s]+)\)")
_ITEM = re.compile(r"\s*([-*]|\d+[.)])\s+(.*)")
_SAFE = re.compile(r"https?://|/|#|[\w.-]+(?:[/#]|$)")


def to_html(text: str) -> str:
    """Return the HTML of a Markdown `text`."""
    lines = text.splitlines()
    return "\n".join(_blocks(lines))


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.lstrip().startswith("```"):
            end = next((n for n in range(at + 1, len(lines)) if lines[n].lstrip().startswith("```")), len(lines))
            # A fence inside a list is indented as a whole; what is shown and copied is not.
            margin = len(line) - len(line.lstrip())
            body = [one[min(margin, len(one) - len(one.lstrip())) :] for one in lines[at + 1 : end]]
            yield f"<pre><code>{escape(chr(10).join(body))}</code></pre>"
            at = end + 1
        elif line.startswith("    ") and line.strip():
            end = _run(lines, at, lambda one: one.startswith("    ") or not one.strip())
            yield f"<pre><code>{escape(chr(10).join(one[4:] for one in lines[at:end]).rstrip())}</code></pre>"
            at = end
        elif heading := re.match(r"(#{1,6})\s+(.*)", line):
            level = len(heading[1])
            yield f'<h{level} id="{_slug(heading[2])}">{_inline(heading[2])}</h{level}>'
            at += 1
        elif line.startswith("|"):
            end = _run(lines, at, lambda one: one.startswith("|"))
            yield _table(lines[at:end])
            at = end
        elif _ITEM.match(line):
            end = _run(lines, at, lambda one: bool(_ITEM.match(one)) or one.startswith("  "))
            yield _list(lines[at:end])
            at = end
        elif not line.strip() or line.startswith("<!--"):
            at += 1
        else:
            end = _run(lines, at, lambda one: bool(one.strip()) and not one.startswith(("#", "|", "```")) and not _ITEM.match(one))
            yield f"<p>{_inline(' '.join(lines[at:end]))}</p>"
            at = end


def _run(lines: list[str], start: int, belongs: Callable[[str], bool]) -> int:
    end = start + 1
    while end < len(lines) and belongs(lines[end]):
        end += 1
    return end


def _list(lines: list[str]) -> str:
    items: list[str] = []
    first = ""  # number of the first item, if it has one: code between two items ends the list, and the next goes on counting
    for line in lines:
        if item := _ITEM.match(line):
            first = first or item[1][:-1]
            items.append(item[2])
        else:
            items[-1] += " " + line.strip()
    kind, start = ("ol", "" if first == "1" else f' start="{int(first)}"') if first else ("ul", "")
    return f"<{kind}{start}>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + f"</{kind}>"


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]
    rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    out = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        out.append("<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in row) + "</tr>")
    return "<table>" + "".join(out) + "</table>"


def _inline(text: str) -> str:
    out, end = [], 0
    for found in _INLINE.finditer(text):
        out.append(escape(text[end : found.start()]))
        code, bold, emphasis, label, address = found.groups()
        if code is not None:
            out.append(f"<code>{escape(code)}</code>")
        elif bold is not None:
            out.append(f"<strong>{_inline(bold)}</strong>")
        elif emphasis is not None:
            out.append(f"<em>{_inline(emphasis)}</em>")
        elif _SAFE.match(address):
            # Runbooks refer to each other as files; here they are pages.
            out.append(f'<a href="{escape(re.sub(r"[.]md(?=#|$)", "", address), quote=True)}">{_inline(label)}</a>')
        else:
            out.append(_inline(label))
        end = found.end()
    return "".join([*out, escape(text[end:])])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
