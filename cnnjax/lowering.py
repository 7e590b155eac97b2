"""How convolutions that are traced from now on are lowered: by rules, or always in one way."""

from __future__ import annotations

import os
from typing import Literal, get_args

import jax

from cnnjax.errors import ConfigError, unknown

Lowering = Literal["auto", "xla", "direct", "patches", "taps", "products"]
LOWERINGS: tuple[str, ...] = get_args(Lowering)

_default = os.environ.get("CNNJAX_LOWERING", "auto")
if _default not in LOWERINGS:
    raise ConfigError(unknown("CNNJAX_LOWERING", _default, LOWERINGS))

lowering = jax.make_user_context(_default)
"""`with lowering("xla"):` what is traced here is lowered so, whatever the shapes. JAX keeps such traces apart.

"auto" chooses by shape (cnnjax.nn.lowering_rules). "xla" is `lax.conv_general_dilated`, and traced as just that;
"direct" too, its gradients as convolutions in the order of axes that XLA:CPU is quick at. "patches" copies each place's
window and takes one product; "taps" adds up a product for each position of the kernel. On other platforms than CPUs
these are XLA's own. "products" is "auto" on a CPU; elsewhere convolutions of lanes that each have a kernel of their own
are batched matrix products (cnnjax.nn.batched_products) and all others XLA's. The environment variable
CNNJAX_LOWERING, read once, sets it for the process.
No result depends on it but by rounding, and no trial's identity.
"""
