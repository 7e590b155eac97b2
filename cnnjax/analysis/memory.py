"""The memory of one training step, predicted from its equations: nothing is allocated, run or compiled.

The step (loss, gradient, update) is traced on abstract arrays and executed in thought the way XLA compiles it for a
CPU, in three stages, a file each:

1. `kernels`: which equations are kernels of their own, and which are fused into those that read them.
2. `buffers`: so which arrays are written to memory, and what is read to write each.
3. `liveness`: when each is written, until when it is needed, and what lies side by side when most does.

Not modelled: what runs inside `scan`, `while` and library calls, rematerialization (no different from other
computations here), convolutions lowered as matrix products, sums over channels fused with all around them (layer
normalization), statistics of ghost batches (0.79 of what XLA takes on one small network), and that XLA:CPU computes
bfloat16 in float32. Other devices copy less and keep other things.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from cnnjax import calling
from cnnjax.analysis.buffers import buffers
from cnnjax.analysis.kernels import TracedProgram, program, size
from cnnjax.analysis.layer_analysis import analyse
from cnnjax.analysis.layers import Memory
from cnnjax.analysis.liveness import peak
from cnnjax.errors import ConfigError
from cnnjax.lowering import lowering


@dataclass(frozen=True)
class Around:
    """What stands around the gradient of a training step.

    kept: (params, other variables) -> what is kept from step to step beside the optimizer's state. gradient: (gradient
    function, what is kept) -> the one in its place; a gradient function gives (gradients, variables after, numbers) of
    params. trained: params -> the same, without gradients to some. inference: whether the module at a dotted path is
    trained as at inference; None where none is. teachers: the shapes of the variables of networks that it learns from.
    losses: (these variables, images, losses [B], logits) -> the losses [B] in their place; None leaves them.
    """

    kept: Callable[[Any, Any], Any] = lambda params, others: {}
    gradient: Callable[[Callable[..., Any], Any], Callable[..., Any]] = lambda gradient, kept: gradient
    trained: Callable[[Any], Any] = lambda params: params
    inference: Callable[[str], bool] | None = None
    teachers: Any = ()
    losses: Callable[..., jax.Array] | None = None


NOTHING = Around()


def training_memory(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    batch_size: int,
    tx: optax.GradientTransformation | None = None,
    dtype: Any = jnp.float32,
    logits: Callable[[Any], jax.Array] = lambda outputs: outputs,
    around: Around = NOTHING,
) -> Memory:
    """The memory of one training step of `module`: an estimate of what XLA:CPU takes, from the shapes alone.

    The step lowers the softmax cross-entropy of `logits` of what the module returns in training, over the last axis;
    the old parameters, optimizer state and batch statistics are donated.

    Args:
        module: the unbound network.
        input_shape: height, width and channels of an image, without batch.
        batch_size: images a step, 1 or more.
        tx: the optimizer; None is stochastic gradient descent with momentum.
        dtype: of the images; in what the network computes is its own choice.
        logits: finds the logits in what the module returns.
        around: the gradient; what is kept there counts as state.

    Raises:
        ConfigError: there is no image in the batch.
        ShapeError, CnnjaxError: what `analyse` raises where a layer does not fit its input.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size = {batch_size}: must be at least 1")
    try:
        height, width, channels = input_shape
        images = jax.ShapeDtypeStruct((batch_size, height, width, channels), dtype)
        given, step = _traced(module, images, tx or optax.sgd(0.1, momentum=0.9), logits, around)
    except Exception:
        analyse(module, input_shape)  # raises an error that names the layer
        raise
    if any(0 in array.shape for operation in step.operations for array in operation.outputs):
        analyse(module, input_shape)  # JAX makes an empty array where a window fits nowhere
    params, optimizer, state = (_bytes(tree) for tree in given)
    batch = size(images) + 4 * batch_size
    weights = {tuple(sorted(leaf.shape)) for leaf in jax.tree.leaves(given[0])}
    alive = peak(buffers(step), donated=len(jax.tree.leaves(given)))
    gradients = sum(slot.size for slot in alive if tuple(sorted(slot.shape)) in weights)
    activations = sum(slot.size for slot in alive) - gradients
    teachers = _bytes(around.teachers)
    total = params + gradients + optimizer + state + batch + activations + teachers
    return Memory(params, gradients, optimizer, state, batch, activations, total, teachers)


def _bytes(tree: Any) -> int:
    return sum(map(size, jax.tree.leaves(tree)))


def _traced(
    module: nn.Module,
    images: jax.ShapeDtypeStruct,
    tx: optax.GradientTransformation,
    logits: Callable[[Any], jax.Array],
    around: Around,
) -> tuple[tuple[Any, Any, Any], TracedProgram]:
    """The shapes of parameters, optimizer state and what else is kept, and the step, whose first inputs they are."""
    key = jax.random.key(0)
    state = jax.eval_shape(partial(calling.init, module), key, images)
    params = state.pop("params", {})
    given = (params, jax.eval_shape(tx.init, params), (state, jax.eval_shape(around.kept, params, state)))
    step = _step(module, tx, logits, around)
    with lowering("xla"):
        return given, program(jax.make_jaxpr(step)(given, images, key, around.teachers).jaxpr)


def _step(
    module: nn.Module, tx: optax.GradientTransformation, logits_in: Callable[[Any], jax.Array], around: Around
) -> Callable[..., Any]:
    """((params, optimizer, state), images, key, teachers) -> (the same after, loss). All labels are 0."""

    def step(given: Any, images: jax.Array, key: jax.Array, teachers: Any) -> Any:
        params, optimizer, (state, kept) = given

        def objective(params: Any) -> Any:
            variables = {"params": around.trained(params), **state}
            options = {"train": True, "inference": around.inference}
            outputs, after = calling.apply(module, variables, images, streams=lambda name: key, **options)
            logits = logits_in(outputs)
            labels = jnp.zeros(logits.shape[:-1], jnp.int32)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            if around.losses is not None:
                # Losses and outputs are float32 whatever the network computes in, and so are images before they are
                # normalized, which teachers do themselves.
                losses = losses.reshape(len(losses), -1).mean(1)
                losses = around.losses(teachers, *(x.astype(jnp.float32) for x in (images, losses, logits)))
            return losses.mean(), after

        def gradient(params: Any) -> Any:
            (loss, after), gradients = jax.value_and_grad(objective, has_aux=True)(params)
            return gradients, after, loss

        gradients, state, loss = around.gradient(gradient, kept)(params)
        updates, optimizer = tx.update(gradients, optimizer, params)
        return (optax.apply_updates(params, updates), optimizer, (state, kept)), loss

    return step
