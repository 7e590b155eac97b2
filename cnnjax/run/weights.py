"""Weights from elsewhere: a file of PyTorch's as a run directory, and a run as what another training starts from."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cnnjax.config import replace, replace_texts
from cnnjax.convert import from_torch, read_file
from cnnjax.data import TFDS, CentreFit
from cnnjax.errors import ConfigError, RunError, WeightsError, unknown
from cnnjax.experiment import (
    Experiment,
    blank_state,
    input_shape_of,
    network_of,
    state_functions,
    state_shapes,
)
from cnnjax.initialization import kernels_of
from cnnjax.lanes import lane_values
from cnnjax.machine import check_address_space
from cnnjax.models import Model, config
from cnnjax.models.heads.classifier import is_under_head, under_head
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.records.lease_json import LeaseRecord
from cnnjax.records.resolved import Resolved
from cnnjax.records.source_json import SourceRecord
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.environment import environment
from cnnjax.run.resolve import record, recorded_input, recorded_network, resolve_imported, resolved_of
from cnnjax.training.evaluated import evaluations, of_others
from cnnjax.training.state import TrainState, derive, root_key
from cnnjax.training.step import state_from, with_weights_of

IMAGENET_CLASSES = 1000
_HEAD = "logits"
_BOX = "box"

Arrays = dict[tuple[str, ...], Any]


# --- from PyTorch


def import_torch(
    name: str,
    weights: Path | str,
    out: Path | str,
    overrides: Mapping[str, str] | None = None,
    *,
    key: str | None = None,
    fresh_head: bool = False,
) -> dict:
    """Write the run directory `out` of the architecture `name` with the weights of a PyTorch file, as of step 0.

    overrides: fields of its experiment, as text by path; the data are ImageNet's unless they say otherwise. key: which
    of several weights in the file (`read_weights`). fresh_head: draw the layers of logits anew (`from_torch`). Returns
    source.json, which says where the weights came from. The same import again changes nothing. Raises WeightsError,
    ConfigError, and RunError where `out` holds something else.
    """
    overrides, weights = dict(overrides or {}), Path(weights)
    experiment = replace_texts(Experiment(model=config(name)), overrides)
    if experiment.initialization is not None:
        raise ConfigError("initialization: an import has weights already; leave it out", path="initialization")
    try:
        file = read_file(weights, key=key)
        variables = from_torch(experiment.model, file.tensors, fresh_head=fresh_head)
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}") from None
    logits = ("params", *experiment.model.logits_path.split("."), "kernel")
    classes = _flat(variables)[logits].shape[-1]
    if not any(path.split(".")[0] == "data" for path in overrides):
        if experiment.model.makes == "maps":
            raise ConfigError(
                f"{name} makes maps of {classes} classes and ImageNet has no masks: say which data, data=NAME"
            )
        if classes != IMAGENET_CLASSES:
            raise ConfigError(f"{weights} has {classes} classes, so it is not for ImageNet: say which data, data=NAME")
        experiment = replace(experiment, {"data": _imagenet(experiment.model)})
    experiment = replace(experiment, {"model.num_classes": classes})
    image_shape = experiment.model.input_shape
    assert image_shape is not None, "from_torch refuses a network that was published for no size of image"
    source = SourceRecord(
        architecture=name,
        file=weights.name,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        image_shape=image_shape,
        classes=classes,
        key=file.key,
        other_keys=tuple(file.others),
        fresh_head=fresh_head,
    )
    directory = RunDirectory(Path(out))
    _refuse_others(directory)
    with directory.claimed(experiment):
        held = _source(directory)
        if held is None:
            _write(directory, experiment, variables, source)
        # Earlier imports said less.
        elif any(source.content.get(name) != value for name, value in held.content.items()):
            raise RunError(f"{directory.path} holds other weights ({held.file}); choose another folder")
    return source.to_json()


def _source(directory: RunDirectory) -> SourceRecord | None:
    return SourceRecord.read(directory.source, remedy=f"delete {directory.path} and import again")


def _imagenet(model: Model) -> TFDS:
    """ImageNet as torchvision evaluates its weights: which share of the shorter side, and their mean and std."""
    height, width, _ = model.input_shape or (224, 224, 3)
    mean, std = model.torch_scale
    share = height / model.torch_resized if model.torch_resized else 0.875
    return TFDS(name="imagenet2012", size=(height, width), fit=CentreFit(share=share), mean=mean, std=std)


def _refuse_others(directory: RunDirectory) -> None:
    """Raise RunError where the folder holds anything but an import, whole or begun."""
    if directory.path.exists() and not directory.path.is_dir():
        raise RunError(f"{directory.path} is a file; choose a folder")
    files = (directory.config, directory.environment, directory.source, directory.checkpoints)
    own = {".lock", "log.txt", Resolved.filename, *(path.name for path in files)}
    held = {path.name for path in directory.path.iterdir()} if directory.path.is_dir() else set()
    held = {name for name in held if LeaseRecord.number_of(name) is None}
    steps = {path.name for path in directory.checkpoints.iterdir()} if directory.checkpoints.is_dir() else set()
    trained = any(name.isdigit() and name != "0" for name in steps)
    if held - own or trained:
        other = ", ".join(sorted(held - own)[:3]) or "a training"
        raise RunError(f"{directory.path} holds something else ({other}); choose a new folder")


def _write(directory: RunDirectory, experiment: Experiment, variables: Mapping[str, Any], source: SourceRecord) -> None:
    network = experiment.model.build()
    blank = blank_state(state_shapes(experiment, network, source.image_shape))
    begun = state_from(state_functions(experiment, network), blank.lane, {**blank.variables, **variables})
    state = jax.device_get(begun)
    directory.begin(experiment)
    environment().write(directory.environment)
    checkpoints = Checkpoints(directory.checkpoints)
    checkpoints.save(0, state, CheckpointNotes(id=experiment.id, codes=(None,)))
    checkpoints.close()
    resolved = resolve_imported(experiment, classes=source.classes, image_shape=source.image_shape)
    if resolved is not None:
        record(directory, resolved)
    # Written last: with it the import is whole.
    source.write(directory.source)
    directory.log(f"imported {source.architecture} from {source.file}")


# --- from a run


@dataclass(frozen=True)
class Initial:
    """The weights of a run, and all else its network keeps, by collection. checksum: of its checkpoint.

    classes: their names, in the order of the outputs; empty where the run did not say, or has none.
    """

    path: str
    variables: dict[str, Any]
    checksum: int
    classes: tuple[str, ...] = ()

    def merged(self, own: Mapping[str, Any], classes: tuple[str, ...] = ()) -> dict[str, Any]:
        """These weights in the place of a network's `own` variables (host arrays), by collection.

        A classifier's are those of its backbone alone where this network is one under a head (`under_head`). Layers
        named logits keep their own where they mean something else: where the shape is another, or `classes`
        (those of the data) are of other names or in another order, for an output for cats is no beginning for one for
        ships. So does the layer that says a box for each class (`_says_boxes_by_class`). Raises RunError listing every
        other array that does not fit.
        """
        problems: list[str] = []
        others = bool(self.classes and classes) and self.classes != classes
        theirs: Mapping[str, Any] = self.variables
        if is_under_head(own) and not is_under_head(theirs):
            theirs = under_head(theirs, own)
        names = {**own, **theirs}
        merged = {name: _merged(theirs.get(name, {}), own.get(name, {}), problems, fresh_head=others) for name in names}
        if problems:
            head = f"initial = {self.path!r}: its weights do not fit this network ({len(problems)} arrays)"
            raise RunError("\n".join([head, *problems]))
        return merged


def _merged(given: Any, own: Any, problems: list[str], *, fresh_head: bool) -> Any:
    theirs, ours = _flat(given), _flat(own)
    merged = {}
    for path in {**ours, **theirs}:
        name = ".".join(path)
        head = any(_HEAD in key for key in path) or _says_boxes_by_class(ours, path)
        fits = path in ours and path in theirs and np.shape(ours[path]) == np.shape(theirs[path])
        if fits or head:
            keeps = not fits or (head and fresh_head)
            merged |= {path: ours[path] if keeps else theirs[path]} if path in ours else {}
        else:
            shapes = [_by(arrays[path]) if path in arrays else "none" for arrays in (theirs, ours)]
            problems.append(f"  {name}: {shapes[0]} there, {shapes[1]} here")
    return traverse_util.unflatten_dict(merged)


def _says_boxes_by_class(arrays: Arrays, path: tuple[str, ...]) -> bool:
    """Whether an array is of the second stage's layer of boxes, which are four numbers for each logit.

    In one stage a box is of no class, and its layer, a convolution beside that of logits, is kept.
    """
    *parent, layer, _ = ("", *path)
    if layer != _BOX:
        return False
    logits, box = (np.shape(arrays.get((*parent[1:], name, "kernel"), 0)) for name in (_HEAD, _BOX))
    return len(logits) == len(box) == 2 and box[-1] == 4 * logits[-1]


def _flat(tree: Any) -> Arrays:
    flat: Any = traverse_util.flatten_dict(dict(tree))
    return flat


def _by(array: Any) -> str:
    return "x".join(map(str, np.shape(array)))


def initial_weights(path: str) -> Initial:
    """The newest weights of the run at `path`. Raises RunError where there are none."""
    checkpoints = RunDirectory(Path(path)).checkpoints
    # Read again once the run has saved more, or another was trained in its place.
    saved = checkpoints.stat().st_mtime_ns if checkpoints.is_dir() else 0
    return _initial_weights(str(Path(path).absolute()), path, saved)


@lru_cache(maxsize=2)
def _initial_weights(absolute: str, path: str, saved: int) -> Initial:
    directory = RunDirectory(Path(absolute))
    try:
        experiment = directory.experiment()
        state, notes = restore(directory, experiment)
    except RunError as error:
        raise RunError(f"initial = {path!r}: {error}") from None
    # Which network it is matters not: what a method evaluates follows from the state.
    variables = weights_of(experiment, None, state, chosen_weights(experiment, None))
    return Initial(path, variables, notes.checksum, notes.classes or ())


def chosen_weights(experiment: Experiment, weights: str | None) -> str | None:
    """The method, or optimizer, whose weights are meant; None for those that were trained.

    weights: its name, or "raw"; None is what the results without a method's name are of. Raises ConfigError.
    """
    if weights in (None, "raw"):
        return None if weights else evaluations(experiment.methods, experiment.optim)[""]
    known = of_others(experiment.methods, experiment.optim)
    if weights not in known:
        raise ConfigError(unknown("weights of this run", weights, ["raw", *known]))
    return weights


def weights_of(experiment: Experiment, network: Any, state: TrainState, method: str | None) -> dict[str, Any]:
    """The variables (host arrays) that the method evaluates, by collection; of None those that were trained."""
    if method is None:
        return state.variables
    check_estimated(state, method)
    return jax.device_get(with_weights_of(state_functions(experiment, network), state, method)).variables


def check_estimated(state: TrainState, method: str) -> None:
    """Raise RunError where the state has no batch statistics of the weights that the method evaluates."""
    if method in state.estimated and int(state.estimated[method]["step"]) != int(state.step):
        raise RunError(
            f"the weights {method!r} of step {int(state.step)} have no batch statistics: they are estimated at the end "
            "of an epoch with a validation part, and of the training; train on, take such a step, or the weights 'raw'"
        )


def restore(
    directory: RunDirectory, experiment: Experiment, *, step: int | None = None
) -> tuple[TrainState, CheckpointNotes]:
    """A run's newest checkpoint (host arrays), or that of `step`, and its notes. Raises RunError without one, and where
    there are too few addresses (`ulimit -v`)."""
    check_address_space()
    held = directory.checkpoints
    checkpoints = Checkpoints(held, read_only=True) if held.is_dir() else None
    if checkpoints is None or checkpoints.latest() is None:
        raise RunError(f"{directory.path} has no checkpoint yet")
    source = _source(directory)
    if source is None:
        resolved = resolved_of(directory, experiment)
        network, image_shape = recorded_network(experiment, resolved), recorded_input(experiment, resolved)
    else:
        network, image_shape = experiment.model.build(), source.image_shape
    with contextlib.closing(checkpoints):
        _refuse_older(directory, checkpoints, step)
        blank = blank_state(state_shapes(experiment, network, image_shape)).replace(lane=lane_values(experiment))
        state, notes = checkpoints.restore(blank, step=step)
    if notes.id not in (None, experiment.id):
        raise RunError(
            f"{held} are of another experiment ({notes.id}, not {experiment.id}, which {directory.path} is of): bring "
            "its own back"
        )
    return state, notes


def _refuse_older(directory: RunDirectory, checkpoints: Checkpoints, step: int | None) -> None:
    """Raise RunError where no step is asked for, and the newest checkpoint is not that of the run's result."""
    result, newest = directory.finished() if step is None else None, checkpoints.latest()
    if result is not None and result.status == "done" and result.steps not in (None, newest):
        raise RunError(
            f"{directory.path}: its result is of step {result.steps}, and the newest checkpoint there is of step "
            f"{newest}: bring the newest back, or say that this one is meant (--step {newest})"
        )


