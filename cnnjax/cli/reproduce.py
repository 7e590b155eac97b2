"""`cnnjax reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import WIDE, app, err, out
from cnnjax.cli.completing import recipe_names
from cnnjax.cli.options import LONGEST, MANY, AsJson, Devices, Overrides, Workers, hardware_of, options_of, values
from cnnjax.cli.printing import print_json
from cnnjax.errors import CnnjaxError, ConfigError
from cnnjax.progress import StudyProgress, progress

if TYPE_CHECKING:
    from cnnjax.recipes.reproduce import Reproduction


@app.command(
    epilog="Examples:  cnnjax reproduce mnist/lenet5  ·  cnnjax reproduce mnist/lenet5 --budget 30  ·  "
    "cnnjax reproduce mnist/lenet5 epochs=1 --seeds 1 (shrunk: no reproduction)"
)
def reproduce(
    card: Annotated[
        str,
        typer.Argument(
            metavar="CARD",
            help="A recipe's name, or a file with a card.",
            show_default=False,
            autocompletion=recipe_names,
        ),
    ],
    overrides: Overrides = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Minutes to train for; 0 judges what is there. [default: to the end]",
            metavar="MINUTES",
            min=0,
            max=LONGEST,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="To try it with other seeds than the card's. [default: the card's]", min=1, max=MANY),
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", parser=paths.folder, help="Where to train. [default: runs/reproduce/<name>]"
        ),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the record beside the recipe too, where `cnnjax recipes` reads it.")
    ] = False,
    stale: Annotated[
        str, typer.Option(help="What to do with what other code or data made: stop or rerun.", metavar="stop|rerun")
    ] = "stop",
    replace: Annotated[
        bool, typer.Option("--replace", help="Let the card's study take the place of another one in the same folder.")
    ] = False,
    devices: Devices = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Train a card's study with its seeds, and say whether it meets what the card says. The same command continues.

    The exit code is 0 where the band is met, or where all that the claims speak of has ended, be it that one fails.
    """
    from cnnjax.recipes import find
    from cnnjax.recipes.reproduce import keep
    from cnnjax.recipes.reproduce import reproduce as run

    if stale not in ("stop", "rerun"):
        raise ConfigError(f"--stale {stale}: must be stop or rerun, for what other code made is no reproduction")
    if record and (overrides or seeds is not None):
        raise ConfigError("--record keeps what the card says: leave out PATH=VALUE and --seeds")
    recipe = find(card)
    options = options_of(hardware_of(devices, "jit", 0.25, workers), 60.0, None, stale, None, 50)
    with progress(recipe.name, hidden=as_json) as show:
        about = {"overrides": values(overrides), "seeds": seeds, "budget": budget, "replace": replace}
        found = run(recipe, out_folder, **about, options=options, sinks=[StudyProgress(show)])
    if as_json:
        print_json(_json(found))
    else:
        _print(found)
    if record:
        (err if as_json else out).print(f"recorded: {keep(found)}", soft_wrap=True)
    if found.trouble:
        raise CnnjaxError(found.trouble)


def _json(found: Reproduction) -> dict:
    record = None if found.record is None else found.record.to_json()
    about = {"changed": list(found.changed), "stopped": found.stopped, "errors": list(found.errors)}
    return {"recipe": found.recipe.name, "out": str(found.out), **about, "record": record}


def _print(found: Reproduction) -> None:
    from cnnjax.recipes.figures import band, judgement, published
    from cnnjax.records.reproduction_json import ReproductionRecord
    from cnnjax.reporting import collect, terminal_table

    card = found.recipe.file.card
    assert card is not None
    if found.record is None:
        WIDE.print(terminal_table(collect(found.out)))
        out.print(f"trials: {found.out} (`cnnjax report` makes pages of them)", soft_wrap=True)
        return
    lines = [found.recipe.name]
    lines += [f"published: {published(figure, named=True)}" for figure in card.published]
    lines += [f"band: {band(card.band)}"] if card.band is not None else []
    lines += judgement(found.record)
    lines.append(f"record: {ReproductionRecord.at(found.out)}")
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
