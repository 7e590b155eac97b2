"""Changes of spectrograms: bands of time and of frequency that are blotted out, and shifts in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from cnnjax.data.augment.augmentation import Augmentation, Probability
from cnnjax.data.augment.erase import Fill, filling

if TYPE_CHECKING:
    import jax

    from cnnjax.data.augment.moves import Move


class SpecAugment(Augmentation):
    """Blot out bands of frequencies and stretches of time of a spectrogram (Park et al. 2019, arXiv:1904.08779).

    Rows of the image are bands, columns are frames. Each of `frequency_masks` hides f consecutive rows, f evenly from 0
    to `frequency`, at any place where they fit; each of `time_masks` hides t columns likewise, t from 0 to `time`, and
    at most the share `most` of all columns (the paper's p). They may overlap. Section 2 of the paper without its time
    warping, which it finds to help least. Its policies have frequency, time, most and masks of each kind of 27, 100, 1
    and 1 (LB), 27, 100, 1 and 2 (LD), 15, 70, 0.2 and 2 (SM), 27, 70, 0.2 and 2 (SS), for 80 bands.

    fill: as of RandomErasing; "mean" is the image's own mean (the paper's zero, of spectrograms normalized to a mean of
    zero).
    """

    pixels_stay: ClassVar[bool] = True

    frequency: int = Field(default=8, ge=0)
    frequency_masks: int = Field(default=2, ge=0)
    time: int = Field(default=16, ge=0)
    time_masks: int = Field(default=2, ge=0)
    most: Probability = 1.0
    fill: Fill = "mean"

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax

        height, width, _ = image.shape
        rows, columns, noise = jax.random.split(key, 3)
        hidden = _masked(rows, height, min(self.frequency, height), self.frequency_masks)[:, None, None]
        longest = min(self.time, int(self.most * width))
        hidden = hidden | _masked(columns, width, longest, self.time_masks)[None, :, None]
        return jax.numpy.where(hidden, filling(image, self.fill, noise), image)


def _masked(key: jax.Array, size: int, longest: int, count: int) -> jax.Array:
    """Which of `size` places are hidden by `count` masks of 0 to `longest` places, at any place within: bool [size]."""
    import jax
    import jax.numpy as jnp

    lengths, places = (jax.random.uniform(own, (count, 1)) for own in jax.random.split(key))
    # Whole numbers from 0 to the limit, each as often; rounding may not reach the one above.
    length = jnp.minimum(jnp.floor(lengths * (longest + 1)), longest)
    start = jnp.minimum(jnp.floor(places * (size - length + 1)), size - length)
    at = jnp.arange(size, dtype=jnp.float32)[None]
    return ((at >= start) & (at < start + length)).any(0)


class TimeShift(Augmentation):
    """Move a spectrogram by up to `frames` columns to the left or right, evenly; black, which is silence, moves in.

    Tang & Lin (2018, arXiv:1710.10361, section 4.1) shift clips of a second by up to 100 ms: 10 frames that are 10 ms
    apart.
    """

    frames: int = Field(default=10, ge=0)

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        import jax

        from cnnjax.data.augment.moves import Window

        column = jax.random.randint(key, (), 0, 2 * self.frames + 1)
        return (Window(jax.numpy.int32(self.frames), column, self.frames),)
