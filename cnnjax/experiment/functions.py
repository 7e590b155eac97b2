"""The pure functions that the steps of an experiment are made of, and the shapes of what these take and give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax

from cnnjax.analysis.memory import Around
from cnnjax.config import bind
from cnnjax.data.entries import PARTNERS, Entry
from cnnjax.data.example_form import ExampleForm, as_images, seen_kind
from cnnjax.errors import ConfigError
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.length import Length
from cnnjax.experiment.network import input_shape_of, network_of, task_of
from cnnjax.experiment.scale import normalize_of
from cnnjax.experiment.sizes import Size, decoded_size, evaluation_size, resized_form, training_spans
from cnnjax.experiment.teacher import Teacher, Teachers, shapes_of
from cnnjax.experiment.training_examples import keys_of_batch, resized_entries, training_examples
from cnnjax.lanes import lane_values
from cnnjax.losses import Loss, SoftmaxCrossEntropy
from cnnjax.models.depth import depths
from cnnjax.optim import Constant
from cnnjax.optim.group_times import without_length
from cnnjax.tasks import JUDGE, Task
from cnnjax.training import step as training_step
from cnnjax.training.evaluated import estimated, unestimated
from cnnjax.training.methods import Method
from cnnjax.training.methods.method import Gradient, begun, taught, wrapped
from cnnjax.training.state import TrainState, derive, example_keys, root_key
from cnnjax.training.step import EMPTY, StateFunctions, StepFunctions


def functions_of(
    experiment: Experiment,
    length: Length,
    *,
    form: ExampleForm | None = None,
    network: linen.Module | None = None,
    size: Size | None = None,
    teachers: Teachers = EMPTY,
) -> StepFunctions:
    """The pure functions a training step is made of, for examples of that form (None: of the experiment's data).

    network: the experiment's, where it is there already. size: of the images that the step trains on; None: that of
    the first step. teachers: of its methods, which only a training step asks.
    """
    form = experiment.data.load() if form is None else form
    network = network_of(experiment, form) if network is None else network
    task, loss = task_of(experiment, form), experiment.loss
    evaluated = resized_form(form, evaluation_size(experiment, form))

    # Every part is of this experiment, so that those of a bound copy hold the values that are bound.
    def bound(lane: Mapping[str, jax.Array]) -> StepFunctions:
        same = None if any(path.startswith(("model.", "task.")) for path in lane) else network
        bound_one = bind(experiment, lane)
        return functions_of(bound_one, length, form=form, network=same, size=size, teachers=teachers)

    return StepFunctions(
        bound=bound,
        network=network,
        inputs=_inputs(experiment, task, form, length, size),
        views=_views(experiment, task, form),
        target=_target(experiment, task, form),
        loss=partial(task.losses, loss=loss, form=evaluated),
        mixed_loss=partial(task.mixed_losses, loss=loss, form=evaluated),
        measure=partial(task.measure, loss=loss, form=evaluated),
        gather=_gather(task, loss, evaluated, teachers.get(JUDGE)),
        optimizer=partial(_optimizer, experiment, length, network, form),
        methods=methods_of(experiment, length),
        without_frozen=experiment.optim.without_frozen,
        inference=experiment.optim.in_inference(),
        optim=experiment.optim,
        initialization=experiment.initialization,
        accumulate=experiment.accumulate,
        shown=task.shown,
        outputs=lambda returned, batch: task.read(experiment.model, returned, batch=batch, loss=loss, form=evaluated),
        merged=_merged(experiment, task, evaluated),
        answer=_answer(experiment, task, form, evaluated),
        summarize=partial(task.summarize, form=evaluated),
        teachers={name: teacher.outputs for name, teacher in teachers.items()},
    )


def _inputs(
    experiment: Experiment, task: Task, form: ExampleForm, length: Length, size: Size | None
) -> Callable[..., Any]:
    normalize, used = normalize_of(experiment, task, form), entries_used(experiment, form)

    def inputs(batch: Mapping[str, jax.Array], key: jax.Array, step: jax.Array) -> Any:
        # Here, for where nothing is trained, the length may be one that the sizes do not fit.
        trained = training_spans(experiment, form, length)[0].size if size is None else size
        seen = training_examples(experiment, form, used, examples=length.examples, size=trained)
        weighed = seen(batch, key, step)
        keys = keys_of_batch(experiment, "task", batch["position"], key=key, step=step)
        unscaled = weighed[0][0]["image"]
        images = normalize(jax.vmap(task.image)(unscaled, keys))
        return images, tuple((_made_targets(task, entries, keys), weight) for entries, weight in weighed), unscaled

    return inputs


def _entries(batch: Mapping[str, jax.Array], form: ExampleForm) -> dict[str, jax.Array]:
    """The entries of the batch's examples, without what else a batch has."""
    return {name: batch[name] for name in form.entries if name in batch}


def _made_targets(task: Task, entries: Mapping[str, jax.Array], keys: jax.Array) -> jax.Array:
    """The targets [B, ...] of examples whose images are float [B, H, W, C] in 0..1."""
    return jax.vmap(task.target)(entries, keys)


def _views(experiment: Experiment, task: Task, form: ExampleForm) -> Callable[..., jax.Array]:
    normalize, evaluated = normalize_of(experiment, task, form), resized_form(form, evaluation_size(experiment, form))

    def views(images: jax.Array, position: jax.Array | None = None) -> jax.Array:
        x = _in_evaluation(images, form, evaluated)
        if position is None:
            x = jax.vmap(lambda image: task.image(image, None))(x)
        else:
            x = jax.vmap(task.image)(x, _evaluation_keys(position))
        return normalize(jax.vmap(experiment.test_time.views)(x))

    return views


def _answer(
    experiment: Experiment, task: Task, form: ExampleForm, evaluated: ExampleForm
) -> Callable[[jax.Array, jax.Array], dict[str, jax.Array]]:
    def answer(outputs: jax.Array, images: jax.Array) -> dict[str, jax.Array]:
        return task.answer_about(outputs, _in_evaluation(images, form, evaluated), experiment.loss, evaluated)

    return answer


def _in_evaluation(images: jax.Array, form: ExampleForm, evaluated: ExampleForm) -> jax.Array:
    """Images [B, H, W, C] of 0..maximum as float32 in 0..1, at the size that they are evaluated at."""
    x = as_images(form, images)
    return resized_entries({"image": x}, {"image": "image"}, evaluated.image_shape[:2])["image"]


def _target(experiment: Experiment, task: Task, form: ExampleForm) -> Callable[[Mapping[str, jax.Array]], jax.Array]:
    size, kinds = evaluation_size(experiment, form), {name: seen_kind(each.kind) for name, each in form.entries.items()}
    resizes = size != form.image_shape[:2]

    def target(batch: Mapping[str, jax.Array]) -> jax.Array:
        entries = _entries(batch, form)
        if task.makes_target or resizes:
            entries["image"] = as_images(form, entries["image"])
        if resizes:
            entries = resized_entries(entries, {name: kinds[name] for name in entries}, size)
        return _made_targets(task, entries, _evaluation_keys(batch["position"]))

    return target


def _merged(experiment: Experiment, task: Task, form: ExampleForm) -> Callable[[jax.Array], jax.Array]:
    """The outputs of images from those of their views: [B, V, ...] -> [B, ...]."""
    views = experiment.test_time

    def of_probabilities(outputs: jax.Array) -> jax.Array:
        if not isinstance(experiment.loss, SoftmaxCrossEntropy) or outputs.ndim != 3:
            raise ConfigError(
                f"test_time.mean = 'probabilities': they are of a classification with loss=softmax, and this is "
                f"{task.tag} with loss={experiment.loss.tag}; take 'outputs'",
                path="test_time.mean",
            )
        return jax.nn.logsumexp(jax.nn.log_softmax(outputs), axis=1) - np.log(outputs.shape[1]).astype(np.float32)

    if views.mean == "probabilities":
        return of_probabilities
    return lambda outputs: task.merged(outputs, views, form)


def _gather(
    task: Task, loss: Loss, form: ExampleForm, judge: Teacher | None
) -> Callable[[jax.Array, jax.Array, Mapping[str, Any]], dict[str, jax.Array]]:
    """What the task gathers of each example, with the judge that it names, if it does."""

    def gather(outputs: jax.Array, target: jax.Array, fixed: Mapping[str, Any]) -> dict[str, jax.Array]:
        found = task.gather(outputs, target, loss=loss, form=form)
        if judge is None:
            return found
        return found | task.judged(outputs, target, partial(judge.features, fixed[JUDGE]), loss=loss, form=form)

    return gather


def _evaluation_keys(position: jax.Array) -> jax.Array:
    """A key for each example of a part by its place there: the same in every evaluation of every training."""
    return example_keys(derive(root_key(0), "task"), position)


# --- shapes


def lane_shapes(experiment: Experiment) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes and types of the experiment's lanes, by path."""
    return {path: jax.ShapeDtypeStruct(value.shape, value.dtype) for path, value in lane_values(experiment).items()}


def entries_used(experiment: Experiment, form: ExampleForm) -> Mapping[str, Entry]:
    """The entries that steps are given, of those that examples of that form have."""
    used = task_of(experiment, form).uses(form)
    return {name: entry for name, entry in form.entries.items() if name in used}


def batch_shapes(
    experiment: Experiment, form: ExampleForm, length: Length, size: Size | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes and types of what a training step is given whose images are trained at that size.

    None: that of the first step.
    """
    size = training_spans(experiment, form, length)[0].size if size is None else size
    entries = resized_form(form, decoded_size(experiment, form, size)).entries
    arrays: dict[str, tuple[tuple[int, ...], Any]] = {
        name: (entries[name].shape, jax.dtypes.canonicalize_dtype(entries[name].dtype))
        for name in entries_used(experiment, form)
    }
    arrays |= {"position": ((), jnp.int32), "index": ((), jnp.int32)}
    if experiment.mixing is not None:
        beside = PARTNERS[: experiment.mixing.partners]
        arrays |= {f"{prefix}{name}": kind for prefix in beside for name, kind in arrays.items()}
    count = experiment.batch_size
    return {name: jax.ShapeDtypeStruct((count, *shape), dtype) for name, (shape, dtype) in arrays.items()}


def state_functions(experiment: Experiment, network: linen.Module) -> StateFunctions:
    """What the state of the experiment's training is made of, with this network; no data are read."""

    def bound(lane: Mapping[str, jax.Array]) -> StateFunctions:
        return state_functions(bind(experiment, lane), network)

    return StateFunctions(
        bound=bound,
        network=network,
        optimizer=partial(optimizer_of, experiment),
        methods=methods_of(experiment),
        optim=experiment.optim,
    )


def state_shapes(experiment: Experiment, network: linen.Module, image_shape: tuple[int, ...]) -> TrainState:
    """The shapes and types of the state of one trial, for images of that shape (H, W, C); no data are read."""
    return training_step.state_shapes(state_functions(experiment, network), lane_shapes(experiment), image_shape)


def methods_of(experiment: Experiment, length: Length | None = None) -> dict[str, Method]:
    """The experiment's methods by name, in their order; with a length, as they are in a training that long."""
    if length is None:
        return {method.tag: method for method in experiment.methods}
    lasts = {"steps": length.steps, "steps_per_epoch": length.steps_per_epoch}
    return {method.tag: method.lasting(**lasts) for method in experiment.methods}


def around_of(experiment: Experiment, teachers: Teachers = EMPTY) -> Around:
    """What the experiment puts around the gradient, for the memory of its training step.

    teachers: of its methods, without which those that need one are left out.
    """
    methods = methods_of(experiment)

    anew = estimated(experiment.methods, experiment.optim)

    def kept(params: Any, others: Mapping[str, Any]) -> tuple[Any, Any]:
        return begun(methods, params, others), unestimated(anew, others.get("batch_stats", {}))

    def gradient(gradient: Gradient, kept: Any) -> Gradient:
        return wrapped(methods, gradient, kept[0], key=lambda name: jax.random.key(0), step=jnp.int32(0))

    optim = experiment.optim
    adding = {
        name: method
        for name, method in methods.items()
        if type(method).losses is not Method.losses and (method.teacher_run() is None or name in teachers)
    }

    def losses(fixed: Any, images: jax.Array, losses: jax.Array, outputs: jax.Array) -> jax.Array:
        seen = {name: teacher.outputs for name, teacher in teachers.items()}
        return taught(adding, losses, outputs, teachers=seen, fixed=fixed, images=images)

    return Around(
        kept=kept,
        gradient=gradient,
        trained=optim.without_frozen,
        inference=optim.in_inference(),
        teachers=shapes_of(teachers),
        losses=losses if adding else None,
    )


def optimizer_of(experiment: Experiment) -> optax.GradientTransformation:
    """The optimizer at a constant rate: for the shapes of its state, which depend on no schedule, length or depth."""
    optim = experiment.optim
    groups = {"groups": without_length(optim.groups)} if optim.groups else {}
    optim = optim.model_copy(update={"schedule": Constant(), **groups})
    return optim.build(steps=1, steps_per_epoch=1, **({} if optim.layer_decay is None else {"depths": {}}))


def _optimizer(
    experiment: Experiment, length: Length, network: linen.Module, form: ExampleForm
) -> optax.GradientTransformation:
    """The optimizer at the experiment's batch size; with `layer_decay` it knows how deep the parameters are."""
    optim = experiment.optim.for_batch(experiment.batch_size)
    build = partial(optim.build, steps=length.steps, steps_per_epoch=length.steps_per_epoch)
    if optim.layer_decay is None:
        return build()
    return build(depths=depths_of(experiment, network, input_shape_of(experiment, form)))


def stated_rate(experiment: Experiment) -> dict[str, Any]:
    """The peak of the rate and how it follows from the batch size, by keys of records; {} where it does not."""
    optim, size = experiment.optim, experiment.batch_size
    if optim.per is None:
        return {}
    return {"learning_rate": optim.for_batch(size).learning_rate, "learning_rate_rule": optim.rule(size)}


def depths_of(experiment: Experiment, network: linen.Module, image_shape: tuple[int, int, int]) -> dict[str, int]:
    """How many layers each parameter is from the logits, as `optim.layer_decay_by` counts them. Raises ConfigError."""
    try:
        endpoints = experiment.model.endpoints()
    except ConfigError:
        endpoints = ()
    return depths(network, image_shape, endpoints, experiment.optim.layer_decay_by)


def blank_state(shapes: TrainState) -> TrainState:
    """A state of zeros (host arrays) of those shapes, into which a checkpoint is read."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