def check_initial(experiment: Experiment) -> None:
    """Raise RunError unless the run that the experiment starts from has weights for its network."""
    if experiment.initial is not None:
        dataset = experiment.data.load()
        blank = blank_state(state_shapes(experiment, network_of(experiment), input_shape_of(experiment)))
        merged = initial_weights(experiment.initial).merged(blank.variables, dataset.classes)
        _check_initialization(experiment, _flat(blank.params), _flat(merged["params"]))


def _check_initialization(experiment: Experiment, own: Arrays, merged: Arrays) -> None:
    """Raise RunError where an initialization would change weights of `initial`, or no kernel is left to it."""
    initialization = experiment.initialization
    if initialization is None:
        return
    if initialization.fits or initialization.fits_images:
        fitted = "every layer" if initialization.fits else "the first layer"
        raise RunError(
            f"initialization = {initialization.tag!r} fits {fitted} to a batch, and initial = "
            f"{experiment.initial!r} gives it weights: leave one of both out"
        )
    image = jnp.zeros((1, *input_shape_of(experiment)), jnp.float32)
    kernels = initialization.chosen(kernels_of(network_of(experiment), image, partial(derive, root_key(0))))
    if not any(".".join(path) in kernels and merged[path] is own[path] for path in own):
        raise RunError(
            f"initialization = {initialization.tag!r} has no effect: initial = {experiment.initial!r} gives all "
            "kernels that it would draw their weights; leave it out"
        )
