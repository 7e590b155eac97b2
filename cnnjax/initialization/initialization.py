"""What every initialization is: which kernels it draws, and each from a key of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import jax

from cnnjax.errors import ConfigError
from cnnjax.initialization.kernel import Kernel, replaced
from cnnjax.lanes import StepConfig


class Initialization(StepConfig, union="name"):
    """What the kernels of a network start as. One of your own defines `draw`.

    kernels: "all", or those of "convolution" alone, so that dense layers (a classifier's) keep their own. Kernels are
    the parameters named `kernel`, of any Linen module; biases, scales and all else stay as their layers make them, and
    so do kernels that a layer begins with at fixed values, such as zeros. A kernel's key follows from the seed and its
    path, so that it does not depend on the other layers.
    """

    fits: ClassVar[bool] = False
    """Whether kernels are fitted to the outputs of layers on the first training batch (`fitted`)."""

    fits_images: ClassVar[bool] = False
    """Whether kernels are fitted to the images of the first training batch themselves (`fitted_to_images`)."""

    kernels: Literal["all", "convolution"] = "all"

    def as_in_a_step(self) -> None:
        kernel = Kernel("kernel", (3, 3, 4, 4), (3, 3), 4, 4)
        self.draw(kernel, jax.random.key(0))

    def draw(self, kernel: Kernel, key: jax.Array) -> jax.Array:
        """The kernel, float32 of `kernel.layout`: (*window, channels of a group, features)."""
        raise ConfigError(f"{type(self).__name__} does not define draw()")

    def fitted(
        self, params: Any, kernels: Mapping[str, Kernel], variances: Mapping[str, jax.Array], tries: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array]:
        """One correction of the parameters, where `fits`: (parameters, tries, whether another is to follow).

        kernels: those that are drawn, by path, in the order of their calls. variances: of the outputs of each one's
        layer on the first training batch. tries: int32 [kernels], zeros at first.
        """
        raise ConfigError(f"{type(self).__name__} does not define fitted()")

    def fitted_to_images(self, params: Any, kernels: Mapping[str, Kernel], images: jax.Array) -> Any:
        """The parameters, fitted to images once, where `fits_images`; before `fitted`.

        kernels: those that are drawn, by path, in the order of their calls. images: float32 [B, H, W, C] of the first
        training batch, normalized and not augmented.
        """
        raise ConfigError(f"{type(self).__name__} does not define fitted_to_images()")

    def chosen(self, kernels: Mapping[str, Kernel]) -> dict[str, Kernel]:
        """Those of `kernels` that it draws. Raises ConfigError where there are none."""
        chosen = {path: kernel for path, kernel in kernels.items() if kernel.window or self.kernels == "all"}
        if not chosen:
            what = "convolution with a kernel" if self.kernels == "convolution" else "parameter named kernel"
            raise ConfigError(
                f"initialization = {self.tag!r}: the network has no {what} that is drawn at random",
                path="initialization",
            )
        return chosen

    def drawn(self, params: Any, kernels: Mapping[str, Kernel], key_of: Callable[[str], jax.Array]) -> dict[str, Any]:
        """The parameters with new kernels. key_of: path -> the key of that kernel."""

        def new(kernel: Kernel) -> jax.Array:
            return kernel.kept(lambda key: self._checked(kernel, self.draw(kernel, key)), key_of(kernel.path))

        return replaced(params, {path: new(kernel) for path, kernel in kernels.items()})

    def _checked(self, kernel: Kernel, drawn: jax.Array) -> jax.Array:
        if drawn.shape != kernel.layout:
            raise ConfigError(
                f"{type(self).__name__}.draw gives {drawn.shape} for {kernel.path}, which is {kernel.layout}",
                path="initialization",
            )
        return drawn.astype("float32")


def preset(make: Callable[[], Initialization]) -> Callable[[], Initialization]:
    """Register a setting under its function's name: `initialization=he_fan_out`."""
    Initialization.presets[make.__name__] = make
    return make
