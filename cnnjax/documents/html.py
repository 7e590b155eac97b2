"""Tables, remarks and pictures as one self-contained HTML page: nothing is loaded from elsewhere.

`page.css` is its style. `page.js` sorts and filters its tables and tells what the marks of its pictures are; without it
the page shows everything all the same. A policy in the page allows that script alone, and no request.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from importlib import resources

from cnnjax.documents.colours import DARK, LIGHT
from cnnjax.documents.document import Block, Column, Grid, Picture, Remarks, Section
from cnnjax.documents.svg import inline, variables
from cnnjax.visible import visible


def page(title: str, body: str, *, version: str | None = None) -> str:
    """A whole page around `body`, which is HTML.

    version: of a page that a server watches: the page asks that server for newer ones, and nobody else.
    """
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    asks = "" if version is None else " connect-src 'self';"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:;{asks} script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    watched = "" if version is None else f' data-version="{escape(version)}"'
    return f"""<!DOCTYPE html>
<html lang="en"{watched}>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{_themes(body)}{_file("page.css")}</style>
</head>
<body>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def escape(text: str) -> str:
    """Any text as HTML that shows it, all its characters visible."""
    return html.escape(visible(text))


def contents(sections: Sequence[tuple[str, str]]) -> str:
    """A table of contents: (anchor, title) of each section."""
    items = "".join(f'<li><a href="#{escape(anchor)}">{escape(title)}</a></li>' for anchor, title in sections)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def section(of: Section) -> str:
    """A section of a page: its heading and its blocks."""
    anchor = f' id="{escape(of.anchor)}"' if of.anchor else ""
    blocks = [_block(block, of, number) for number, block in enumerate(of.blocks, start=1)]
    return f"<section{anchor}>\n<h2>{escape(of.title)}</h2>\n" + "\n".join(blocks) + "\n</section>"


def _file(name: str) -> str:
    return resources.files("cnnjax.documents").joinpath(name).read_text(encoding="utf-8")


def _themes(body: str) -> str:
    """The variables of both themes, those of the pictures in `body` included; print is always light."""
    pictures = variables(body)
    light, dark = (_declared(theme, more) for theme, more in zip((LIGHT, DARK), pictures, strict=True))
    return f""":root {{ color-scheme: light dark; {light} }}
:root[data-theme=light] {{ color-scheme: light; }}
@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ {dark} }} }}
@media screen {{ :root[data-theme=dark] {{ color-scheme: dark; {dark} }} }}
"""


def _declared(theme: Mapping[str, str], pictures: str) -> str:
    return " ".join([*(f"--{name}: {colour};" for name, colour in theme.items()), pictures])


def _block(block: Block, of: Section, number: int) -> str:
    if isinstance(block, Grid):
        return _table(block, of, number)
    if isinstance(block, Picture):
        return f"<figure>{_drawn(block)}<figcaption>{escape(block.caption)}</figcaption></figure>"
    return _remarks(block)


def _drawn(picture: Picture) -> str:
    """The picture as lines and text where it is there as such, else as pixels."""
    if "svg" in picture.files:
        return inline(picture)
    pixels = base64.b64encode(picture.files["png"]).decode()
    return f'<img src="data:image/png;base64,{pixels}" alt="{escape(picture.title)}" width="{picture.width}">'


def _remarks(remarks: Remarks) -> str:
    if not remarks.title:
        return "\n".join(f"<p>{escape(line)}</p>" for line in remarks.lines)
    items = "".join(f"<li>{escape(line)}</li>" for line in remarks.lines)
    return f"<p>{escape(remarks.title)}</p>\n<ul>{items}</ul>"


def _table(grid: Grid, of: Section, number: int) -> str:
    heads = [column.label for column in grid.columns]
    choices = [" data-choices" if column.is_choice else "" for column in grid.columns]
    head = _cells("th", heads, grid.columns, [f' scope="col"{choice}' for choice in choices])
    rows = [
        f"<tr{_row(grid, place)}>{_cells('td', cells, grid.columns)}</tr>"
        for place, cells in enumerate(grid.cells(exact=True))
    ]
    totals = "".join(f"<tr>{_cells('th', cells, grid.columns)}</tr>" for cells in grid.totals(exact=True))
    foot = f"\n<tfoot>{totals}</tfoot>" if totals else ""
    # Prose may be broken into lines, numbers may not.
    kind = "" if all(column.is_text for column in grid.columns) else ' class="numbers"'
    body, name = "\n".join(rows), escape(f"{of.anchor or 'table'}-{number}")
    title = f"<p>{escape(grid.title)}</p>\n" if grid.title else ""
    box = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(grid.title or of.title)}, table {number}">'
    )
    table = f'<table{kind} data-name="{name}"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>{foot}</table>'
    return f"{title}{box}{table}</div>"


def _row(grid: Grid, place: int) -> str:
    mark = f' class="chosen" title="{escape(grid.mark)}"' if place == grid.marked else ""
    return f'{mark} data-key="{escape(grid.keys[place])}"' if grid.keys else mark


def _cells(tag: str, cells: Sequence[str], columns: Sequence[Column], more: Sequence[str] = ()) -> str:
    """The cells of a row, numbers to the right; `more`: further attributes of each."""
    kinds = ["" if column.is_text else ' class="number"' for column in columns]
    more = more or [""] * len(kinds)
    each = zip(cells, kinds, more, strict=True)
    return "".join(f"<{tag}{kind}{further}>{escape(cell)}</{tag}>" for cell, kind, further in each)
