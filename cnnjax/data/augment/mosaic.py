"""Mosaic: four examples of a batch in one image, around a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator

from cnnjax.data.augment.augmentation import Probability, increasing
from cnnjax.data.augment.large_scale_jitter import FactorRange
from cnnjax.data.augment.mixing import Entries, Kinds, Mixing
from cnnjax.errors import ConfigError

if TYPE_CHECKING:
    import jax

    from cnnjax.data.augment.boxes import Box
    from cnnjax.data.augment.moves import Placed

Shares = Annotated[tuple[Probability, Probability], AfterValidator(increasing)]


class Mosaic(Mixing):
    """Four images in one of the same size, around a middle point: the example itself in the upper left quadrant, the
    next three of the batch to the right, below, and below to the right (Bochkovskiy et al. 2020, arXiv:2004.10934,
    section 3).

    Each is resized, its aspect ratio kept, by a factor of its own, and laid into its quadrant with a corner at the
    middle point: of the one in the upper left the lower right corner. What reaches beyond the quadrant is cut off. At
    the defaults images keep their size and the middle point is drawn as in darknet, the paper's code; the large canvas
    of YOLOv5 and mmdetection, of which they cut out a part, is scale=(0.5, 0.5), middle=(0.25, 0.75), whole and shrunk
    to the image's size.

    Masks, boxes and keypoints go with their images. A box is clipped to its quadrant, and dropped if less than a tenth
    of it lies there (`spatial.LEAST_SHARE`, as of any move); a keypoint beyond is no longer visible. No other box is
    lost: where examples have room for M boxes, those of a mosaic have 4 M rows, of which those of the image in quadrant
    q (0 to 3, as above) begin at row q M; `box_valid` and all else that is called `box_...`, and keypoints, likewise.

    probability: that an example becomes a mosaic, 0 to 1; else it stays as it is, with rows that are not valid behind
    its own. darknet makes every other batch one: probability=0.5, together="batch". middle: the least and the largest
    place of the middle point, in shares of height and width, 0 to 1, drawn evenly in whole pixels. scale: the least and
    the largest factor of an image's height and width, above 0 and up to 100, drawn evenly. fill: the value in 0..1 of
    what no image covers, one or one a channel. together: as of every mixing; one draw is probability, point and
    factors.

    Refused where an entry that is used has no meaning for four images at once, such as `label`. In a batch of fewer
    than four, images are in a mosaic more than once.
    """

    partners: ClassVar[int] = 3

    probability: Probability = 1.0
    middle: Shares = (0.2, 0.8)
    scale: FactorRange = (1.0, 1.0)
    fill: Probability | tuple[Probability, ...] = 0.5

    def check_entries(self, kinds: Kinds) -> None:
        for name, kind in kinds.items():
            if kind == "value" and not name.startswith("box_"):
                raise ConfigError(
                    f"mixing = {self.tag!r}: {name} is of one image, and a mosaic shows parts of four; it is for boxes "
                    "and masks (task=detection, task=segmentation): set mixing=none"
                )

    def merge(
        self, examples: Sequence[Entries], kinds: Kinds, key: jax.Array, *, outside: int = 0
    ) -> dict[str, jax.Array]:
        import jax.numpy as jnp

        from cnnjax.data.augment import boxes, spatial

        self.check_entries(kinds)
        height, width = examples[0]["image"].shape[:2]
        laid, quadrants = [], []
        for example, (move, quadrant) in zip(examples, self.places((height, width), key), strict=True):
            moved = {**example, "image": move.image(example["image"])}
            laid.append(moved | spatial.moved(moved, kinds, move, outside=outside, within=quadrant))
            quadrants.append(boxes.inside(quadrant, height, width))
        merged = {}
        for name, kind in kinds.items():
            entries = [entry[name] for entry in laid]
            if kind == "masks":
                entries = _apart(entries, len(laid[0]["boxes"]))
            if kind in ("image", "mask", "masks"):
                whole = entries[0]
                for entry, inside in zip(entries[1:], quadrants[1:], strict=True):
                    whole = jnp.where(inside[..., 0] if kind == "mask" else inside, entry, whole)
                merged[name] = whole
            else:
                _check_rows(name, entries[0], laid[0].get("boxes") if kind == "value" else None)
                merged[name] = jnp.concatenate(entries)
        return merged

    def places(self, size: tuple[int, int], key: jax.Array) -> list[tuple[Placed, Box]]:
        """Where each of the four images goes with this key, and its quadrant, in an image of (height, width).

        Where there is to be no mosaic, the first one's quadrant is the whole image, and the others are empty.
        """
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import boxes
        from cnnjax.data.augment.moves import Placed

        chosen, *point, first, second, third, fourth = jax.random.uniform(key, (7,))
        whole = chosen >= self.probability
        low, high = self.scale
        factors = [low + (high - low) * uniform for uniform in (first, second, third, fourth)]
        factors[0] = jnp.where(whole, 1.0, factors[0])
        middle = []
        for side, uniform in zip(size, point, strict=True):
            least, largest = (round(side * share) for share in self.middle)
            middle.append(jnp.where(whole, side, least + boxes.whole(uniform, largest - least + 1)))
        found = []
        for number, factor in enumerate(factors):
            starts, lengths, edges, rests = [], [], [], []
            for side, place, behind in zip(size, middle, (number >= 2, number % 2 == 1), strict=True):
                length = jnp.maximum(jnp.round(factor * side), 1).astype(jnp.int32)
                starts.append(place if behind else place - length)
                lengths.append(length)
                edges.append(place if behind else jnp.zeros_like(place))
                rests.append(side - place if behind else place)
            found.append((Placed(size, boxes.Box(*starts, *lengths), self.fill), boxes.Box(*edges, *rests)))
        return found


def _check_rows(name: str, entry: jax.Array, boxes: jax.Array | None) -> None:
    """Raise ConfigError where an entry of one example has no rows, or not one for each of its boxes."""
    if not entry.ndim or (boxes is not None and len(entry) != len(boxes)):
        raise ConfigError(
            f"mixing = 'mosaic': {name} is {list(entry.shape)}, where what is called box_... has a row for each box"
            + ("" if boxes is None else f", of which there are {len(boxes)}")
        )


def _apart(layers: Sequence[jax.Array], objects: int) -> list[jax.Array]:
    """Packed masks of so many objects each, [H, W, L], with the bits of each behind those of the ones before:
    [H, W, ceil(objects * count / 8)] (`data.packed_masks`)."""
    import jax.numpy as jnp

    from cnnjax.data import packed_masks

    total = packed_masks.layers(objects * len(layers))
    found = []
    for number, bits in enumerate(layers):
        spare = 8 * bits.shape[-1] - objects
        bits = bits.at[..., -1].set(bits[..., -1] & (0xFF >> spare))
        first, shift = divmod(number * objects, 8)
        room = ((0, 0), (0, 0))
        own = jnp.pad(bits << shift, (*room, (first, total - first)))[..., :total]
        over = jnp.pad(bits >> (8 - shift), (*room, (first + 1, total)))[..., :total] if shift else jnp.zeros_like(own)
        found.append(own | over)
    return found
