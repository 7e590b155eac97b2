"""What lies among a set's files and is not used, and which classes have no examples: a sentence each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np

from cnnjax.data.examples import Part
from cnnjax.data.spelling import listed
from cnnjax.data.store import Store, is_image
from cnnjax.visible import printable

# Images of kinds that are not read.
_UNREAD = frozenset(
    (
        *(".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".jxr", ".tga", ".pcx", ".ico"),
        *(".svg", ".eps", ".psd", ".xcf", ".exr", ".hdr", ".pfm", ".pam", ".qoi", ".sgi", ".rgb", ".dcm", ".dicom"),
        *(".nii", ".mha", ".nrrd", ".czi", ".nd2", ".lif", ".svs", ".fits", ".raw", ".dng", ".cr2", ".cr3", ".nef"),
        *(".arw", ".orf", ".rw2", ".mp4", ".avi", ".mov", ".mkv", ".webm"),
    )
)
# What may hold many, where images are expected: below the root, where other things lie too.
_CONTAINERS = frozenset(
    (
        *(".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pt", ".parquet", ".tfrecord", ".tfrecords", ".lmdb"),
        *(".zip", ".tar", ".tgz", ".gz", ".xz", ".bz2", ".7z", ".rar"),
    )
)
# How files of images begin, whatever they are called.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_LOOKED_AT = 8
_KINDS = 6


def left_out(store: Store) -> Iterator[str]:
    """A remark for the files that look like images, by their suffix or how they begin, of a kind that is not read."""
    others: dict[str, list[str]] = defaultdict(list)
    for name in store.names:
        if not is_image(name):
            suffix = PurePosixPath(name).suffix.lower()
            if suffix not in _CONTAINERS or "/" in name:
                others[suffix].append(name)
    known = _UNREAD | _CONTAINERS
    found = {suffix: names for suffix, names in others.items() if suffix in known or _looks_like_images(store, names)}
    if found:
        kinds = [
            f"{len(names):,} {printable(suffix) or 'without a suffix'}"
            for suffix, names in sorted(found.items(), key=lambda item: -len(item[1]))
        ]
        counted = ", ".join(kinds[:_KINDS]) + (", and others" if len(kinds) > _KINDS else "")
        total = sum(map(len, found.values()))
        example = store.shown(next(iter(found.values()))[0])
        are = "files look like images and are" if total > 1 else "file looks like an image and is"
        yield (
            f"{total:,} {are} of a kind that is not read ({counted}), e.g. {example}; convert or unpack such, or give "
            "them the suffix of what they are"
        )


def _looks_like_images(store: Store, names: list[str]) -> bool:
    return any(store.begins(name).startswith(_BEGINNINGS) for name in names[:_LOOKED_AT])


def without_examples(train: Part, test: Part, classes: Sequence[str]) -> Iterator[str]:
    """A remark for the classes that have no example in a part."""
    if not classes or not train.has_label or train.labels.ndim > 1 or train.labels.dtype.kind not in "iu":
        return
    if not len(train.labels) or not len(test.labels):
        return
    everywhere = np.arange(len(classes))
    absent = {name: set(everywhere) - set(np.unique(part.labels)) for name, part in (("train", train), ("test", test))}
    both = absent["train"] & absent["test"]
    for where, ids in (
        ("no image at all", both),
        ("none in the training part, so that they are not learned", absent["train"] - both),
        ("none in the test part, so that it does not measure them", absent["test"] - both),
    ):
        if ids:
            names = listed(classes[index] for index in map(int, sorted(ids)))
            yield f"{len(ids):,} of {len(classes):,} classes have {where}: {names}"
