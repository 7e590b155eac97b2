"""`cnnjax init`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import completing, paths
from cnnjax.cli.app import app, out


@app.command(
    epilog="Examples:  cnnjax init mnist/lenet5  ·  cnnjax init imagenet/torchvision_resnet50_v2 mine  ·  "
    "cnnjax recipes"
)
def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Of a recipe.",
            show_default=False,
            autocompletion=completing.recipe_names,
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", parser=paths.folder, help="Where to copy it.")] = Path("."),
) -> None:
    """Copy a recipe, with the modules beside it that it imports, to start from. Nothing is overwritten."""
    from cnnjax.recipes import find
    from cnnjax.recipes.init import init as copy

    copied = copy(find(name), folder)
    file, data = shlex.quote(str(copied.files[0])), copied.recipe.file.experiment.data
    on = "" if copied.machine is None else f" --on {copied.machine}"
    lines = [f"written: {', '.join(map(str, copied.files))}"]
    if copied.missing:
        lines += [f"its data are not here ({getattr(data, 'name', None) or data.tag}): {copied.missing}"]
    lines += [
        "next:",
        f"  cnnjax sweep {file}{on} --dry-run    what it takes; nothing is trained",
        f"  cnnjax {copied.command} {file}{on}",
    ]
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
