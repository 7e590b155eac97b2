"""One training step and one evaluation step, as pure functions made from functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from cnnjax import calling
from cnnjax.errors import ConfigError
from cnnjax.initialization import Initialization, kernels_of
from cnnjax.nn import auxiliary
from cnnjax.nn.mesh import manual_axes
from cnnjax.optim import Optim
from cnnjax.training.chunks import convolves
from cnnjax.training.evaluated import estimated, unestimated
from cnnjax.training.methods.method import Gradient, Method, acted, begun, taught, wrapped
from cnnjax.training.state import TrainState, derive, root_key, split_variables, step_key

Lane = Mapping[str, jax.Array]
Batch = dict[str, jax.Array]
Sums = dict[str, jax.Array]
EMPTY: Mapping[str, Any] = MappingProxyType({})
EACH = "each "
"""What the names begin with of what an evaluation gathers of each example, beside its sums."""


@dataclass(frozen=True, kw_only=True)
class StateFunctions:
    """What the state of a training is made of, with the lane values of one experiment; every function is pure.

    bound: lane -> the functions with its values in the place of these. A step begins with it and uses nothing else, for
        one program serves many experiments.
    network: the Linen module, called on images (`cnnjax.calling`).
    optimizer: () -> gradient transformation, of one structure for every lane.
    methods: around the step, by name, in their order.
    without_frozen: params -> the same, with no gradient to those that do not move.
    inference: whether the module at a dotted path is trained as at inference; None where none is.
    optim: the optimizer's config, asked for the weights to evaluate; None of one that has but those it trains.
    initialization: what kernels start as; None leaves each layer its own.
    """

    bound: Callable[[Lane], Self]
    network: Any
    optimizer: Callable[[], optax.GradientTransformation]
    methods: Mapping[str, Method] = field(default_factory=dict)
    without_frozen: Callable[[Any], Any] = lambda params: params
    inference: Callable[[str], bool] | None = None
    optim: Optim | None = None
    initialization: Initialization | None = None

    @property
    def estimated(self) -> tuple[str, ...]:
        """The names of the weights whose batch statistics are estimated anew, where the network has any."""
        return estimated(tuple(self.methods.values()), self.optim)


@dataclass(frozen=True, kw_only=True)
class StepFunctions(StateFunctions):
    """What a step is made of, beside what its state is made of.

    shown: (target [B, ...], train=) -> what the network is given beside the images where there is a target, in training
        or in evaluation, by name of argument.
    outputs: (what the network returns, B) -> outputs [B, ...], or several such arrays by name.
    inputs: (batch, the step's key, the step's number) -> what the network sees; targets with the weight of their loss:
        ((target [B, ...], weight [B] or a number), ...), which add up to 1; the images [B, H, W, C] in 0..1 that what
        it sees was made of, augmented and mixed.
    teachers: by the name of the method that asks for one (`Method.teacher_run`): (its variables, those images) ->
        the outputs [B, K] of a trained network.
    views: images uint8 [B, H, W, C] and, to evaluate them, their places in their part [B] -> what the network sees,
        [B, views, height, width, C]. merged: outputs of all views [B, views, ...] -> those of the images, [B, ...].
    target: batch -> target [B, ...], to evaluate.
    loss: (outputs, target) -> per-example loss [B]. mixed_loss: (outputs, targets with their weights) -> the same of
        examples in training.
    measure: (outputs, target, valid=, losses=, detail=) -> sums that add up over batches.
    gather: (outputs, target, the variables of trained networks, by name) -> what of each example a metric needs that is
        no sum, [B, ...] by name.
    summarize: sums of a whole part and what was gathered of its examples, on the host -> what they mean, as numbers by
        name.
    answer: (outputs, images as `views` takes them) -> what is said of images, as arrays by name.
    accumulate: into how many parts a batch is cut, whose gradients are averaged.
    """

    inputs: Callable[[Batch, jax.Array, jax.Array], tuple[jax.Array, Sequence[tuple[jax.Array, Any]], jax.Array]]
    views: Callable[..., jax.Array]
    target: Callable[[Batch], jax.Array]
    loss: Callable[[jax.Array, jax.Array], jax.Array]
    mixed_loss: Callable[[jax.Array, Sequence[tuple[jax.Array, Any]]], jax.Array]
    measure: Callable[..., Sums]
    gather: Callable[[jax.Array, jax.Array, Mapping[str, Any]], dict[str, jax.Array]]
    accumulate: int
    shown: Callable[..., Mapping[str, Any]]
    outputs: Callable[[Any, int], Any]
    merged: Callable[[Any], Any]
    answer: Callable[[Any, jax.Array], dict[str, jax.Array]]
    summarize: Callable[[Mapping[str, Any]], dict[str, Any]]
    teachers: Mapping[str, Callable[[Any, jax.Array], jax.Array]] = field(default_factory=dict)


def init_state(functions: StateFunctions, lane: Lane, image_shape: tuple[int, ...]) -> TrainState:
    """The state before the first step, from the lane's seed. image_shape: (H, W, C) of the data set."""
    functions = functions.bound(lane)
    images = jnp.zeros((1, *image_shape), jnp.float32)
    key = derive(root_key(lane["seed"]), "init")
    variables = calling.init(functions.network, key, images, streams=partial(derive, key))
    chosen = functions.initialization
    if chosen is not None:
        kernels = chosen.chosen(kernels_of(functions.network, images, partial(derive, key)))
        variables["params"] = chosen.drawn(variables["params"], kernels, partial(derive, derive(key, "initialization")))
    return _begun(functions, lane, variables)


