"""Describe a network by a file, a name, a run, a config or a module: what it costs, without training it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.linen as linen
from jax import numpy as jnp

from cnnjax.analysis import Analysis, Difference, analyse, with_training
from cnnjax.analysis.layers import volume
from cnnjax.analysis.lint import lint_training
from cnnjax.analysis.memory import training_memory
from cnnjax.config import diff, replace_texts
from cnnjax.config import replace as replace_fields
from cnnjax.errors import CnnjaxError, ConfigError, DataError, ShapeError, expect, users_line
from cnnjax.experiment import Experiment, analysis_of, network_of
from cnnjax.machine import without_collection
from cnnjax.models import Model, config, names
from cnnjax.models.outputs import array_of, is_array, shown
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.resolved import Resolved
from cnnjax.run.directory import RunDirectory
from cnnjax.study.file import load

InputShape = tuple[int, int, int]
Target = linen.Module | Model | Experiment
Named = str | Path
Note = Callable[[str], None]
IN_PYTHON = "input_shape=(height, width, channels), such as input_shape=(224, 224, 3)"
ON_COMMAND_LINE = "--input HxWxC, such as --input 224x224x3"


def describe(
    target: Target | Named,
    input_shape: InputShape | None = None,
    *,
    batch_size: int | None = None,
    note: Note = warnings.warn,
) -> Analysis:
    """Layers, parameters, MACs, memory and receptive field of a module, a config, an experiment, or what a name means.

    target: as text it is an architecture's name, an experiment file or a run's folder. input_shape: (height, width,
    channels); by default an experiment's is its data's, a config's what its network was published for. A config without
    num_classes is described with as many as it was published with (1000 where it was not). batch_size: of a training
    step, to know its memory; an experiment has its own. note: is told what was assumed, where an experiment's data
    cannot be read.
    Raises ConfigError, ShapeError with the layer and the arithmetic, or CnnjaxError.
    """
    expect(target, (linen.Module, Model, Experiment, str, Path), call="describe", takes=TAKES)
    if input_shape is not None:
        expect(input_shape, (tuple, list), call="describe", takes=IN_PYTHON)
    found, recorded = _as_recorded(str(target), {}) if isinstance(target, str | Path) else (target, None)
    return _describe(found, input_shape or recorded, batch_size, note, IN_PYTHON)


TAKES = "a flax.linen.Module, a model's config, an Experiment, or the name of an architecture, a file or a run"


def _describe(
    target: Target, input_shape: InputShape | None, batch_size: int | None, note: Note, remedy: str
) -> Analysis:
    """remedy: how to give the image's shape."""
    if isinstance(target, Experiment):
        changed = target if batch_size is None else replace_fields(target, {"batch_size": batch_size})
        subject = _of_experiment(changed, input_shape, note, remedy)
    else:
        subject = _of_network(target, input_shape, batch_size, remedy)
    try:
        with without_collection():
            return _analysed(subject)
    except ShapeError as error:
        line = users_line(error)
        message = f"{error}" if line in str(error) else f"{error}{line}"
        plain = isinstance(target, linen.Module) or message.startswith("model")
        raise ShapeError(message if plain else f"model.{message}") from None


def compare(
    left: Target,
    right: Target,
    input_shape: InputShape | None = None,
    *,
    batch_size: int | None = None,
    labels: tuple[str, str] = ("left", "right"),
    note: Note = warnings.warn,
) -> Difference:
    """How `right` differs from `left`: in config, layer by layer, and in total. Arguments and errors as `describe`.

    Two configs of one kind are compared field by field; an experiment and a model by their models.
    """
    return _compare(left, right, input_shape, batch_size, labels, note, IN_PYTHON)


def _compare(
    left: Target,
    right: Target,
    input_shape: InputShape | None,
    batch_size: int | None,
    labels: tuple[str, str],
    note: Note,
    remedy: str,
) -> Difference:
    a, b = (_describe(target, input_shape, batch_size, note, remedy) for target in (left, right))
    return Difference(a, b, _config_difference(left, right), labels)


# --- by name


@dataclass(frozen=True)
class Request:
    """What the command line asks for: overrides as texts, the file of a run's own classes, the shape as text."""

    target: str
    overrides: Mapping[str, str]
    file: Path | None = None
    input_text: str | None = None
    batch_size: int | None = None

    @property
    def label(self) -> str:
        """The target and its overrides."""
        return _label(self.target, self.overrides)


