"""What looks wrong about arrays of a user's own, and can be trained on all the same: a sentence each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cnnjax.data.examples import Examples, Part

# So many values of an image, evenly spaced, tell most images apart; those that they do not are hashed whole.
_SAMPLED = 64
_TOGETHER = 65_536


def doubts(train: Part, test: Part) -> Iterator[str]:
    """A remark for test images that are training images too, and for labels that look like one-hot class ids.

    Of parts in memory alone; nothing is decoded.
    """
    if isinstance(train, Examples) and isinstance(test, Examples):
        yield from _repeated(train.images, test.images)
    if train.has_label and _is_one_hot(train.labels):
        shape = f"[{', '.join(map(str, train.labels.shape))}]"
        yield (
            f"labels {shape} of which each row has one 1 and else 0: are these one-hot class ids? As such rows they "
            "are targets, and parts of the training part are drawn without regard to classes; class ids, of which "
            "every part gets its share, are labels.argmax(-1).astype(np.int32)"
        )


def _is_one_hot(labels: np.ndarray) -> bool:
    """Whether labels [N, K] have a single 1 in each row, in more than one place."""
    if labels.ndim != 2 or labels.shape[1] < 2 or not len(labels):
        return False
    ones = labels == 1
    return bool((ones | (labels == 0)).all() and (ones.sum(1) == 1).all() and ones.any(0).sum() > 1)


@dataclass(frozen=True)
class Shared:
    """Images of one array that are in another too.

    count: of them, but for blank ones. first: the place of the first of them, and the first place of its twin in the
    other array; (0, 0) where there is none. blank: those of them that are of one colour all over, and so say nothing.
    """

    count: int
    first: tuple[int, int]
    blank: int


def shared_images(images: np.ndarray, others: np.ndarray) -> Shared:
    """The images [N, ...] that stand byte for byte among `others` [M, ...], of the same shape and dtype."""
    if not images.size or not others.size:
        return Shared(0, (0, 0), 0)
    keys, other_keys = _keys(images), _keys(others)
    maybe = np.flatnonzero(np.isin(keys, other_keys))
    first_of: dict[bytes, int] = {}
    for place in np.flatnonzero(np.isin(other_keys, keys[maybe])).tolist():
        first_of.setdefault(_digest(others[place]), place)
    found = [(place, first_of[digest]) for place in maybe.tolist() if (digest := _digest(images[place])) in first_of]
    told = [pair for pair in found if not _is_blank(images[pair[0]])]
    return Shared(len(told), told[0] if told else (0, 0), len(found) - len(told))


def _repeated(train: np.ndarray, test: np.ndarray) -> Iterator[str]:
    shared = shared_images(test, train)
    if not shared.count:
        return
    place, twin = shared.first
    are = "are" if shared.count > 1 else "is"
    blank = f" ({shared.blank:,} more are of one colour all over, and not counted)" if shared.blank else ""
    yield (
        f"{shared.count:,} of {len(test):,} images of the test part {are} in the training part too, byte for "
        f"byte{blank}, e.g. test image {place} is training image {twin}; take such out of one of them"
    )


def _keys(images: np.ndarray) -> np.ndarray:
    """uint64 [N]: equal where images are, and seldom else."""
    of_one = int(np.prod(images.shape[1:]))
    places = np.unravel_index(np.unique(np.linspace(0, of_one - 1, _SAMPLED).astype(int)), images.shape[1:])
    factors = np.random.Generator(np.random.Philox(key=[0, 0])).integers(1, 2**63, len(places[0]), dtype=np.uint64)
    factors = factors * np.uint64(2) + np.uint64(1)
    some = (images[start : start + _TOGETHER] for start in range(0, len(images), _TOGETHER))
    return np.concatenate([part[(slice(None), *places)].astype(np.uint64) @ factors for part in some])


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def _is_blank(image: np.ndarray) -> bool:
    """Whether all pixels [H, W, C], or all samples of a clip, are equal."""
    pixels = image.reshape(-1, image.shape[-1] if image.ndim == 3 else 1)
    return bool((pixels == pixels[0]).all())
