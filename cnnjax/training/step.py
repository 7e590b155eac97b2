"""One training step and one evaluation step, as pure functions made from functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from cnnjax.nn import auxiliary
from cnnjax.nn.mesh import manual_axes
from cnnjax.training.state import TrainState, derive, root_key, step_key

Lane = Mapping[str, jax.Array]
Batch = dict[str, jax.Array]
Sums = dict[str, jax.Array]


@dataclass(frozen=True)
class Task:
    """What a step is made of, with the lane values of one experiment; every function is pure.

    bound: lane -> the task with its values in the place of these. A step begins with it and uses nothing else, for
        one program serves many experiments.
    network: the Linen module, `network(images, train=...) -> logits`.
    inputs: (batch, the step's key, the step's number) -> what the network sees, and labels with the weight of their
        loss: ((labels [B, ...], weight [B] or a number), ...), which add up to 1.
    views: images uint8 [B, H, W, C] -> what the network sees to evaluate them, [B, views, height, width, C].
    loss: (logits, labels) -> per-example loss [B].
    measure: (logits, labels=, mask=, losses=, detail=) -> sums that add up over batches.
    optimizer: () -> gradient transformation, of one structure for every lane.
    accumulate: into how many parts a batch is cut, whose gradients are averaged.
    """

    bound: Callable[[Lane], Task]
    network: Any
    inputs: Callable[[Batch, jax.Array, jax.Array], tuple[jax.Array, Sequence[tuple[jax.Array, Any]]]]
    views: Callable[[jax.Array], jax.Array]
    loss: Callable[[jax.Array, jax.Array], jax.Array]
    measure: Callable[..., Sums]
    optimizer: Callable[[], optax.GradientTransformation]
    accumulate: int = 1


def init_state(task: Task, lane: Lane, image_shape: tuple[int, int, int]) -> TrainState:
    """The state before the first step, from the lane's seed. image_shape: (H, W, C) of the data set."""
    task = task.bound(lane)
    images = jnp.zeros((1, *image_shape), jnp.float32)
    variables = task.network.init({"params": derive(root_key(lane["seed"]), "init")}, images, train=False)
    params = variables.get("params", {})
    return TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=task.optimizer().init(params),
        lane=dict(lane),
    )


def train_step(task: Task, state: TrainState, batch: Batch) -> tuple[TrainState, Sums]:
    """One optimizer step: (state, batch) -> (state, sums of the batch).

    batch: "images" uint8 [B, H, W, C], "labels" [B, ...], "position" int32 [B] in the global batch, "index" int32 [B]
    in the training part; where examples are mixed, the same of each one's partner ("partner_images", ...). In shard_map
    or pmap the batch is this device's part; gradients, sums and global batch statistics are taken over all devices.
    """
    task, key = task.bound(state.lane), step_key(state)
    optimizer = task.optimizer()

    def objective(params: Any, batch_stats: Any, part: Batch, part_key: jax.Array):
        images, targets = task.inputs(part, key, state.step)

        def loss_of(logits: jax.Array) -> jax.Array:
            return jnp.asarray(sum(weight * task.loss(logits, labels) for labels, weight in targets))

        logits, updates = task.network.apply(
            {"params": params, "batch_stats": batch_stats},
            images,
            train=True,
            mutable=["batch_stats", auxiliary.COLLECTION],
            rngs={"dropout": part_key},
        )
        losses = loss_of(logits)
        extra = sum(weight * loss_of(other) for other, weight in _auxiliary(updates))
        sums = task.measure(
            logits, labels=part["labels"], mask=jnp.ones(len(losses), bool), losses=losses, detail=False
        )
        return (losses + extra).mean(), (updates.get("batch_stats", batch_stats), sums)

    def one_part(batch_stats: Any, part: Batch, part_key: jax.Array):
        gradient = jax.grad(objective, has_aux=True)
        gradients, (batch_stats, sums) = gradient(state.params, batch_stats, part, part_key)
        return batch_stats, (gradients, sums)

    gradients, batch_stats, sums = _over_parts(
        one_part, state.batch_stats, batch, derive(key, "dropout"), task.accumulate
    )
    for axis in manual_axes():
        gradients, sums = jax.lax.pmean(gradients, axis), jax.lax.psum(sums, axis)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state.replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state), sums


def _auxiliary(updates: Mapping[str, Any]) -> list[tuple[jax.Array, float]]:
    """Logits with the weight of their loss, as modules left them (nn.add_auxiliary_logits)."""
    held: Any = traverse_util.flatten_dict(dict(updates.get(auxiliary.COLLECTION, {})))
    return list(held.values())


def _over_parts(one_part: Callable, batch_stats: Any, batch: Batch, key: jax.Array, parts: int):
    """Mean gradients, the last batch statistics and the summed sums over `parts` interleaved parts of the batch."""
    if parts == 1:
        batch_stats, (gradients, sums) = one_part(batch_stats, batch, key)
        return gradients, batch_stats, sums
    # Example i goes to part i mod parts, so a batch sharded over devices needs no exchange between them.
    cut = {name: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0) for name, x in batch.items()}

    def body(batch_stats: Any, part_and_key: tuple[Batch, jax.Array]):
        return one_part(batch_stats, *part_and_key)

    keys = jax.random.split(key, parts)
    # XLA:CPU is slow at convolutions in a loop that are not cnnjax.nn's: with those it is unrolled.
    first = jax.tree.map(lambda x: x[0], (cut, keys))
    unroll = jax.default_backend() == "cpu" and " conv_general_dilated" in str(jax.make_jaxpr(body)(batch_stats, first))
    batch_stats, (gradients, sums) = jax.lax.scan(body, batch_stats, (cut, keys), unroll=unroll)
    return jax.tree.map(lambda g: g.mean(0), gradients), batch_stats, jax.tree.map(lambda s: s.sum(0), sums)


def eval_step(task: Task, state: TrainState, batch: Batch) -> Sums:
    """Detailed sums over the examples of a batch whose "mask" bool [B] is set; running statistics, no randomness."""
    task = task.bound(state.lane)
    views = task.views(batch["images"])
    images = views.reshape(-1, *views.shape[2:])
    outputs = task.network.apply({"params": state.params, "batch_stats": state.batch_stats}, images, train=False)
    logits = outputs.reshape(*views.shape[:2], *outputs.shape[1:]).mean(1)
    losses = task.loss(logits, batch["labels"])
    sums = task.measure(logits, labels=batch["labels"], mask=batch["mask"], losses=losses, detail=True)
    for axis in manual_axes():
        sums = jax.lax.psum(sums, axis)
    return sums
