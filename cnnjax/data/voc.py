"""Images with boxes in the XML of PASCAL VOC (Everingham et al. 2010), in a folder or an uncompressed tar."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self
from xml.etree import ElementTree
from xml.parsers import expat

from pydantic import Field, model_validator

from cnnjax.data.box_files import Annotation, BoxedFiles, Entries, boxed_parts, read_of
from cnnjax.data.dataset import Dataset
from cnnjax.data.encoded import Decoding
from cnnjax.data.source import Data
from cnnjax.data.spelling import in_order, listed
from cnnjax.data.splits import split_off
from cnnjax.data.store import Store, is_image, open_store
from cnnjax.errors import DataError

LARGEST = 2**24
"""Bytes of an annotation; real ones have some thousands."""
FOLDER = "JPEGImages"
SIDES = ("xmin", "ymin", "xmax", "ymax")


class Voc(Decoding, Data, tag="voc"):
    """Images with boxes under `root`, a folder or an uncompressed tar: `<name>.xml` for `<name>.jpg` (or another
    image), wherever they lie, as in `Annotations/` and `JPEGImages/`; where folders are called `JPEGImages`, images
    are in these alone.

    classes: names by class id. first_pixel: how the first pixel is numbered, 1 as in VOC, whose corners are pixels
    within the object: a box of xmin 1 and xmax 10 is ten wide. 0: corners as this package has them.
    difficult: objects marked so are "kept", "left_out", or boxes that need not be found ("crowd": no
    detection in one is wrong). Parts are the lists `ImageSets/Main/<part>.txt`; by default `trainval` or `train`, and
    `test` or `val`. Without such lists the share `test` is held out, alike for every seed. An annotation without a
    whole image or with a box that cannot be is broken (`on_broken`). How images are decoded: `Decoding`.

    train_split, test_split: names of the lists or folders of the parts; without them the usual names are looked for.
    """

    root: str
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    first_pixel: Literal[0, 1] = 1
    difficult: Literal["kept", "left_out", "crowd"] = "kept"
    train_split: str | None = None
    test_split: str | None = None
    test: float = Field(default=0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes = {self.classes}: a name is there twice")
        return self

    def read(self) -> Dataset:
        store = open_store(Path(self.root).expanduser())
        # As they are before they are read.
        read_from = read_of(store, [name for name in store.names if name.endswith((".xml", ".txt"))])
        found = _by_stem(store, [name for name in store.names if name.endswith(".xml")], "annotations")
        if not found:
            raise DataError(f"{store.shown('')} has no annotations: no file ends in .xml; check `root`")
        images = _by_stem(store, _images(store), "images")
        own = list(in_order(list(found)))
        annotations = {stem: self._read(store, found[stem], stem, images) for stem in own}
        if remark := _left_over(store, images, found):
            warnings.warn(remark, stacklevel=2)
        made = list(annotations.values())
        most = max([1, *(len(each.boxes) for each in made)])
        crowds = any(each.crowd.any() for each in made)

        def files(stems: Sequence[str]) -> BoxedFiles:
            chosen = tuple(annotations[stem] for stem in stems)
            names = tuple(each.image for each in chosen)
            return BoxedFiles({}, self.classes, self.form(), store, names, chosen, most, crowds)

        parts = self._parts(store, own)
        train, test = split_off(files(own), self.test) if parts is None else (files(stems) for stems in parts)
        return Dataset(
            Path(self.root).stem,
            classes=self.classes,
            remarks=(*([remark] if remark else []), *store.linked),
            read_from=read_from,
            **boxed_parts(train, test, self.on_broken),
        )

    def _parts(self, store: Store, stems: Sequence[str]) -> tuple[list[str], list[str]] | None:
        """The stems of the training and the test part; None where there are no lists."""
        lists = {
            PurePosixPath(name).stem: name
            for name in store.names
            if name.endswith(".txt") and PurePosixPath(name).parent.parts[-2:] == ("ImageSets", "Main")
        }
        if not lists and not (self.train_split or self.test_split):
            return None
        chosen = []
        usual = (self.train_split, ("trainval", "train")), (self.test_split, ("test", "val"))
        for (asked, names), split in zip(usual, ("train_split", "test_split"), strict=True):
            part = asked or next((name for name in names if name in lists), None)
            if part not in lists:
                raise DataError(
                    f"{store.shown('')}: there is no list ImageSets/Main/{part or names[0]}.txt; there are "
                    f"{', '.join(sorted(lists)) or 'none'}: name one with {split}"
                )
            words = [line.split() for line in store.read(lists[part]).decode("utf-8", "replace").splitlines()]
            rows = [row[0] for row in words if row]
            chosen.append(self._listed(store, lists[part], rows, set(stems)))
        if both := sorted(set(chosen[0]) & set(chosen[1])):
            raise DataError(f"{store.shown('')}: in the training and the test part: {listed(both)}; take other lists")
        return chosen[0], chosen[1]

    def _listed(self, store: Store, name: str, rows: list[str], stems: set[str]) -> list[str]:
        for row, count in Counter(rows).items():
            if row not in stems:
                raise DataError(f"{store.shown(name)}: {row!r} has no annotation; add it, or take it off the list")
            if count > 1:
                raise DataError(f"{store.shown(name)}: {row!r} is there twice; take one off the list")
        return rows

    def _read(self, store: Store, name: str, stem: str, images: dict[str, str]) -> Annotation:
        where, classes = store.shown(name), {each: number for number, each in enumerate(self.classes)}
        image = images.get(stem)
        entries = Entries(image or stem, (1, 1), classes, where)
        if image is None:
            entries.wrong("its image", f"there is none called {stem!r} with the suffix of an image")
        try:
            root = _tree(store.read(name))
            size = _number(root, "size/height"), _number(root, "size/width")
        except DataError as error:
            entries.wrong("the file", str(error))
            return entries.made()
        entries = Entries(entries.image, (int(size[0]), int(size[1])), classes, where, problems=entries.problems)
        for number, found in enumerate(root.iterfind("object"), start=1):
            what = f"object {number}"
            try:
                corners = [_number(found, f"bndbox/{side}") for side in SIDES]
                marked = self.difficult != "kept" and found.find("difficult") is not None
                is_difficult = marked and _number(found, "difficult") > 0
            except DataError as error:
                entries.wrong(what, str(error))
                continue
            if is_difficult and self.difficult == "left_out":
                continue
            # Of whole pixels the first and the last that belong to it; one pixel is no object.
            if corners[0] < corners[2] and corners[1] < corners[3]:
                corners[:2] = [side - self.first_pixel for side in corners[:2]]
            entries.add(what, (found.findtext("name") or "").strip(), corners, crowd=is_difficult)
        return entries.made()


def _tree(data: bytes) -> ElementTree.Element:
    """The elements of an XML file without a DTD, which an annotation has no need of and attacks are made with.

    Raises DataError for one, for what is too large, and for what is no XML.
    """
    if len(data) > LARGEST:
        raise DataError(f"it has {len(data):,} bytes, which no annotation has")

    def refuse(*_: object) -> None:
        raise DataError("it declares a document type (DOCTYPE), by which a file can name others or grow without bounds")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"it is no whole XML: {error}") from None


def _number(element: ElementTree.Element, path: str) -> float:
    text = element.findtext(path)
    try:
        return float(text if text is not None else "none")
    except ValueError:
        said = "is missing" if text is None else f"is {text.strip()[:40]!r}, which is no number"
        raise DataError(f"its {path} {said}") from None


def _images(store: Store) -> list[str]:
    """The image files: those in folders called as VOC calls them, of which there are masks of the same names beside
    (`SegmentationClass/`), or all where there is no such folder."""
    every = list(filter(is_image, store.names))
    return [name for name in every if FOLDER in PurePosixPath(name).parts[:-1]] or every


def _by_stem(store: Store, names: Sequence[str], what: str) -> dict[str, str]:
    """Files by their names without folder and suffix. Raises DataError for two of one name."""
    found: dict[str, str] = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if stem in found:
            raise DataError(f"{store.shown(found[stem])} and {name!r} are two {what} of one name; take one of them out")
        found[stem] = name
    return found


def _left_over(store: Store, images: dict[str, str], found: dict[str, str]) -> str:
    """A sentence on images without annotation; empty where there are none."""
    lonely = [name for stem, name in images.items() if stem not in found]
    if not lonely:
        return ""
    return f"{len(lonely):,} images in {store.shown('')} have no annotation and are not used, e.g. {lonely[0]!r}"