def state_shapes(functions: StateFunctions, lane: Mapping[str, Any], image_shape: tuple[int, ...]) -> TrainState:
    """The shapes and types of every state of a training: those of the first."""
    return jax.eval_shape(partial(init_state, functions, image_shape=image_shape), lane)


def state_from(functions: StateFunctions, lane: Lane, variables: Mapping[str, Any]) -> TrainState:
    """The state before the first step of a training that starts from these variables of its network, by collection."""
    return _begun(functions.bound(lane), lane, variables)


def shapes_from(functions: StateFunctions, lane: Mapping[str, Any], variables: Mapping[str, Any]) -> TrainState:
    """The shapes and types of `state_from` these variables, of which shapes and types are enough."""
    return jax.eval_shape(partial(state_from, functions), lane, dict(variables))


def _begun(functions: StateFunctions, lane: Lane, variables: Mapping[str, Any]) -> TrainState:
    fields = split_variables(variables)
    state = TrainState(
        step=jnp.int32(0), opt_state=functions.optimizer().init(fields["params"]), lane=dict(lane), **fields
    )
    state = state.replace(methods=begun(functions.methods, state.params, state.statistics))
    return state.replace(estimated=unestimated(functions.estimated, state.batch_stats))


def train_step(
    functions: StepFunctions, state: TrainState, batch: Batch, fixed: Mapping[str, Any] = EMPTY
) -> tuple[TrainState, Sums]:
    """One optimizer step: (state, batch) -> (state, sums of the batch).

    batch: entries of examples by name, "image" uint8 [B, H, W, C] and others [B, ...]; "position" int32 [B] in the
    global batch, "index" int32 [B] in the training part; where examples are mixed, the same of each one's partners
    ("partner_image", ...). In shard_map or pmap the batch is this device's part; gradients, sums and global batch
    statistics are taken over all devices. fixed: the variables of the methods' teachers, by the method's name.

    The gradient function of the batch goes through the methods, the first one innermost; then the optimizer updates the
    parameters, and the methods act on what came out, the first one first.
    """
    functions, key = functions.bound(state.lane), step_key(state.lane["seed"], state.step)
    optimizer = functions.optimizer()
    gradient = wrapped(
        functions.methods,
        _gradient(functions, state, batch, key, fixed),
        state.methods,
        key=lambda name: derive(key, f"method {name}"),
        step=state.step,
    )
    gradients, statistics, sums = gradient(state.params)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    fields = split_variables({"params": params, **statistics})
    after = state.replace(step=state.step + 1, opt_state=opt_state, **fields)
    return acted(functions.methods, state, after), sums


