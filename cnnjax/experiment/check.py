"""Whether an experiment can be trained, found by tracing its network and its steps: once for each program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.analysis import Analysis, analysed
from cnnjax.analysis.layers import volume
from cnnjax.analysis.lint import lint_training
from cnnjax.config import digest, lanes, program_text
from cnnjax.data import Dataset, SingleView
from cnnjax.errors import CnnjaxError, ConfigError, DataError, ShapeError, users_line
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.families import Families, family_of
from cnnjax.experiment.functions import batch_shapes, entries_used, functions_of, lane_shapes
from cnnjax.experiment.idle_fields import idle_fields
from cnnjax.experiment.kept import kept_bytes
from cnnjax.experiment.length import Length, length_of, parts_of
from cnnjax.experiment.network import input_shape_of
from cnnjax.experiment.size_checks import check_decoded, check_same_parameters, size_rows, smallest_warnings
from cnnjax.experiment.sizes import Size, evaluation_size, extreme_sizes, sizes_of, training_spans
from cnnjax.experiment.subject import Remembered, Subject
from cnnjax.experiment.teacher import Teachers, check_teachers, shapes_of, teachers_warnings
from cnnjax.experiment.training_examples import check_training_examples
from cnnjax.lanes import check_traced, lane_values, overridden_lanes, own_lanes
from cnnjax.losses import Loss
from cnnjax.tasks import Task
from cnnjax.training.evaluated import estimated
from cnnjax.training.rehearsal import Rehearsed, rehearse, rehearse_step
from cnnjax.training.rehearsal import steps_alike as traced_alike
from cnnjax.training.state import TrainState
from cnnjax.training.step import EMPTY, eval_step, init_state, shapes_from, train_step


@dataclass(frozen=True)
class Checked:
    """What a check finds.

    analysis: of the network's layers, with the warnings of its training. length: of the training. state: shapes and
    types of the state of one trial. foreign: whether a training step has convolutions that are not cnnjax's
    (`chunks.convolves`). kept: bytes that are kept from step to step (`kept_bytes`).
    """

    analysis: Analysis
    length: Length
    state: TrainState
    foreign: bool
    kept: dict[str, int]


def check(
    experiment: Experiment, *, devices: int = 1, teachers: Teachers = EMPTY, families: Families | None = None
) -> Checked:
    """Trace the network, one training step and one evaluation step as they will be compiled, training nothing.

    teachers: of the experiment's methods, by their names. Warnings are of the network and of its training with this
    batch size, on `devices`, for this data. A network is analysed once, whatever else differs, and the steps of one
    program are traced once: where the sizes of images differ, the network is traced at each, and the step at the first,
    the smallest and the largest. families: those whose steps need not be traced any more, to which this one's is added:
    programs that differ only in the widths of a network of cnnjax's own. Raises ConfigError, ShapeError (with the layer
    and the arithmetic) or DataError.
    """
    subject = Subject(experiment)
    analysis, length, dataset = _analysis_of(subject, devices), length_of(experiment), subject.dataset
    for number, method in enumerate(experiment.methods):
        try:
            method.check(steps=length.steps, steps_per_epoch=length.steps_per_epoch)
        except ConfigError as error:
            raise ConfigError(f"methods.{number}: {error}", path=error.path or f"methods.{number}") from None
    check_teachers(experiment, dataset, teachers)
    try:
        state, foreign, odd = _state_of(subject, analysis, length, devices, teachers, families)
    except ConfigError:
        # Where a lane is at fault, that is the better message.
        _check_own_lanes(experiment, length, teachers)
        raise
    _check_same(experiment, analysis, state)
    experiment.optim.check_params(state.params)
    sizes = sizes_of(training_spans(experiment, dataset, length))
    analysis = replace(analysis, warnings=analysis.warnings + odd + teachers_warnings(dataset, sizes, teachers))
    return Checked(analysis, length, state, foreign, kept_bytes(experiment, state, teachers))


def analysis_of(experiment: Experiment, *, devices: int = 1) -> Analysis:
    """The part of `check` that looks at the network alone: its layers, what they cost, and what is odd about them."""
    return _analysis_of(Subject(experiment), devices)


def _analysis_of(subject: Subject, devices: int) -> Analysis:
    experiment, dataset, parts = subject.experiment, subject.dataset, parts_of(subject.experiment)
    _check_task(experiment, subject.task, dataset)
    check_training_examples(experiment, dataset, entries_used(experiment, dataset))
    check_decoded(experiment, dataset)
    lane_values(experiment)  # Raises ConfigError for those that have none.
    if parts.validation is not None and not len(parts.validation):
        raise DataError(f"validation = {experiment.validation}: no example of {len(dataset.train)} is left for it")
    if experiment.batch_size > len(parts.train):
        raise ConfigError(
            f"batch_size = {experiment.batch_size}: there are only {len(parts.train)} training examples",
            path="batch_size",
        )
    analysis = _at_size(subject, None)
    analysis = replace(analysis, warnings=analysis.warnings + _warnings(experiment, analysis, dataset, devices))
    return analysis if experiment.resolution is None else _with_sizes(subject, analysis)


def _with_sizes(subject: Subject, analysis: Analysis) -> Analysis:
    """The analysis with what the training's sizes of images cost, and what is odd about the smallest."""
    length = length_of(subject.experiment)
    spans = training_spans(subject.experiment, subject.dataset, length)
    analyses = {size: _at_size(subject, size) for size in sizes_of(spans)}
    for trained in analyses.values():
        check_same_parameters(analysis, trained)
    warnings = analysis.warnings + smallest_warnings(analysis, analyses)
    return replace(analysis, warnings=warnings, sizes=size_rows(spans, analyses, length))


