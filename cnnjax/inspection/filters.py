"""The filters of the first convolution (Krizhevsky et al. 2012, figure 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import traverse_util

from cnnjax.errors import ConfigError
from cnnjax.inspection.network import Network


def first_filters(network: Network) -> tuple[str, np.ndarray]:
    """(path of the convolution, its kernel as float32 [filters, height, width, channels]).

    The first layer in the order of computation that has a kernel of four dimensions. Raises ConfigError without one.
    """
    held: Any = traverse_util.flatten_dict(dict(network.variables["params"]), sep=".")
    for layer in network.layers:
        kernel = held.get(f"{layer.name}.kernel")
        if kernel is not None and np.ndim(kernel) == 4:
            return layer.name, np.moveaxis(np.asarray(kernel, np.float32), -1, 0)
    raise ConfigError("filters: the network has no convolution")