def describe_named(request: Request, note: Note = warnings.warn) -> Analysis:
    """`describe` of an experiment file, an architecture's name or a run directory."""
    found, recorded = _find(request)
    return _describe(found, _shape(request, found) or recorded, request.batch_size, note, ON_COMMAND_LINE)


def compare_named(request: Request, other: str | None, changes: Mapping[str, str], note: Note) -> Difference:
    """`compare` with another target and `changes` to it, or without one with `changes` to the first."""
    left, recorded = _find(request)
    if other is None:
        right, label = _changed(left, changes), f"with {_label('', changes)}"
    else:
        against = replace(request, target=other, overrides=changes)
        right, label = _find(against)[0], against.label
    shape, labels = _shape(request, left) or recorded, (request.label, label)
    if shape is None and other is None and isinstance(left, Model):
        shape = left.input_shape
    return _compare(left, right, shape, request.batch_size, labels, note, ON_COMMAND_LINE)


def _find(request: Request) -> tuple[Experiment | Model, InputShape | None]:
    if request.file is not None:
        load(request.file)
    return _as_recorded(request.target, request.overrides)


def _as_recorded(target: str, changes: Mapping[str, str]) -> tuple[Experiment | Model, InputShape | None]:
    """What a name means, with the changes. Of a run whose data cannot be read, it has as many outputs as were recorded,
    and the shape of the images is returned too."""
    own = _named(target)
    found, folder = _changed(own, changes), _run_folder(target)
    if folder is None or not isinstance(own, Experiment) or not isinstance(found, Experiment):
        return found, None
    held = Resolved.read(Resolved.at(folder), remedy="delete it: it is made again from the run's data")
    if held is None or (found.data, found.loss) != (own.data, own.loss):
        return found, None
    try:
        found.data.load()
    except DataError:
        outputs = found.model.num_classes or held.outputs
        return replace_fields(found, {"model.num_classes": outputs}), held.input_shape
    return found, None


def _named(target: str) -> Experiment | Model:
    path = Path(target)
    if (folder := _run_folder(target)) is not None:
        return RunDirectory(folder).experiment()
    if path.suffix == ".py" or path.is_file():
        return load(target).experiment
    if "/" in target:
        raise ConfigError(f"{target!r} is no experiment file (.py), no run directory and none of: {', '.join(names())}")
    # A layer taken out of a published network does not change how many classes it is for.
    return _with_classes(config(target))


def _run_folder(target: str) -> Path | None:
    """The folder, where the name is of a run or of its config.json."""
    path = Path(target)
    if path.name == ConfigRecord.filename:
        path = path.parent
    return path if path.is_dir() and (ConfigRecord.at(path).exists() or target not in names()) else None


def _changed(found: Experiment | Model, changes: Mapping[str, str]) -> Experiment | Model:
    if isinstance(found, Model):
        changes = {path.removeprefix("model."): text for path, text in changes.items()}
    return replace_texts(found, changes)


def _label(target: str, changes: Mapping[str, str]) -> str:
    return " ".join([*([target] if target else []), *(f"{path}={text}" for path, text in changes.items())])


def _shape(request: Request, found: Experiment | Model) -> InputShape | None:
    text = request.input_text
    if text is None:
        # A layer taken out of a published network does not change what images it is for.
        forgotten = isinstance(found, Model) and found.input_shape is None
        return config(request.target).input_shape if forgotten else None
    numbers = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if numbers is None:
        raise ConfigError(f"--input {text}: must be HEIGHTxWIDTHxCHANNELS, such as 32x32x3")
    height, width, channels = map(int, numbers.groups())
    return height, width, channels


def _config_difference(left: Target, right: Target) -> dict[str, tuple[Any, Any]]:
    if isinstance(left, linen.Module) or isinstance(right, linen.Module):
        return {}
    if type(left) is type(right) is Experiment:
        return diff(left, right)
    models = (side.model if isinstance(side, Experiment) else side for side in (left, right))
    changes = diff(*models)
    if None in changes.get("num_classes", ()):
        # Of an experiment: as many as its data have.
        del changes["num_classes"]
    return changes


# --- what is analysed