def _at_size(subject: Subject, size: Size | None) -> Analysis:
    """The analysis of the network at a size of training or, of None, of evaluation; errors say which it is."""
    experiment, dataset = subject.experiment, subject.dataset
    try:
        analysis, _ = _network_at(subject, _shape_at(subject, size))
        if size is None:
            _check_views(subject, analysis)
        return analysis
    except (ShapeError, ConfigError) as error:
        if experiment.resolution is None:
            raise
        what = (
            f"evaluated at {volume(evaluation_size(experiment, dataset))}"
            if size is None
            else f"trained at {volume(size)}"
        )
        raise type(error)(f"resolution: {what}: {error}") from error.__cause__


def steps_alike(experiment: Experiment, teachers: Teachers = EMPTY) -> tuple[str, dict[str, Any]]:
    """A digest of what its steps compute, and the values of the lanes that they read, the seed left out.

    Experiments on the same data for which both are equal are the same training: what else they say has no effect.
    """
    subject, length = Subject(experiment), length_of(experiment)
    key = subject.same_program, length, *teachers.items()
    content, read = ALIKE(key, lambda: _steps_alike(subject, length, teachers))
    content = digest([content, [teacher.checksum for teacher in teachers.values()]])
    if estimated(experiment.methods, experiment.optim):
        content = f"{content}, statistics of {experiment.statistics_batches} batches"
    values = lane_values(experiment)
    return content, {path: float(values[path]) for path in sorted(read) if path != "seed"}


SHAPES = Remembered[tuple[int, int, int]](256)
ANALYSED = Remembered[tuple[Analysis, Mapping[str, Any]]](256)
REHEARSED = Remembered[Rehearsed](64)
OF_FAMILIES = Remembered[Rehearsed](64)
"""As REHEARSED, but for plans: what is not traced since another program of its family was."""
ALIKE = Remembered[tuple[str, frozenset[str]]](256)


def _shape_at(subject: Subject, size: Size | None) -> tuple[int, int, int]:
    """`input_shape_of` the experiment."""
    experiment, dataset = subject.experiment, subject.dataset
    looked_at = program_text((experiment.test_time, experiment.resolution))
    key = looked_at, subject.task, subject.made, dataset.image_shape, size
    return SHAPES(key, lambda: input_shape_of(experiment, dataset, size))


