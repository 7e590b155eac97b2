"""JPEG on the host: what its header says, and the pixels of no more of it than is needed."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cnnjax.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

Box = tuple[float, float, float, float]
"""A region of an image in pixels, or in parts of them: top, left, height, width."""
WholeBox = tuple[int, int, int, int]
"""A region of whole pixels."""

# Start of frame: every SOFn but the tables DHT and DAC and the reserved JPG (ITU T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = {0xC0, 0xC1}
# Markers without a segment: TEM and RSTn.
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
# What undoes each EXIF orientation: swap the axes, then turn the rows round, then the columns (TIFF 6.0, tag 274).
_UPRIGHT = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
# libjpeg is asked for powers of two only: those have SIMD code, 5/8 is slower than no scaling.
FACTORS = (8, 4, 2)
MAX_BLOCK = 16


class Unsupported(DataError):
    """A JPEG that is whole but not of a kind libjpeg-turbo's simple interface decodes."""


@dataclass(frozen=True)
class Header:
    """What stands before the first scan. height, width: as stored, before the orientation is undone.

    frame: the offset of the frame segment. orientation: EXIF's, 1..8.
    """

    height: int
    width: int
    components: int
    frame: int
    sequential: bool
    orientation: int = 1

    @property
    def swapped(self) -> bool:
        """Whether rows and columns change places when the image is held upright."""
        return _UPRIGHT[self.orientation][0]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the image held upright."""
        return (self.width, self.height) if self.swapped else (self.height, self.width)


def is_jpeg(data: bytes) -> bool:
    """Whether `data` begins as a JPEG does: no other image begins so, and decoders pass over what comes next."""
    return data[:2] == b"\xff\xd8"


def header(data: bytes) -> Header:
    """Read the header of a JPEG. Raises DataError where it ends before it says how large the image is."""
    orientation = 1
    for marker, start, size in _segments(data):
        if marker == 0xE1 and data[start + 4 : start + 10] == b"Exif\0\0":
            orientation = _orientation(data[start + 10 : start + 2 + size])
        if marker in _FRAMES and size >= 8:
            height, width, components = (_number(data[start + a : start + b]) for a, b in ((5, 7), (7, 9), (9, 10)))
            if not height or not width:
                raise DataError(f"JPEG of {width}x{height} pixels")
            return Header(height, width, components, start, marker in _SEQUENTIAL, orientation)
    raise DataError(f"JPEG cut short or damaged: no frame header in its {len(data)} bytes")


def _without_strays(data: bytes) -> bytes:
    """The same JPEG without what lies between the segments before its first scan."""
    kept, after = [data[:2]], 2
    for _, start, size in _segments(data):
        after = start + 2 + size
        kept.append(data[start:after])
    scan = _marker(data, after)
    return data if scan is None else b"".join((*kept, data[scan:]))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    # (marker, offset, size without the marker) of each whole segment before the first scan.
    at = _marker(data, 2)
    while at is not None and at + 4 <= len(data):
        marker, size = data[at + 1], _number(data[at + 2 : at + 4])
        if marker in _ALONE:
            at = _marker(data, at + 2)
            continue
        if marker == 0xDA or size < 2 or at + 2 + size > len(data):
            return
        yield marker, at, size
        at = _marker(data, at + 2 + size)


def _marker(data: bytes, at: int) -> int | None:
    """Where the next marker is: bytes before it that are none are passed over, as libjpeg does."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        if data[at + 1] not in (0x00, 0xFF):
            return at
        at += 1
    return None


def _number(field: bytes) -> int:
    return int.from_bytes(field, "big")


