"""What `cnnjax recipes` shows: all recipes in a table, or one with its whole card."""

from __future__ import annotations

import textwrap
from typing import Any

from cnnjax.cards import Card, Machine
from cnnjax.config import plain
from cnnjax.documents.document import Column, Document, Grid, Remarks, TextBlock
from cnnjax.errors import CnnjaxError, RunError
from cnnjax.recipes.cost import Cost, cost_of
from cnnjax.recipes.figures import LEGEND, band, expected, judgement, published, reproduced
from cnnjax.recipes.judging import contradiction, is_current
from cnnjax.recipes.reproduce import record_path
from cnnjax.recipes.shelf import Recipe, recipes
from cnnjax.records.reproduction_json import ReproductionRecord

NOTHING = "-"
QUESTION = 40  # characters of a question in the table
OWN_STUDY = "its claims are those of the source; what they are tried on is a study of its own"
NEEDS = {"cpu": "a CPU", "accelerator": "an accelerator"}
COLUMNS = (
    Column("recipe"),
    Column("question", rank=2),
    Column("expected"),
    Column("a training takes", rank=1),
    Column("reproduced here"),
)
MENDED = "reproduce the recipe again with --record, or bring the file back from a copy"


def catalogue() -> Document:
    """Every recipe, and every other experiment, with what is expected of it and what was measured."""
    rows: list[tuple[Any, ...]] = []
    data: list[dict[str, Any]] = []
    broken: list[str] = []
    for found in recipes():
        if isinstance(found, tuple):
            broken.append(f"{found[0]}: {found[1]}")
            continue
        try:
            entry = _entry(found)
        except CnnjaxError as error:
            broken.append(f"{found.name}: {error}")
            continue
        data.append(entry)
        question = textwrap.shorten(entry["question"], QUESTION, placeholder=" …")
        names = ("expected", "cost", "reproduced")
        rows.append((entry["name"], question, *(entry[name] or NOTHING for name in names)))
    notes = [Remarks(tuple(broken), "cannot be loaded")] if broken else []
    closing = "`cnnjax recipes NAME` shows the whole card of one, `cnnjax init NAME` copies it to start from."
    blocks: list[TextBlock] = [Grid("", COLUMNS, rows), *notes, Remarks((LEGEND, closing))]
    return Document(blocks, {"recipes": data, "broken": broken})


def card_page(recipe: Recipe) -> Document:
    """A recipe with its card, its cost on the card's first machine, and its record."""
    card, entry = recipe.file.card, _entry(recipe)
    cost, record = cost_of(recipe), record_of(recipe)
    data = entry | {"docstring": recipe.file.question, "path": str(recipe.path), "cost_here": cost.to_json()}
    data |= {"card": None if card is None else plain(card), "record": None if record is None else record.to_json()}
    blocks: list[TextBlock] = [Remarks((f"{recipe.name}  ({recipe.path})", "", *recipe.file.question.splitlines()))]
    if card is None:
        blocks.append(Remarks(("It has no card: an experiment, of which no source says what to expect.",)))
    else:
        blocks += _card_blocks(card)
    blocks.append(_cost_block(cost))
    blocks.append(_record_block(recipe, record))
    return Document(blocks, data)


def record_of(recipe: Recipe) -> ReproductionRecord | None:
    """The record beside a recipe; None where it was not reproduced here, or has no card. Raises RunError for a file
    that is damaged, or whose verdicts do not follow from its numbers."""
    if recipe.file.card is None:
        return None
    path = record_path(recipe)
    record = ReproductionRecord.read(path, remedy=MENDED)
    wrong = "" if record is None else contradiction(record)
    if wrong:
        raise RunError(f"{path} contradicts itself ({wrong}); {MENDED}")
    return record


def _entry(recipe: Recipe) -> dict[str, Any]:
    card, record = recipe.file.card, record_of(recipe)
    said = None if record is None else reproduced(record)
    if record is not None and not is_current(recipe.file, record):
        said = f"of an earlier form: {said}"
    return {
        "name": recipe.name,
        "question": _first_question(recipe.file.question),
        "card": card is not None,
        "expected": None if card is None else expected(card),
        "cost": None if card is None else _takes(card, record),
        "needs": None if card is None else card.needs,
        "reproduced": said,
    }


def _first_question(text: str) -> str:
    """The docstring up to its first question mark, on one line."""
    question, mark, _ = text.partition("?")
    return " ".join(f"{question}{mark}".split()) if mark else text.partition("\n")[0]


def _takes(card: Card, record: ReproductionRecord | None) -> str:
    """What a training takes on the card's first machine; where no hours are known, what all that are recorded took."""
    first = next(iter(card.machines.values()), None)
    machine = NEEDS[card.needs] if first is None else _machine(first)
    if record is None or record.minutes is None or (first is not None and first.hours is not None):
        return machine
    return f"{machine}, {_time(record.minutes)} for {len(record.experiments)}"


def _machine(machine: Machine) -> str:
    """`8 x a100, 20 h`."""
    hours = machine.hours
    return f"{machine.devices} x {machine.kind}{'' if hours is None else f', {_time(60 * hours)}'}"


def _time(minutes: float) -> str:
    if minutes >= 60:
        return f"{minutes / 60:.2g} h"
    return f"{minutes:.2g} min" if minutes >= 1 else f"{60 * minutes:.2g} s"


def _card_blocks(card: Card) -> list[TextBlock]:
    figures = [f"{published(own, named=True)}{_apart(own.of)}{_apart(own.source)}" for own in card.published]
    lines = [f"source: {card.source}", *_listed("published", figures or ["no figure"])]
    lines += _listed("deviations from the source", card.deviations or [OWN_STUDY if card.claims else "none"])
    if card.band is not None:
        lines.append(f"reproduced if: {band(card.band)}")
    if card.claims:
        lines += _listed("claims", [f"{own.text} ({own.expects}, margin {own.margin:g})" for own in card.claims])
    machines = [
        f"--on {name}: {_machine(own)}{'' if own.batch_size is None else f', batch {own.batch_size:,}'}"
        for name, own in card.machines.items()
    ]
    return [Remarks((*lines, f"needs: {NEEDS[card.needs]}", *_listed("machines", machines or ["none named"])))]


def _apart(text: str) -> str:
    return f"; {text}" if text else ""


def _listed(title: str, lines: Any) -> list[str]:
    """One line behind its title, several below it."""
    lines = list(lines)
    return [f"{title}: {lines[0]}"] if len(lines) == 1 else [f"{title}:", *(f"  - {line}" for line in lines)]


def _cost_block(cost: Cost) -> Remarks:
    return Remarks((f"cost of one training{cost.where}:", *(f"  {line}" for line in cost.lines)))


def _record_block(recipe: Recipe, record: ReproductionRecord | None) -> Remarks:
    if record is None:
        return Remarks(("reproduced here: no",))
    form = "" if is_current(recipe.file, record) else " (of an earlier form of this recipe)"
    hardware = "; ".join(dict.fromkeys(str(own.get("hardware")) for own in record.environments))
    commits = ", ".join(dict.fromkeys(str(own.get("cnnjax_commit")) for own in record.environments))
    minutes = "" if record.minutes is None else f", {record.minutes:g} minutes"
    made = f"{record.recorded[:10]}, cnnjax {commits}, {hardware}{minutes}: {record.command}"
    return Remarks((f"reproduced here{form}:", *(f"  {line}" for line in judgement(record)), *_wrapped(made)))


def _wrapped(text: str) -> list[str]:
    return [f"  {line}" for line in textwrap.wrap(text, 116)]
