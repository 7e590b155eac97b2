"""What a run resolved from its data and its loss: made when it begins, read whenever its weights are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as linen

from cnnjax.config import plain
from cnnjax.data.encoded import Decoding, Encoded
from cnnjax.data.entries import Entry
from cnnjax.data.example_form import ExampleForm
from cnnjax.data.skeleton import Skeleton
from cnnjax.data.sound.sound import Sound
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.experiment import Experiment, Length, functions_of, length_of, parts_of, stated_rate, task_of
from cnnjax.experiment.network import evaluated_shape_of, input_shape_of, outputs_of, with_outputs
from cnnjax.records.resolved import EntryForm, Resolved
from cnnjax.run.directory import RunDirectory
from cnnjax.run.images import sound_of
from cnnjax.tasks import Task
from cnnjax.training.step import StepFunctions


def resolve(experiment: Experiment, *, examples: int, steps: int, fingerprint: str | None) -> Resolved:
    """What the experiment's data and loss make of it. Reads the data; raises DataError and ConfigError.

    examples: in the training part; steps: of the whole training; fingerprint: of the data.
    """
    dataset, test_part = experiment.data.load(), experiment.data.load().test
    form = test_part.form if isinstance(test_part, Encoded) else None
    mean, std = dataset.scale
    task = task_of(experiment, dataset)
    return Resolved(
        id=experiment.id,
        data=dataset.name,
        fingerprint=fingerprint,
        classes=dataset.classes,
        entries={
            name: EntryForm(shape=entry.shape, dtype=entry.dtype, kind=entry.kind)
            for name, entry in dataset.entries.items()
        },
        ignored=dataset.ignored,
        target_shape=dataset.target_shape,
        input_shape=dataset.image_shape,
        dtype="uint8",
        maximum=dataset.maximum,
        mean=mean,
        std=std,
        fit=plain(form.fit) if form is not None and form.size is not None else None,
        space="rgb" if form is None else form.space,
        test_time=plain(experiment.test_time),
        outputs=outputs_of(experiment, dataset),
        kind=experiment.loss.kind,
        loss=plain(experiment.loss),
        task=plain(task),
        metrics=task.specifications(experiment.loss, dataset),
        chosen_by=task.compared_by,
        examples=examples,
        steps=steps,
        **stated_rate(experiment),
        **_evaluated_shape(experiment, dataset),
        **({} if dataset.sound is None else {"sound": plain(dataset.sound)}),
        **({} if dataset.skeleton is None else {"skeleton": plain(dataset.skeleton)}),
    )


def _evaluated_shape(experiment: Experiment, form: ExampleForm) -> dict[str, Any]:
    """The key of that name, of an experiment that says it."""
    return {} if experiment.resolution is None else {"evaluated_shape": evaluated_shape_of(experiment, form)}


def resolve_imported(experiment: Experiment, *, classes: int, image_shape: tuple[int, int, int]) -> Resolved | None:
    """`resolve` for weights from elsewhere, for `classes` classes and images of `image_shape`.

    Where the data are not there, or have other classes, what their config says is taken; None where it does not say
    how images are scaled.
    """
    try:
        return resolve(experiment, examples=0, steps=0, fingerprint=None)
    except (DataError, ConfigError):
        data = experiment.data
    if not isinstance(data, Decoding) or data.mean is None or data.std is None:
        return None
    form = data.form(image_shape[-1])
    shape = (*(form.size or image_shape[:2]), form.channels)
    names = tuple(map(str, range(classes)))
    examples = _RecordedForm(
        getattr(data, "name", data.tag), shape, 255, (data.mean, data.std), names, _entries(shape, (), "int32"), None
    )
    task = task_of(experiment, examples)
    return Resolved(
        id=experiment.id,
        data=examples.name,
        fingerprint=None,
        classes=None,
        target_shape=(),
        input_shape=shape,
        dtype="uint8",
        maximum=examples.maximum,
        mean=data.mean,
        std=data.std,
        fit=None if form.size is None else plain(form.fit),
        space=form.space,
        test_time=plain(experiment.test_time),
        outputs=classes,
        kind=experiment.loss.kind,
        loss=plain(experiment.loss),
        task=plain(task),
        metrics=task.specifications(experiment.loss, examples),
        chosen_by=task.compared_by,
        examples=0,
        steps=0,
    )


def resolved_of(directory: RunDirectory, experiment: Experiment) -> Resolved:
    """What the run in the directory resolved; of a run from before that was recorded, what its data say now.

    Raises RunError where those data cannot be read, or are others than it was trained on.
    """
    held = recorded(directory)
    if held is not None:
        _refuse_another(directory, held, experiment.id)
        return held
    try:
        dataset, parts = experiment.data.load(), parts_of(experiment)
    except DataError as error:
        raise RunError(
            f"{directory.path} was made by a cnnjax that did not record its classes and how its images are scaled, and "
            f"its data cannot be read ({error}): bring them back"
        ) from None
    finished = directory.finished()
    trained_on = None if finished is None else finished.data_fingerprint
    if trained_on not in (None, dataset.fingerprint):
        raise RunError(
            f"{directory.path} was made by a cnnjax that did not record its classes and how its images are scaled, and "
            f"its data are others now (fingerprint {trained_on} then, {dataset.fingerprint} now): bring those back"
        )
    length = length_of(experiment, len(parts.train))
    return resolve(experiment, examples=length.examples, steps=length.steps, fingerprint=dataset.fingerprint)


def recorded(directory: RunDirectory) -> Resolved | None:
    """What the run in the directory recorded when it began; None of a run from before that was done."""
    return Resolved.read(Resolved.at(directory.path), remedy="delete it: it is made again from the run's data")


def record(directory: RunDirectory, resolved: Resolved) -> None:
    """Write resolved.json, where there is none yet."""
    held = recorded(directory)
    if held is None:
        resolved.write(Resolved.at(directory.path))
    else:
        _refuse_another(directory, held, resolved.id)


def _refuse_another(directory: RunDirectory, held: Resolved, id: str) -> None:
    """Raise RunError where what is recorded is of another experiment than the one with this `id`."""
    if held.id != id:
        raise RunError(
            f"{Resolved.at(directory.path)} is of another experiment ({held.id}, not {id}): bring the run's own back, "
            "or delete it: it is made again from the run's data"
        )


def recorded_task(experiment: Experiment, resolved: Resolved) -> Task:
    """The task that was trained for. Raises ConfigError."""
    return task_of(experiment, recorded_form(resolved))


def recorded_input(experiment: Experiment, resolved: Resolved) -> tuple[int, int, int]:
    """(height, width, channels) of what the network sees in evaluation. Raises ConfigError."""
    return input_shape_of(experiment, recorded_form(resolved))


def recorded_network(experiment: Experiment, resolved: Resolved) -> linen.Module:
    """The network that was trained. Raises ConfigError."""
    return with_outputs(experiment, recorded_task(experiment, resolved), resolved.outputs)


def recorded_functions(experiment: Experiment, resolved: Resolved) -> StepFunctions:
    """The pure functions of its evaluation; no data are read."""
    length = Length(max(1, resolved.examples), experiment.batch_size, max(1, resolved.steps))
    network = recorded_network(experiment, resolved)
    return functions_of(experiment, length, form=recorded_form(resolved), network=network)


@dataclass(frozen=True)
class _RecordedForm:
    """An `ExampleForm`: of the examples that a run was trained on."""

    name: str
    image_shape: tuple[int, int, int]
    maximum: int
    scale: tuple[tuple[float, ...], tuple[float, ...]]
    classes: tuple[str, ...]
    entries: Mapping[str, Entry]
    ignored: int | None
    sound: Sound | None = None
    skeleton: Skeleton | None = None

    @property
    def target_shape(self) -> tuple[int, ...]:
        return self.entries["label"].shape if "label" in self.entries else ()

    @property
    def target_dtype(self) -> str:
        return self.entries["label"].dtype if "label" in self.entries else "int32"


def recorded_form(resolved: Resolved) -> ExampleForm:
    """The form of the examples that the run was trained on."""
    dtype = "int32" if resolved.labelled else "float32"
    # Runs from before entries were recorded have images with labels.
    entries = {name: Entry(held.shape, held.dtype, held.kind) for name, held in resolved.entries.items()} or _entries(
        resolved.input_shape, resolved.target_shape, dtype
    )
    return _RecordedForm(
        name=resolved.data,
        image_shape=resolved.input_shape,
        maximum=resolved.maximum,
        scale=(resolved.mean, resolved.std),
        classes=resolved.class_names,
        entries=entries,
        ignored=resolved.ignored,
        sound=sound_of(resolved),
        skeleton=None if resolved.skeleton is None else Skeleton.model_validate(resolved.skeleton),
    )


def _entries(image_shape: tuple[int, ...], target_shape: tuple[int, ...], dtype: str) -> dict[str, Entry]:
    """Those of examples with an image and a label."""
    image = Entry(image_shape, "uint8", "image")
    return {"image": image, "label": Entry(target_shape, dtype, "value")}