def _gradient(
    functions: StepFunctions, state: TrainState, batch: Batch, key: jax.Array, fixed: Mapping[str, Any]
) -> Gradient:
    """The gradient function of a step's batch: over its accumulated parts, and over all devices.

    The objective is the mean over the batch of the losses that the methods make of those of the targets, the first
    method first, and of those of auxiliary outputs. The sums are of the targets' losses alone.
    """

    def objective(params: Any, statistics: Any, part: Batch, part_key: jax.Array):
        images, targets, unscaled = functions.inputs(part, key, state.step)

        returned, left = calling.apply(
            functions.network,
            {"params": functions.without_frozen(params), **statistics},
            images,
            train=True,
            streams=partial(training_stream, part_key),
            left=[auxiliary.COLLECTION],
            inference=functions.inference,
            shown=functions.shown(targets[0][0], train=True),
        )
        outputs = functions.outputs(returned, len(images))
        losses = functions.mixed_loss(outputs, targets)
        extra = sum(weight * functions.mixed_loss(other, targets) for other, weight in _auxiliary(left))
        valid = jnp.ones(len(losses), bool)
        sums = functions.measure(outputs, targets[0][0], valid=valid, losses=losses, detail=False)
        losses = taught(functions.methods, losses, outputs, teachers=functions.teachers, fixed=fixed, images=unscaled)
        return (losses + extra).mean(), ({name: left[name] for name in statistics}, sums)

    def gradient(params: Any) -> tuple[Any, Any, Sums]:
        def one_part(statistics: Any, part: Batch, part_key: jax.Array):
            gradients, (statistics, sums) = jax.grad(objective, has_aux=True)(params, statistics, part, part_key)
            return statistics, (gradients, sums)

        gradients, statistics, sums = _over_parts(
            one_part, state.statistics, batch, derive(key, "dropout"), functions.accumulate
        )
        for axis in manual_axes():
            gradients, sums = jax.lax.pmean(gradients, axis), jax.lax.psum(sums, axis)
            # Batch normalization averages its own, where it should.
            others = {name: _averaged(held, axis) for name, held in statistics.items() if name != "batch_stats"}
            statistics = statistics | others
        return gradients, statistics, sums

    return gradient


def training_stream(key: jax.Array, name: str) -> jax.Array:
    """The key of a random stream in training. cnnjax's own dropout cuts each device's part from one mask."""
    if name == "dropout":
        return key
    own = derive(key, name)
    for axis in manual_axes():
        own = jax.random.fold_in(own, jax.lax.axis_index(axis))
    return own


def _averaged(variables: Any, axis: str) -> Any:
    """Over devices, the means of what is floating point; whole numbers (steps counted) are the same on each."""

    def average(x: jax.Array) -> jax.Array:
        return jax.lax.pmean(x, axis) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(average, variables)


def _auxiliary(updates: Mapping[str, Any]) -> list[tuple[jax.Array, float]]:
    """Outputs with the weight of their loss, as modules left them (nn.add_auxiliary_logits)."""
    held: Any = traverse_util.flatten_dict(dict(updates.get(auxiliary.COLLECTION, {})))
    return list(held.values())


def _over_parts(one_part: Callable, statistics: Any, batch: Batch, key: jax.Array, parts: int):
    """Mean gradients, the last statistics and the summed sums over `parts` interleaved parts of the batch."""
    if parts == 1:
        statistics, (gradients, sums) = one_part(statistics, batch, key)
        return gradients, statistics, sums
    # Example i goes to part i mod parts, so a batch sharded over devices needs no exchange between them.
    cut = {name: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0) for name, x in batch.items()}

    def body(statistics: Any, part_and_key: tuple[Batch, jax.Array]):
        return one_part(statistics, *part_and_key)

    keys = jax.random.split(key, parts)
    # XLA:CPU is slow at convolutions in a loop that are not cnnjax.nn's: with those it is unrolled.
    first = jax.tree.map(lambda x: x[0], (cut, keys))
    unroll = jax.default_backend() == "cpu" and convolves(jax.make_jaxpr(body)(statistics, first).jaxpr)
    statistics, (gradients, sums) = jax.lax.scan(body, statistics, (cut, keys), unroll=unroll)
    return jax.tree.map(lambda g: g.mean(0), gradients), statistics, jax.tree.map(lambda s: s.sum(0), sums)


def eval_step(functions: StepFunctions, state: TrainState, batch: Batch, fixed: Mapping[str, Any] = EMPTY) -> Sums:
    """Detailed sums over the examples of a batch whose "valid" bool [B] is set; running statistics, no randomness.

    batch: entries of examples by name [B, ...], and "position" int32 [B], their places in their part. What the task
    gathers of each example (`gathered_of`) is beside the sums, with "position" and "valid", of the batch of all devices
    and whole on each. fixed: the variables of the trained networks that the training uses, by name.
    """
    functions = functions.bound(state.lane)
    target = functions.target(batch)
    outputs = evaluation_outputs(functions, state.variables, batch["image"], batch["position"], target)
    losses = functions.loss(outputs, target)
    sums = functions.measure(outputs, target, valid=batch["valid"], losses=losses, detail=True)
    gathered = functions.gather(outputs, target, fixed)
    if gathered:
        gathered |= {"position": batch["position"], "valid": batch["valid"]}
    for axis in manual_axes():
        sums = jax.lax.psum(sums, axis)
        gathered = jax.tree.map(partial(jax.lax.all_gather, axis_name=axis, tiled=True), gathered)
    return sums | {f"{EACH}{name}": array for name, array in gathered.items()}


