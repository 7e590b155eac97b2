"""The operations of the augmentation policies and their magnitudes, as tables; no JAX.

A space names the operations that may be drawn and, for those that have a strength, its weakest and strongest value:

    shear_x, shear_y            slope: pixels moved per pixel from the top or left edge
    translate_x, translate_y    share of the width or height, or pixels; whole pixels are moved
    rotate                      degrees, counter-clockwise
    brightness, color, contrast, sharpness    change of the factor, which is 1 for the image as it is
    posterize                   bits kept of 8
    solarize                    threshold in 0..1, from which on values are inverted
    solarize_add                what is added, in 0..1, to values below 128 of 255
    identity, autocontrast, equalize, invert  without a strength

The tables are torchvision's, which follow the papers and their code, and timm's (`TIMM`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
    "invert",
    "solarize_add",
)


class Strength(NamedTuple):
    """The magnitudes of an operation, evenly spaced from `weakest` to `strongest`.

    signed: the opposite magnitude is as likely. of: what the magnitude is a share of. whole: rounded to an integer.
    steps: how many there are from the weakest to the strongest, of a magnitude that is drawn between levels and rounded
    down to a step; 0 for any.
    """

    weakest: float
    strongest: float
    signed: bool = False
    of: Literal["", "width", "height"] = ""
    whole: bool = False
    steps: int = 0


Space = Mapping[str, Strength | None]


def _space(
    *,
    slope: float,
    shift: float,
    degrees: float,
    bits: tuple[int, int],
    factor: float | None,
    relative: bool = True,
    plain: tuple[str, ...] = ("identity",),
) -> Space:
    """shift: a share of the image's side if `relative`, else pixels. plain: names without a strength to add."""
    space: dict[str, Strength | None] = dict.fromkeys(plain)
    space |= dict.fromkeys(("shear_x", "shear_y"), Strength(0, slope, signed=True))
    space["translate_x"] = Strength(0, shift, signed=True, of="width" if relative else "")
    space["translate_y"] = Strength(0, shift, signed=True, of="height" if relative else "")
    space["rotate"] = Strength(0, degrees, signed=True)
    if factor is not None:
        space |= dict.fromkeys(("brightness", "color", "contrast", "sharpness"), Strength(0, factor, signed=True))
    space |= {"posterize": Strength(*bits, whole=True), "solarize": Strength(1, 0)}
    return MappingProxyType(space | {"autocontrast": None, "equalize": None})


_LEARNED = {"slope": 0.3, "shift": 150 / 331, "degrees": 30, "bits": (8, 4), "factor": 0.9}
RANDAUGMENT = _space(**_LEARNED)
AUTOAUGMENT = _space(**_LEARNED, plain=("identity", "invert"))
TRIVIALAUGMENT = _space(slope=0.99, shift=32, relative=False, degrees=135, bits=(8, 2), factor=0.99)
AUGMIX = _space(slope=0.3, shift=1 / 3, degrees=30, bits=(4, 0), factor=0.9, plain=())
AUGMIX_WITHOUT_COLORS = _space(slope=0.3, shift=1 / 3, degrees=30, bits=(4, 0), factor=None, plain=())


TIMM: Space = MappingProxyType(
    dict.fromkeys(("autocontrast", "equalize", "invert"))
    | {
        "rotate": Strength(0, 30, signed=True),
        "posterize": Strength(4, 0, steps=4),
        # Between two levels, so that rounding takes none of them to the wrong side: from level 256 - k on.
        "solarize": Strength(255.5 / 255, -0.5 / 255, steps=256),
        "solarize_add": Strength(0, 110 / 255, steps=110),
    }
    | dict.fromkeys(("color", "contrast", "brightness", "sharpness"), Strength(0, 0.9, signed=True))
    | dict.fromkeys(("shear_x", "shear_y"), Strength(0, 0.3, signed=True))
    | {
        "translate_x": Strength(0, 0.45, signed=True, of="width"),
        "translate_y": Strength(0, 0.45, signed=True, of="height"),
    }
)
"""timm's fifteen operations that grow with the level (`rand-...-inc1`)."""


def ends(space: Space, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weakest and the strongest magnitude of each operation, for images of `size`, and the steps between."""
    found = []
    for strength in space.values():
        unit = 1 if strength is None else {"": 1, "height": size[0], "width": size[1]}[strength.of]
        found.append((0, 0, 0) if strength is None else (unit * strength[0], unit * strength[1], strength.steps))
    weakest, strongest, steps = np.array(found, np.float32).T
    return weakest, strongest, steps


def magnitudes(space: Space, size: tuple[int, ...], *, levels: int) -> np.ndarray:
    """The magnitude of each operation of the space at each level, for images of `size`: [operations, levels]."""
    return np.stack([_magnitudes(strength, size, levels) for strength in space.values()])


def _magnitudes(strength: Strength | None, size: tuple[int, ...], levels: int) -> np.ndarray:
    if strength is None:
        return np.zeros(levels, np.float32)
    unit = {"": 1, "height": size[0], "width": size[1]}[strength.of]
    values = unit * np.linspace(strength.weakest, strength.strongest, levels)
    return (np.round(values) if strength.whole else values).astype(np.float32)


def signed(space: Space) -> np.ndarray:
    """Which operations of the space have magnitudes of either sign: [operations] booleans."""
    return np.array([strength is not None and strength.signed for strength in space.values()])


Subpolicy = tuple[tuple[str, float, int], ...]
"""Operations one after the other: name, probability, level of ten (0 where the operation has no strength)."""


def subpolicy_table(
    subpolicies: tuple[Subpolicy, ...], space: Space, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, probabilities and magnitudes of the operations, each [subpolicies, operations]."""
    table, names = magnitudes(space, size, levels=10), list(space)
    numbers = np.array([[names.index(name) for name, _, _ in pair] for pair in subpolicies], np.int32)
    probabilities = np.array([[probability for _, probability, _ in pair] for pair in subpolicies], np.float32)
    levels = np.array([[level for _, _, level in pair] for pair in subpolicies])
    return numbers, probabilities, table[numbers, levels]
