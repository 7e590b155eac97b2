"""When buffers are written, how long each is needed, and what lies in memory when most of it does.

A buffer is written as soon as what it reads is there, first come, first served: copies for the gradient of a
convolution are made in the forward pass. From then to its last reader it is alive. A loop may write over what it reads
for the last time. The new values of donated inputs go to the places of the old ones; an old one that something may read
after its update is copied, and smaller buffers then use its place in turn. All else that is alive together lies side by
side, without gaps.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence

from cnnjax.analysis.buffers import Buffer, Buffers

_Readers = Mapping[Buffer, Sequence[Buffer]]


@dataclasses.dataclass(slots=True, eq=False)
class Slot:
    """Memory of one size for some time, both ends included: a buffer and those that are written over it."""

    shape: tuple[int, ...]
    size: int
    start: int
    end: int

    def meets(self, other: Slot) -> bool:
        return self.start <= other.end and other.start <= self.end


@dataclasses.dataclass(slots=True)
class _Place:
    """The memory of a donated input, and what lies there in turn."""

    size: int
    slots: list[Slot]


def peak(buffers: Buffers, donated: int) -> list[Slot]:
    """What is alive when most is, inputs and outputs left out. The first `donated` inputs give their places to the
    first outputs."""
    order, readers = _order(buffers.every)
    times = _Times(order, readers)
    sizes = {buffer: buffer.size for buffer in order}
    sizes.update(dict.fromkeys((*buffers.inputs, *filter(None, buffers.outputs)), 0))
    places = _places(buffers, donated, readers, times, sizes)
    return _most(_apart(_slots(order, times, sizes), places), len(order))


# --- time


def _order(buffers: Sequence[Buffer]) -> tuple[list[Buffer], dict[Buffer, list[Buffer]]]:
    """The order in which they are written, first come, first served, and the readers of each."""
    readers: dict[Buffer, list[Buffer]] = {buffer: [] for buffer in buffers}
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


class _Times:
    """When each buffer is written and when it is needed last, as positions in the order."""

    def __init__(self, order: Sequence[Buffer], readers: _Readers):
        self.written = {buffer: time for time, buffer in enumerate(order)}
        self.last = {b: max([self.written[b], *(self.written[reader] for reader in readers[b])]) for b in order}
        # One bit for each buffer that must be there before, and its own.
        self._before: dict[Buffer, int] = {}
        for buffer in order:
            before = (self._before[read] for read in buffer.reads)
            self._before[buffer] = functools.reduce(operator.or_, before, 1 << self.written[buffer])

    def overtakes(self, buffer: Buffer, readers: Iterable[Buffer]) -> bool:
        """Whether `buffer` may be written before one of `readers`: no dependency puts that first."""
        return any(not self._before[buffer] >> self.written[reader] & 1 for reader in readers)

    def dies(self, read: Buffer, reader: Buffer) -> bool:
        """Whether `reader` is the last one of `read`, and may write over it."""
        return reader.reads[read] and self.last[read] == self.written[reader]


# --- place


def _places(buffers: Buffers, donated: int, readers: _Readers, times: _Times, sizes: dict[Buffer, int]) -> list[_Place]:
    """The places of donated inputs that are free until the update, by size. The old values get memory in `sizes`."""
    places = []
    for old, new in zip(buffers.inputs[:donated], buffers.outputs, strict=False):
        if new and new is not old and times.overtakes(new, readers[old]):
            start = times.written[new]
            sizes[old] = old.size
            places.append(_Place(old.size, [Slot(old.shape, old.size, start, len(times.written))]))
            for read in new.reads:
                # The update may write over a gradient, which then is at the place of the parameter already.
                if read is not old and sizes[read] == old.size and times.dies(read, new):
                    times.last[read] = start - 1
    return sorted(places, key=lambda place: place.size)


def _slots(order: Sequence[Buffer], times: _Times, sizes: Mapping[Buffer, int]) -> list[Slot]:
    """The memory of all buffers with a size, one slot for those that are written over each other."""
    slots: dict[Buffer, Slot] = {}
    for buffer in (buffer for buffer in order if sizes[buffer]):
        dying = (slots[old] for old in buffer.reads if old in slots and times.dies(old, buffer))
        fresh = Slot(buffer.shape, sizes[buffer], times.written[buffer], times.last[buffer])
        slots[buffer] = next((slot for slot in dying if slot.size == fresh.size), fresh)
        slots[buffer].end = fresh.end
    return list(dict.fromkeys(slots.values()))


def _apart(slots: Iterable[Slot], places: Sequence[_Place]) -> list[Slot]:
    """The slots that find no place, the largest first; each takes the smallest place that fits and is free."""
    apart, sizes = [], [place.size for place in places]
    for slot in sorted(slots, key=lambda slot: -slot.size):
        fitting = (place.slots for place in places[bisect.bisect_left(sizes, slot.size) :])
        next((taken for taken in fitting if not any(map(slot.meets, taken))), apart).append(slot)
    return apart


def _most(slots: Sequence[Slot], times: int) -> list[Slot]:
    """Those that are alive together when most bytes are."""
    changes = [0] * (times + 2)
    for slot in slots:
        changes[slot.start] += slot.size
        changes[slot.end + 1] -= slot.size
    alive = list(itertools.accumulate(changes))
    fullest = max((slot.start for slot in slots), key=alive.__getitem__, default=0)
    return [slot for slot in slots if slot.start <= fullest <= slot.end]
