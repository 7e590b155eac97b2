"""Augmentation of every entry of an example: what a geometric change does to masks, boxes and keypoints.

image                   as the augmentation's `apply_in_epoch` has it
other images            moved as the image, by the same interpolation; colours, blur and blotted boxes are not theirs
masks                   moved by the nearest pixel, so that no class id appears that was not there
masks of boxes          likewise; none of what is outside
boxes                   the hull, with sides along the axes, of the four moved corners, clipped to the image
keypoints               moved; invisible from then on where they leave the image; left and right ones change places
                        in a mirror
values, such as labels  kept
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data.augment.augmentation import Augmentation
from cnnjax.data.augment.boxes import Box
from cnnjax.data.augment.moves import Move, Resized, Window
from cnnjax.data.entries import Entry, Kind
from cnnjax.errors import ConfigError

LEAST_SHARE = 0.1
"""The share of its area that a moved box must keep within the image, else it is dropped: what is left of an object at
the border can hardly be told from background. YOLOv5 drops boxes by this share, too."""

Entries = Mapping[str, jax.Array]
Kinds = Mapping[str, Kind]

_SPATIAL = ("image", "mask", "masks", "boxes", "keypoints")


def change(
    augmentation: Augmentation,
    entries: Entries,
    kinds: Kinds,
    key: jax.Array,
    *,
    index: jax.Array | int,
    epoch: jax.Array | int,
    outside: int = 0,
    mirrored: Sequence[int] = (),
) -> dict[str, jax.Array]:
    """Every entry of one example after an augmentation. Images are float [H, W, C] in 0..1. Vectorized by the caller.

    index, epoch: as of `Augmentation.apply_in_epoch`. outside: the class id that masks get where a move brings in what
    is outside the image: the one that the task ignores, where it has one, else 0. mirrored: as of `moved_keypoints`,
    for the entry `keypoints`. Raises ConfigError as the augmentation's `moves`, where entries have to be moved and it
    does not say how.
    """
    image = augmentation.apply_in_epoch(entries["image"], key, index=index, epoch=epoch)
    changed = {**entries, "image": image}
    if augmentation.leaves_pixels() or not _others(kinds):
        return changed
    if not augmentation.says_moves():
        raise ConfigError(f"{augmentation.tag} {augmentation.unmovable} ({', '.join(_others(kinds))} must follow)")
    for move in augmentation.moves((image.shape[0], image.shape[1]), key, index=index, epoch=epoch):
        changed |= moved(changed, kinds, move, outside=outside, mirrored=mirrored)
    return changed


def _others(kinds: Kinds) -> list[str]:
    """The entries, besides the image, that move with its pixels."""
    return [name for name, kind in kinds.items() if kind in _SPATIAL and name != "image"]


def moved(
    entries: Entries,
    kinds: Kinds,
    move: Move,
    *,
    outside: int = 0,
    mirrored: Sequence[int] = (),
    within: Box | None = None,
) -> dict[str, jax.Array]:
    """Those entries of one example that a move changes, after it; the image itself, which is so already, is not among
    them.

    within: the part of the image that boxes are clipped to and keypoints must lie in, by default all of it; masks are
    moved whole.
    """
    height, width, _ = entries["image"].shape
    result = {}
    for name in _others(kinds):
        if kinds[name] == "image":
            result[name] = move.image(entries[name])
        elif kinds[name] == "mask":
            result[name] = move.mask(entries[name], outside)
        elif kinds[name] == "masks":
            # Bits of objects: where there is no pixel, there is none.
            result[name] = jax.vmap(lambda layer: move.mask(layer, 0), in_axes=2, out_axes=2)(entries[name])
        elif kinds[name] == "boxes":
            result[name], result["box_valid"] = moved_boxes(
                entries[name], entries["box_valid"], move, height, width, within=within
            )
        else:
            own = mirrored if name == "keypoints" else ()
            result[name] = moved_keypoints(entries[name], move, height, width, mirrored=own, within=within)
    return result


def resized(entries: Entries, kinds: Kinds, size: tuple[int, int]) -> dict[str, jax.Array]:
    """Every entry of one example once its images have another size (height, width). Images are float in 0..1.

    Images by bilinear interpolation, antialiased where they get smaller; masks by the nearest pixel; boxes and
    keypoints in pixels of the new size.
    """
    height, width, _ = entries["image"].shape
    if (height, width) == size:
        return dict(entries)
    return _sized(entries, kinds, Resized(size, Box(0, 0, height, width)))


def cropped(entries: Entries, kinds: Kinds, size: tuple[int, int], key: jax.Array) -> dict[str, jax.Array]:
    """Every entry of one example once a window of `size` (height, width) is cut out of it at a random place.

    Raises ConfigError where the images are smaller.
    """
    height, width, _ = entries["image"].shape
    if (height, width) == size:
        return dict(entries)
    if size[0] > height or size[1] > width:
        raise ConfigError(
            f"resolution: a window of {size[0]}x{size[1]} does not fit into images of {height}x{width}; by='resize' "
            "enlarges them",
            path="resolution",
        )
    row, column = jax.random.randint(key, (2,), 0, jnp.array([height - size[0] + 1, width - size[1] + 1]))
    return _sized(entries, kinds, Window(row, column, 0, size=size))


def _sized(entries: Entries, kinds: Kinds, move: Move) -> dict[str, jax.Array]:
    changed = {**entries, "image": move.image(entries["image"])}
    return changed | moved(changed, kinds, move)


def moved_boxes(
    boxes: jax.Array, valid: jax.Array, move: Move, height: int, width: int, *, within: Box | None = None
) -> tuple[jax.Array, jax.Array]:
    """Boxes float32 [M, 4] (x_min, y_min, x_max, y_max) after a move, and which of them are valid, bool [M].

    Each is the hull of its four moved corners, clipped to the image, or to the part of it that is `within`; after a
    turn or a shear it is larger than the object. Dropped (no longer valid) is one of whose hull less than `LEAST_SHARE`
    lies there. Rows that are not valid, before or after, hold zeros.
    """
    corners = move.points(boxes[:, jnp.array([[0, 1], [2, 1], [2, 3], [0, 3]])])
    low, high = corners.min(1), corners.max(1)
    least, most = _limits(height, width, within)
    clipped_low, clipped_high = jnp.clip(low, least, most), jnp.clip(high, least, most)
    area, kept = jnp.prod(high - low, axis=1), jnp.prod(clipped_high - clipped_low, axis=1)
    valid = valid & (kept > 0) & (kept >= LEAST_SHARE * area)
    clipped = jnp.concatenate([clipped_low, clipped_high], axis=1)
    return jnp.where(valid[:, None], clipped, 0).astype(boxes.dtype), valid


def _limits(height: int, width: int, within: Box | None) -> tuple[jax.Array, jax.Array]:
    """The least and the largest x, y, float32 [1, 2], of an image or of the part of it that is `within`."""
    if within is None:
        return jnp.zeros((1, 2), jnp.float32), jnp.array([[width, height]], jnp.float32)
    top, left, tall, wide = (jnp.asarray(part, jnp.float32) for part in within)
    return jnp.stack([left, top])[None], jnp.stack([left + wide, top + tall])[None]


def moved_keypoints(
    keypoints: jax.Array,
    move: Move,
    height: int,
    width: int,
    *,
    mirrored: Sequence[int] = (),
    within: Box | None = None,
) -> jax.Array:
    """Keypoints float32 [K, 3] (x, y, visibility) after a move; the visibility of those outside the image, or of the
    part of it that is `within`, is 0. In a part without area there is none.

    mirrored: K rows, the one that each takes the place of where the move mirrors (`Skeleton.mirrored`), since a left
    hand in a mirror is a right one; empty where all keep theirs.
    """
    points = move.points(keypoints[:, :2])
    least, most = _limits(height, width, within)
    inside = jnp.all((points >= least) & (points <= most), axis=1) & jnp.all(most > least)
    visible = jnp.where(inside, keypoints[:, 2], 0)
    result = jnp.concatenate([points, visible[:, None]], axis=1).astype(keypoints.dtype)
    return jnp.where(move.mirrors(), result[np.array(mirrored)], result) if len(mirrored) else result


# --- whether they can


def check_moves(augmentations: Iterable[Augmentation], entries: Mapping[str, Entry], *, outside: int = 0) -> None:
    """Raise ConfigError where an augmentation does not say what becomes of an entry that moves with the pixels.

    entries: those of an example that are used. outside: as of `change`.
    """
    kinds: Kinds = {name: entry.kind for name, entry in entries.items()}
    augmentations = tuple(augmentations)
    if not _others(kinds) or not augmentations:
        return
    check_entries(entries, outside=outside)
    shapes = {
        name: jax.ShapeDtypeStruct(entry.shape, jnp.float32 if entry.kind == "image" else entry.dtype)
        for name, entry in entries.items()
    }
    for number, augmentation in enumerate(augmentations):

        def changed(example: Entries, augmentation: Augmentation = augmentation) -> dict[str, jax.Array]:
            key = jax.random.key(0)
            return change(augmentation, example, kinds, key, index=0, epoch=0, outside=outside)

        path = f"augment.{number}"
        try:
            results = jax.eval_shape(changed, shapes)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}", path=path) from error
        for name, before in shapes.items():
            after = results[name]
            if (after.shape, after.dtype) != (before.shape, before.dtype):
                raise ConfigError(
                    f"{path}: {augmentation.tag} makes {name} {after.dtype}{list(after.shape)} of "
                    f"{before.dtype}{list(before.shape)}; an augmentation keeps shape and type",
                    path=path,
                )


def check_entries(entries: Mapping[str, Entry], *, outside: int = 0) -> None:
    """Raise ConfigError unless the entries are of one size, and boxes are `boxes` beside `box_valid`."""
    size = tuple(entries["image"].shape[:2])
    for name, entry in entries.items():
        if entry.kind in ("image", "mask", "masks") and tuple(entry.shape[:2]) != size:
            raise ConfigError(
                f"{name} is {'x'.join(map(str, entry.shape))}, but its image is {'x'.join(map(str, size))}: what is "
                "augmented or resized together has one height and width"
            )
        if entry.kind == "mask" and not np.can_cast(np.min_scalar_type(outside), entry.dtype):
            raise ConfigError(f"{name} is {entry.dtype}, which does not hold {outside}, the id outside the image")
        if entry.kind == "boxes" and (name != "boxes" or "box_valid" not in entries):
            raise ConfigError(f"{name}: boxes are augmented as the entry boxes, beside box_valid")