def _only(outputs: Any) -> Any:
    """The outputs of a module that is no config's, where they are the logits. Raises CnnjaxError where not."""
    if not is_array(outputs):
        raise CnnjaxError(
            f"the memory of training cannot be told: the network returns {shown(outputs)}, not an array; leave out the "
            "batch size, or describe a Model that defines logits(outputs)"
        )
    return outputs


def _logits_of(model: Model) -> Callable[[Any], Any]:
    """`Model.logits` of what its network returns. The function raises ShapeError where that is no array."""

    def found(outputs: Any) -> Any:
        try:
            return array_of(model, outputs)
        except ShapeError as error:
            raise ShapeError(f"model: {error}") from error.__cause__

    return found


@dataclass(frozen=True)
class _Subject:
    """A module with all that its description depends on. check: its analysis as an experiment on its own data."""

    module: linen.Module
    input_shape: InputShape
    batch_size: int | None = None
    dtype: Any = jnp.float32
    accumulate: int = 1
    optimizer: Any = None
    logits: Callable[[Any], Any] = _only
    check: Analysis | None = None


def _of_network(
    target: linen.Module | Model, input_shape: InputShape | None, batch_size: int | None, remedy: str
) -> _Subject:
    shape = input_shape or getattr(target, "input_shape", None)
    if shape is None:
        raise ConfigError(f"give the image's shape: {remedy}")
    module = _with_classes(target).build() if isinstance(target, Model) else target
    logits = _logits_of(target) if isinstance(target, Model) else _only
    return _Subject(module, shape, batch_size, logits=logits)


def _of_experiment(experiment: Experiment, input_shape: InputShape | None, note: Note, remedy: str) -> _Subject:
    data_shape = _data_shape(experiment, input_shape, note, remedy)
    if data_shape is None:
        module, check = _with_classes(experiment.model).build(), None
    else:
        module, check = network_of(experiment), analysis_of(experiment) if input_shape is None else None
    shape = input_shape or data_shape or experiment.model.input_shape
    assert shape is not None
    return _Subject(
        module,
        shape,
        experiment.batch_size,
        dtype=jnp.dtype(experiment.precision),
        accumulate=experiment.accumulate,
        # The state of an optimizer has one shape whatever its schedule, so any length of training will do.
        optimizer=experiment.optim.build(steps=10**9, steps_per_epoch=1),
        logits=_logits_of(experiment.model),
        check=check,
    )


def _data_shape(experiment: Experiment, input_shape: InputShape | None, note: Note, remedy: str) -> InputShape | None:
    """The shape of the experiment's images, None where they cannot be read but another shape is known."""
    try:
        return experiment.data.load().image_shape
    except DataError as error:
        known = input_shape or experiment.model.input_shape
        if known is None:
            raise DataError(f"{error}\nto describe the network without its data, give {remedy}") from None
        note(f"the data cannot be read, so this is for images of {volume(known)}: {error}")
        return None


def _with_classes(model: Model) -> Model:
    return model if model.num_classes else model.model_copy(update={"num_classes": model.published_classes})


def _analysed(subject: _Subject) -> Analysis:
    analysis = subject.check
    if analysis is None or subject.dtype != jnp.float32:
        # A check is made in float32.
        found = analyse(subject.module, subject.input_shape, dtype=subject.dtype)
        analysis = replace(found, warnings=(analysis or found).warnings)
    analysis = with_training(analysis, subject.module, dtype=subject.dtype)
    if subject.batch_size is None:
        return analysis
    batch = {"batch_size": subject.batch_size, "accumulate": subject.accumulate}
    warnings = () if subject.check else lint_training(analysis, **batch)
    return replace(
        analysis,
        warnings=analysis.warnings + warnings,
        batch_size=subject.batch_size,
        accumulate=subject.accumulate,
        memory=_memory(subject, subject.batch_size // subject.accumulate),
    )


def _memory(subject: _Subject, batch_size: int) -> Any:
    """The memory of a training step, or of one of the parts whose gradients are averaged."""
    try:
        return training_memory(
            subject.module,
            subject.input_shape,
            batch_size=batch_size,
            tx=subject.optimizer,
            dtype=subject.dtype,
            logits=subject.logits,
        )
    except CnnjaxError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}{users_line(error)}"
        raise CnnjaxError(f"the memory of training cannot be told: {cause}") from error
