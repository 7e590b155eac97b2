"""Describe a network by a file, a name, a run, a config or a module: what it costs, without training it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.linen as linen

from cnnjax.analysis import Analysis, Difference
from cnnjax.config import diff, replace_texts
from cnnjax.config import replace as replace_fields
from cnnjax.errors import ConfigError, DataError, ShapeError, expect, users_line
from cnnjax.experiment import Experiment
from cnnjax.experiment.network import view_shape_of
from cnnjax.machine import without_collection
from cnnjax.models import Model, config, names
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.resolved import Resolved
from cnnjax.run.directory import RunDirectory
from cnnjax.study.file import load
from cnnjax.study.subject import InputShape, Note, analysed, of_experiment, of_network, with_classes

Target = linen.Module | Model | Experiment
Named = str | Path
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
    step, to know its memory; an experiment has its own. note: called with a sentence on what was assumed, where an
    experiment's data cannot be read.
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
        subject = of_experiment(changed, input_shape, note, remedy)
    else:
        subject = of_network(target, input_shape, batch_size, remedy)
    try:
        with without_collection():
            return analysed(subject)
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
        view = view_shape_of(found, held.evaluated_shape or held.input_shape)
        return replace_fields(found, {"model.num_classes": outputs}), view
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
    return with_classes(config(target))


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
