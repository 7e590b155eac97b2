"""A trained network whose outputs a training method uses: what it takes, what it says, and whose teacher it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp

from cnnjax import calling
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.length import parts_of
from cnnjax.experiment.network import task_of
from cnnjax.experiment.scale import normalize_of
from cnnjax.experiment.sizes import Size, evaluation_size
from cnnjax.tasks import JUDGE, Classification


@dataclass(frozen=True)
class Teacher:
    """The network of a run, without its weights; equal to another of the same weights.

    folder: of the run, as the experiment names it. checksum: of its checkpoint. weights: the method whose weights of it
    are taken; None are the trained ones. experiment, form, network: what was trained, of examples of which form.
    shapes: of its variables, by collection. names_known: whether the names of its classes are known, not their number
    alone.
    """

    folder: str
    checksum: int
    weights: str | None
    experiment: Experiment = field(compare=False)
    form: ExampleForm = field(compare=False)
    network: linen.Module = field(compare=False)
    shapes: Any = field(compare=False)
    names_known: bool = field(default=True, compare=False)

    @property
    def size(self) -> Size:
        """(height, width) of the images that it is evaluated at."""
        return evaluation_size(self.experiment, self.form)

    def outputs(self, variables: Any, images: jax.Array) -> jax.Array:
        """The outputs [B, K] for its K classes, float32, in inference; no gradient goes through them.

        images: [B, H, W, C] in 0..1. They are normalized as those it was trained on; those of another size are resized
        to that at which it was evaluated, bilinearly, smoothed where they get smaller.
        """
        task, loss = task_of(self.experiment, self.form), self.experiment.loss
        returned = self._returned(variables, images)
        outputs = task.read(self.experiment.model, returned, batch=len(images), loss=loss, form=self.form)
        return jax.lax.stop_gradient(outputs[:, : len(self.form.classes)].astype(jnp.float32))

    def _returned(self, variables: Any, images: jax.Array) -> Any:
        """What the network returns for images [B, H, W, C] in 0..1."""
        task, x = task_of(self.experiment, self.form), images
        if x.shape[1:3] != self.size:
            x = jax.image.resize(x, (x.shape[0], *self.size, x.shape[3]), "bilinear")
        x = jax.vmap(lambda image: task.image(image, None))(x)
        returned, _ = calling.apply(self.network, variables, normalize_of(self.experiment, task, self.form)(x))
        return returned

    def features(self, variables: Any, images: jax.Array) -> jax.Array:
        """What the layer of logits is given, float32 [B, F], in inference; of maps, their means over the image.

        images: as `outputs` takes them. Raises ConfigError where the network has no layer of that name.
        """
        path, given = tuple(self.experiment.model.logits_path.split(".")), []

        def noted(method: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
            if context.module.path == path and context.method_name == "__call__":
                given.append(args[0])
            return method(*args, **kwargs)

        with linen.intercept_methods(noted):
            self._returned(variables, images)
        if not given:
            raise ConfigError(
                f"{JUDGE}: the network of {self.folder} ({self.experiment.model.tag}) has no layer "
                f"{'.'.join(path)!r}, whose input would be its features; take a run of another model"
            )
        x = given[-1].astype(jnp.float32)
        return jax.lax.stop_gradient(x.mean(tuple(range(1, x.ndim - 1))))


Teachers = Mapping[str, Teacher]
"""By the name of the method that has it; of the network that the task asks, `JUDGE`."""


def shapes_of(teachers: Teachers) -> dict[str, Any]:
    """The shapes and types of the teachers' variables, by the name of the method."""
    return {name: teacher.shapes for name, teacher in teachers.items()}


def check_teachers(experiment: Experiment, form: ExampleForm, teachers: Teachers) -> None:
    """Raise ConfigError unless each method that needs a teacher has one that can teach this experiment, and the task a
    judge, if it names one."""
    _check_judge(experiment, form, teachers)
    for position, method in enumerate(experiment.methods):
        run = method.teacher_run()
        if run is None:
            continue
        if method.tag not in teachers:
            raise ConfigError(f"methods.{position}: the run {run.folder!r} was not read: give the check its teachers")
        what = f"methods.{position}: the teacher {run.folder}"
        _check_is_classifier(what, teachers[method.tag].experiment, teachers[method.tag].form)
        _check_is_classifier("its student, this experiment,", experiment, form)
        _check_classes(what, teachers[method.tag], form)
        theirs, ours = teachers[method.tag].form.image_shape, form.image_shape
        if theirs[2] != ours[2]:
            raise ConfigError(f"{what} takes images of {theirs[2]} channels, and those of {form.name} have {ours[2]}")


def _check_judge(experiment: Experiment, form: ExampleForm, teachers: Teachers) -> None:
    """Raise ConfigError unless the run that the task names, if it does, can be asked about these images."""
    task = task_of(experiment, form)
    run = task.judge_run()
    if run is None:
        return
    if JUDGE not in teachers:
        raise ConfigError(f"{JUDGE}: the run {run!r} was not read: give the check its teachers")
    judge = teachers[JUDGE]
    theirs, ours = judge.form.image_shape, form.image_shape
    if theirs[2] != ours[2]:
        raise ConfigError(
            f"{JUDGE}: {run} takes images of {theirs[2]} channels, and those of {form.name} have {ours[2]}"
        )
    size = evaluation_size(experiment, form)
    images = jax.ShapeDtypeStruct((1, *size, ours[2]), jnp.float32)
    features = jax.eval_shape(judge.features, judge.shapes, images).shape[1]
    parts = parts_of(experiment)
    examples = {"test": len(parts.test)}
    if parts.validation is not None:
        examples["validation"] = len(parts.validation)
    task.check_judge(features, examples)


def teachers_warnings(form: ExampleForm, sizes: Sequence[Size], teachers: Teachers) -> tuple[str, ...]:
    """What is odd about teachers, though they can teach what examples of that form are. sizes: of training images."""
    warnings = []
    for name, teacher in teachers.items():
        if name == JUDGE:
            continue
        others = [_sides(size) for size in sizes if size != teacher.size]
        if others:
            warnings.append(
                f"the teacher {teacher.folder} is for images of {_sides(teacher.size)}, and is shown those of "
                f"{', '.join(others)} resized to that"
            )
        if not teacher.names_known:
            warnings.append(
                f"the teacher {teacher.folder} does not say what its {len(teacher.form.classes)} classes are called: "
                f"they are taken for those of {form.name}, in their order"
            )
    return tuple(warnings)


def _check_is_classifier(who: str, experiment: Experiment, form: ExampleForm) -> None:
    task, loss = task_of(experiment, form), experiment.loss
    if not isinstance(task, Classification) or loss.kind != "softmax":
        raise ConfigError(
            f"{who} has task = {task.tag!r} and loss = {loss.tag!r}: distillation compares probabilities of one class "
            "among all, so it takes a classification by the softmax loss"
        )


def _check_classes(what: str, teacher: Teacher, form: ExampleForm) -> None:
    theirs, ours = teacher.form.classes, form.classes
    if len(theirs) != len(ours):
        raise ConfigError(f"{what} tells {len(theirs)} classes apart, and {form.name} has {len(ours)}")
    differing = [(place, *pair) for place, pair in enumerate(zip(theirs, ours, strict=True)) if pair[0] != pair[1]]
    if teacher.names_known and differing:
        place, their, our = differing[0]
        order = "the same classes in another order" if sorted(theirs) == sorted(ours) else "other classes"
        raise ConfigError(f"{what} has {order}: output {place} is {their!r} there, and {our!r} in {form.name}")


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
