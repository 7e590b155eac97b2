"""Which mask belongs to which image, and to which part: by the folders that files lie in and by their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cnnjax.data.partition import Wanted, choose
from cnnjax.data.spelling import in_order, listed
from cnnjax.data.store import Store, is_image
from cnnjax.errors import DataError

_OF_IMAGES = frozenset(("image", "images", "img", "imgs", "jpegimages", "photos", "pictures", "input", "inputs"))
_OF_MASKS = frozenset(
    (
        *("mask", "masks", "label", "labels", "annotation", "annotations", "groundtruth", "ground_truth", "gt"),
        *("segmentation", "segmentations", "segmentationclass", "target", "targets"),
    )
)
JPEG = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".jif"))


@dataclass(frozen=True)
class Pairs:
    """The images of one part, by name, and the mask of each."""

    images: tuple[str, ...]
    masks: tuple[str, ...]


@dataclass(frozen=True)
class MaskLayout:
    """What is where. test: None where the set is not divided. remarks: what is not used, a sentence each."""

    train: Pairs
    test: Pairs | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Placed:
    """Where a file belongs: its part ("" for none), what images and masks that belong together share, and its kind."""

    part: str
    key: str
    is_mask: bool


def by_partners(store: Store, wanted: Wanted, ending: str) -> MaskLayout:
    """Images and masks, paired by their names without suffixes.

    Either in folders side by side (`images/` and `masks/`, under common names in any case), with those of parts above
    or below them; or `x.png` beside `x<ending>.png`, where there are no such folders. In folders of masks, names may
    have the ending too. Raises DataError where one has no partner or several, and for masks that are JPEG.
    """
    files = [name for name in store.names if is_image(name)]
    placed = {name: _placed(name, wanted, ending) for name in files}
    names = sorted({at.part for at in placed.values()} - {""})
    if not any(at.is_mask for at in placed.values()):
        raise DataError(
            f"{store.shown('')} has no masks: they should lie in a folder such as masks/ beside one of images/, or be "
            f"called as their images with {ending!r} behind, such as x{ending}.png"
        )
    if not names:
        return MaskLayout(_pairs(store, placed, "", ""), None, ())
    chosen = choose(names, wanted, store.shown(""))
    train = _pairs(store, placed, chosen.train, "train_split")
    test = None if chosen.test is None else _pairs(store, placed, chosen.test, "test_split")
    return MaskLayout(train, test, (*_outside(store, placed),))


def _placed(name: str, wanted: Wanted, ending: str) -> _Placed:
    *folders, file = PurePosixPath(name).parts
    stem = PurePosixPath(file).stem
    kinds = [folder for folder in folders if folder.casefold() in _OF_IMAGES | _OF_MASKS]
    kind = kinds[-1] if kinds else None
    is_mask = stem.endswith(ending) if kind is None else kind.casefold() in _OF_MASKS
    if kind is not None:
        folders.reverse()
        folders.remove(kind)
        folders.reverse()
    part = next((folder for folder in folders if wanted.names(folder)), "")
    stem = stem.removesuffix(ending) if is_mask and stem != ending else stem
    return _Placed(part, "/".join((*folders, stem)), is_mask)


def _pairs(store: Store, placed: Mapping[str, _Placed], part: str, field: str) -> Pairs:
    """The pairs of a part, in the order of their names: by number, where all are numbers."""
    images, masks = (_by_key(store, placed, part, is_mask=is_mask) for is_mask in (False, True))
    where = f"{store.shown('')}{f', {part}' * bool(part)}"
    lonely = [images[key] for key in images if key not in masks]
    if lonely and len(lonely) == len(images):
        choose_other = f"choose another part with {field}, or " if field else ""
        raise DataError(f"{where}: no image has a mask, e.g. {lonely[0]!r}; {choose_other}put masks beside the images")
    if lonely:
        raise DataError(f"{where}: {_counted(lonely, 'image')} no mask: {listed(lonely)}; add it, or take them out")
    lonely = [masks[key] for key in masks if key not in images]
    if lonely:
        raise DataError(f"{where}: {_counted(lonely, 'mask')} no image: {listed(lonely)}; add it, or take them out")
    for mask in masks.values():
        if PurePosixPath(mask).suffix.lower() in JPEG:
            raise DataError(
                f"{store.shown(mask)}: a JPEG's values are only about what they were, so that it cannot be a mask; "
                "save masks as PNG, TIFF or BMP, from what they were before"
            )
    keys = [key for _, group in _grouped(images) for key in group]
    return Pairs(tuple(images[key] for key in keys), tuple(masks[key] for key in keys))


def _grouped(keys: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Keys by their folder, each folder's in the order of their names."""
    inside: dict[str, dict[str, str]] = defaultdict(dict)
    for key in keys:
        folder, _, stem = key.rpartition("/")
        inside[folder][stem] = key
    for folder in sorted(inside):
        yield folder, [inside[folder][stem] for stem in in_order(inside[folder])]


def _by_key(store: Store, placed: Mapping[str, _Placed], part: str, *, is_mask: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, at in placed.items():
        if at.part == part and at.is_mask == is_mask:
            if at.key in found:
                what = "masks of one image" if is_mask else "images for one mask"
                raise DataError(f"{store.shown(found[at.key])} and {name!r} are two {what}; take one of them out")
            found[at.key] = name
    return found


def _counted(names: Sequence[str], what: str) -> str:
    return f"{len(names):,} {what}s have" if len(names) > 1 else f"one {what} has"


def _outside(store: Store, placed: Mapping[str, _Placed]) -> Iterator[str]:
    """A remark for the files that lie in no part, though there are parts."""
    outside = [name for name, at in placed.items() if not at.part]
    if outside:
        yield (
            f"{len(outside):,} images or masks in {store.shown('')} are in no part and not used, e.g. {outside[0]!r}; "
            "name its parts with train_split and test_split, or take such out"
        )
