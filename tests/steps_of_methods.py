"""Steps of an optimizer with a method around it, on any loss, for tests of their arithmetic."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from cnnjax.training.methods.method import acted, begun, wrapped
from cnnjax.training.state import TrainState


def stepped(method, optim, params, loss, steps=5):
    """(parameters, the method's own state) after each step. loss: params -> a number."""
    methods, optimizer = {method.tag: method}, optim.build(steps=steps, steps_per_epoch=steps)
    params = jax.tree.map(jnp.asarray, params)
    state = TrainState(jnp.int32(0), params, {}, optimizer.init(params), {}, methods=begun(methods, params, {}))
    found = []
    for _ in range(steps):
        gradient = wrapped(
            methods,
            lambda params: (jax.grad(loss)(params), {}, {}),
            state.methods,
            key=lambda name: jax.random.key(0),
            step=state.step,
        )
        updates, opt_state = optimizer.update(gradient(state.params)[0], state.opt_state, state.params)
        moved = optax.apply_updates(state.params, updates)
        state = acted(methods, state, state.replace(step=state.step + 1, params=moved, opt_state=opt_state))
        found.append((state.params, state.methods.get(method.tag, {})))
    return found
