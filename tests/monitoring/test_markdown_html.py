"""Runbooks are shown as written, and nothing in them can run."""

import pytest

from mlops_obs.adapters.markdown_html import to_html

CASES = {
    "headings get anchors": ("## What to do?", '<h2 id="what-to-do">What to do?</h2>'),
    "lines of a paragraph are joined": ("one\ntwo\n\nthree", "<p>one two</p>\n<p>three</p>"),
    "fenced code is kept as it is": ("```\nobs page <x> *y*\n```", "<pre><code>obs page &lt;x&gt; *y*</code></pre>"),
    "indented code is kept as it is": ("    obs rollout status\n\ntext", "<pre><code>obs rollout status</code></pre>\n<p>text</p>"),
    "lists": ("- a\n- b\n  more", "<ul><li>a</li><li>b more</li></ul>"),
    "numbered lists": ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
    "a list goes on counting after code, which loses the indentation of the list only": (
        "1. a\n\n   ```sh\n   obs x \\\n     -y\n   ```\n\n2. b",
        '<ol><li>a</li></ol>\n<pre><code>obs x \\\n  -y</code></pre>\n<ol start="2"><li>b</li></ol>',
    ),
    "tables": (
        "| a | b |\n|---|---|\n| 1 | `x` |",
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td><code>x</code></td></tr></table>",
    ),
    "inline marks": ("**b** and *e* and `c*d*`", "<p><strong>b</strong> and <em>e</em> and <code>c*d*</code></p>"),
    "names with underscores and products with stars are plain": ("mlops_obs_up * 2 * 3", "<p>mlops_obs_up * 2 * 3</p>"),
    "links to other runbooks become pages": ("[that](LatencyBudgetBurn.md#meaning)", '<p><a href="LatencyBudgetBurn#meaning">that</a></p>'),
    "links that run code lose the link": ("[x](javascript:alert)", "<p>x</p>"),
    "HTML is shown, not run": ("<script>", "<p>&lt;script&gt;</p>"),
}


@pytest.mark.parametrize("case", CASES)
def test_markdown_becomes_html(case: str) -> None:
    text, expected = CASES[case]

    assert to_html(text) == expected
