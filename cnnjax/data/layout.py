"""Which files are images (or sounds), of which part and with which label: by the folders they lie in."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnjax.data.nesting import check_nesting, within
from cnnjax.data.partition import TRAIN, Wanted, choose, family
from cnnjax.data.spelling import differing_in_case, in_order, listed, tidy
from cnnjax.data.store import IMAGES, FileKind, Store
from cnnjax.errors import DataError


@dataclass(frozen=True)
class PartFiles:
    """The images of one part, by name, and their labels: int32 [N] class ids or float32 [N, K] targets."""

    names: tuple[str, ...]
    labels: np.ndarray


@dataclass(frozen=True)
class Layout:
    """What is where. test: None where the set is not divided. classes: names by class id.

    remarks: what is not used or looks wrong, a sentence each. notes: what is not used, as is usual, such as a
    validation part where there is a test part: validation is carved from training.
    """

    train: PartFiles
    test: PartFiles | None
    classes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def by_folders(store: Store, wanted: Wanted, classes: Sequence[str] = (), kind: FileKind = IMAGES) -> Layout:
    """`part/class/image` where there are folders with names of parts, else `class/image`.

    kind: of the files that are examples. classes: the folders in the order of their class ids; else those of the
    training part, in order: by number where all are numbers. A folder that holds all the others is gone into. Raises
    DataError for a class without images, for a folder that is no class, and where it is not clear which folder is a
    part.
    """
    images = tuple(filter(kind.includes, store.names))
    top = _descend(store, images, wanted)
    parts = _parts(store, top, wanted)
    if parts:
        chosen = choose(parts, wanted, store.shown(top.rstrip("/")))
        used = [name for name in (chosen.train, chosen.test) if name is not None]
        train, test = chosen.train, chosen.test
    else:
        used, train, test = [""], "", None
    beside: Counter[str] = Counter()
    unused: Counter[str] = Counter()
    found: dict[str, dict[str, list[str]]] = {}
    remarks: dict[str, None] = {}
    for part in dict.fromkeys(used):
        at = within(store, images, f"{top}{part}/", tuple(found.get(train, ()))) if part else top
        folders = _class_folders(store, at, kind)
        if not classes:
            remarks |= dict.fromkeys(check_nesting(store, at, folders, bool(parts), kind))
        found[part] = _classes(store, images, at, folders, beside, kind)
    if parts:
        _count_outside(store, images, top, parts, used, beside, unused)
    for part, labelled in found.items():
        if not labelled:
            where = store.shown(f"{top}{part}".rstrip("/"))
            raise DataError(
                f"{where} has no folders of {kind.many}; {_without_classes(store, top, train, part, parts)}"
            )
    known = _known(store, top, train, found[train], classes)
    for part, labelled in found.items():
        _check_classes(store, top, part, labelled, known, train, bool(classes))
    listings = {part: _listing(labelled, known) for part, labelled in found.items()}
    remarks |= dict.fromkeys((*_not_used(beside, kind), *alike(known)))
    notes = (*_not_used(unused, kind),)
    return Layout(listings[train], None if test is None else listings[test], known, tuple(remarks), notes)


def _without_classes(store: Store, top: str, train: str, part: str, parts: Sequence[str]) -> str:
    """What to do about a part without folders."""
    if part == train:
        return "it should have one for each class; where the labels stand in a table, name it with csv"
    others = [name for name in parts if name not in (train, part)]
    remedy = f"choose another part with test_split ({', '.join(others)}), or " if others else ""
    return (
        f"it should have one for each class. Of images without labels: {remedy}hold out a share of the training part, "
        f"root={store.shown(top + train)!r}"
    )


def _descend(store: Store, images: Sequence[str], wanted: Wanted) -> str:
    top = ""
    while True:
        entries = (*images, *store.folders)
        below = {name[len(top) :].split("/")[0] for name in entries if name.startswith(top)}
        inner = [name for name in below if f"{top}{name}" in store.folders]
        grandchildren = inner and any(name.startswith(f"{top}{inner[0]}/") for name in store.folders)
        if len(below) != 1 or not inner or wanted.names(inner[0]) or not grandchildren:
            return top
        top += inner[0] + "/"


def _parts(store: Store, top: str, wanted: Wanted) -> list[str]:
    """The folders in `top` that are parts: named so, and holding folders."""
    below = [name[len(top) :].split("/") for name in store.folders if name.startswith(top)]
    named = {steps[0] for steps in below if wanted.names(steps[0])}
    holding = {steps[0] for steps in below if len(steps) > 1} & named
    # A folder of images among other classes is a class, even if it is called `train`.
    alone = len(named) > 1 or named == {steps[0] for steps in below}
    return sorted(named if holding or alone else (), key=lambda name: (family(name) is not TRAIN, name))


def _class_folders(store: Store, at: str, kind: FileKind) -> dict[str, str]:
    """The folders in `at`, by the class that each is of."""
    folders: dict[str, str] = {}
    for folder in sorted({name[len(at) :].split("/")[0] for name in store.folders if name.startswith(at)} - {""}):
        label = tidy(folder)
        if not label:
            raise DataError(f"{store.shown(at)}: the name of its folder {folder!r} is blank; rename it")
        if label in folders:
            raise DataError(
                f"{store.shown(at + folder)} and {store.shown(at + folders[label])} are both of class {label!r}: their "
                f"names differ only in blanks or in how they are encoded; put the {kind.many} into one of them"
            )
        folders[label] = folder
    return folders


def _classes(
    store: Store, images: Sequence[str], at: str, folders: Mapping[str, str], beside: Counter[str], kind: FileKind
) -> dict[str, list[str]]:
    """The images of each class's folder in `at`, in the order of their names. Counts those that lie in no class."""
    inside: dict[str, list[str]] = {folder: [] for folder in folders.values()}
    for name in images:
        if name.startswith(at):
            folder, _, rest = name[len(at) :].partition("/")
            if rest:
                inside[folder].append(name)
            else:
                beside[f"directly in {store.shown(at.rstrip('/'))}, in no class's folder,"] += 1
    for folder, names in inside.items():
        if not names:
            raise DataError(
                f"{store.shown(at + folder)}: class {tidy(folder)!r} has no {kind.many} ({', '.join(kind.suffixes)}); "
                "take the folder out or put some in"
            )
    return {label: inside[folder] for label, folder in folders.items()}


