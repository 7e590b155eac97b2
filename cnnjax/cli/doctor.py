"""`cnnjax doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnjax.cli.app import app
from cnnjax.cli.options import AsJson, Folder
from cnnjax.cli.printing import print_document
from cnnjax.errors import CnnjaxError


@app.command(epilog="Examples:  cnnjax doctor  ·  cnnjax doctor --quick  ·  cnnjax doctor --json > machine.json")
def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what JAX is asked: devices, and a matrix product's speed.")
    ] = False,
    data_dir: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Tell versions, devices and their speed, folders, data, and what is wrong (exit code 1: no work is possible)."""
    from cnnjax.doctor import faults_of, look, page

    facts = look(measure=not quick, data_dir=data_dir)
    faults = faults_of(facts)
    print_document(page(facts, faults), "json" if as_json else "text")
    if stopping := [fault.text for fault in faults if fault.stops]:
        raise CnnjaxError(f"nothing can be trained here: {'; '.join(stopping)}")
