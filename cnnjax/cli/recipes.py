"""`cnnjax recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnjax.cli.app import app
from cnnjax.cli.completing import recipe_names
from cnnjax.cli.options import AsJson
from cnnjax.cli.printing import print_document


@app.command(epilog="Examples:  cnnjax recipes  ·  cnnjax recipes mnist/lenet5  ·  cnnjax recipes --json")
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="A recipe, to see its whole card.", show_default=False, autocompletion=recipe_names
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes: what is expected of each, its cost, and whether it was reproduced; or show one whole."""
    from cnnjax.recipes import find
    from cnnjax.recipes.catalogue import card_page, catalogue

    document = catalogue() if name is None else card_page(find(name))
    print_document(document, "json" if as_json else "text")
