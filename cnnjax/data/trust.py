"""That reading what TFDS prepared runs nobody's code: whatever module its files name, TFDS would import."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnjax.errors import DataError, RunError
from cnnjax.files import read_whole

# Where protobuf's JSON has the name of a feature's class, in both spellings that it takes.
_CLASS_NAMES = ("pythonClassName", "python_class_name")
_OWN = re.compile(r"tensorflow_datasets(\.\w+)+", re.ASCII)
# TFDS makes other names into such ones, or looks for them elsewhere: in a community's repository.
_NAME = re.compile(r"[a-z0-9_]+(/[\w.+-]+)?", re.ASCII)
_FILES = ("features.json", "dataset_info.json")
# Sets lie in NAME/VERSION or NAME/VARIANT/VERSION.
_PLACES = ("", "*/", "*/*/")


def check_classes(name: str, folder: Path) -> None:
    """Raise DataError where files of the set `name` in `folder` name a class that is not of TFDS's own package.

    TFDS imports the modules of such classes, so this comes before it looks at the set. Also for a `name` that TFDS
    would look for elsewhere than in its folder, and where something stands in the place of a file (a pipe, a device)
    that it would wait for, or read without end.
    """
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is no name of a prepared set; those are like mnist, svhn_cropped or emnist/letters")
    for place in _PLACES:
        for file in sorted((folder / name).glob(f"{place}*")):
            if file.exists() and not (file.is_file() or file.is_dir()):
                raise DataError(f"{file} is no regular file, and nothing that TFDS prepared: delete it")
    files = (file for place in _PLACES for kind in _FILES for file in sorted((folder / name).glob(place + kind)))
    for file in files:
        try:
            named = list(_classes(_content(file)))
        except RecursionError:
            raise DataError(f"{file} is nested too deeply to be a set's; delete it") from None
        for strange in named:
            if not (isinstance(strange, str) and _OWN.fullmatch(strange)):
                raise DataError(
                    f"{file} names the class {strange!r}, which is not of tensorflow_datasets: reading it would run "
                    "that code, so the set is refused; delete it, or prepare it again with features of TFDS's own"
                )


def _content(file: Path) -> Any:
    try:
        return json.loads((read_whole(file, remedy="delete it") or b"").decode("utf-8", "replace"))
    except RunError as error:
        raise DataError(str(error)) from None
    except ValueError:
        return None  # TFDS reads it as JSON, too, before it imports anything


def _classes(node: Any) -> Iterator[Any]:
    """What stands for the name of a class anywhere in a JSON value, and in JSON that stands in it as text."""
    if isinstance(node, dict):
        yield from (node[key] for key in _CLASS_NAMES if key in node)
        # The older form.
        if "type" in node and "content" in node:
            yield node["type"]
        for value in node.values():
            yield from _classes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _classes(value)
    elif isinstance(node, str) and node.lstrip()[:1] in ("{", "["):
        try:
            yield from _classes(json.loads(node))
        except ValueError:
            return
