"""The task of an experiment, and the network that its data, its loss and its task ask for."""

from __future__ import annotations

from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp

from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.length import length_of
from cnnjax.experiment.sizes import Size, evaluation_size, resized_form, sizes_of, training_spans
from cnnjax.models.outputs import array_of
from cnnjax.tasks import Task, task_for


def task_of(experiment: Experiment, form: ExampleForm | None = None) -> Task:
    """The experiment's task for examples of that form (None: of its data). Raises ConfigError where it cannot be."""
    form = experiment.data.load() if form is None else form
    return task_for(experiment.task, experiment.loss, form)


def network_of(experiment: Experiment, form: ExampleForm | None = None) -> linen.Module:
    """The network for examples of that form (None: of the experiment's data), with its number of outputs.

    Raises ConfigError where they do not agree; the softmax loss takes more outputs than there are classes.
    """
    form = experiment.data.load() if form is None else form
    task = task_of(experiment, form)
    try:
        return with_outputs(experiment, task, outputs_of(experiment, form))
    except ConfigError as error:
        raise ConfigError(f"model: {error}") from None


def one_array_of(experiment: Experiment, returned: Any) -> jax.Array:
    """`Task.one_array` of what the network returned; without a task, what `Model.logits` finds in it."""
    if experiment.task is None:
        return array_of(experiment.model, returned)
    return experiment.task.one_array(experiment.model, returned)


def with_outputs(experiment: Experiment, task: Task, outputs: int) -> linen.Module:
    """The experiment's network with so many outputs. Raises ConfigError."""
    return task.network(experiment.model.model_copy(update={"num_classes": outputs}))


def outputs_of(experiment: Experiment, form: ExampleForm) -> int:
    """How many outputs the network has. Raises ConfigError where the task cannot take them."""
    needed, spare = task_of(experiment, form).outputs(experiment.loss, form)
    chosen = experiment.model.num_classes
    outputs = needed if chosen is None else chosen
    if outputs < needed or (outputs > needed and not spare):
        raise ConfigError(f"model.num_classes = {chosen}: {form.name} with loss {experiment.loss.tag} needs {needed}")
    return outputs


def input_shape_of(
    experiment: Experiment, form: ExampleForm | None = None, size: Size | None = None
) -> tuple[int, int, int]:
    """(height, width, channels) of the images that the network sees, for examples of that form (None: of its data).

    size: that these have in training; None: in evaluation, which are the views of `test_time`.
    """
    form = experiment.data.load() if form is None else form
    if size is None:
        return view_shape_of(experiment, evaluated_shape_of(experiment, form))
    return task_of(experiment, form).input_shape(resized_form(form, size))


def evaluated_shape_of(experiment: Experiment, form: ExampleForm) -> tuple[int, int, int]:
    """(height, width, channels) of the images that are evaluated, before views of them are taken."""
    return task_of(experiment, form).input_shape(resized_form(form, evaluation_size(experiment, form)))


def view_shape_of(experiment: Experiment, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(height, width, channels) of the views that `test_time` takes of an evaluated image of `image_shape`."""
    views: Any = jax.eval_shape(experiment.test_time.views, jax.ShapeDtypeStruct(image_shape, jnp.float32))
    return views.shape[1:]


def largest_input_of(experiment: Experiment) -> tuple[int, int, int]:
    """(height, width, channels) of the largest images that the network is trained on. Reads the data."""
    form = experiment.data.load()
    if experiment.resolution is None:
        return input_shape_of(experiment, form)
    sizes = sizes_of(training_spans(experiment, form, length_of(experiment)))
    return input_shape_of(experiment, form, max(sizes, key=lambda size: size[0] * size[1]))
