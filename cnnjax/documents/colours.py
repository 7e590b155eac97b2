"""The colours of a page in its light and its dark theme, and those of pictures on it.

A picture is drawn once, on white. On a page each of its colours is a variable, whose dark value `on_dark` computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "ink": "#1b1f24",
    "soft": "#57606a",
    "line": "#d8dee4",
    "paper": "#ffffff",
    "band": "#f6f8fa",
    "mark": "#fff3cd",
    "link": "#0a5ea8",
    "focus": "#0a5ea8",
}
"""The variables of the light theme. ink, soft and link are of text, on paper, band or mark."""
DARK: Mapping[str, str] = {
    "ink": "#e6edf3",
    "soft": "#9aa4af",
    "line": "#3b434d",
    "paper": "#14181d",
    "band": "#1c2229",
    "mark": "#3d3210",
    "link": "#7cb7f0",
    "focus": "#7cb7f0",
}


def contrast(one: str, other: str) -> float:
    """The contrast of two colours `#rrggbb`, from 1 to 21 (WCAG 2.2, relative luminance)."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def on_dark(colour: str) -> str:
    """The colour `#rrggbb` of a picture on white, for the same picture on the dark theme's paper.

    Greys and pale tints are turned round, white to the paper and black to its ink; others keep their hue and the order
    of their lightness, and become lighter. Lightness, chroma and hue are Oklab's (Ottosson 2020).
    """
    lightness, a, b = _oklab(colour)
    if math.hypot(a, b) < 0.03 or lightness > 0.9:
        paper, ink = _oklab(DARK["paper"])[0], _oklab("#f4f7fa")[0]
        return _in_gamut(paper + (1 - lightness) ** 0.8 * (ink - paper), a, b)
    return _in_gamut(0.45 + 0.5 * lightness, a, b)


def _channels(colour: str) -> list[float]:
    """Linear red, green and blue, 0 to 1."""
    shown = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in shown]


def _luminance(colour: str) -> float:
    red, green, blue = _channels(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _oklab(colour: str) -> tuple[float, float, float]:
    red, green, blue = _channels(colour)
    l = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    m = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    s = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    )


def _in_gamut(lightness: float, a: float, b: float) -> str:
    """The colour of this lightness and hue, with as much of its chroma as a screen has."""
    tried = (_linear(lightness, a * share / 20, b * share / 20) for share in range(20, 0, -1))
    inside = (channels for channels in tried if all(-1e-6 <= value <= 1 + 1e-6 for value in channels))
    channels = next(inside, _linear(lightness, 0.0, 0.0))
    return "#" + "".join(f"{_byte(value):02x}" for value in channels)


def _linear(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
        -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
        -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s,
    )


def _byte(value: float) -> int:
    value = min(max(value, 0.0), 1.0)
    return round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))
