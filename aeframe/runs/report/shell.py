"""`html_page`: the frame of a page, with the style that all pages share."""

from __future__ import annotations

from aeframe.runs.report.markup import Html, element

STYLE = Html("""
:root { color-scheme: light dark; --page: #ffffff; --text: #1c1c1c; --soft: #5a5a5a; --rule: #d9d9d9; --box: #f5f5f5;
  --train: #0072b2; --val: #d55e00; --test: #007a5a; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --text: #e8e8e8; --soft: #a9adb3; --rule: #3a3e44; --box: #212429;
    --train: #56b4e9; --val: #e69f00; --test: #2bbd91; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
.about, figcaption { color: var(--soft); }
.scroll, pre { overflow-x: auto; max-width: 100%; }
/* A shadow at an edge beyond which the table continues; the page's colour, which scrolls with the table, hides it. */
.scroll { background: linear-gradient(to right, var(--page) 1.5rem, transparent) left / 3rem 100% local,
  linear-gradient(to left, var(--page) 1.5rem, transparent) right / 3rem 100% local,
  linear-gradient(to right, var(--rule), transparent) left / .6rem 100% scroll,
  linear-gradient(to left, var(--rule), transparent) right / .6rem 100% scroll, var(--page);
  background-repeat: no-repeat; }
table { border-collapse: collapse; font-size: .93rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--rule);
  font-weight: normal; max-width: 32rem; overflow-wrap: break-word; }
thead th { color: var(--soft); }
td { min-width: 4rem; }
td:nth-child(4) { min-width: 16rem; }
td:nth-child(5) { min-width: 12rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre { font: .86rem/1.45 ui-monospace, monospace; }
pre { background: var(--box); padding: .8rem; border-radius: 6px; }
summary { cursor: pointer; padding: .5rem 0; }
figure { margin: 0 0 1.2rem; min-width: 0; }
img { max-width: min(46rem, 100%); height: auto; background: #ffffff; border-radius: 6px; }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: .2rem 1.4rem;
  max-width: 46rem; }
/* Also on a phone, a clip is beside its reconstruction. */
.pair:has(video) { grid-template-columns: repeat(2, minmax(0, 20rem)); gap: .2rem .8rem; }
.player { margin: 0 0 .8rem; }
audio { display: block; width: 100%; }
/* Clips are small; their pixels are shown as they are. */
video { display: block; width: 100%; max-width: 20rem; object-fit: contain;
  image-rendering: pixelated; background: #000000; border-radius: 6px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: .8rem 1.4rem; }
.charts figcaption { color: var(--text); overflow-wrap: anywhere; }
.chart { max-width: 26rem; }
.chart svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: var(--soft); }
svg .x { text-anchor: middle; }
svg .y { text-anchor: end; dominant-baseline: middle; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .bar { fill: var(--train); }
svg .line.train { stroke: var(--train); }
svg .line.val { stroke: var(--val); stroke-dasharray: 6 3; }
svg .line.test { stroke: var(--test); }
svg .dot.train { fill: var(--train); }
svg .dot.val { fill: var(--val); }
svg .dot.test { fill: var(--test); }
.legend .key { margin-right: 1.2rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 1.4rem; margin-right: .4rem; vertical-align: middle;
  border-top: 3px solid var(--train); }
.key.val::before { border-top: 3px dashed var(--val); }
.key.test::before { width: .6rem; height: .6rem; border: 0; border-radius: 50%; background: var(--test); }
@media print { details > * { display: revert; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
""")


def html_page(heading: str, about: str, content: Html, *, title: str | None = None, style: str = "") -> str:
    """Return a whole page as HTML, which refers to no other file or host.

    Args:
        heading: The heading of the page.
        about: A sentence below it.
        content: The sections.
        title: The name of the page in the browser, by default the heading.
        style: CSS rules besides those that all pages share.
    """
    main = element("main", element("h1", heading), element("p", about, class_="about"), content)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title or heading),
        element("style", Html(STYLE + style)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', main), lang='en')}\n"