def gathered_of(sums: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `eval_step` returns as the sums and, by their names, what was gathered of each example of the batch."""
    gathered = {name.removeprefix(EACH): array for name, array in sums.items() if name.startswith(EACH)}
    return {name: array for name, array in sums.items() if not name.startswith(EACH)}, gathered


def in_order(batches: Sequence[Mapping[str, np.ndarray]], *, axis: int = 0) -> dict[str, np.ndarray]:
    """What was gathered of each example of a part, in the order of the part, from that of its batches (host arrays).

    "position" and "valid" say which examples they are and which count; they are not returned. axis: of the examples;
    the others before it are trials, of which both are the same.
    """
    whole = {name: np.concatenate([batch[name] for batch in batches], axis) for name in batches[0]}
    position, valid = (whole.pop(name)[(0,) * axis] for name in ("position", "valid"))
    kept = np.flatnonzero(valid)
    kept = kept[np.argsort(position[kept], kind="stable")]
    return {name: array.take(kept, axis) for name, array in whole.items()}


def prediction_step(functions: StepFunctions, state: TrainState, batch: Batch) -> dict[str, jax.Array]:
    """Of each example of the batch of all devices, in their order and whole on each device: "position" int32 [B] in its
    part, "valid" bool [B], "target" [B, ...] (of a mapping of arrays each, "target_NAME"), and the sums of it alone
    that are numbers, [B] each ("loss", "correct"); "outputs" [B, K], but of maps none. Running statistics, no
    randomness."""
    functions = functions.bound(state.lane)
    target = functions.target(batch)
    outputs = evaluation_outputs(functions, state.variables, batch["image"], batch["position"], target)
    losses = functions.loss(outputs, target)

    def alone(output: jax.Array, own_target: jax.Array, loss: jax.Array) -> Sums:
        of_one = jax.tree.map(lambda x: x[None], (output, own_target, jnp.bool_(True), loss))
        output, own_target, valid, loss = of_one
        sums = functions.measure(output, own_target, valid=valid, losses=loss, detail=True)
        return {name: x for name, x in sums.items() if not x.ndim}

    found = jax.vmap(alone)(outputs, target, losses)
    several: Any = target if isinstance(target, Mapping) else {}
    targets = {f"target_{name}": own for name, own in several.items()} or {"target": target}
    found |= {**targets, "valid": batch["valid"], "position": batch["position"]}
    found |= {"outputs": outputs} if isinstance(outputs, jax.Array) and outputs.ndim == 2 else {}
    for axis in manual_axes():
        found = jax.tree.map(partial(jax.lax.all_gather, axis_name=axis, tiled=True), found)
    return found


def with_weights_of(functions: StateFunctions, state: TrainState, name: str) -> TrainState:
    """The state with what that method, or the optimizer, evaluates in the place of the trained variables.

    Batch statistics that are estimated anew are those that the state has of them (`training.estimate`).
    """
    functions = functions.bound(state.lane)
    if name in functions.methods:
        variables = functions.methods[name].evaluated(state.methods.get(name, {}), state.variables)
    else:
        assert functions.optim is not None
        params = functions.optim.evaluated(state.opt_state, state.params)
        variables = None if params is None else {**state.variables, "params": params}
    if variables is None:
        raise ConfigError(f"{name!r} evaluates nothing, so it has no weights of its own")
    if name in state.estimated:
        variables = {**variables, "batch_stats": state.estimated[name]["batch_stats"]}
    return state.replace(**split_variables(variables))


def evaluation_outputs(
    functions: StepFunctions,
    variables: Mapping[str, Any],
    images: jax.Array,
    position: jax.Array | None = None,
    target: jax.Array | None = None,
) -> jax.Array:
    """The outputs [B, ...] for images [B, H, W, C], merged over their views; running statistics, no randomness.

    images: pixels from 0 to the maximum of the data set, uint8 or floating point. position: of examples in their part,
    to evaluate them; target: [B, ...] then, of which the task may show the network something. Both None in use. B may
    be symbolic (`jax.export`).
    """
    views = functions.views(images, position)
    batch, count = views.shape[:2]
    seen = {} if target is None else functions.shown(target, train=False)
    returned, _ = calling.apply(
        functions.network,
        variables,
        views.reshape(batch * count, *views.shape[2:]),
        shown=jax.tree.map(lambda x: jnp.repeat(x, count, 0), seen),
    )
    outputs = functions.outputs(returned, batch * count)
    return functions.merged(jax.tree.map(lambda x: x.reshape(batch, count, *x.shape[1:]), outputs))
