"""Images and clips of sound for a trained network: arrays of the form that its run recorded, and files that are brought
to it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from cnnjax.data.bands import decode_bands
from cnnjax.data.fit_to_size import CentreFit, Fit
from cnnjax.data.image_form import ImageForm, decoded
from cnnjax.data.sound.clips import seen
from cnnjax.data.sound.sound import Sound
from cnnjax.data.sound.wav import FULL, as_int16
from cnnjax.data.store import is_image
from cnnjax.errors import DataError
from cnnjax.records.resolved import Resolved

ROUNDING = 1e-6
"""By so much a float may miss 0..1."""

Named = tuple[str, np.ndarray | DataError]
"""A name and the image of it, [H, W, C], or the clip, int16 [T], or why there is none."""
SOUND = ".wav"
"""The suffix of files of sound."""


def sound_of(resolved: Resolved) -> Sound | None:
    """How clips become images; None of a network that takes images."""
    return None if resolved.sound is None else Sound.model_validate(resolved.sound)


def taken(resolved: Resolved) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and type of one example as the data have it: an image uint8 [H, W, C], or a clip int16 [T]."""
    sound = sound_of(resolved)
    return (resolved.input_shape, np.uint8) if sound is None else ((sound.samples,), np.int16)


def images_of(examples: np.ndarray, resolved: Resolved) -> np.ndarray:
    """The images of what `checked` gives: as they are or, of clips int16 [N, T], float32 [N, H, W, 1] in 0..1."""
    sound = sound_of(resolved)
    return examples if sound is None or examples.ndim > 2 else seen(sound, examples)


def takes(resolved: Resolved) -> str:
    """In words, the images that the network takes."""
    height, width, channels = resolved.input_shape
    sound = sound_of(resolved)
    if sound is not None:
        return (
            f"it takes clips [{sound.samples}] or [N, {sound.samples}] at {sound.rate} Hz, int16 or floats in -1..1, "
            f"or their images [N, {height}, {width}, {channels}], floats in 0..1"
        )
    return (
        f"it takes [{height}, {width}, {channels}] (height, width, channels) or [N, {height}, {width}, {channels}], "
        f"uint8 in 0..{resolved.maximum} or floats in 0..1"
    )


def checked(images: Any, resolved: Resolved) -> np.ndarray:
    """The images as [N, H, W, C], uint8 or float32 in 0..1. Raises DataError saying what the network takes.

    images: one [H, W, C], several [N, H, W, C], or a list of such; uint8 in 0..maximum, or floats in 0..1. Of a network
    for sound also clips [T] or [N, T], int16 or floats in -1..1, which come as int16 [N, T].
    """
    array = _array(images, resolved)
    if resolved.sound is not None and array.ndim <= 2:
        return _checked_clips(array, resolved)
    single = array.shape == resolved.input_shape
    if not single and array.shape[1:] != resolved.input_shape:
        raise DataError(f"images are [{', '.join(map(str, array.shape))}]; {takes(resolved)}{_hint(array, resolved)}")
    array = array[None] if single else array
    if not len(array):
        raise DataError(f"there are no images; {takes(resolved)}")
    if array.dtype == np.uint8:
        if (most := int(array.max())) > resolved.maximum:
            raise DataError(f"pixels go up to {most}; {takes(resolved)}: give floats, pixels / 255")
        return array
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise DataError(f"images are {array.dtype}; {takes(resolved)}{_conversion(array.dtype)}")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        at = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))[0])
        raise DataError(f"image {at} has pixels that are NaN or infinite; {takes(resolved)}")
    least, most = float(array.min()), float(array.max())
    if least < -ROUNDING or most > 1 + ROUNDING:
        raise DataError(
            f"floats go from {least:.4g} to {most:.4g}; {takes(resolved)}: unnormalized, divided by "
            "what full brightness is"
        )
    return array


def _checked_clips(array: np.ndarray, resolved: Resolved) -> np.ndarray:
    (samples,), _ = taken(resolved)
    if array.shape[-1:] != (samples,) or not len(array):
        raise DataError(f"clips are [{', '.join(map(str, array.shape))}]; {takes(resolved)}")
    clips = array.reshape(-1, samples)
    if clips.dtype == np.int16:
        return clips
    if not jnp.issubdtype(clips.dtype, jnp.floating):
        raise DataError(f"clips are {clips.dtype}; {takes(resolved)}")
    most = float(np.abs(clips).max())
    if not most <= 1 + ROUNDING:
        raise DataError(f"floats go up to {most:.4g}; {takes(resolved)}: divide them by what full amplitude is, {FULL}")
    return as_int16(clips.astype(np.float64))


