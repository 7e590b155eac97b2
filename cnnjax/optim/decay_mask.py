"""Which parameters weight decay leaves out: biases and scales, by their names."""

from __future__ import annotations

import re
from typing import Any

import jax

_WEIGHTS = {"kernel", "embedding"}
_BIASES_AND_SCALES = {"bias", "beta", "offset", "shift", "scale", "gamma", "gain", "g", "slope", "alpha", "temperature"}
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NORMALIZATION = re.compile(r"norm(alization)?[\d_]*$|^(bn|gn|ln)[\d_]*$", re.IGNORECASE)


def is_decayed(params: Any) -> Any:
    """The tree of `params` with whether "norm_and_bias" decays each one.

    A parameter's name decides, for under `nn.scan` and `nn.vmap` a scale has as many dimensions as a matrix. One with
    the word kernel or embedding in its name is decayed. Else one is not if its name has a word for a bias or a scale
    (`bias`, `scale`, `layer_scale`, `gamma`, `negative_slope`, a weight normalization's `g`, ...), or if its module
    is a normalization by name (`LayerNorm_0`, `bn1`). Parameters of other names are decayed from two dimensions on.
    """

    def decays(path: Any, leaf: jax.Array) -> bool:
        keys = [str(entry.key) for entry in path if isinstance(entry, jax.tree_util.DictKey)]
        *modules, name = keys or [""]
        # Flax's WeightNorm names a scale after what it scales: "Dense_0/kernel/scale".
        words = {word.lower() for word in _WORDS.findall(name.rpartition("/")[-1])}
        if words & _WEIGHTS:
            return True
        if words & _BIASES_AND_SCALES or _NORMALIZATION.search("".join(modules[-1:])):
            return False
        return leaf.ndim > 1

    return jax.tree_util.tree_map_with_path(decays, params)
