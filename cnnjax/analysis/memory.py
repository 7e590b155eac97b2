"""The memory of one training step, predicted from its equations: nothing is allocated, run or compiled.

The step is traced on abstract arrays and executed in thought the way XLA compiles it for a CPU:

1. Kernels (convolutions, matrix products, sums, windows) read and write arrays in memory. What lies between is computed
   on the fly by each kernel or loop that reads it, and written only for a kernel. A written array is read again rather
   than computed again if that takes a transcendental function, two arrays as large, or over 15 copies of its code.
2. A convolution reads channels last. The gradient of its weights wants them first and copies both operands.
3. All runs as soon as what it reads is there, first come, first served: those copies are made in the forward pass.
4. A parameter that something may read after its update is copied; smaller arrays then use its place in turn. A loop
   may write over what it reads for the last time. Otherwise what is alive together lies side by side, without gaps.

Not modelled: what runs inside `scan`, `while` and library calls, rematerialization (no different from other
computations here), sums over channels fused with all around them (layer normalization), and that XLA:CPU computes
bfloat16 in float32. Other devices copy less and keep other things.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import inspect
import math
import operator
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.extend.core import Jaxpr, Literal

from cnnjax.analysis.equation import called
from cnnjax.analysis.network import analyse
from cnnjax.errors import ConfigError

_VIEWS = {"copy", "expand_dims", "name", "reshape", "sharding_constraint", "squeeze", "stop_gradient"}
_MOVES = {"broadcast_in_dim", "concatenate", "dynamic_slice", "gather", "iota", "pad", "rev", "slice", "split",
          "transpose"}  # fmt: skip
_CONTROL = ("scan", "while", "cond")
_KERNELS = (*_CONTROL, "arg", "conv_general", "cum", "dot_general", "fft", "random_", "reduce_", "scatter",
            "select_and_", "sort", "threefry")  # fmt: skip
_COSTLY = {"atan2", "cbrt", "cos", "digamma", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "lgamma", "log",
           "log1p", "logistic", "pow", "rsqrt", "sin", "sqrt", "tan", "tanh"}  # fmt: skip
_COPIES_OF_CODE = 15


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one training step.

    `params`, `optimizer` and `state` (batch statistics) are replaced in place; `batch` is the images and labels.
    `gradients` is what has the shape of a parameter (gradients, parameters copied or in another order) and is alive
    when most is, `activations` all else the step writes, gaps included. `total` is the sum.
    """

    params: int
    gradients: int
    optimizer: int
    state: int
    batch: int
    activations: int
    total: int