def _count_outside(
    store: Store,
    images: Sequence[str],
    top: str,
    parts: Sequence[str],
    used: Sequence[str],
    beside: Counter[str],
    unused: Counter[str],
) -> None:
    """Count the images in folders that are not used; those of parts with common names in `unused`."""
    starts = tuple(f"{top}{part}/" for part in used)
    for name in images:
        if not name.startswith(starts):
            first, _, rest = name[len(top) :].partition("/")
            counter = unused if first in parts and family(first) else beside
            counter[f"in {store.shown(top + first)}" if rest else f"directly in {store.shown(top.rstrip('/'))}"] += 1


def _not_used(counts: Counter[str], kind: FileKind) -> Iterator[str]:
    for where, count in counts.items():
        images = f"{count:,} {kind.many} {where} are" if count > 1 else f"{kind.one} {where} is"
        yield f"{images} not used; take such out of the set, or name its parts with train_split and test_split"


def _known(store: Store, top: str, train: str, found: Iterable[str], given: Sequence[str]) -> tuple[str, ...]:
    classes = tuple(map(tidy, given)) or tuple(in_order(found))
    for missing in set(classes) - set(found):
        raise DataError(f"{store.shown(f'{top}{train}'.rstrip('/'))} has no folder of class {missing!r}")
    if len(set(classes)) < len(classes):
        raise DataError(f"classes = {listed(classes)}: a name is given twice")
    return classes


def _check_classes(
    store: Store, top: str, part: str, images: Iterable[str], known: Sequence[str], train: str, given: bool
) -> None:
    for strange in set(images) - set(known):
        near = difflib.get_close_matches(strange.casefold(), [name.casefold() for name in known], n=1)
        hint = next((f"; is it {name!r}?" for name in known if near and name.casefold() == near[0]), "")
        among = "given" if given else f"in {train!r}"
        where = store.shown(f"{top}{part}".rstrip("/"))
        raise DataError(f"{where} has a folder {strange!r}, which is none of the {len(known)} classes {among}{hint}")


def alike(classes: Iterable[str]) -> Iterator[str]:
    """A remark for each group of classes that have the same name but for upper and lower case."""
    for group in differing_in_case(classes):
        yield f"classes {listed(group)} differ only in case; if they are one, give them one name"


def _listing(images: Mapping[str, Sequence[str]], classes: Sequence[str]) -> PartFiles:
    ids = {name: place for place, name in enumerate(classes)}
    return PartFiles(
        tuple(name for names in images.values() for name in names),
        np.array([ids[label] for label, names in images.items() for _ in names], np.int32),
    )
