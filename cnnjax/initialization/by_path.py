"""Initializations by the paths of parameters, and constant biases: what a paper says layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from pydantic import AfterValidator, model_validator

from cnnjax.config import Config, Named
from cnnjax.errors import ConfigError
from cnnjax.initialization.initialization import Initialization
from cnnjax.initialization.kernel import Kernel, replaced


class Rule(Config):
    """What the kernels are drawn by whose paths match a pattern: `Rule(kernels="logits.*", by=FixedStd(std=0.01))`.

    kernels: the pattern, on a kernel's path. by: what they are drawn by.
    """

    kernels: str
    by: Initialization


class ByPath(Initialization, tag="by_path"):
    """Kernels by the first of the `rules` whose pattern matches their path; others keep their layer's own.

    Patterns are those of `optim.groups`: `*` stands for anything, dots too, `[245]` for one of some. A rule's own
    `kernels` field narrows what it draws. biases: the constant that biases start at, by patterns of their paths, the
    first match; others stay as their layers make them (0). A pattern that decides about nothing is refused.
    """

    rules: tuple[Rule, ...] = ()
    biases: Annotated[Mapping[str, float], AfterValidator(Named)] = Named()

    @model_validator(mode="after")
    def _says_something(self) -> ByPath:
        if not self.rules and not self.biases:
            raise ValueError("by_path: give rules for kernels, biases, or both")
        for number, rule in enumerate(self.rules):
            if rule.by.fits or rule.by.fits_images or isinstance(rule.by, ByPath):
                raise ValueError(f"rules.{number}.by: {rule.by.tag} is for a network as a whole")
        return self

    def draw(self, kernel: Kernel, key: jax.Array) -> jax.Array:
        rule = self._rule(kernel.path)
        if rule is None:
            raise ConfigError(f"initialization: no rule is for {kernel.path}", path="initialization")
        return rule.by.draw(kernel, key)

    def chosen(self, kernels: Mapping[str, Kernel]) -> dict[str, Kernel]:
        allowed = {path: kernel for path, kernel in kernels.items() if kernel.window or self.kernels == "all"}
        decided = {path: rule for path in allowed if (rule := self._rule(path)) is not None}
        for number, rule in enumerate(self.rules):
            if not any(rule is other for other in decided.values()):
                raise ConfigError(
                    f"initialization: rules.{number}: {rule.kernels!r} is not the first to match any kernel that is "
                    f"drawn at random; there are {', '.join(allowed)}",
                    path="initialization",
                )
        narrow = ((path, rule) for path, rule in decided.items() if allowed[path].window or rule.by.kernels == "all")
        return {path: allowed[path] for path, _ in narrow}

    def drawn(self, params: Any, kernels: Mapping[str, Kernel], key_of: Callable[[str], jax.Array]) -> dict[str, Any]:
        flat: Any = traverse_util.flatten_dict(dict(params), sep=".")
        biases, used = {}, set()
        for path, leaf in flat.items():
            pattern = next((pattern for pattern in self.biases if fnmatchcase(path, pattern)), None)
            if pattern is not None and path.rpartition(".")[2] == "bias":
                biases[path] = jnp.full_like(leaf, self.biases[pattern])
                used.add(pattern)
        for pattern in self.biases:
            if pattern not in used:
                there = ", ".join(path for path in flat if path.rpartition(".")[2] == "bias")
                raise ConfigError(
                    f"initialization: biases: {pattern!r} is not the first to match any bias; there are {there}",
                    path="initialization",
                )
        return replaced(super().drawn(params, kernels, key_of), biases)

    def _rule(self, path: str) -> Rule | None:
        return next((rule for rule in self.rules if fnmatchcase(path, rule.kernels)), None)
