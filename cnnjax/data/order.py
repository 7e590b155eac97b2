"""Which examples make up batch i: a pure function of (seed, i), on the host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# So many examples' permutations are small enough to keep those of many seeds.
FEW = 100_000


def _permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples).astype(np.int32)
    order.setflags(write=False)
    return order


_kept = lru_cache(maxsize=256)(_permutation)
_kept_large = lru_cache(maxsize=2)(_permutation)


def epoch_order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The permutation of `examples` indices (int32) that epoch `epoch` follows under `seed`."""
    return (_kept if examples <= FEW else _kept_large)(seed, epoch, examples)


@dataclass(frozen=True)
class Order:
    """The order in which a training with `seed` sees its `examples`, and the randomness of each.

    Batches follow the epochs' permutations laid end to end, so no example is dropped: a batch may finish one epoch and
    begin the next. Each example stands there `repeats` times in a row, before the batch is `dealt` out in turn to so
    many equal parts, which then follow each other. common: whether the randomness of an example depends on how many
    were drawn before it, whatever the size of the batches; else on the step and its place in the batch.
    """

    seed: int
    batch_size: int
    examples: int
    repeats: int = 1
    dealt: int = 1
    common: bool = False

    def indices(self, step: int) -> np.ndarray:
        """The indices (int32 [batch_size]) of the batch at `step`, counted from 0."""
        first, last = step * self.batch_size, (step + 1) * self.batch_size
        drawn = self._drawn(first // self.repeats, -(-last // self.repeats))
        if self.repeats > 1:
            drawn = drawn[(first % self.repeats + np.arange(self.batch_size)) // self.repeats]
        return drawn if self.dealt == 1 else drawn.reshape(-1, self.dealt).T.reshape(-1)

    def _drawn(self, first: int, last: int) -> np.ndarray:
        pieces = []
        while first < last:
            epoch, offset = divmod(first, self.examples)
            pieces.append(epoch_order(self.seed, epoch, self.examples)[offset : offset + last - first])
            first += len(pieces[-1])
        return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]

    def generator(self, step: int, position: int) -> np.random.Generator:
        """What is random about the example at `position` of the batch at `step`, before it is on the device."""
        # The counter's last word sets these apart from the permutations, whose keys are alike.
        number = step * self.batch_size + position if self.common else (step << 32) + position
        key = np.array([self.seed, number], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, 1]))


def steps_until(epochs: int, *, batch_size: int, examples: int) -> int:
    """The number of batches that hold `epochs` times as many examples as there are, or a few more."""
    return -(-epochs * examples // batch_size)