def _array(images: Any, resolved: Resolved) -> np.ndarray:
    if isinstance(images, list | tuple) and not images:
        raise DataError(f"there are no images; {takes(resolved)}")
    if isinstance(images, np.ma.MaskedArray):
        raise DataError("images are a masked array: fill what is masked, images.filled(0), or give images.data")
    try:
        array = np.asarray(images)
    except ValueError:
        shapes = {f"[{', '.join(map(str, np.shape(image)))}]" for image in images}
        raise DataError(f"images are of several shapes ({', '.join(sorted(shapes))}); {takes(resolved)}") from None
    if array.dtype.kind in "OSU":
        raise DataError(f"images are {type(images).__name__}, no array of numbers; {takes(resolved)}")
    return array


def _conversion(dtype: np.dtype) -> str:
    if dtype.kind in "iu":
        return ": convert them, images.astype(np.uint8), where no pixel is above 255"
    return ": convert them, images.astype(np.float32)" if dtype.kind == "b" else ""


def _hint(array: np.ndarray, resolved: Resolved) -> str:
    height, width, channels = resolved.input_shape
    if array.ndim in (2, 3) and channels == 1 and array.shape[-2:] == (height, width):
        return ": give images[..., None]"
    if array.ndim in (3, 4) and array.shape[-3:] == (channels, height, width):
        return ": channels are last, np.moveaxis(images, -3, -1)"
    return ""


# --- files


def listed(paths: Sequence[Path | str], resolved: Resolved) -> list[Path]:
    """The files, and in the place of a folder all in it and below that are images (of a network for sound, WAV files),
    sorted by name. Raises DataError."""
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_readable(file, resolved))
        if not inside:
            what = (
                "images in it (JPEG, PNG, WebP, BMP, GIF, TIFF, PPM" if resolved.sound is None else "sound in it (WAV"
            )
            raise DataError(f"{path} has no {what} or .npy)")
        files += inside
    if not files:
        raise DataError("no files are named")
    return files


def _is_readable(file: Path, resolved: Resolved) -> bool:
    of_kind = is_image(file.name) if resolved.sound is None else file.suffix.lower() == SOUND
    return not file.name.startswith(".") and (of_kind or file.suffix == ".npy")


def read(files: Sequence[Path], resolved: Resolved) -> Iterator[Named]:
    """The image of each file as the run's evaluation would see it, uint8 or floats in 0..1; or why there is none.

    JPEG, PNG, WebP, BMP, GIF, TIFF and PPM are decoded, made grey or RGB as the network has channels, cut and resized
    as recorded. Their full brightness is 255 whatever the run's is. Of a network for sound WAV files are read, and cut
    to the length of a clip as recorded. A .npy file holds one array or several as `checked` takes them.
    """
    for file in files:
        try:
            if not file.is_file():
                raise DataError("it is a folder" if file.is_dir() else "there is no such file")
            yield from _npy(file, resolved) if file.suffix == ".npy" else [(str(file), _read(file, resolved))]
        except (DataError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            yield str(file), DataError(f"{file}: {reason}")


def _npy(file: Path, resolved: Resolved) -> Iterator[Named]:
    try:
        with file.open("rb") as content:
            array = np.lib.format.read_array(content, allow_pickle=False)
    except (ValueError, EOFError):
        raise DataError("not a whole .npy file of numbers, as np.save writes them") from None
    images = checked(array, resolved)
    if array.ndim == (3 if array.ndim > 2 else 1):
        yield str(file), images[0]
    else:
        yield from ((f"{file}[{at}]", image) for at, image in enumerate(images))


def _read(file: Path, resolved: Resolved) -> np.ndarray:
    sound = sound_of(resolved)
    if (file.suffix.lower() == SOUND) != (sound is not None):
        raise DataError("it is sound, and the network takes images" if sound is None else f"it is no {SOUND} file")
    return _decoded(file, resolved) if sound is None else sound.clip(file.read_bytes())


def _decoded(file: Path, resolved: Resolved) -> np.ndarray:
    height, width, channels = resolved.input_shape
    if channels not in (1, 3):
        if file.suffix.lower() not in (".tif", ".tiff"):
            raise DataError(
                f"image files have 1 or 3 channels, and {takes(resolved)}: give a .npy file, or a TIFF with a page for "
                "each channel"
            )
        return checked(decode_bands(file.read_bytes()), resolved)[0]
    fit = CentreFit() if resolved.fit is None else Fit.model_validate(resolved.fit)
    size = None if resolved.fit is None else (height, width)
    image = decoded(file.read_bytes(), ImageForm(size, fit, None, channels, resolved.space))
    if image.shape != resolved.input_shape:
        raise DataError(
            f"it is {image.shape[1]}x{image.shape[0]}, and the run's images are {width}x{height}, none of them "
            "resized: make it that size as those were made"
        )
    if resolved.maximum == 255:
        return image
    if (most := int(image.max())) <= resolved.maximum:
        warnings.warn(
            f"{file} is nearly black, {most} of 255 at most; if its pixels count 0..{resolved.maximum}, as the run's "
            "do, save them as .npy",
            stacklevel=2,
        )
    return image.astype(np.float32) / 255