def _network_at(subject: Subject, shape: tuple[int, int, int]) -> tuple[Analysis, Mapping[str, Any]]:
    """What `analysed` says of the network for images of that shape; what a user's module raises, with its line."""

    def ask() -> tuple[Analysis, Mapping[str, Any]]:
        try:
            return analysed(subject.network, shape)
        except CnnjaxError as error:
            message = f"{error}{users_line(error)}"
            kind = ShapeError if isinstance(error, ShapeError) else ConfigError
            raise kind(message if message.startswith("model") else f"model.{message}") from error.__cause__

    return ANALYSED((subject.same_network, shape), ask)


def _state_of(
    subject: Subject,
    analysis: Analysis,
    length: Length,
    devices: int,
    teachers: Teachers,
    families: Families | None,
) -> Rehearsed:
    """What `rehearse` finds, once the steps of the program, or of one of its family, are traced."""
    key = subject.same_program, length, devices, *teachers.items()

    def trace() -> Rehearsed:
        return REHEARSED(key, lambda: _rehearsed(subject, length, devices, teachers))

    def of_family() -> Rehearsed:
        family = None if teachers else family_of(subject, analysis)
        if family is None or families is None:
            return trace()
        if (family, length, devices) in families:
            _, variables = _network_at(subject, analysis.input_shape)
            functions = functions_of(subject.experiment, length, form=subject.dataset)
            return Rehearsed(shapes_from(functions, lane_shapes(subject.experiment), variables), foreign=False)
        found = trace()
        families.add((family, length, devices))
        return found

    return trace() if families is None else OF_FAMILIES(key, of_family)


def _rehearsed(subject: Subject, length: Length, devices: int, teachers: Teachers) -> Rehearsed:
    experiment, dataset = subject.experiment, subject.dataset
    try:
        batch = partial(batch_shapes, experiment, dataset, length)
        functions = partial(functions_of, experiment, length, form=dataset, teachers=teachers)
        fixed = shapes_of(teachers)
        found = rehearse(
            functions(),
            lane_shapes(experiment),
            batch(),
            image_shape=input_shape_of(experiment, dataset),
            devices=devices,
            fixed=fixed,
        )
        sizes = sizes_of(training_spans(experiment, dataset, length))
        for size in extreme_sizes(sizes):
            if size != sizes[0]:
                rehearse_step(functions(size=size), found.state, batch(size), devices=devices, fixed=fixed)
        return found
    except ShapeError as error:
        raise ShapeError(f"model: {error}") from error.__cause__
    except ConfigError as error:
        where = "" if error.path else "model: "
        raise ConfigError(f"{where}{error}", path=error.path) from error.__cause__


def _steps_alike(subject: Subject, length: Length, teachers: Teachers) -> tuple[str, frozenset[str]]:
    experiment, dataset = subject.experiment, subject.dataset
    return traced_alike(
        functions_of(experiment, length, form=dataset, teachers=teachers),
        lane_shapes(experiment),
        batch_shapes(experiment, dataset, length),
        image_shape=input_shape_of(experiment, dataset),
        fixed=shapes_of(teachers),
    )


def _check_same(experiment: Experiment, analysis: Analysis, state: TrainState) -> None:
    """Raise ConfigError where the network is another one each time it is made."""
    params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    if analysis.params != params:
        raise ConfigError(
            f"model: {type(experiment.model).__name__}.network() made a network of {analysis.params:,} parameters, and "
            f"then one of {params:,}: it must make the same one every time"
        )


def _check_views(subject: Subject, analysis: Analysis) -> None:
    """Raise ConfigError unless the network that is trained can look at the views of `test_time`, which it is analysed
    for. Where there is a resolution, the sizes that it is trained at are compared with them."""
    experiment, dataset = subject.experiment, subject.dataset
    view, shape = analysis.input_shape, input_shape_of(experiment, dataset, dataset.image_shape[:2])
    if experiment.resolution is None and view != shape and _network_at(subject, shape)[0].params != analysis.params:
        raise ConfigError(
            f"test_time = {experiment.test_time.tag!r}: its views are {'x'.join(map(str, view))}, for which this "
            "network has layers of other sizes than for the images it is trained on; pool globally, or take other views"
        )


