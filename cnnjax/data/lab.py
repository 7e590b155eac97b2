"""CIE L*a*b* from sRGB and back, of NumPy or JAX arrays: a lightness and two colours that are none in grey.

sRGB is as IEC 61966-2-1 has it, white is D65 seen under 2 degrees, and L*a*b* is CIE 15 (2004, section 8.2.1). The
matrix and the white are those of scikit-image, so that numbers agree with `skimage.color.rgb2lab`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]], np.float64
)
"""Of linear RGB."""
FROM_XYZ = np.linalg.inv(TO_XYZ)
WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of D65."""

CUBE, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116
"""Below CUBE the cube root of L*a*b* is the line SLOPE t + OFFSET."""
CUBE_ROOT = 0.2068966
LINEAR, GAMMA = 0.04045, 2.4
"""Below LINEAR the curve of sRGB is a line of slope 1 / 12.92."""


def lab_of(rgb: Any) -> Any:
    """L* in 0..100, a* and b* (within -87..99 and -108..95) of sRGB colours [..., 3] in 0..1, in their dtype."""
    xp = _namespace(rgb)
    linear = xp.where(rgb > LINEAR, ((rgb + 0.055) / 1.055) ** GAMMA, rgb / 12.92)
    x, y, z = (t / white for t, white in zip(_combined(TO_XYZ, linear), WHITE, strict=True))
    x, y, z = (xp.where(t > CUBE, xp.cbrt(t), SLOPE * t + OFFSET) for t in (x, y, z))
    return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def rgb_of(lab: Any) -> Any:
    """sRGB [..., 3] of L*a*b* colours [..., 3], in their dtype, clipped to 0..1: colours that no screen has, too."""
    xp = _namespace(lab)
    y = (lab[..., 0] + 16) / 116
    x, z = lab[..., 1] / 500 + y, xp.maximum(y - lab[..., 2] / 200, 0.0)
    ratios = (xp.where(t > CUBE_ROOT, t**3, (t - OFFSET) / SLOPE) for t in (x, y, z))
    xyz = xp.stack([t * white for t, white in zip(ratios, WHITE, strict=True)], axis=-1)
    linear = xp.stack(_combined(FROM_XYZ, xyz), axis=-1)
    curved = 1.055 * xp.maximum(linear, LINEAR / 12.92) ** (1 / GAMMA) - 0.055
    return xp.clip(xp.where(linear > LINEAR / 12.92, curved, linear * 12.92), 0.0, 1.0)


def _combined(matrix: np.ndarray, colours: Any) -> list[Any]:
    """The matrix times each colour, by row; written out, since products of matrices are rounded on a GPU."""
    return [sum(float(row[channel]) * colours[..., channel] for channel in range(3)) for row in matrix]


def _namespace(array: Any) -> ModuleType:
    if isinstance(array, np.ndarray):
        return np
    import jax.numpy as jnp

    return jnp