def training_memory(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    batch_size: int,
    tx: optax.GradientTransformation | None = None,
    dtype: Any = jnp.float32,
) -> Memory:
    """The memory of one training step of `module`: an estimate of what XLA:CPU takes, from the shapes alone.

    The step lowers the softmax cross-entropy of `module(images)`, or `module(images, train=True)` where it has that
    argument, over the last axis; the old parameters, optimizer state and batch statistics are donated.

    Args:
        module: the unbound network.
        input_shape: height, width and channels of an image, without batch.
        batch_size: images a step, 1 or more.
        tx: the optimizer; None is stochastic gradient descent with momentum.
        dtype: of the images; in what the network computes is its own choice.

    Raises:
        ConfigError: there is no image in the batch.
        ShapeError, CnnjaxError: what `analyse` raises where a layer does not fit its input.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size = {batch_size}: must be at least 1")
    analyse(module, input_shape)
    tx = tx or optax.sgd(0.1, momentum=0.9)
    images, key = jax.ShapeDtypeStruct((batch_size, *input_shape), dtype), jax.random.key(0)
    options: dict[str, Any] = {"train": False} if "train" in inspect.signature(type(module).__call__).parameters else {}
    state = dict(jax.eval_shape(lambda key, images: module.init(key, images, **options), key, images))
    params = state.pop("params", {})
    given = (params, jax.eval_shape(tx.init, params), state)
    program = _Program(jax.make_jaxpr(_step(module, tx, dict.fromkeys(options, True)))(given, images, key).jaxpr)
    shapes = {tuple(sorted(leaf.shape)) for leaf in jax.tree.leaves(params)}
    gradients, written = _peak(program, len(jax.tree.leaves(given)), shapes)
    weights, optimizer, statistics = (sum(map(_size, jax.tree.leaves(tree))) for tree in given)
    batch = _size(images) + 4 * batch_size
    total = weights + optimizer + statistics + batch + written
    return Memory(weights, gradients, optimizer, statistics, batch, written - gradients, total)


def _step(module: nn.Module, tx: optax.GradientTransformation, options: dict[str, Any]) -> Any:
    """((params, optimizer, state), images, key) -> (the same after, loss). All labels are 0."""

    def step(given: Any, images: jax.Array, key: jax.Array) -> Any:
        params, optimizer, state = given

        def objective(params: Any) -> Any:
            variables = {"params": params, **state}
            logits, after = module.apply(variables, images, mutable=list(state), rngs={"dropout": key}, **options)
            labels = jnp.zeros(logits.shape[:-1], jnp.int32)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), after

        (loss, state), gradients = jax.value_and_grad(objective, has_aux=True)(params)
        updates, optimizer = tx.update(gradients, optimizer, params)
        return (optax.apply_updates(params, updates), optimizer, state), loss

    return step


def _size(value: Any) -> int:
    """Bytes of an array of that shape and type."""
    is_key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return math.prod(value.shape) * (8 if is_key else np.dtype(value.dtype).itemsize)


# --- equations, those of called functions in the place of the call


@dataclasses.dataclass(slots=True, eq=False)
class _Array:
    shape: tuple[int, ...]
    size: int
    maker: _Equation | None = None

    @property
    def op(self) -> str:
        """The primitive that makes it, "" for an input."""
        return self.maker.name if self.maker else ""

    @property
    def source(self) -> _Array:
        """The array it is a view of; a matrix product is written in the order of axes that is asked for."""
        array = self
        while (maker := array.maker) and (maker.name in _VIEWS or maker.is_turned_product):
            array = maker.inputs[0]
        return array


@dataclasses.dataclass(slots=True, eq=False)
class _Equation:
    """Inputs that are literals are left out."""

    name: str
    params: dict[str, Any]
    inputs: list[_Array]
    outputs: list[_Array]
    position: int = 0

    @property
    def is_turned_product(self) -> bool:
        """Is it the transpose of a matrix product, which can be written that way at once?"""
        return self.name == "transpose" and self.inputs[0].op == "dot_general"

    @property
    def is_loop(self) -> bool:
        """Is it computed on the fly? So are elementwise operations, and those that only move numbers."""
        ranks = {len(array.shape) for array in self.inputs} - {0, len(self.outputs[0].shape)}
        elementwise = not self.name.startswith(_KERNELS) and len(self.outputs) == 1 and not ranks
        return elementwise or self.name in _VIEWS or self.name in _MOVES

    @property
    def is_dear(self) -> bool:
        """Is its output, once written, read rather than computed again?"""
        size = math.prod(self.outputs[0].shape)
        spread = ("broadcast_in_dim", "iota")
        large = {array for array in self.inputs if math.prod(array.shape) >= size and array.op not in spread}
        return self.name in _COSTLY or self.name == "concatenate" or len(large) > 1

    @property
    def operands(self) -> list[_Array]:
        """The arrays that it needs in memory: none for a loop."""
        arrays = [array.source for array in self.inputs]
        if self.is_loop:
            return []
        if self.name.startswith(("conv_general", "reduce_window")):
            return [array.maker.inputs[0].source if array.maker and array.op == "pad" else array for array in arrays]
        if self.name == "reduce_sum" and (product := arrays[0].maker) and arrays[0].op in ("mul", "square"):
            factors = [array.source for array in product.inputs if array.op != "broadcast_in_dim"]
            whole = all(math.prod(factor.shape) == math.prod(arrays[0].shape) for factor in factors)
            return factors if whole and len(factors) == (2 if arrays[0].op == "mul" else 1) else arrays
        return arrays


def _array(variable: Any) -> _Array:
    return _Array(variable.aval.shape, _size(variable.aval))


def _flat(jaxpr: Jaxpr, arrays: dict[Any, _Array], equations: list[_Equation]) -> list[_Array | None]:
    """The outputs of `jaxpr`, whose equations are appended."""

    def look(variables: Iterable[Any]) -> list[_Array]:
        return [arrays.setdefault(v, _array(v)) for v in variables if not isinstance(v, Literal)]

    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if inner := None if name in _CONTROL else called(equation):
            pairs = zip(inner.invars, equation.invars, strict=True)
            known = {own: look([v])[0] for own, v in pairs if not isinstance(v, Literal)}
            results = zip(equation.outvars, _flat(inner, known, equations), strict=True)
            arrays.update((variable, result) for variable, result in results if result)
        else:
            made = _Equation(name, equation.params, look(equation.invars), look(equation.outvars))
            equations.append(made)
            for array in made.outputs:
                array.maker = made
    return [None if isinstance(variable, Literal) else look([variable])[0] for variable in jaxpr.outvars]


# --- what is written


@dataclasses.dataclass(slots=True, eq=False)
class _Buffer:
    """An array in memory; `reads` must be there before, and it may overwrite those that say so.

    `late`: of those that become ready together it comes last, as XLA puts copies in last.
    """

    shape: tuple[int, ...]
    size: int
    reads: dict[_Buffer, bool]
    late: bool = False


class _Program:
    """The buffers of a step, in the order in which its equations ask for them; `outputs` are None for literals."""

    def __init__(self, jaxpr: Jaxpr):
        arrays = {variable: _array(variable) for variable in jaxpr.invars}
        given, equations = list(arrays.values()), []
        outputs = _flat(jaxpr, arrays, equations)
        needed, self._equations = {array for array in outputs if array}, []
        for equation in reversed(equations):
            if not needed.isdisjoint(equation.outputs):
                needed.update(equation.inputs)
                self._equations.append(equation)
        self._equations.reverse()
        for position, equation in enumerate(self._equations):
            equation.position = position
        users = Counter(array for equation in self._equations for array in set(equation.inputs))
        self._written = {operand for equation in self._equations for operand in equation.operands}
        self._written |= {array.source for array in outputs if array}
        self._written |= {array for array, count in users.items() if count > 1 and array.op in _COSTLY}
        self._kept = {array for array in self._written if array.maker and array.maker.is_dear}
        while again := self._build(given):
            self._kept |= again
        self.inputs = [self._buffer(array) for array in given]
        self.outputs = [array and self._buffer(array) for array in outputs]

    def _build(self, given: Iterable[_Array]) -> set[_Array]:
        """Make the buffers; returns what should be written as well: padded arrays that several loops read."""
        self._padded: Counter[_Array] = Counter()
        self.buffers: list[_Buffer] = []
        self._buffers = {array: self._add(array.shape, array.size) for array in given}
        for equation in self._equations:
            if not equation.is_loop:
                self._kernel(equation)
            elif equation.outputs[0] in self._written:
                self._buffer(equation.outputs[0])
        return {array for array, loops in self._padded.items() if loops > 1} - self._kept

    def _add(self, shape: tuple[int, ...], size: int, reads: Any = (), *, late: bool = False) -> _Buffer:
        self.buffers.append(_Buffer(shape, size, dict(reads or {}), late))
        return self.buffers[-1]

    def _buffer(self, array: _Array) -> _Buffer:
        """Where an array is that is given, written by a kernel, or written by a loop that is made here if need be."""
        array = array.source
        if array not in self._buffers:
            reads = self._loop(array) if array.maker else {}
            # The error function shares an exponential with its derivative, which is written too.
            size = array.size * (2 if array.op in ("erf", "erfc") else 1)
            self._buffers[array] = self._add(array.shape, size, reads)
        return self._buffers[array]

    def _loop(self, root: _Array) -> dict[_Buffer, bool]:
        """What a loop that computes `root` reads, and whether nowhere but at the place that it writes."""
        assert root.maker
        # The operations at whose places an array is read, and how many copies of the code there are for each.
        places: defaultdict[_Array, set[Any]] = defaultdict(set, {root: {root}})
        copies: dict[Any, int] = {root: 1}
        todo, leaves = [-root.maker.position], {}
        while todo:
            equation = self._equations[-heapq.heappop(todo)]
            if todo and todo[0] == -equation.position:
                continue
            array = equation.outputs[0]
            at, count = places[array], sum(copies[place] for place in places[array])
            many = count > (1 if equation.name in _COSTLY else _COPIES_OF_CODE) and equation.name != "broadcast_in_dim"
            if not equation.is_loop or (array is not root and (array in self._kept or many)):
                leaves.update((output, places[output]) for output in equation.outputs if output in places)
                continue
            self._padded[array] += equation.name == "pad"
            if equation.name in _MOVES and not equation.is_turned_product:
                copies[equation], at = count, {equation}
            for operand in equation.inputs:
                places[operand] |= at
                if operand.maker:
                    heapq.heappush(todo, -operand.maker.position)
                else:
                    leaves[operand] = places[operand]
        return {self._buffer(leaf): at == {root} for leaf, at in leaves.items()}

    def _kernel(self, equation: _Equation) -> None:
        operands = equation.operands
        if equation.name == "conv_general_dilated":
            last, specs = len(operands[0].shape) - 1, equation.params["dimension_numbers"]
            usual = (specs[0][:2] == (0, last), specs[1][:2] == (last, last - 1))
            reads = [self._buffer(x) if as_is else self._copy(x) for x, as_is in zip(operands, usual, strict=True)]
        elif equation.name == "select_and_scatter_add":
            reads = self._scattering(*operands)
        else:
            reads = [self._buffer(operand) for operand in operands]
        for array in equation.outputs:
            may_overwrite = dict.fromkeys(reads, "scatter" in equation.name)
            self._buffers[array] = self._add(array.shape, array.size, may_overwrite)

    def _copy(self, array: _Array) -> _Buffer:
        """In another order of axes; computed anew where that is cheap."""
        anew = array.maker and array.maker.is_loop and array not in self._kept
        reads = self._loop(array) if anew else [self._buffer(array)]
        return self._add(array.shape, array.size, dict.fromkeys(reads, False), late=True)

    def _scattering(self, values: _Array, maps: _Array) -> list[_Buffer]:
        """The gradient of max pooling: a window over indices finds the places, to which values are scattered."""
        zeros = self._add(maps.shape, maps.size)
        indices = [self._add(maps.shape, 4 * math.prod(maps.shape)) for _ in maps.shape]
        size = 4 * math.prod(values.shape) * len(maps.shape)
        largest = self._add(values.shape, size, dict.fromkeys([self._buffer(maps), *indices], False))
        return [zeros, self._add(values.shape, size, {largest: False}), self._buffer(values)]


# --- when and where


@dataclasses.dataclass(slots=True, eq=False)
class _Slot:
    """Memory of one size for some time: a buffer and those that overwrite it."""

    shape: tuple[int, ...]
    size: int
    start: int
    end: int

    def meets(self, other: _Slot) -> bool:
        return self.start <= other.end and other.start <= self.end


def _peak(program: _Program, given: int, shapes: set[tuple[int, ...]]) -> tuple[int, int]:
    """Of all that is written, bytes of `shapes` when most is alive, and bytes. The first `given` inputs are donated."""
    order, readers = _order(program.buffers)
    at = {buffer: time for time, buffer in enumerate(order)}
    last = {buffer: max([at[buffer], *(at[reader] for reader in readers[buffer])]) for buffer in order}
    before: dict[_Buffer, int] = {}
    for buffer in order:
        before[buffer] = functools.reduce(operator.or_, (before[read] for read in buffer.reads), 1 << at[buffer])
    sizes = [buffer.size for buffer in program.inputs]
    for buffer in (*program.inputs, *filter(None, program.outputs)):
        buffer.size = 0
    places: list[tuple[int, list[_Slot]]] = []
    for old, new, size in zip(program.inputs[:given], program.outputs, sizes, strict=False):
        if new and new is not old and any(not before[new] >> at[reader] & 1 for reader in readers[old]):
            old.size = size
            places.append((size, [_Slot(old.shape, size, at[new], len(order))]))
            # The update may overwrite a gradient, which then is at the place of the parameter already.
            ends = [read for read, may in new.reads.items() if may and last[read] == at[new] and read is not old]
            last.update((read, at[new] - 1) for read in ends if read.size == size)
    free: list[_Slot] = []
    for slot in sorted(_slots(order, at, last), key=lambda slot: -slot.size):
        fitting = [taken for size, taken in sorted(places, key=lambda place: place[0]) if size >= slot.size]
        next((taken for taken in fitting if not any(map(slot.meets, taken))), free).append(slot)
    alive = max(([o for o in free if o.start <= slot.start <= o.end] for slot in free), key=_bytes, default=[])
    return _bytes(slot for slot in alive if tuple(sorted(slot.shape)) in shapes), _bytes(alive)


def _bytes(slots: Iterable[_Slot]) -> int:
    return sum(slot.size for slot in slots)


def _order(buffers: Sequence[_Buffer]) -> tuple[list[_Buffer], dict[_Buffer, list[_Buffer]]]:
    """The order in which they are written, first come, first served, and who reads each."""
    readers: dict[_Buffer, list[_Buffer]] = {buffer: [] for buffer in buffers}
    for buffer in sorted(buffers, key=lambda buffer: buffer.late):
        for read in buffer.reads:
            readers[read].append(buffer)
    waits = {buffer: len(buffer.reads) for buffer in buffers}
    order = [buffer for buffer in buffers if not waits[buffer]]
    for buffer in order:
        for reader in readers[buffer]:
            waits[reader] -= 1
            if not waits[reader]:
                order.append(reader)
    return order, readers


def _slots(order: Sequence[_Buffer], at: dict[_Buffer, int], last: dict[_Buffer, int]) -> list[_Slot]:
    """The memory of all buffers with a size, one slot for those that overwrite each other."""
    slots: dict[_Buffer, _Slot] = {}
    for buffer in (buffer for buffer in order if buffer.size):
        dying = [slots[old] for old, may in buffer.reads.items() if may and old in slots and last[old] == at[buffer]]
        fresh = _Slot(buffer.shape, buffer.size, at[buffer], last[buffer])
        slots[buffer] = next((slot for slot in dying if slot.size == buffer.size), fresh)
        slots[buffer].end = last[buffer]
    return list(dict.fromkeys(slots.values()))
