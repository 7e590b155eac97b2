"""What is described: a module, with all that its description depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import flax.linen as linen
from jax import numpy as jnp

from cnnjax.analysis import Analysis, analyse, with_training
from cnnjax.analysis.layers import GroupRow, volume
from cnnjax.analysis.lint import lint_training
from cnnjax.analysis.memory import NOTHING, Around, training_memory
from cnnjax.errors import CnnjaxError, ConfigError, DataError, ShapeError, users_line
from cnnjax.experiment import (
    Experiment,
    analysis_of,
    around_of,
    depths_of,
    input_shape_of,
    kept_bytes,
    largest_input_of,
    network_of,
    one_array_of,
    optimizer_of,
    state_shapes,
)
from cnnjax.models import Model
from cnnjax.models.outputs import array_of, is_array, shown
from cnnjax.optim import check_groups, group_sizes
from cnnjax.run.teachers import teachers_of

InputShape = tuple[int, int, int]
Note = Callable[[str], None]


def _only(outputs: Any) -> Any:
    """The outputs of a module that is no config's, where they are the logits. Raises CnnjaxError where not."""
    if not is_array(outputs):
        raise CnnjaxError(
            f"the memory of training cannot be told: the network returns {shown(outputs)}, not an array; leave out the "
            "batch size, or describe a Model that defines logits(outputs)"
        )
    return outputs


def _array_by(one_array: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """That function of what the network returns, which raises ShapeError where there is no array in it."""

    def found(outputs: Any) -> Any:
        try:
            return one_array(outputs)
        except ShapeError as error:
            raise ShapeError(f"model: {error}") from error.__cause__

    return found


@dataclass(frozen=True)
class Subject:
    """A module with all that its description depends on.

    groups: of the optimizer, each with its number of parameters. learning_rate: how it follows from the batch size
    and the depth, None where it does not. check: its analysis as an experiment on its own data. kept: () -> bytes that
    the optimizer and each method keep from step to step, by name. largest: the shape of the largest images that it is
    trained on, where that is another than `input_shape`.
    """

    module: linen.Module
    input_shape: InputShape
    batch_size: int | None = None
    dtype: Any = jnp.float32
    accumulate: int = 1
    optimizer: Any = None
    around: Around = NOTHING
    logits: Callable[[Any], Any] = _only
    groups: tuple[GroupRow, ...] = ()
    learning_rate: str | None = None
    check: Analysis | None = None
    kept: Callable[[], Mapping[str, int]] = dict
    largest: InputShape | None = None


def of_network(
    target: linen.Module | Model, input_shape: InputShape | None, batch_size: int | None, remedy: str
) -> Subject:
    """A module or a config. remedy: how to give the shape of an image, for the error where it is not known."""
    shape = input_shape or getattr(target, "input_shape", None)
    if shape is None:
        raise ConfigError(f"give the image's shape: {remedy}")
    module = with_classes(target).build() if isinstance(target, Model) else target
    logits = _array_by(partial(array_of, target)) if isinstance(target, Model) else _only
    return Subject(module, shape, batch_size, logits=logits)


def of_experiment(experiment: Experiment, input_shape: InputShape | None, note: Note, remedy: str) -> Subject:
    """An experiment, on its own data where they can be read; `note` is called with what is assumed where not.

    Raises RunError where a run is missing that its methods learn from.
    """
    data_shape, teachers = _data_shape(experiment, input_shape, note, remedy), teachers_of(experiment)
    if data_shape is None:
        module, check = with_classes(experiment.model).build(), None
    else:
        module, check = network_of(experiment), analysis_of(experiment) if input_shape is None else None
    shape = input_shape or data_shape or experiment.model.input_shape
    assert shape is not None
    return Subject(
        module,
        shape,
        experiment.batch_size,
        groups=_groups(experiment, module, shape),
        learning_rate=_rate(experiment, module, shape),
        dtype=jnp.dtype(experiment.precision),
        accumulate=experiment.accumulate,
        optimizer=optimizer_of(experiment),
        around=around_of(experiment, teachers),
        logits=_array_by(partial(one_array_of, experiment)),
        check=check,
        kept=lambda: kept_bytes(experiment, state_shapes(experiment, module, shape), teachers),
        largest=largest_input_of(experiment) if check is not None and experiment.resolution is not None else None,
    )


def _groups(experiment: Experiment, module: linen.Module, shape: InputShape) -> tuple[GroupRow, ...]:
    """The optimizer's groups. Raises ConfigError for a pattern without effect."""
    groups = experiment.optim.groups
    if not groups:
        return ()
    params = state_shapes(experiment, module, shape).params
    check_groups(groups, params)
    sizes = group_sizes(groups, params)
    return tuple(GroupRow(pattern, sizes[pattern], group.frozen) for pattern, group in groups.items())


def _rate(experiment: Experiment, module: linen.Module, shape: InputShape) -> str | None:
    """How the learning rate follows from the batch size and the depth: `0.1 per 256 x 64 = 0.025; x 0.75 for each block
    from the logits, 0.178 in stem`. None where it does not.
    """
    optim = experiment.optim
    said = [optim.rule(experiment.batch_size)]
    if optim.layer_decay is not None:
        depths = depths_of(experiment, module, shape)
        deepest = max(depths.values())
        modules = dict.fromkeys(path.partition(".")[0] for path, depth in depths.items() if depth == deepest)
        least = f"{optim.layer_decay**deepest:.3g} in {', '.join(modules)}"
        said.append(f"x {optim.layer_decay:g} for each {optim.layer_decay_by} from the logits, {least}")
    return "; ".join(filter(None, said)) or None


def _data_shape(experiment: Experiment, input_shape: InputShape | None, note: Note, remedy: str) -> InputShape | None:
    """The shape of what the network is evaluated at, None where the data cannot be read but another shape is known."""
    try:
        return input_shape_of(experiment)
    except DataError as error:
        known = input_shape or experiment.model.input_shape
        if known is None:
            raise DataError(f"{error}\nto describe the network without its data, give {remedy}") from None
        note(f"the data cannot be read, so this is for images of {volume(known)}: {error}")
        return None


def with_classes(model: Model) -> Model:
    """The config with a number of classes: its own, else as many as it was published with."""
    return model if model.num_classes else model.model_copy(update={"num_classes": model.published_classes})


def analysed(subject: Subject) -> Analysis:
    """The analysis of a forward pass and, with a batch size, of a training step."""
    analysis = subject.check
    if analysis is None or subject.dtype != jnp.float32:
        # A check is made in float32.
        found = analyse(subject.module, subject.input_shape, dtype=subject.dtype)
        checked = analysis or found
        analysis = replace(found, warnings=checked.warnings, sizes=checked.sizes)
    analysis = replace(with_training(analysis, subject.module, dtype=subject.dtype), groups=subject.groups)
    analysis = replace(analysis, learning_rate=subject.learning_rate)
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
        kept=tuple(subject.kept().items()),
    )


def _memory(subject: Subject, batch_size: int) -> Any:
    """The memory of a training step, or of one of the parts whose gradients are averaged."""
    try:
        return training_memory(
            subject.module,
            subject.largest or subject.input_shape,
            batch_size=batch_size,
            tx=subject.optimizer,
            around=subject.around,
            dtype=subject.dtype,
            logits=subject.logits,
        )
    except CnnjaxError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}{users_line(error)}"
        raise CnnjaxError(f"the memory of training cannot be told: {cause}") from error
