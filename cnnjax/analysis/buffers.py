"""Which arrays of a program are written to memory, and what is read to write each: fusion as XLA:CPU does it.

Kernels write. A fused operation (`cnnjax.analysis.kernels`) is written where a kernel needs its output, where the
program returns it, or where several others read a transcendental function of it. Each array written is one loop, which
computes all that is fused into it down to arrays in memory. It reads what is there instead of computing it again if
that takes a transcendental function, two arrays as large, or over 15 copies of its code.

A convolution reads channels last. The gradient of its weights wants them first and copies both operands.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from typing import NamedTuple

from cnnjax.analysis.kernels import TRANSCENDENTAL, Array, Operation, TracedProgram

_COPIES_OF_CODE = 15


@dataclasses.dataclass(slots=True, eq=False)
class Buffer:
    """An array in memory. `reads` must be there before; it may be written over those that say so.

    `late`: of those that become ready together it comes last, as XLA puts copies in last.
    """

    shape: tuple[int, ...]
    size: int
    reads: dict[Buffer, bool]
    late: bool = False


class Buffers(NamedTuple):
    """The buffers of a program in the order in which its operations ask for them; `outputs` are None for literals."""

    every: list[Buffer]
    inputs: list[Buffer]
    outputs: list[Buffer | None]


def buffers(program: TracedProgram) -> Buffers:
    """What of `program` is in memory."""
    written = _written(program)
    kept = {array for array in written if array.maker and array.maker.is_expensive}
    while True:
        writer = _Writer(program, written, kept)
        # XLA computes padding only once: what several loops pad is written.
        shared = {array for array, loops in writer.padded.items() if loops > 1} - kept
        if not shared:
            break
        kept |= shared
    inputs = [writer.buffer(array) for array in program.inputs]
    return Buffers(writer.every, inputs, [array and writer.buffer(array) for array in program.outputs])


def _written(program: TracedProgram) -> set[Array]:
    """The arrays that are asked for in memory."""
    readers = Counter(array for operation in program.operations for array in set(operation.inputs))
    operands = {operand for operation in program.operations for operand in operation.operands}
    returned = {array.source for array in program.outputs if array}
    return operands | returned | {x for x, count in readers.items() if count > 1 and x.op in TRANSCENDENTAL}


class _Writer:
    """Goes through a program and writes the buffers `every`, reading those of `kept` rather than computing them again.

    `padded`: how many loops compute each padded array.
    """

    def __init__(self, program: TracedProgram, written: set[Array], kept: set[Array]):
        self.every: list[Buffer] = []
        self.padded: Counter[Array] = Counter()
        self._operations = program.operations
        self._kept = kept
        self._buffers = {array: self._add(array.shape, array.size) for array in program.inputs}
        for operation in program.operations:
            if not operation.is_fused:
                self._kernel(operation)
            elif operation.outputs[0] in written:
                self.buffer(operation.outputs[0])

    def buffer(self, array: Array) -> Buffer:
        """Where `array` is: given, written by a kernel, or written by a loop that is made here if need be."""
        array = array.source
        if array not in self._buffers:
            # The error function shares an exponential with its derivative, which is written too.
            size = array.size * (2 if array.op in ("erf", "erfc") else 1)
            self._buffers[array] = self._add(array.shape, size, self._loop(array))
        return self._buffers[array]

    def _add(
        self, shape: tuple[int, ...], size: int, reads: dict[Buffer, bool] | None = None, *, late: bool = False
    ) -> Buffer:
        self.every.append(Buffer(shape, size, reads or {}, late))
        return self.every[-1]

    def _loop(self, root: Array) -> dict[Buffer, bool]:
        """What the loop that computes `root` reads, and whether only at the index of the element it writes."""
        leaves = self._leaves(root) if root.maker else {}
        return {self.buffer(leaf): indices == {None} for leaf, indices in leaves.items()}

    def _leaves(self, root: Array) -> dict[Array, set[Operation | None]]:
        """The arrays in memory that `root` is computed from, each with the indices at which it is read.

        None is the index of the element that is written; others are named by the operation that moves numbers. What is
        read at several indices is computed at each, by a copy of the code.
        """
        indices: dict[Array, set[Operation | None]] = {root: {None}}
        copies: dict[Operation | None, int] = {None: 1}
        leaves: dict[Array, set[Operation | None]] = {}
        todo = [-root.maker.position] if root.maker else []
        while todo:
            # The latest first: by then all that read its output in this loop are known.
            operation = self._operations[-heapq.heappop(todo)]
            array = operation.outputs[0]
            at = indices.get(array, set())
            count = sum(copies[index] for index in at)
            if array is not root and not self._inlines(array, operation, count):
                leaves.update((output, indices[output]) for output in operation.outputs if output in indices)
                continue
            if operation.name == "pad":
                self.padded[array] += 1
            if operation.is_move:
                copies[operation], at = count, {operation}
            for operand in operation.inputs:
                if operand in indices:
                    indices[operand] |= at
                    continue
                indices[operand] = set(at)
                if operand.maker:
                    heapq.heappush(todo, -operand.maker.position)
                else:
                    leaves[operand] = indices[operand]
        return leaves

    def _inlines(self, array: Array, operation: Operation, copies: int) -> bool:
        """Whether a loop that needs `array` in so many places computes it itself."""
        limit = 1 if operation.name in TRANSCENDENTAL else _COPIES_OF_CODE
        few = copies <= limit or operation.name == "broadcast_in_dim"
        return operation.is_fused and array not in self._kept and few

    def _kernel(self, operation: Operation) -> None:
        if operation.name == "conv_general_dilated":
            reads = self._convolved(operation)
        elif operation.name == "select_and_scatter_add":
            reads = self._scattered(*operation.operands)
        else:
            reads = [self.buffer(operand) for operand in operation.operands]
        for array in operation.outputs:
            in_place = dict.fromkeys(reads, "scatter" in operation.name)
            self._buffers[array] = self._add(array.shape, array.size, in_place)

    def _convolved(self, operation: Operation) -> list[Buffer]:
        """What a convolution reads: copies of operands whose channels are not last."""
        operands = operation.operands
        images, kernel = operation.params["dimension_numbers"][:2]
        last = len(operands[0].shape) - 1
        as_is = (images[:2] == (0, last), kernel[:2] == (last, last - 1))
        return [self.buffer(x) if usual else self._copy(x) for x, usual in zip(operands, as_is, strict=True)]

    def _copy(self, array: Array) -> Buffer:
        """`array` in another order of axes; computed anew where that is cheap."""
        anew = array.maker and array.maker.is_fused and array not in self._kept
        reads = self._loop(array) if anew else [self.buffer(array)]
        return self._add(array.shape, array.size, dict.fromkeys(reads, False), late=True)

    def _scattered(self, values: Array, maps: Array) -> list[Buffer]:
        """The gradient of max pooling: a window over indices finds the places, to which `values` are scattered."""
        zeros = self._add(maps.shape, maps.size)
        indices = [self._add(maps.shape, 4 * maps.elements) for _ in maps.shape]
        size = 4 * values.elements * len(maps.shape)
        largest = self._add(values.shape, size, dict.fromkeys([self.buffer(maps), *indices], False))
        return [zeros, self._add(values.shape, size, {largest: False}), self.buffer(values)]
