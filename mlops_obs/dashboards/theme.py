"""The look of everything we draw as HTML: one sheet, light, dark and print, no fonts or scripts from anywhere.

Colour has a meaning here: red is "a person should look", green is "settled well", and data that is neither stays blue or
grey. The trap is a chart that only works on white: every colour is a variable, and printing switches back to ink on paper.
"""

from __future__ import annotations

_LIGHT = """
  --paper:#fcfcfa; --card:#ffffff; --ink:#1c2126; --soft:#5d6772; --faint:#98a1aa; --line:#e4e6e4; --hair:#eff0ee;
  --good:#23795a; --warn:#a8690f; --bad:#bf3526; --good-bg:#edf5f1; --warn-bg:#faf3e6; --bad-bg:#fbefed;
  --s0:#2f66b5; --s1:#1f8577; --s2:#8153a6; --s3:#96700c; --s4:#a9476f; --s5:#547e27; --s6:#68737e; --s7:#a2603a;"""
_DARK = """
  --paper:#14171a; --card:#1a1e22; --ink:#e8eaeb; --soft:#a3adb6; --faint:#717b85; --line:#2c3238; --hair:#22272c;
  --good:#5cc29a; --warn:#dda74c; --bad:#f0806f; --good-bg:#17271f; --warn-bg:#2a2316; --bad-bg:#2e1c1a;
  --s0:#7ba9ee; --s1:#58c0b0; --s2:#bb95dc; --s3:#cfae55; --s4:#df8bb0; --s5:#98c165; --s6:#98a3ad; --s7:#d79a74;"""
_SANS = 'ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
_PAPER = "body{-webkit-print-color-adjust:exact;print-color-adjust:exact}section,figure,tr,.panel{break-inside:avoid}h2{break-after:avoid}"
_DATA = "".join(f".s{slot}{{--c:var(--s{slot})}}" for slot in range(8))
_TONES = ".info{--c:var(--soft)}" + "".join(f".{tone}{{--c:var(--{tone})}}" for tone in ("good", "warn", "bad", "soft", "faint", "ink"))

BASE_CSS = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
@media print{{:root{{color-scheme:light;{_LIGHT}
  --paper:#fff}}{_PAPER}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 {_SANS};
  font-feature-settings:"kern","liga";text-rendering:optimizeLegibility}}
a{{color:inherit;text-decoration-color:var(--faint);text-underline-offset:.18em}}
h1,h2,h3,p,figure{{margin:0}}
svg{{display:block;width:100%;height:auto;overflow:visible}}
svg text{{font:11.5px {_SANS};fill:var(--soft);font-variant-numeric:tabular-nums}}
svg .name{{fill:var(--c);font-weight:600}} svg .value{{fill:var(--c);font-weight:400}}
svg .grid{{stroke:var(--hair)}} svg .axis{{stroke:var(--line)}}
svg .data{{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}}
svg .quiet{{stroke-width:1.1;opacity:.75}}
svg .area{{fill:var(--c);stroke:none;opacity:.72}} svg .wash{{fill:var(--c);stroke:none;opacity:.10}}
svg .limit{{stroke:var(--bad);stroke-width:1;stroke-dasharray:5 4;opacity:.8}} svg .limit-name{{fill:var(--bad)}}
svg .mark{{stroke:var(--c);stroke-width:1;opacity:.34}} svg .mark-dot{{fill:var(--paper);stroke:var(--c);stroke-width:1.4}}
svg .mark-no{{fill:var(--c);font-size:10.5px;font-weight:700;text-anchor:middle}}
svg .inside{{fill:var(--card);font-weight:600;text-anchor:middle}} svg .lane{{fill:var(--ink)}}
svg .bar{{fill:var(--c)}}
{_DATA}{_TONES}
"""
