"""A report as Markdown beside its pictures, and as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain

from cnnjax.documents import html
from cnnjax.documents.document import Block, Picture, Section, paragraph
from cnnjax.documents.markdown import escaped, markdown
from cnnjax.records.specification import Specification
from cnnjax.reporting.fraction_effects import fraction, fraction_grid, fraction_notes
from cnnjax.reporting.headline import headline
from cnnjax.reporting.notes import arms_note, effects_note, equal_costs, unmatched, value_notes
from cnnjax.reporting.picture_cost import COSTS
from cnnjax.reporting.pictures import against_name, by_arm_name, title_of
from cnnjax.reporting.provenance import provenance_grid, settings
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import arms_grid, effects_grid, failed_grid, pruned_grid
from cnnjax.reporting.units import plural, unit


def sections(table: Table, pictures: Mapping[str, Picture]) -> list[Section]:
    """The report in reading order. Sections with nothing in them are left out."""
    compared = measure(table).compared
    arms = [arms_grid(table), *map(paragraph, [arms_note(table), *value_notes(table)])]
    every = [
        Section("Arms", [*arms, *_drawn(pictures, [by_arm_name(compared)])]),
        Section("What each axis does", [*_effects(table, pictures), *_fraction(table)]),
        Section(f"{title_of(compared)} against cost", _costs(table, pictures, compared)),
        Section("Learning curves", _drawn(pictures, ["learning_curves"])),
        Section("Pruned before training", [pruned_grid(table)]),
        Section("Failed trials", [failed_grid(table)]),
        Section("Provenance", [provenance_grid(table)]),
    ]
    return [section for section in every if not section.is_empty]


def _costs(table: Table, pictures: Mapping[str, Picture], compared: Specification | None) -> list[Block]:
    costs = _drawn(pictures, [against_name(compared, cost) for cost in COSTS])
    return [*costs, *map(paragraph, equal_costs(table))] if compared is not None else []


def _effects(table: Table, pictures: Mapping[str, Picture]) -> list[Block]:
    if measure(table).compared is None:
        return []
    shown = measure(table).shown
    grids = ((f"Effects on {unit(table, name).label}", effects_grid(table, name)) for name in shown)
    drawn = _drawn(pictures, ["effects"])
    blocks = list(chain.from_iterable([paragraph(title), grid] for title, grid in grids if grid.rows))
    if fraction(table) is not None:
        # Its arms differ in several axes at once, so that only axes of more values have effects here.
        return [*drawn, *blocks, *([paragraph(effects_note(table))] if blocks else [])]
    notes = [effects_note(table)] if drawn or blocks else []
    return [*drawn, *blocks, *map(paragraph, [*notes, *unmatched(table, shown[-1])])]


def _fraction(table: Table) -> list[Block]:
    if measure(table).compared is None:
        return []
    if fraction(table) is None:
        return list(map(paragraph, fraction_notes(table)))
    grids = [(f"Effects on {unit(table, name).label}", fraction_grid(table, name)) for name in measure(table).shown]
    blocks = chain.from_iterable([paragraph(title), grid] for title, grid in grids)
    return [*blocks, *map(paragraph, fraction_notes(table))]


def _drawn(pictures: Mapping[str, Picture], names: Sequence[str]) -> list[Block]:
    return [pictures[name] for name in names if name in pictures]


def _first(table: Table) -> list[str]:
    of = plural(len(table.done), "finished trial")
    return [*headline(table), f"This is of {of}, the newest result written {table.last_result}."]


def render_markdown(table: Table, pictures: Mapping[str, Picture]) -> str:
    """The report in Markdown; it shows the pictures as files beside it."""
    lines = [f"# {escaped(table.name)}", "", *([f"> {escaped(table.question)}", ""] if table.question else [])]
    lines += [f"- {escaped(sentence)}" for sentence in _first(table)]
    for section in sections(table, pictures):
        lines += ["", f"## {section.title}", "", markdown(section.blocks).rstrip("\n")]
    lines += ["", "## Base experiment", "", *(f"    {line}" for line in settings(table))]
    return "\n".join(lines) + "\n"


def render_html(table: Table, pictures: Mapping[str, Picture]) -> str:
    """The report as one HTML page: no scripts, nothing loaded from elsewhere, pictures inside."""
    question = f'<p class="question">{escape(table.question)}</p>' if table.question else ""
    sentences = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in _first(table))
    body = "\n".join(map(html.section, sections(table, pictures)))
    base = escape("\n".join(settings(table)))
    return html.page(
        table.name,
        f"""<header>
<h1>{escape(table.name)}</h1>
{question}
<ul class="headline">
{sentences}
</ul>
</header>
{body}
<section><h2>Base experiment</h2><pre>{base}</pre></section>""",
    )
