"""Whose weights are evaluated: those that are trained, or what a method or the optimizer makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.errors import ConfigError
from cnnjax.optim import Optim
from cnnjax.training.methods.method import Method


def check_methods(methods: Sequence[Method], optim: Optim | None) -> None:
    """Raise ConfigError for two of a kind, and for two that are evaluated instead of the trained weights."""
    tags = [method.tag for method in methods]
    for tag in tags:
        if tags.count(tag) > 1:
            raise ConfigError(f"{tag!r} stands there twice; a method can be there once")
    instead = [method.tag for method in methods if method.evaluates() and method.measured == "instead"]
    if optim is not None and optim.evaluates():
        if optim.tag in tags:
            raise ConfigError(f"a method and the optimizer are both called {optim.tag!r}, as their weights would be")
        moving = [method.tag for method in methods if method.moves_weights]
        if moving:
            raise ConfigError(
                f"{moving[0]} moves the weights after the update, of which {optim.tag} makes those that it evaluates: "
                "they would be of neither; use one of both"
            )
        instead = [optim.tag, *instead]
    if len(instead) > 1:
        raise ConfigError(f"{' and '.join(instead)} are both evaluated instead of the trained weights; only one can be")


def evaluations(methods: Sequence[Method], optim: Optim | None) -> dict[str, str | None]:
    """Whose weights are measured, by what is put into the names of the metrics: {"": None, "ema": "ema"}.

    None are the trained weights. Under "" is what counts as the result: these, or those of the method or the optimizer
    that is measured instead.
    """
    measured = [method for method in methods if method.evaluates()]
    main = next((method.tag for method in measured if method.measured == "instead"), None)
    if optim is not None and optim.evaluates():
        main = optim.tag
    return {"": main} | {method.tag: method.tag for method in measured if method.measured == "beside"}


def of_others(methods: Sequence[Method], optim: Optim | None) -> tuple[str, ...]:
    """The names of all weights but the trained ones."""
    return tuple(name for name in evaluations(methods, optim).values() if name is not None)


def estimated(methods: Sequence[Method], optim: Optim | None) -> tuple[str, ...]:
    """The names of weights whose batch statistics are estimated anew."""
    own = {method.tag for method in methods if method.statistics == "own"}
    return tuple(name for name in of_others(methods, optim) if name not in own)


def unestimated(names: Sequence[str], batch_stats: Any) -> dict[str, Any]:
    """What a state holds of the estimates (`TrainState.estimated`) before there are any; empty without statistics."""
    if not jax.tree.leaves(batch_stats):
        return {}
    return {name: {"batch_stats": jax.tree.map(jnp.copy, batch_stats), "step": jnp.int32(-1)} for name in names}
