"""WAV files (RIFF/WAVE) to 16-bit samples, by NumPy alone: PCM of 8, 16, 24 and 32 bits, and floating point.

Python's `wave` reads no floating point, and no file of the extensible form before Python 3.12.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from cnnjax.errors import DataError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM", 80: "MPEG", 85: "MP3"}
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""What follows the two bytes of the format in an extensible file's GUID, where these are a format's number."""
SLOWEST, FASTEST = 10, 10**7
"""Hertz: no recorder of sound, or of what is like it, is slower or faster."""
FULL = 32768
"""Of 16-bit samples, the amplitude that is 1."""


@dataclass(frozen=True, eq=False)
class Wav:
    """What a file holds. samples: float64 [T, channels] in -1..1 (floating point may go beyond). rate: in hertz."""

    samples: np.ndarray
    rate: int


def read_wav(data: bytes) -> Wav:
    """Decode a whole WAV file.

    A sample of b bits is divided by 2 ** (b - 1); one of 8 bits, which has no sign, is 128 too large before that.
    Raises DataError for what is no WAV file, is cut short or empty, is compressed, or holds numbers that are not
    finite.
    """
    if len(data) < 12 or data[8:12] != b"WAVE" or data[:4] != b"RIFF":
        what = "it is empty" if not data else "it is no WAV file (RIFF, WAVE)"
        raise DataError(f"{what}: convert it, such as by sox or ffmpeg")
    chunks = _chunks(data)
    if b"fmt " not in chunks or b"data" not in chunks:
        missing = "format" if b"fmt " not in chunks else "samples"
        raise DataError(f"it has no {missing} (chunk {'fmt' if missing == 'format' else 'data'}): it is cut short")
    kind, channels, rate, frame, bits = _format(chunks[b"fmt "])
    content = chunks[b"data"]
    if len(content) % frame:
        raise DataError(
            f"its {len(content):,} bytes of samples are no whole number of frames of {frame}: it is damaged"
        )
    if not content:
        raise DataError("it has no samples")
    samples = _FLOATS[bits](content) if kind == FLOAT else _INTEGERS[bits](content)
    if not np.isfinite(samples).all():
        raise DataError("some of its samples are NaN or infinite")
    return Wav(samples.reshape(-1, channels), rate)


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each name. Raises DataError where one is longer than the file."""
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        # What follows the samples is not needed.
        if at + 8 + size > len(data) and name in (b"fmt ", b"data"):
            raise DataError(f"it is cut short: {len(data) - at - 8:,} of {size:,} bytes of its chunk {name.decode()!r}")
        found.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found


def _format(chunk: bytes) -> tuple[int, int, int, int, int]:
    """(format, channels, rate, bytes of a frame, bits of a sample). Raises DataError for what is not read."""
    if len(chunk) < 16:
        raise DataError(f"its chunk 'fmt ' has {len(chunk)} bytes, fewer than 16: it is damaged")
    kind, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", chunk[:16])
    if kind == EXTENSIBLE:
        if len(chunk) < 40 or chunk[26:40] != _GUID_TAIL:
            raise DataError("its samples are of a format without a number: convert it to PCM")
        kind = int.from_bytes(chunk[24:26], "little")
    readable = {PCM: _INTEGERS, FLOAT: _FLOATS}.get(kind)
    if readable is None:
        raise DataError(f"it is compressed ({_CODECS.get(kind, f'format {kind}')}): convert it to PCM")
    if bits not in readable:
        what = "PCM" if kind == PCM else "floating point"
        raise DataError(f"its samples are {what} of {bits} bits; those of {', '.join(map(str, readable))} are read")
    if not channels or not SLOWEST <= rate <= FASTEST or frame != channels * bits // 8:
        raise DataError(
            f"its format is {channels} channels of {bits} bits at {rate} Hz in frames of {frame} bytes: it is damaged"
        )
    return kind, channels, rate, frame, bits


def _of_24_bits(content: bytes) -> np.ndarray:
    three = np.frombuffer(content, np.uint8).reshape(-1, 3)
    # The upper three bytes of 32 bits, so that the sign is in its place.
    four = np.zeros((len(three), 4), np.uint8)
    four[:, 1:] = three
    return four.reshape(-1).view("<i4") / 2.0**31


_INTEGERS = {
    8: lambda content: (np.frombuffer(content, np.uint8).astype(np.float64) - 128) / 2**7,
    16: lambda content: np.frombuffer(content, "<i2") / 2.0**15,
    24: _of_24_bits,
    32: lambda content: np.frombuffer(content, "<i4") / 2.0**31,
}
_FLOATS = {
    32: lambda content: np.frombuffer(content, "<f4").astype(np.float64),
    64: lambda content: np.frombuffer(content, "<f8").astype(np.float64),
}


def as_int16(samples: np.ndarray) -> np.ndarray:
    """Samples in -1..1 as int16: times 32768, rounded (of two as near the even one), and clipped where they are beyond.

    What was read from 8 or 16 bits is exact.
    """
    return np.clip(np.rint(samples * FULL), -FULL, FULL - 1).astype(np.int16)
