"""A report as Markdown beside its pictures, and as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain

from cnnjax.reporting.contents import (
    Grid,
    arms_grid,
    effects_grid,
    equal_costs,
    failed_grid,
    headline,
    provenance_grid,
    pruned_grid,
    settings,
    unmatched,
    value_notes,
)
from cnnjax.reporting.directory import Table
from cnnjax.reporting.notes import arms_note, effects_note
from cnnjax.reporting.pictures import Picture
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.units import unit

Block = str | Grid | Picture
Section = tuple[str, Sequence[Block]]


def sections(table: Table, pictures: Mapping[str, Picture]) -> list[Section]:
    """The report in reading order: headings with their paragraphs, tables and pictures. Empty sections are left out."""
    shown = measure(table).shown
    by_arm, by_cost = ["accuracy_by_arm"], ["accuracy_vs_params", "accuracy_vs_macs"]
    effect_grids = [(f"Effects on {unit(table, name).label}", effects_grid(table, name), name) for name in shown]
    effect_blocks = chain.from_iterable([title, grid] for title, grid, _ in effect_grids if grid.rows)
    effects = [*_drawn(pictures, ["effects"]), *effect_blocks]
    parts: list[Section] = [
        ("Arms", [arms_grid(table), arms_note(table), *value_notes(table), *_drawn(pictures, by_arm)]),
        ("What each axis does", [*effects, *([effects_note(table)] if effects else []), *unmatched(table, shown[-1])]),
        (f"{measure(table).kind.capitalize()} against cost", [*_drawn(pictures, by_cost), *equal_costs(table)]),
        ("Learning curves", _drawn(pictures, ["learning_curves"])),
        ("Pruned before training", [pruned_grid(table)]),
        ("Failed trials", [failed_grid(table)]),
        ("Provenance", [provenance_grid(table)]),
    ]
    return [(title, blocks) for title, blocks in parts if any(not isinstance(b, Grid) or b.rows for b in blocks)]


def _drawn(pictures: Mapping[str, Picture], names: Sequence[str]) -> list[Block]:
    return [pictures[name] for name in names if name in pictures]


def render_markdown(table: Table, pictures: Mapping[str, Picture]) -> str:
    """The report in Markdown; it shows the pictures as files beside it."""
    lines = [f"# {_plain(table.name)}", "", *([f"> {_plain(table.question)}", ""] if table.question else [])]
    lines += [f"- {_plain(sentence)}" for sentence in headline(table)]
    for title, blocks in sections(table, pictures):
        lines += ["", f"## {title}"]
        lines += chain.from_iterable(["", _markdown(block)] for block in blocks)
    lines += ["", "## Base experiment", "", *(f"    {line}" for line in settings(table))]
    return "\n".join(lines) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Picture):
        return f"![{_plain(block.title)}]({block.name}.png)\n\n*{_plain(block.caption)}*"
    if isinstance(block, str):
        return _plain(block)
    lines = [list(map(_plain, row)) for row in (block.header, *block.rows)]
    if block.marked is not None:
        lines[block.marked + 1] = [f"**{cell}**" if cell else "" for cell in lines[block.marked + 1]]
    lines.insert(1, ["---"] * len(block.header))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line and within a table's cell."""
    text = " ".join(text.split())
    for character in "\\`*_[]|":
        text = text.replace(character, f"\\{character}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render_html(table: Table, pictures: Mapping[str, Picture]) -> str:
    """The report as one HTML page: no scripts, nothing loaded from elsewhere, pictures inside."""
    question = f'<p class="question">{escape(table.question)}</p>' if table.question else ""
    body = "\n".join(_html_section(title, blocks) for title, blocks in sections(table, pictures))
    sentences = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in headline(table))
    base = escape("\n".join(settings(table)))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(table.name)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<header>
<h1>{escape(table.name)}</h1>
{question}
<ul class="headline">
{sentences}
</ul>
</header>
{body}
<section><h2>Base experiment</h2><pre>{base}</pre></section>
</main>
</body>
</html>
"""


def _html_section(title: str, blocks: Sequence[Block]) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(map(_html, blocks)) + "\n</section>"


def _html(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.png).decode()
        image = f'<img alt="{escape(block.title)}" width="{block.width}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{escape(block.caption)}</figcaption></figure>"
    texts = block.header.index("n") if "n" in block.header else len(block.header)
    head = _html_cells("th", block.header, texts)
    rows = "\n".join(
        f"<tr{CHOSEN if number == block.marked else ''}>{_html_cells('td', cells, texts)}</tr>"
        for number, cells in enumerate(block.rows)
    )
    kind = "" if block.prose else ' class="numbers"'
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'


CHOSEN = ' class="chosen" title="chosen by validation"'


def _html_cells(tag: str, cells: Sequence[str], texts: int) -> str:
    """The cells of a row; those after the first `texts` are numbers and stand to the right."""
    right = [' class="number"' if place >= texts else "" for place in range(len(cells))]
    return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, right, strict=True))


CSS = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --paper: #ffffff; --band: #f6f8fa; --mark: #fff3cd; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa4af; --line: #343b44; --paper: #14181d; --band: #1c2229; --mark: #4a3d12; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 78rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p, ul.headline { max-width: 60rem; overflow-wrap: anywhere; }
.question { font-size: 1.15rem; color: var(--soft); white-space: pre-line; margin: 0 0 1rem; }
ul.headline { padding-left: 1.2rem; margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; border-bottom-width: 2px; }
.numbers td { white-space: nowrap; }
th.number, td.number { text-align: right; }
tbody tr:nth-child(even) { background: var(--band); }
tbody tr.chosen { background: var(--mark); font-weight: 600; }
figure { margin: 1.5rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
figcaption, section > p { color: var(--soft); font-size: .86rem; max-width: 60rem; }
pre { background: var(--band); padding: .8rem 1rem; border-radius: 6px; font-size: .8rem; overflow-x: auto; }
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --band: #f4f4f4; --mark: #fff3cd; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } .scroll { overflow: visible; }
  table { font-size: 7.5pt; } th, td { padding: .15rem .35rem; }
}
"""
