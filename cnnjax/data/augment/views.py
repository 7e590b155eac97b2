"""Several views of one image for evaluation; the mean of a network's outputs for them is its prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from cnnjax.config import later
from cnnjax.data.augment.augmentation import SIDE, distance
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig

if TYPE_CHECKING:
    import jax

Method = Literal["bilinear", "bicubic"]


def flip(image: jax.Array) -> jax.Array:
    """The image [H, W, C] and its mirror image: [2, H, W, C]."""
    import jax.numpy as jnp

    return jnp.stack([image, image[:, ::-1]])


def resize_shorter(image: jax.Array, *, shorter: int, method: Method = "bilinear") -> jax.Array:
    """Resize with antialiasing so that the shorter side has `shorter` pixels; the longer is rounded down."""
    from cnnjax.data.augment import resample

    height, width, _ = image.shape
    least = min(height, width)
    return resample.resize(image, (height * shorter // least, width * shorter // least), method=method)


def resize_centre_crop(image: jax.Array, *, shorter: int, size: int, method: Method = "bilinear") -> jax.Array:
    """Resize the shorter side to `shorter` pixels and take the central `size` x `size`: [1, size, size, C]."""
    return five_crop(resize_shorter(image, shorter=shorter, method=method), size=size)[-1:]


def five_crop(image: jax.Array, *, size: int) -> jax.Array:
    """The squares of `size` pixels at top left, top right, bottom left, bottom right and centre: [5, size, size, C]."""
    import jax.numpy as jnp

    height, width, _ = image.shape
    if size > min(height, width):
        raise ConfigError(f"a crop of {size}x{size} does not fit into an image of {height}x{width}")
    down, right = height - size, width - size
    corners = [(0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))]
    return jnp.stack([image[top : top + size, left : left + size] for top, left in corners])


def ten_crop(image: jax.Array, *, size: int) -> jax.Array:
    """`five_crop` of the image and of its mirror image: [10, size, size, C] (Krizhevsky et al. 2012)."""
    import jax.numpy as jnp

    return jnp.concatenate([five_crop(view, size=size) for view in flip(image)])


def multi_crop(image: jax.Array, *, shorter: tuple[int, ...], size: int, method: Method = "bilinear") -> jax.Array:
    """Crops at several scales and their mirror images: [K, size, size, C] (Szegedy et al. 2014, section 7).

    For each of `shorter`: resized so that this is the shorter side, the image has three squares that fill it (left,
    centre, right, or top, centre, bottom; one if it is a square); of each, five crops and the whole, resized, are
    taken, and mirrored. Four scales of an oblong image are 144 crops.
    """
    import jax.numpy as jnp

    from cnnjax.data.augment import resample

    views = []
    for scale in shorter:
        for square in _squares(resize_shorter(image, shorter=scale, method=method)):
            whole = resample.resize(square, (size, size), method=method)
            views.append(jnp.concatenate([five_crop(square, size=size), whole[None]]))
    crops = jnp.concatenate(views)
    return jnp.concatenate([crops, crops[:, :, ::-1]])


def _squares(image: jax.Array) -> list[jax.Array]:
    height, width, _ = image.shape
    side, spare = min(height, width), abs(height - width)
    starts = [0, round(spare / 2), spare] if spare else [0]
    if height > width:
        return [image[start : start + side] for start in starts]
    return [image[:, start : start + side] for start in starts]


class TestTime(StepConfig, union="name"):
    """The views of an image whose predictions are averaged. A subclass defines `views`.

    For predictions that are maps, one value or more for each pixel, it must define `back` too.

    mean: what is averaged over the views, the network's "outputs" or, of a classification with the softmax loss, the
    "probabilities" (Krizhevsky et al. 2012, Szegedy et al. 2014), whose logarithms then stand for the logits.
    """

    __test__: ClassVar[bool] = False

    mean: Literal["outputs", "probabilities"] = later("outputs")

    def as_in_a_step(self) -> None:
        import jax.numpy as jnp

        self.views(jnp.zeros((SIDE, SIDE, 3)))

    def views(self, image: jax.Array) -> jax.Array:
        """The views [K, h, w, C] of an image [H, W, C], float in 0..1."""
        raise ConfigError(f"{type(self).__name__} does not define views()")

    def back(self, maps: jax.Array, size: tuple[int, int]) -> jax.Array:
        """Maps [K, h, w, C] of the views, brought back onto the image of `size` (height, width): [K, H, W, C].

        Raises ConfigError where the views are none that this can be done for.
        """
        raise ConfigError(
            f"test_time = {self.tag!r} does not say how the maps of its views are brought back onto the image: define "
            "back() in the class, or take test_time=none or flip"
        )

    def check_maps(self, image_shape: tuple[int, int, int]) -> None:
        """Raise ConfigError unless `back` brings maps of the views onto images of `image_shape` (H, W, C).

        So where a subclass redefines `views` without `back`: what its base says is of other views.
        """
        import jax
        import jax.numpy as jnp

        size = image_shape[:2]
        if distance(type(self), "views") < distance(type(self), "back"):
            TestTime.back(self, jnp.zeros(0), size)
        views: Any = jax.eval_shape(self.views, jax.ShapeDtypeStruct(image_shape, jnp.float32))
        maps = jax.ShapeDtypeStruct((*views.shape[:-1], 1), jnp.float32)
        back: Any = jax.eval_shape(lambda maps: self.back(maps, size), maps)
        if back.shape != (views.shape[0], *size, 1):
            raise ConfigError(
                f"test_time = {self.tag!r}: back() makes maps {list(back.shape)} of {list(maps.shape)}; for "
                f"{views.shape[0]} views of an image of {size[0]}x{size[1]} they must be "
                f"{[views.shape[0], *size, 1]}"
            )


class SingleView(TestTime, tag="none"):
    """The image as it is."""

    def views(self, image: jax.Array) -> jax.Array:
        return image[None]

    def back(self, maps: jax.Array, size: tuple[int, int]) -> jax.Array:
        return maps


class FlipViews(TestTime, tag="flip"):
    """The image and its mirror image.

    shift: pixels by which the image is moved up and to the left, and down and to the right, too (at least 0); what
    comes in is reflected. Both, the image itself counted twice, and the mirror images of all are eight views, so that
    the unmoved ones have half of the weight (Jordan 2024, arXiv:2404.00498, section 3.5, with 1 pixel). 0: two views.
    """

    shift: int = later(0, ge=0)

    def views(self, image: jax.Array) -> jax.Array:
        import jax.numpy as jnp

        if not self.shift:
            return flip(image)
        height, width, _ = image.shape
        if self.shift >= min(height, width):
            raise ConfigError(f"test_time.shift = {self.shift}: an image of {height}x{width} is not that large")
        padded = jnp.pad(image, [(self.shift, self.shift)] * 2 + [(0, 0)], mode="reflect")
        down_and_right, up_and_left = padded[:height, :width], padded[2 * self.shift :, 2 * self.shift :]
        return jnp.concatenate([flip(view) for view in (image, image, down_and_right, up_and_left)])

    def back(self, maps: jax.Array, size: tuple[int, int]) -> jax.Array:
        import jax.numpy as jnp

        if self.shift:
            raise _crops_differ(self)
        return jnp.stack([maps[0], maps[1, :, ::-1]])


class TenCrop(TestTime):
    """Four corners, the centre and their mirror images (Krizhevsky et al. 2012).

    size: pixels of a crop's side. shorter: pixels of the shorter side that the image is resized to before; None for
    none.

    method: how pixels are interpolated where the image is resized.
    """

    size: int = Field(default=224, ge=1)
    shorter: int | None = Field(default=256, ge=1)
    method: Method = "bilinear"

    @model_validator(mode="after")
    def _crops_fit(self) -> TenCrop:
        if self.shorter is not None and self.size > self.shorter:
            raise ValueError(f"size = {self.size} does not fit into a shorter side of {self.shorter} pixels")
        return self

    def views(self, image: jax.Array) -> jax.Array:
        resized = resize_shorter(image, shorter=self.shorter, method=self.method) if self.shorter else image
        return ten_crop(resized, size=self.size)

    def back(self, maps: jax.Array, size: tuple[int, int]) -> jax.Array:
        raise _crops_differ(self)


class MultiCrop(TestTime):
    """Crops at several scales and their mirror images (Szegedy et al. 2014, section 7).

    size: pixels of a crop's side. shorter: the shorter sides, in pixels, that the image is resized to.

    method: how pixels are interpolated where the image is resized.
    """

    size: int = Field(default=224, ge=1)
    shorter: tuple[int, ...] = Field(default=(256, 288, 320, 352), min_length=1)
    method: Method = "bilinear"

    @model_validator(mode="after")
    def _crops_fit(self) -> MultiCrop:
        if self.size > min(self.shorter):
            raise ValueError(f"size = {self.size} does not fit into a shorter side of {min(self.shorter)} pixels")
        return self

    def views(self, image: jax.Array) -> jax.Array:
        return multi_crop(image, shorter=self.shorter, size=self.size, method=self.method)

    def back(self, maps: jax.Array, size: tuple[int, int]) -> jax.Array:
        raise _crops_differ(self)


def _crops_differ(test_time: TestTime) -> ConfigError:
    return ConfigError(
        f"test_time = {test_time.tag!r}: its crops show parts of the image, some pixels in more of them than others or "
        "in none, so that their maps have no mean over the whole image; take test_time=none or flip"
    )
