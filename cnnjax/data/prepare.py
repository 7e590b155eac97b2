"""Prepare a TFDS set in the form that is read without TensorFlow. This alone needs TensorFlow."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnjax.data.prepared_sets import FORMAT, Prepared, default_data_dir, prepared, unfinished
from cnnjax.data.source import built_in
from cnnjax.data.tfds import INSTALL, OTHER_FORMAT, builder_names, describe_damage
from cnnjax.data.trust import check_classes
from cnnjax.errors import CnnjaxError, ConfigError, DataError, DiskFull, Interrupted, RunError, did_you_mean
from cnnjax.files import NO_ROOM, locked

NEEDED = ("tensorflow", "importlib_resources")
CATALOGUE = "https://www.tensorflow.org/datasets/catalog/overview"
# What TFDS's instructions say in prose of the set most people prepare by hand.
ARCHIVES = {"imagenet2012": ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")}


@dataclass(frozen=True)
class Preparation:
    """A set that can now be read. seconds: what preparing it took, None where it was there before."""

    version: Prepared
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.version.to_json(), "already_prepared": self.seconds is None, "seconds": self.seconds}


def prepare(
    name: str, *, data_dir: Path | None = None, manual_dir: Path | None = None, quiet: bool = False
) -> Preparation:
    """Download and write a set in array_record form, once; TFDS shows its progress on standard error unless `quiet`.

    data_dir: where prepared sets lie (default: $TFDS_DATA_DIR or TFDS's own). manual_dir: where archives lie that TFDS
    may not download, such as ImageNet's (default: downloads/manual in data_dir). Whatever stops it, the set is there
    whole or not at all; downloads are kept. Raises ConfigError, DataError, DiskFull or Interrupted.
    """
    folder = data_dir or default_data_dir()
    check_name(name)
    with _explained(name):
        name = _full_name(name)
        check_classes(name, folder)
        there = _there(name, folder)
        if there is not None:
            return Preparation(there, None)
        manual = manual_dir or folder / "downloads" / "manual"
        _check_kind(name, folder)
        _check_manual(name, manual)
    _check_installed()
    began = time.perf_counter()
    with _alone(name, folder), _explained(name):
        for left in unfinished(folder, name):
            shutil.rmtree(left)
        _build(name, folder, manual, quiet=quiet)
    found = _there(name, folder)
    if found is None:
        raise DataError(f"TFDS says that it prepared {name}, but it is not in {folder}")
    return Preparation(found, time.perf_counter() - began)


# --- before it begins


def check_name(name: str) -> None:
    """Raise ConfigError, with the near misses, where `name` is no set that TFDS can prepare."""
    if name in built_in():
        raise ConfigError(f"{name} comes with cnnjax: there is nothing to prepare")
    if _set(name) not in builder_names():
        hint = did_you_mean(_set(name), builder_names())
        raise ConfigError(f"{name!r} is no data set that TFDS can prepare.{hint} {CATALOGUE} lists them")


def _set(name: str) -> str:
    """emnist/letters -> emnist."""
    return name.partition("/")[0]


def _full_name(name: str) -> str:
    """With the variant that TFDS takes where none is named: emnist -> emnist/byclass."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_cls(_set(name))
    variants = [variant.name for variant in builder.BUILDER_CONFIGS]
    if "/" in name or not variants:
        return name
    return f"{name}/{builder.DEFAULT_BUILDER_CONFIG_NAME or variants[0]}"


def _there(name: str, folder: Path) -> Prepared | None:
    """The set if it can be read, None where there is none. Raises DataError where something is in the way."""
    found = prepared(folder, name)
    readable = [version for version in found if version.is_readable]
    if readable or not found:
        return readable[-1] if readable else None
    version = found[-1]
    if version.damage:
        raise DataError(describe_damage(version))
    raise DataError(f"{version.folder} {OTHER_FORMAT}: move it away, or choose another folder with --data-dir")


def _check_kind(name: str, folder: Path) -> None:
    """Raise DataError unless a set's examples are images with a class, before anything is downloaded."""
    features: Any = _builder(name, folder).info.features
    fields = list(features) if hasattr(features, "keys") else []
    if not {"image", "label"} <= set(fields) or not hasattr(features["label"], "num_classes"):
        raise DataError(f"{name} is no image classification set: an example has {', '.join(fields) or 'no fields'}")


def _check_manual(name: str, manual: Path) -> None:
    """Raise DataError where archives are missing that TFDS may not download."""
    import tensorflow_datasets as tfds

    instructions: Any = tfds.builder_cls(_set(name)).MANUAL_DOWNLOAD_INSTRUCTIONS
    if not instructions:
        return
    absent = [archive for archive in ARCHIVES.get(name, ()) if not (manual / archive).is_file()]
    if not absent and manual.is_dir() and any(manual.iterdir()):
        return
    what = f" ({' and '.join(absent)} missing)" if absent else ""
    raise DataError(
        f"{name} needs files that only you may download, in {manual}{what}; another folder is --manual-dir. "
        f"TFDS says: {' '.join(instructions.split())}"
    )


def _check_installed() -> None:
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise DataError(f"preparing a set (not reading it) needs {' and '.join(absent)}:  {INSTALL}")


@contextlib.contextmanager
def _alone(name: str, folder: Path) -> Iterator[None]:
    """Own a set's folder, so that what is half-written in it is nobody's."""
    own = contextlib.ExitStack()
    try:
        own.enter_context(locked(folder / name, taken=f"another process is preparing {name} in {folder}"))
    except RunError as error:
        reason = getattr(error.__cause__, "strerror", None)
        if reason is None:
            raise
        raise DataError(f"cannot write {folder}: {reason}; choose another folder with --data-dir") from error
    with own:
        yield


# --- preparing


def _builder(name: str, folder: Path) -> Any:
    # TensorFlow and TFDS log what is missing and not needed here: OpenCV, a GPU, an account.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    import tensorflow_datasets as tfds

    return tfds.builder(name, data_dir=folder, file_format=FORMAT)


def _build(name: str, folder: Path, manual: Path, *, quiet: bool) -> None:
    """TFDS writes into a folder called incomplete... and renames it when it is whole."""
    import tensorflow_datasets as tfds

    tfds.display_progress_bar(not quiet)
    config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=False)
    # What it prints is no result of the command.
    with contextlib.redirect_stdout(sys.stderr):
        _builder(name, folder).download_and_prepare(download_config=config)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn whatever stops a preparation into one line."""
    kept = "nothing half-written is kept"
    try:
        yield
    except CnnjaxError:
        raise
    except KeyboardInterrupt:
        raise Interrupted(f"stopped: {name} is not prepared; {kept}") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if _is_full(error):
            raise DiskFull(f"no space left to prepare {name}: {reason}; {kept}") from error
        raise DataError(f"{name} cannot be prepared: {reason[:400]}; {kept}") from error


def _is_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that of a full disk; the writers tell it in words alone."""
    while error is not None:
        if getattr(error, "errno", None) in NO_ROOM:
            return True
        if any(words in str(error) for words in ("No space left", "Not enough disk space", "File too large")):
            return True
        error = error.__cause__ or error.__context__
    return False
