"""The command line: thin. Each command reads its arguments, calls one function and prints what it returns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from cnnjax import interrupts
from cnnjax.errors import CnnjaxError, ConfigError, Interrupted
from cnnjax.progress import Show, progress

if TYPE_CHECKING:
    from cnnjax.analysis.grid import Document
    from cnnjax.run.hardware import Hardware
    from cnnjax.run.loop import Options
    from cnnjax.study.executor import Outcome
    from cnnjax.study.file import ExperimentFile

app = typer.Typer(
    name="cnnjax",
    help="Controlled ablation studies of convolutional networks.\n\n"
    "An experiment file is ordinary Python that defines `experiment`, `study`, or both. "
    "Every field can be set from the command line by its path: model.kernel_size=5.",
    epilog="Examples:  cnnjax describe lenet5  ·  cnnjax data list  ·  cnnjax train experiments/digits/baseline.py  ·  "
    "cnnjax sweep experiments/digits/pooling.py --dry-run  ·  cnnjax COMMAND --help",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
out, err = Console(), Console(stderr=True)
# Tables that go to a file or a pipe keep their columns.
WIDE = Console(width=160) if not sys.stdout.isatty() else out

File = Annotated[Path, typer.Argument(help="The experiment file, or a run to start from.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PATH=VALUE]...", help="Fields to set: model.kernel_size=5.", show_default=False),
]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write. [default: runs/<file's name>]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Devices = Annotated[int | None, typer.Option(help="How many devices to use. [default: all]")]
Parallel = Annotated[str, typer.Option(help="How a step is spread over devices: jit, shard_map or pmap.")]
Seconds = Annotated[float, typer.Option("--checkpoint-seconds", help="Time between checkpoints.")]
Steps = Annotated[
    int | None,
    typer.Option("--checkpoint-steps", help="Steps between checkpoints, instead of time.", show_default=False),
]

Stale = Annotated[
    str,
    typer.Option(
        "--stale",
        help="What to do with results that other code or data made: stop, rerun, keep or separate.",
        metavar="stop|rerun|keep|separate",
    ),
]
Resident = Annotated[
    float,
    typer.Option("--resident", help="Data up to this share of a device's memory live there; others are streamed."),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", help="Processes that read parts of 5,000 images and more; 0: threads, one a core.", min=0
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where prepared sets lie. [default: $TFDS_DATA_DIR or TFDS's own]"),
]
Named = Annotated[
    str, typer.Argument(metavar="FILE|NAME", help="An experiment file or a data set's name.", show_default=False)
]

data = typer.Typer(
    help="List, prepare and look at data sets, and time how fast training gets its batches.",
    epilog="Examples:  cnnjax data list  ·  cnnjax data prepare cifar10  ·  cnnjax data show digits",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(data, name="data")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"cnnjax {metadata.version('cnnjax')}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    # --debug may stand anywhere: `main` takes it before the commands see it.
    pass


@app.command(
    epilog="Examples:  cnnjax train experiments/digits/baseline.py  ·  "
    "cnnjax train FILE model.kernel_size=5 seed=1 --out runs/five"
)
def train(
    file: File,
    overrides: Overrides = None,
    out_folder: Out = None,
    devices: Devices = None,
    parallel: Parallel = "jit",
    resident: Resident = 0.25,
    workers: Workers = 0,
    checkpoint_seconds: Seconds = 60.0,
    checkpoint_steps: Steps = None,
    stale: Stale = "stop",
    as_json: AsJson = False,
) -> None:
    """Train one experiment. The same command continues a training that was stopped."""
    from cnnjax.config import replace_texts
    from cnnjax.run.loop import train as run

    loaded = _load(file)
    experiment = replace_texts(loaded.experiment, _pairs(overrides))
    folder = out_folder or _default_out(loaded)
    hardware = _hardware(devices, parallel, resident, workers)
    options = _options(hardware, checkpoint_seconds, checkpoint_steps, stale)
    with progress(loaded.name, hidden=as_json) as show:
        watch = _watch_training(show)
        result = run(experiment, folder, options=options, watch=watch)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _print_result(result, folder)
    if result["status"] == "failed":
        raise CnnjaxError(f"the training failed: {result['error']}")


@app.command(
    epilog="Examples:  cnnjax sweep experiments/digits/pooling.py --dry-run  ·  "
    "cnnjax sweep FILE model.kernel_size=3,5,7 model.pool=max,average --seeds 5"
)
def sweep(
    file: File,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH=A,B,C]...", help="Axes (several values) or fields (one).", show_default=False),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds each arm is trained with. [default: the study's]", min=1)
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time", help="Vary one axis at a time around the base, not their grid.")
    ] = False,
    match: Annotated[
        str | None,
        typer.Option(help="Rescale widths so that all arms have the base's macs or params.", metavar="macs|params"),
    ] = None,
    out_folder: Out = None,
    launcher: Annotated[str, typer.Option(help="Where trials run: local.")] = "local",
    replace: Annotated[
        bool, typer.Option("--replace", help="Let this study take the place of another one in the same folder.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and train nothing.")] = False,
    pack: Annotated[
        int | None,
        typer.Option(help="Trials of one program trained together. [default: 1 on CPUs, else by image size]", min=1),
    ] = None,
    devices: Devices = None,
    parallel: Parallel = "jit",
    resident: Resident = 0.25,
    workers: Workers = 0,
    checkpoint_seconds: Seconds = 60.0,
    checkpoint_steps: Steps = None,
    stale: Stale = "stop",
    as_json: AsJson = False,
) -> None:
    """Train every arm of a study with every seed, skipping what is finished, and report."""
    from cnnjax.study.study import with_fields, with_overrides

    if launcher != "local":
        raise ConfigError(f"--launcher {launcher}: this version runs trials in this process only (local)")
    loaded = _load(file)
    study = with_overrides(loaded.study, _pairs(overrides))
    if seeds is not None:
        study = with_fields(study, seeds=seeds)
    if one_at_a_time:
        study = with_fields(study, combine="one_at_a_time")
    if match is not None:
        study = with_fields(study, match=match)
    hardware = _hardware(devices, parallel, resident, workers)
    options = _options(hardware, checkpoint_seconds, checkpoint_steps, stale)
    folder = out_folder or _default_out(loaded)
    if dry_run:
        _print_plan(study, folder, options, as_json=as_json)
        return
    outcome = _run_study(study, loaded, folder, options, pack, replace=replace, as_json=as_json)
    folder = outcome.out
    if outcome.wider is not None:
        _note(
            f"{folder} holds a wider study of {outcome.wider} trials, these {len(outcome.plan.trials)} among them: it "
            "stays, and is reported; --replace puts this one in its place"
        )
    for trial, reason in outcome.errors.items():
        err.print(f"trial {trial}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    if outcome.done or outcome.skipped:
        _print_report(folder, as_json=as_json)
    if not outcome.complete:
        failed, lost = len(outcome.failed), len(outcome.errors.keys() - set(outcome.failed))
        said = [f"{failed} failed"] if failed else []
        said += [f"{lost} could not be trained"] if lost else []
        raise CnnjaxError(f"of {len(outcome.plan.trials)} trials {' and '.join(said)}; see {folder}/trials")


@app.command(epilog="Examples:  cnnjax report runs/pooling  ·  cnnjax report runs/pooling --json")
def report(
    folder: Annotated[Path, typer.Argument(help="A study's or a run's folder.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write the report of a study, finished or not, into FOLDER/report/."""
    _print_report(folder, as_json=as_json)


