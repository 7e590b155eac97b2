"""The sets that TensorFlow Datasets (TFDS) prepared in a folder: what there is, whole or damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnjax.errors import RunError
from cnnjax.files import home, read_whole

INFO = "dataset_info.json"
# How TFDS begins the name of a folder it is still writing.
UNFINISHED = "incomplete."
FORMAT = "array_record"


@dataclass(frozen=True)
class Prepared:
    """A version of a set as TFDS left it in `folder`. splits: examples of each. damage: what is wrong, or ""."""

    name: str
    folder: Path
    form: str
    splits: dict[str, int]
    size: int
    damage: str = ""

    @property
    def version(self) -> str:
        """TFDS's own, such as 3.0.1."""
        return self.folder.name

    @property
    def is_readable(self) -> bool:
        """Whether it can be read, without TensorFlow."""
        return not self.damage and self.form == FORMAT

    @property
    def written_splits(self) -> str:
        """train 60,000, test 10,000."""
        return ", ".join(f"{split} {count:,}" for split, count in self.splits.items())

    def to_json(self) -> dict[str, Any]:
        """Plain data, `bytes` on disk."""
        return {
            "name": self.name,
            "version": self.version,
            "format": self.form,
            "splits": self.splits,
            "bytes": self.size,
            "folder": str(self.folder),
            "damage": self.damage or None,
        }


def default_data_dir() -> Path:
    """Where prepared sets lie: TFDS's own default, or $TFDS_DATA_DIR. Raises RunError for a user without a home."""
    return Path(os.environ.get("TFDS_DATA_DIR") or home() / "tensorflow_datasets")


def prepared(folder: Path, name: str = "*") -> list[Prepared]:
    """The sets prepared in `folder`, or every version of the one called `name`; one that is damaged says so."""
    found = [info for depth in ("*", "*/*") for info in folder.glob(f"{name}/{depth}/{INFO}")]
    return [_read(info, folder) for info in sorted(found) if not info.parent.name.startswith(UNFINISHED)]


def unfinished(folder: Path, name: str = "*") -> list[Path]:
    """What a preparation that was killed left in `folder`; TFDS never takes it for a set."""
    return sorted(path for depth in ("", "*/") for path in folder.glob(f"{name}/{depth}{UNFINISHED}*"))


def _read(info: Path, root: Path) -> Prepared:
    folder = info.parent
    files = [path for path in folder.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    name = folder.parent.relative_to(root).as_posix()
    try:
        said = json.loads((read_whole(info, remedy="") or b"").decode())
        form = said.get("fileFormat", "tfrecord")
        shards = {split["name"]: [int(length) for length in split["shardLengths"]] for split in said["splits"]}
    except (RunError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Prepared(name, folder, "", {}, size, f"{INFO} cannot be read")
    damage = "; ".join(_missing(files, form, shards))
    return Prepared(name, folder, form, {split: sum(lengths) for split, lengths in shards.items()}, size, damage)


def _missing(files: list[Path], form: str, shards: dict[str, list[int]]) -> Iterator[str]:
    whole = [path.name for path in files if path.stat().st_size]
    for split, lengths in shards.items():
        there = sum(f"-{split}.{form}-" in name for name in whole)
        if there < len(lengths):
            yield f"{split} has {there} of its {len(lengths)} files"
