"""`cnnjax describe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import completing, paths
from cnnjax.cli.app import app, err
from cnnjax.cli.options import AsJson, Classes, Overrides, values
from cnnjax.cli.printing import note, print_document
from cnnjax.errors import ConfigError


@app.command(
    epilog="Examples:  cnnjax describe resnet50  ·  cnnjax describe lenet5 --input 28x28x1 --forms  ·  "
    "cnnjax describe experiments/digits/baseline.py model.kernel_size=5 --format markdown  ·  "
    "cnnjax describe runs/baseline --plot baseline.png  ·  "
    "cnnjax describe resnet50 --against resnet50_v2 --batch-size 64  ·  "
    "cnnjax describe FILE --against model.kernel_size=5 --json"
)
def describe(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|ARCHITECTURE|RUN",
            autocompletion=completing.networks,
            help="What to look at; a run has its weights.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    input_shape: Annotated[
        str | None,
        typer.Option("--input", metavar="HxWxC", help="The image's shape. [default: the data's, or as published]"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="For the memory of a step: examples. An architecture takes SGD with momentum.", min=1),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|ARCHITECTURE|RUN|PATH=VALUE",
            help="Show how another network differs, or this one with a field set. May be given several times.",
        ),
    ] = None,
    forms: Annotated[
        bool, typer.Option("--forms", help="Show what each convolution costs as a sparse and as a dense matrix.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=paths.named,
            help="Draw the costs along the depth: a .png, .pdf or .svg.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="text|markdown|latex|json", help="How it is written. [default: text]"),
    ] = None,
    file: Classes = None,
    as_json: AsJson = False,
) -> None:
    """Show a network layer by layer: shapes, parameters, MACs, memory, receptive field. Trains nothing."""
    from cnnjax.analysis import difference, layer_table
    from cnnjax.documents.formats import chosen_format
    from cnnjax.study.describe import Request, compare_named, describe_named

    chosen = chosen_format(form, as_json=as_json)
    request = Request(target, values(overrides), file, input_shape, batch_size)
    if against:
        if forms or plot is not None:
            raise ConfigError("--against shows a difference: leave out --forms and --plot")
        other, changes = _other(against)
        print_document(difference.document(compare_named(request, other, changes, note=note)), chosen)
        return
    if plot is not None:
        from cnnjax.analysis.picture import check_suffix

        check_suffix(plot)
    analysis = describe_named(request, note=note)
    if plot is not None:
        from cnnjax.analysis.picture import save

        save(analysis, plot, title=request.label)
        err.print(f"picture: {plot}", soft_wrap=True)
    print_document(layer_table.document(analysis, with_forms=forms), chosen)


def _other(against: list[str]) -> tuple[str | None, dict[str, str]]:
    """The other target, if one is named, and the fields to set."""
    named = [word for word in against if "=" not in word or Path(word).exists()]
    if len(named) > 1:
        raise ConfigError(f"--against {' --against '.join(named)}: name one network; the rest must be path=value")
    return (named or [None])[0], values([word for word in against if word not in named])