def _orientation(tiff: bytes) -> int:
    # One tag of IFD0; what is damaged counts as upright, since the pixels are there all the same.
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    first = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[first : first + 2], order)
    for entry in range(first + 2, min(first + 2 + 12 * count, len(tiff) - 11), 12):
        if int.from_bytes(tiff[entry : entry + 2], order) == 0x0112:
            value = int.from_bytes(tiff[entry + 8 : entry + 10], order)
            return value if value in _UPRIGHT else 1
    return 1


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: [H, W, C] -> [H, W, C] or [W, H, C], as a view."""
    swap, rows, columns = _UPRIGHT[orientation]
    image = image.swapaxes(0, 1) if swap else image
    return image[:: -1 if rows else 1, :: -1 if columns else 1]


def stored(box: Box, head: Header) -> Box:
    """Where a region of the upright image lies in the stored one."""
    (top, left, height, width), (swap, rows, columns) = box, _UPRIGHT[head.orientation]
    total_height, total_width = head.shape
    top = total_height - top - height if rows else top
    left = total_width - left - width if columns else left
    return (left, top, width, height) if swap else (top, left, height, width)


def pixels(data: bytes, head: Header, *, grey: bool, rows: int | None = None, factor: int = 1) -> np.ndarray:
    """Decode to uint8 [H, W, 3], or [H, W, 1] where `grey` (the luma as stored).

    rows: how many rows from the top are needed; there may be more. factor: 1, 2, 4 or 8, by which the inverse cosine
    transform makes both sides smaller. Raises DataError where the bytes are damaged or cut short.
    """
    wanted = _rows(head, rows)
    if wanted < head.height:
        image = _top(data, head, wanted, grey, factor)
        if image is not None:
            return image
    try:
        return _decode(data, head, head.height, grey, factor)
    except ValueError as error:
        return _mended(data, head, grey, factor, str(error))


def _rows(head: Header, rows: int | None) -> int:
    # Smooth chroma upsampling looks one chroma row, that is two rows, further; then to the end of the block.
    if rows is None or not head.sequential or head.components not in (1, 3):
        return head.height
    return min(head.height, -(-(rows + 2) // MAX_BLOCK) * MAX_BLOCK)


def _top(data: bytes, head: Header, rows: int, grey: bool, factor: int) -> np.ndarray | None:
    # With a smaller height in its header libjpeg decodes that many rows exactly as before, and then complains of the
    # bytes it did not need. It stops at its first complaint: any other means damage, which the full decode will name.
    at = head.frame + 5
    shorter = data[:at] + rows.to_bytes(2, "big") + data[at + 2 :]
    shape = (math.ceil(rows / factor), math.ceil(head.width / factor), 1 if grey else 3)
    image = np.empty(shape, np.uint8)
    try:
        _decode(shorter, head, rows, grey, factor, into=image)
    except ValueError as error:
        if not ("extraneous bytes" in str(error) and "0xd9" in str(error)):
            return None
    return image


def _decode(
    data: bytes, head: Header, height: int, grey: bool, factor: int, *, into: np.ndarray | None = None, strict=True
) -> np.ndarray:
    import simplejpeg

    return simplejpeg.decode_jpeg(
        data,
        "GRAY" if grey else "RGB",
        min_height=math.ceil(height / factor),
        min_width=math.ceil(head.width / factor),
        min_factor=factor,
        buffer=into,
        strict=strict,
    )


def _mended(data: bytes, head: Header, grey: bool, factor: int, complaint: str) -> np.ndarray:
    # Bytes between segments harm nothing, and cameras and editors do leave some.
    if "extraneous bytes" in complaint and len(clean := _without_strays(data)) < len(data):
        return pixels(clean, header(clean), grey=grey, factor=factor)
    # Where they lie between scans, only the end of what follows is checked.
    if "extraneous bytes" in complaint and data.find(b"\xff\xd9", head.frame) > 0:
        with contextlib.suppress(ValueError):
            return _decode(data, head, head.height, grey, factor, strict=False)
    if "remature end" in complaint:
        raise DataError(f"JPEG cut short or damaged: {len(data)} bytes, and {complaint[0].lower()}{complaint[1:]}")
    if "subsampling" in complaint or "nsupported" in complaint:
        raise Unsupported(f"JPEG of an unusual kind: {complaint}")
    raise DataError(f"JPEG is damaged: {complaint}")