def _check_own_lanes(experiment: Experiment, length: Length, teachers: Teachers) -> None:
    """Raise ConfigError where a step needs the value of a lane in a class of a user's own."""
    own, dataset, size = own_lanes(experiment), experiment.data.load(), experiment.batch_size
    if not own:
        return
    functions = functions_of(experiment, length, form=dataset, teachers=teachers)
    fixed = jax.tree.map(lambda held: jnp.zeros(held.shape, held.dtype), shapes_of(teachers))

    def steps(lane: Mapping[str, Any]) -> None:
        number = jnp.arange(size, dtype=jnp.int32)
        shapes = batch_shapes(experiment, dataset, length)
        batch = {name: jnp.zeros(held.shape, held.dtype) for name, held in shapes.items()}
        state = init_state(functions, lane, input_shape_of(experiment, dataset))
        eval_step(functions, state, {**batch, "position": number, "valid": number >= 0}, fixed)
        train_step(functions, state, batch, fixed)

    check_traced(lanes(experiment), steps, traced=own)


def _check_task(experiment: Experiment, task: Task, dataset: Dataset) -> None:
    """Raise ConfigError where examples are mixed whose targets cannot be, or the loss has a value without effect."""
    if experiment.mixing is not None:
        task.check_mixing(experiment.mixing)
    outputs = task.outputs(experiment.loss, dataset).needed
    mixed = experiment.mixing is not None and not experiment.mixing.merges()
    experiment.loss.check_training(mixed=mixed, outputs=outputs)
    if dataset.labels_places:
        _check_pixels_stay(experiment, dataset)


def _check_pixels_stay(experiment: Experiment, dataset: Dataset) -> None:
    """Raise ConfigError where pixels are moved, and labels that are places in the image would be left behind."""
    moving = {
        f"augment.{number}": each.tag for number, each in enumerate(experiment.augment) if not each.leaves_pixels()
    }
    if not isinstance(experiment.test_time, SingleView):
        moving["test_time"] = experiment.test_time.tag
    if experiment.resolution is not None:
        moving["resolution"] = experiment.resolution.tag
    of = dataset.name
    places = f"a label of {of} is a place" if dataset.train.has_label else f"the words of {of} tell of places"
    for path, tag in moving.items():
        raise ConfigError(
            f"{path}: {tag} may move pixels, and {places} in the image, which would be left behind: take it away",
            path=path,
        )


def _warnings(experiment: Experiment, analysis: Analysis, dataset: Dataset, devices: int) -> tuple[str, ...]:
    split = {"batch_size": experiment.batch_size, "accumulate": experiment.accumulate, "devices": devices}
    warnings = lint_training(analysis, **split)
    warnings += tuple(overridden_lanes(experiment)) + idle_fields(experiment)
    if experiment.statistics_batches is not None and not estimated(experiment.methods, experiment.optim):
        warnings += (
            f"statistics_batches = {experiment.statistics_batches}: no weights are evaluated whose batch statistics "
            "are estimated anew, as those of swa are, so it changes nothing",
        )
    chosen, classes = experiment.model.num_classes, len(dataset.classes)
    if classes and chosen and chosen > classes:
        warnings += (
            f"model.num_classes = {chosen}: {dataset.name} has {classes} classes, so outputs {classes} to "
            f"{chosen - 1} never get an example and are not measured; leave num_classes unset",
        )
    loss = experiment.loss
    if analysis.squashed and loss.kind in ("softmax", "sigmoid") and type(loss).predictions is not Loss.predictions:
        warnings += (
            f"model: the network ends with a {analysis.squashed}, so its outputs lie between 0 and 1, and loss = "
            f"{loss.tag!r} takes the {loss.kind} of them itself: probabilities stay near each other, and little is "
            f"learned; return what the {analysis.squashed} is taken of",
        )
    if not experiment.data.is_cnnjaxs:
        warnings += tuple(f"{dataset.name}: {remark}" for remark in (*dataset.unequal, *dataset.doubtful))
    return warnings
