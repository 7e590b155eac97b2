"""Images with boxes in the JSON of COCO (Lin et al. 2014, arXiv:1405.0312), in a folder or an uncompressed tar."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from cnnjax.config import later
from cnnjax.data.box_files import Annotation, BoxedFiles, Entries, boxed_parts, read_of
from cnnjax.data.dataset import Dataset
from cnnjax.data.encoded import Decoding
from cnnjax.data.segments import segments_of
from cnnjax.data.source import Data
from cnnjax.data.splits import split_off
from cnnjax.data.store import Store, is_image, open_store
from cnnjax.errors import DataError


class Coco(Decoding, Data, tag="coco"):
    """Images with boxes under `root`, a folder or an uncompressed tar, and one JSON file that has them all.

    annotations: its path within `root`; test_annotations: that of the test part; None holds the share `test` out, alike
    for every seed. images, test_images: the folders that `file_name` is relative to; by default wherever the file is.
    Classes are the categories of the training file in the order of their ids. `iscrowd` boxes need not be found, and no
    detection in one is wrong. An entry that cannot be (a box outside its image or without area, an unknown class or
    image, an id that is there twice, an image that is missing) is broken (`on_broken`). masks: whether the masks of
    objects are read, too (`box_mask`), of polygons or runs; one that is missing or cannot be is broken. How images are
    decoded: `Decoding`.
    """

    root: str
    annotations: str
    test_annotations: str | None = None
    images: str | None = None
    test_images: str | None = None
    test: float = Field(default=0.2, gt=0, lt=1)
    masks: bool = later(False)

    def read(self) -> Dataset:
        store = open_store(Path(self.root).expanduser())
        files = [self.annotations, *([self.test_annotations] if self.test_annotations else [])]
        read_from = read_of(store, set(files) & set(store.names))
        read = [_File.of(store, name) for name in files]
        names, ids = read[0].categories()
        folders = [self.images, self.test_images or self.images]
        made = [file.read(ids, folder, masks=self.masks) for file, folder in zip(read, folders, strict=False)]
        most = max([1, *(len(own.boxes) for part in made for own in part)])
        crowds = any(own.crowd.any() for part in made for own in part)

        def part(annotations: list[Annotation]) -> BoxedFiles:
            images = tuple(own.image for own in annotations)
            return BoxedFiles({}, names, self.form(), store, images, tuple(annotations), most, crowds, self.masks)

        train, test = map(part, made) if len(made) == 2 else split_off(part(made[0]), self.test)
        return Dataset(
            Path(self.root).stem,
            classes=names,
            remarks=store.linked,
            read_from=read_from,
            **boxed_parts(train, test, self.on_broken),
        )


class _File:
    """One JSON file. where: how it is named to the user."""

    def __init__(self, store: Store, where: str, content: Mapping[str, Any]):
        self.store, self.where, self.content = store, where, content

    @classmethod
    def of(cls, store: Store, name: str) -> _File:
        """The file of that name. Raises DataError where there is none, or it is no such JSON."""
        if name not in store.names:
            there = [each for each in store.names if each.endswith(".json")]
            raise DataError(f"{store.shown(name)} is not there; JSON files are: {', '.join(there[:5]) or 'none'}")
        where = store.shown(name)
        try:
            content = json.loads(store.read(name))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is no whole JSON: {error}") from None
        for key in ("images", "annotations", "categories"):
            rows = content.get(key) if isinstance(content, dict) else None
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise DataError(f"{where}: {key!r} must be a list of objects, as in COCO's files")
        return cls(store, where, content)

    def categories(self) -> tuple[tuple[str, ...], dict[int, int]]:
        """The names of classes, and the class id of each category's id. Raises DataError where one is there twice."""
        found: dict[int, str] = {}
        for row in self.content["categories"]:
            number, name = row.get("id"), row.get("name")
            if not isinstance(number, int) or not isinstance(name, str):
                raise DataError(f"{self.where}: category {number!r}: it needs an `id`, whole, and a `name`")
            if number in found or name in found.values():
                raise DataError(f"{self.where}: category {number}, {name!r}: its id or name is there twice")
            found[number] = name
        if not found:
            raise DataError(f"{self.where}: there are no categories")
        ids = sorted(found)
        return tuple(found[number] for number in ids), {number: place for place, number in enumerate(ids)}

    def read(self, classes: Mapping[int, int], folder: str | None, *, masks: bool) -> list[Annotation]:
        """What it says of its images, in their order; masks: those of objects, too.

        Raises DataError for what belongs to no image.
        """
        names = _Names(self.store, folder)
        made: dict[Any, Entries] = {}
        for row in self.content["images"]:
            number, size = row.get("id"), (row.get("height"), row.get("width"))
            if not isinstance(number, int) or number in made:
                why = "it is there twice" if number in made else "it must be a whole number"
                raise DataError(f"{self.where}: image {number!r}: its id: {why}")
            whole = all(isinstance(side, int) and side > 0 for side in size)
            image = names.find(row.get("file_name"))
            own = Entries(image or str(row.get("file_name")), size if whole else (1, 1), classes, self.where)
            if not whole:
                own.wrong(f"image {number}", f"its height and width are {size[0]!r}, {size[1]!r}: no sizes")
            if image is None:
                own.wrong(f"image {number}", f"its file {row.get('file_name')!r} is missing, or there are several")
            made[number] = own
        if not made:
            raise DataError(f"{self.where}: there are no images")
        self._add_boxes(made, masks)
        return [own.made() for own in made.values()]

    def _add_boxes(self, made: Mapping[Any, Entries], masks: bool) -> None:
        seen: set[Any] = set()
        for place, row in enumerate(self.content["annotations"]):
            number, image, box = row.get("id", f"number {place}"), row.get("image_id"), row.get("bbox")
            entry = f"annotation {number}"
            if not isinstance(image, int) or image not in made:
                raise DataError(f"{self.where}: {entry}: its image {image!r} is none of `images`")
            own = made[image]
            if not isinstance(number, int | str) or number in seen:
                own.wrong(entry, "its id is there twice" if isinstance(number, int | str) else "its id is no number")
                continue
            seen.add(number)
            if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
                own.wrong(entry, f"its bbox is {str(box)[:40]}; it must be x, y, width and height")
                continue
            category = row.get("category_id")
            x, y, width, height = map(float, box)
            known = category if isinstance(category, int) else str(category)
            try:
                segments = segments_of(row.get("segmentation"), own.size) if masks else None
            except DataError as error:
                own.wrong(entry, str(error))
                continue
            own.add(entry, known, (x, y, x + width, y + height), crowd=row.get("iscrowd") == 1, segments=segments)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Names:
    """The image files of a store, found by what an annotation calls them."""

    def __init__(self, store: Store, folder: str | None):
        self.folder, self.names = folder, frozenset(store.names)
        self.ends: dict[str, list[str]] = defaultdict(list)
        for name in filter(is_image, store.names):
            self.ends[name.rpartition("/")[2]].append(name)

    def find(self, called: Any) -> str | None:
        """The one file that is meant; None where there is none, or there are several."""
        if not isinstance(called, str) or not called:
            return None
        if self.folder is not None:
            name = f"{self.folder.rstrip('/')}/{called}" if self.folder else called
            return name if name in self.names else None
        found = [name for name in self.ends[called.rpartition("/")[2]] if f"/{name}".endswith(f"/{called}")]
        return found[0] if len(found) == 1 else None
