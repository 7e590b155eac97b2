"""Tables, remarks and pictures as one self-contained HTML page: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from cnnjax.documents.document import Block, Column, Grid, Picture, Remarks, Section


def page(title: str, body: str) -> str:
    """A whole page around `body`, which is HTML."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def section(of: Section) -> str:
    """A section of a page: its heading and its blocks."""
    anchor = f' id="{escape(of.anchor)}"' if of.anchor else ""
    return f"<section{anchor}>\n<h2>{escape(of.title)}</h2>\n" + "\n".join(map(_block, of.blocks)) + "\n</section>"


def _block(block: Block) -> str:
    if isinstance(block, Grid):
        return _table(block)
    if isinstance(block, Picture):
        data = base64.b64encode(block.files["png"]).decode()
        image = f'<img alt="{escape(block.title)}" width="{block.width}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{escape(block.caption)}</figcaption></figure>"
    return _remarks(block)


def _remarks(remarks: Remarks) -> str:
    if not remarks.title:
        return "\n".join(f"<p>{escape(line)}</p>" for line in remarks.lines)
    items = "".join(f"<li>{escape(line)}</li>" for line in remarks.lines)
    return f"<p>{escape(remarks.title)}</p>\n<ul>{items}</ul>"


def _table(grid: Grid) -> str:
    head = _cells("th", [column.label for column in grid.columns], grid.columns)
    mark = f' class="chosen" title="{escape(grid.mark)}"'
    rows = [
        f"<tr{mark if number == grid.marked else ''}>{_cells('td', cells, grid.columns)}</tr>"
        for number, cells in enumerate(grid.cells(exact=True))
    ]
    rows += [f"<tr>{_cells('th', cells, grid.columns)}</tr>" for cells in grid.totals(exact=True)]
    # Prose may be broken into lines, numbers may not.
    kind = "" if all(column.is_text for column in grid.columns) else ' class="numbers"'
    body = "\n".join(rows)
    title = [f"<p>{escape(grid.title)}</p>\n"] if grid.title else []
    table = f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    return "".join([*title, table])


def _cells(tag: str, cells: Sequence[str], columns: Sequence[Column]) -> str:
    """The cells of a row, numbers to the right."""
    kinds = ["" if column.is_text else ' class="number"' for column in columns]
    return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))


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
