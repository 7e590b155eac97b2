"""`cnnjax import-torch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import app, out
from cnnjax.cli.options import AsJson, Overrides, values
from cnnjax.cli.printing import print_json


@app.command(
    "import-torch",
    epilog="Examples:  cnnjax import-torch resnet50 resnet50.pth runs/resnet50  ·  "
    "cnnjax import-torch vgg16 weights.safetensors runs/vgg16 data=cifar10  ·  "
    "cnnjax train runs/resnet50 data=cifar10 optim.learning_rate=0.01 --out runs/tuned",
)
def import_torch(
    architecture: Annotated[str, typer.Argument(help="An architecture's name.", show_default=False)],
    weights: Annotated[Path, typer.Argument(help="A .pth or .safetensors state dict.", show_default=False)],
    out_folder: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            parser=paths.folder,
            help="The run to write.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Which weights of several in the file, as 'state_dict_ema' or 'teacher'.", show_default=False
        ),
    ] = None,
    fresh_head: Annotated[
        bool, typer.Option("--fresh-head", help="Draw a new layer of logits, for model.num_classes=N classes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write PyTorch weights as a run that evaluate, describe and train (to fine-tune it) take."""
    from cnnjax.run.weights import import_torch as run_import

    source = run_import(architecture, weights, out_folder, values(overrides), key=key, fresh_head=fresh_head)
    if as_json:
        print_json(source)
    else:
        of = f", its {source['key']}" if source["key"] else ""
        out.print(f"{source['architecture']} with {source['classes']} classes from {source['file']}{of}")
        if source["other_keys"]:
            out.print(f"there are also, for --key: {', '.join(source['other_keys'])}")
        out.print(f"run: {out_folder}", soft_wrap=True)
