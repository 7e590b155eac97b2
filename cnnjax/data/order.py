"""Which examples make up batch i: a pure function of (seed, i), on the host."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=256)
def epoch_order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The permutation of `examples` indices (int32) that epoch `epoch` follows under `seed`."""
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples).astype(np.int32)
    order.setflags(write=False)
    return order


def batch_indices(seed: int, step: int, *, batch_size: int, examples: int) -> np.ndarray:
    """The indices (int32 [batch_size]) of the batch at `step`, counted from 0.

    Batches follow the epochs' permutations laid end to end, so no example is dropped: a batch may finish one epoch
    and begin the next.
    """
    first = step * batch_size
    pieces, wanted = [], batch_size
    while wanted:
        epoch, offset = divmod(first, examples)
        piece = epoch_order(seed, epoch, examples)[offset : offset + wanted]
        pieces.append(piece)
        first, wanted = first + len(piece), wanted - len(piece)
    return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]


def steps_until(epochs: int, *, batch_size: int, examples: int) -> int:
    """The number of batches after which `epochs` epochs have been seen whole."""
    return -(-epochs * examples // batch_size)