@app.command(
    epilog="Examples:  cnnjax describe resnet50  ·  cnnjax describe lenet5 --input 28x28x1 --forms  ·  "
    "cnnjax describe experiments/digits/baseline.py model.kernel_size=5 --format markdown  ·  "
    "cnnjax describe runs/baseline --plot baseline.png  ·  "
    "cnnjax describe resnet50 --against resnet50_v2 --batch-size 64  ·  "
    "cnnjax describe FILE --against model.kernel_size=5 --json"
)
def describe(
    target: Annotated[str, typer.Argument(metavar="FILE|ARCHITECTURE|RUN", show_default=False)],
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
        Path | None, typer.Option(metavar="FILE", help="Draw the costs along the depth: a .png, .pdf or .svg.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="text, markdown, latex or json. [default: text]")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="The experiment file, if a run has classes of its own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a network layer by layer: shapes, parameters, MACs, memory, receptive field. Trains nothing."""
    from cnnjax.analysis import difference, layer_table
    from cnnjax.analysis.documents import chosen_format
    from cnnjax.study.describe import Request, compare_named, describe_named

    chosen = chosen_format(form, as_json=as_json)
    request = Request(target, _pairs(overrides), file, input_shape, batch_size)
    if against:
        if forms or plot is not None:
            raise ConfigError("--against shows a difference: leave out --forms and --plot")
        other, changes = _other(against)
        _print_document(difference.document(compare_named(request, other, changes, note=_note)), chosen)
        return
    if plot is not None:
        from cnnjax.analysis.picture import check_suffix

        check_suffix(plot)
    analysis = describe_named(request, note=_note)
    if plot is not None:
        from cnnjax.analysis.picture import save

        save(analysis, plot, title=request.label)
        err.print(f"picture: {plot}", soft_wrap=True)
    _print_document(layer_table.document(analysis, with_forms=forms), chosen)


def _other(against: list[str]) -> tuple[str | None, dict[str, str]]:
    """The other target, if one is named, and the fields to set."""
    named = [word for word in against if "=" not in word or Path(word).exists()]
    if len(named) > 1:
        raise ConfigError(f"--against {' --against '.join(named)}: name one network; the rest must be path=value")
    return (named or [None])[0], _pairs([word for word in against if word not in named])


def _note(message: str) -> None:
    err.print(f"note: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _print_document(document: Document, form: str) -> None:
    from cnnjax.analysis.documents import terminal, written

    if form == "text":
        WIDE.print(terminal(document.blocks, WIDE.width))
    else:
        typer.echo(written(document, form), nl=False)


@app.command(
    epilog="Examples:  cnnjax evaluate runs/baseline --json  ·  cnnjax evaluate runs/mnist --data fashion_mnist  ·  "
    "cnnjax evaluate runs/resnet50 --data folder data.root=pets data.size=224"
)
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder (of a study: trials/ID).", show_default=False)],
    overrides: Overrides = None,
    data: Annotated[str | None, typer.Option(help="Another data set to evaluate on, by name.")] = None,
    file: Annotated[Path | None, typer.Option(help="The experiment file, if it defines classes of its own.")] = None,
    devices: Devices = None,
    resident: Resident = 0.25,
    workers: Workers = 0,
    stale: Annotated[
        str,
        typer.Option("--stale", help="Where its code has changed since: stop, or keep and evaluate with the new."),
    ] = "stop",
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's newest checkpoint on its validation and test parts."""
    from cnnjax.reporting.parts import parts_table
    from cnnjax.run.evaluate import evaluate as run_evaluate

    if file is not None:
        _load(file)
    hardware = _hardware(devices, "jit", resident, workers)
    parts = run_evaluate(run, data=data, overrides=_pairs(overrides), hardware=hardware, stale=stale)
    if as_json:
        typer.echo(json.dumps(parts))
        return
    WIDE.print(parts_table(parts))


@app.command(
    "import-torch",
    epilog="Examples:  cnnjax import-torch resnet50 resnet50.pth runs/resnet50  ·  "
    "cnnjax import-torch vgg16 weights.safetensors runs/vgg16 data=cifar10  ·  "
    "then  cnnjax train runs/resnet50 data=cifar10 optim.learning_rate=0.01 --out runs/tuned",
)
def import_torch(
    architecture: Annotated[str, typer.Argument(help="An architecture's name.", show_default=False)],
    weights: Annotated[Path, typer.Argument(help="A .pth or .safetensors state dict.", show_default=False)],
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="The run to write.", show_default=False)],
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

    source = run_import(architecture, weights, out_folder, _pairs(overrides), key=key, fresh_head=fresh_head)
    if as_json:
        typer.echo(json.dumps(source))
    else:
        of = f", its {source['key']}" if source["key"] else ""
        out.print(f"{source['architecture']} with {source['classes']} classes from {source['file']}{of}")
        if source["other_keys"]:
            out.print(f"there are also, for --key: {', '.join(source['other_keys'])}")
        out.print(f"run: {out_folder}", soft_wrap=True)


# --- data sets


@data.command("list", epilog="Examples:  cnnjax data list  ·  cnnjax data list --json")
def data_list(data_dir: Folder = None, as_json: AsJson = False) -> None:
    """List the data sets that are there: those that come with cnnjax, and those TFDS prepared."""
    from cnnjax.study.listing import listing

    found = listing(data_dir)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        WIDE.print(found.table())


@data.command(
    "prepare",
    epilog="Examples:  cnnjax data prepare cifar10  ·  cnnjax data prepare mnist --data-dir /data/tfds  ·  "
    "cnnjax data prepare imagenet2012 --manual-dir ~/Downloads",
)
def data_prepare(
    name: Annotated[str, typer.Argument(help="A set's name in TFDS.", show_default=False)],
    manual_dir: Annotated[
        Path | None,
        typer.Option(help="Where archives lie that TFDS may not download. [default: downloads/manual in --data-dir]"),
    ] = None,
    data_dir: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Download a TFDS set and write it in the form that is read without TensorFlow. Only this needs TensorFlow."""
    from cnnjax.data.prepare import prepare

    made = prepare(name, data_dir=data_dir, manual_dir=manual_dir, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(made.to_json()))
        return
    state = "was prepared before" if made.seconds is None else f"prepared in {made.seconds:.0f} s"
    out.print(f"{name} {made.version.version} {state}: {made.version.written_splits} examples", highlight=False)
    out.print(f"folder: {made.version.folder}", soft_wrap=True)


@data.command(
    "show",
    epilog="Examples:  cnnjax data show digits  ·  cnnjax data show cifar10 --plot cifar10.pdf --examples 200  ·  "
    "cnnjax data show experiments/digits/baseline.py --plot digits.png --augmented  ·  "
    """cnnjax data show cifar10 --plot cifar10.png --augmented augment='["random_crop", "flip"]'  ·  """
    "cnnjax data show synthetic data.height=64 data.width=64 --json",
)
def data_show(
    target: Named,
    overrides: Overrides = None,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Draw each example before and after the experiment's augmentation.")
    ] = False,
    examples: Annotated[
        int | None, typer.Option(help="Examples in the picture. [default: what can be read]", min=1, max=1000)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", "--out", metavar="FILE", help="Draw examples: a .png, .pdf or .svg.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count a data set's classes; with --plot, draw examples of each and their colour planes."""
    from cnnjax.study import show

    found = show.find(target, _pairs(overrides))
    if plot is not None:
        show.check_output(plot)
    elif augmented or examples is not None:
        raise ConfigError("--augmented and --examples are of the picture: name its file, such as --plot examples.png")
    view = show.look(found, augmented=augmented, examples=examples)
    if plot is not None:
        show.save(view, plot)
    _print_document(view.document(plot), "json" if as_json else "text")


@data.command(
    "benchmark",
    epilog="Examples:  cnnjax data benchmark digits  ·  cnnjax data benchmark cifar10 --batch-size 512 --json  ·  "
    "cnnjax data benchmark experiments/digits/baseline.py 'augment=[]'",
)
def data_benchmark(
    target: Named,
    overrides: Overrides = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples a step. [default: the experiment's, else 64]", min=1)
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps that are timed together.", min=1)] = 100,
    devices: Devices = None,
    resident: Resident = 0.25,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Time how fast training gets its batches: order, gathering, augmentation, normalization; no network."""
    from cnnjax.study import batches, show

    pairs = _pairs(overrides) | ({} if batch_size is None else {"batch_size": str(batch_size)})
    found = show.find(target, pairs)
    hardware = _hardware(devices, "jit", resident, workers)
    speed = batches.benchmark(found.experiment, steps=steps, hardware=hardware)
    if as_json:
        typer.echo(json.dumps(speed.to_json(found.name)))
    else:
        out.print(f"{found.name}: {speed.summary()}", highlight=False, soft_wrap=True)
        out.print(speed.conditions(), highlight=False, soft_wrap=True)


# --- shared by the commands


def _load(file: Path) -> ExperimentFile:
    from cnnjax.study.file import load

    return load(file)


def _pairs(overrides: list[str] | None) -> dict[str, str]:
    pairs = {}
    for override in overrides or []:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ConfigError(f"{override!r} is not path=value, such as model.kernel_size=5")
        if path in pairs:
            raise ConfigError(f"{path} is given twice")
        pairs[path] = text
    return pairs


def _default_out(loaded: ExperimentFile) -> Path:
    return Path("runs") / loaded.name


def _hardware(devices: int | None, parallel: str, resident: float, workers: int) -> Hardware:
    from cnnjax.run.hardware import Hardware

    if parallel not in ("jit", "shard_map", "pmap"):
        raise ConfigError(f"--parallel {parallel}: must be jit, shard_map or pmap")
    return Hardware(devices, parallel, resident, workers)


def _options(hardware: Hardware, seconds: float, steps: int | None, stale: str) -> Options:
    from cnnjax.run.loop import Options

    return Options(hardware, checkpoint_seconds=seconds, checkpoint_steps=steps, stale=stale)  # pyright: ignore[reportArgumentType]


def _run_study(
    study: Any,
    loaded: ExperimentFile,
    folder: Path,
    options: Options,
    pack: int | None,
    *,
    replace: bool,
    as_json: bool,
) -> Outcome:
    from cnnjax.study.executor import sweep as run
    from cnnjax.study.group import MOST_PACKED

    with progress(loaded.name, hidden=as_json) as show:
        watch = _watch_study(show, most=max(pack or 0, MOST_PACKED))
        told: dict[str, Any] = {"options": options, "pack": pack, "replace": replace, "watch": watch}
        return run(study, folder, name=loaded.name, question=loaded.question, **told)


def _watch_training(show: Show) -> Callable[[int, int, dict[str, Any]], None]:
    """Shows each step's loss, and beside it the newest epoch's validation."""
    from cnnjax.reporting.parts import percent

    validation, before = "", None

    def watch(step: int, steps: int, numbers: dict[str, Any]) -> None:
        nonlocal validation, before
        before = step - 1 if before is None else before
        if news := "epoch" in numbers:
            accuracy = numbers.get("validation_accuracy")
            said = f"loss {numbers['validation_loss']:.4f}" if accuracy is None else percent(accuracy)
            validation = f"validation {said} (n={numbers['validation_count']:,}, epoch {numbers['epoch']})"
        loss = f"loss {numbers['loss']:.4f}" if numbers else ""
        if step == steps and validation and not news:
            return  # its epoch's validation follows
        show(step, steps, ", ".join(filter(None, (loss, validation))), before=before, news=news)

    return watch


def _watch_study(show: Show, *, most: int) -> Callable[[int, str, int], None]:
    """most: how many trials are trained together; more steps at once were taken by an earlier call."""
    done = before = 0

    def watch(steps: int, what: str, total: int) -> None:
        nonlocal done, before
        done, before = done + steps, before + (steps if steps > most else 0)
        show(done, total, what, before=before)

    return watch


def _print_result(result: dict[str, Any], folder: Path) -> None:
    from cnnjax.reporting.parts import result_table

    if result["metrics"]:
        WIDE.print(result_table(result))
    out.print(f"run: {folder}", soft_wrap=True)


def _print_plan(study: Any, folder: Path, options: Options, *, as_json: bool) -> None:
    from cnnjax.study.earlier import apart_of, earlier, stale_texts
    from cnnjax.study.plan import plan
    from cnnjax.study.table import plan_table

    planned = plan(study, hardware=options.hardware)
    found = earlier(planned, folder)
    if as_json:
        stale = [{"id": entry.trial.id, "reasons": list(entry.stale)} for entry in found if entry.stale]
        typer.echo(json.dumps(planned.to_json() | {"stale": stale}))
        return
    WIDE.print(plan_table(planned))
    for text in stale_texts(found):
        out.print(f"stale: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if any(entry.stale for entry in found):
        ways = f"--stale rerun trains them again, keep uses them, separate trains all in {apart_of(planned, folder)}"
        out.print(f"a sweep would stop: {ways}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _print_report(folder: Path, *, as_json: bool) -> None:
    from cnnjax.reporting import report as write_report
    from cnnjax.reporting import terminal_table

    summary = write_report(folder)
    if as_json:
        typer.echo(summary.json, nl=False)
    else:
        for sentence in summary.mixed:
            out.print(sentence, style="bold red", markup=False, highlight=False, soft_wrap=True)
        WIDE.print(terminal_table(summary.table))
        out.print(f"report: {folder / 'report' / 'report.html'}", soft_wrap=True)


def main() -> None:
    """The `cnnjax` command: errors a user can mend are one message and exit code 1, Ctrl-C is 130."""
    _show_log()
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        # Typer makes a returned 130 of Ctrl-C.
        if app(args=arguments, standalone_mode=False) == interrupts.STOPPED:
            raise KeyboardInterrupt
    except Interrupted as stop:
        _stop(f"{stop}; the same command continues")
    except KeyboardInterrupt:
        _stop(interrupts.SAID)
    except CnnjaxError as error:
        if debug:
            raise
        err.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except typer.Abort:
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        if interrupts.asked():
            # A library made something else of KeyboardInterrupt.
            _stop(interrupts.SAID)
        _stop_at(error)


def _stop(message: str) -> NoReturn:
    err.print(message, style="yellow", markup=False, soft_wrap=True)
    sys.exit(interrupts.STOPPED)


def show_warnings() -> None:
    """Let a warning be a sentence, without the line of code that gave it; not under `python -W`."""
    import warnings

    if sys.warnoptions:
        return

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        err.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    warnings.showwarning = show


def _show_log() -> None:
    """What the library logs goes to standard error: that reading a large set goes on, and how far it is."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("cnnjax")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Other packages give the root logger a handler, which would say all of it again.
    logger.propagate = False


def _stop_at(error: Exception) -> None:
    """What click says of a wrong command line, with its exit code; of anything else, what it was, and how to see it."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if show is None or code is None:
        text = f"error: {type(error).__name__}: {error}\n--debug shows where; it is in a class of your own or a defect"
        err.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    show()
    sys.exit(code)
