"""How deep each parameter of a network is, in blocks or stages from the logits, for learning rates that fall with it.

A block is a module of the network's own, in the order in which they are called: a ResNet's stem is one, and each of its
residual blocks; of plain layers each convolution. A module named `norm...` belongs to the block before it, one named
`downsample...` to the block after it (as timm and ConvNeXt have it). A stage is what an endpoint is computed from
(`Model.endpoints`) and the one before is not, without the modules whose names begin with `stem`, which come before the
first. What no endpoint is computed from (the classifier, and a normalization before it) is at depth 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Literal as Constant

from cnnjax import calling
from cnnjax.errors import ConfigError
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.heads.head import HeadedNetwork

By = Literal["block", "stage"]
Shape = tuple[int, int, int]


def depths(network: nn.Module, image_shape: Shape, endpoints: tuple[Endpoint, ...], by: By) -> dict[str, int]:
    """How many blocks or stages each parameter is from the logits, by its dotted path.

    0: the layers of logits and all behind the last endpoint; the largest is the first block. endpoints: of the
    network's model, () where it has none: then the last block is at depth 0, and there are no stages. Of a network
    under a head the backbone's blocks count, and the head is at depth 0. Raises ConfigError where all would be at one
    depth.
    """
    if isinstance(network, HeadedNetwork):
        whole = dict.fromkeys(_first_calls(network, image_shape)[1], 0)
        below = depths(network.backbone, image_shape, network.endpoints, by)
        return whole | {path: depth for name, depth in below.items() if (path := f"backbone.{name}") in whole}
    called, params = _first_calls(network, image_shape)
    if by == "stage":
        found = _by_stage(network, image_shape, [endpoint.name for endpoint in endpoints], params)
    else:
        below = set(_first_calls(network, image_shape, endpoints=True)[0] if endpoints else called[:-1])
        found = _by_block([block for block in called if block in below], params)
    if len(set(found.values())) < 2:
        raise ConfigError(f"optim.layer_decay: the network has one {by} with parameters, so that none is deeper")
    return found


def _by_block(called: list[str], params: list[str]) -> dict[str, int]:
    """The depth of each parameter by its module among those `called` below the logits; that of others is 0."""
    blocks: list[list[str]] = []
    for name in called:
        joins = blocks and (name.startswith("norm") or blocks[-1][-1].startswith("downsample"))
        blocks = [*blocks[:-1], [*blocks[-1], name]] if joins else [*blocks, [name]]
    depth = {name: len(blocks) - number for number, names in enumerate(blocks) for name in names}
    # A parameter of the network itself, in no module of its own, counts to the first block.
    return {path: depth.get(path.partition(".")[0], 0 if "." in path else len(blocks)) for path in params}


def _by_stage(network: nn.Module, image_shape: Shape, endpoints: list[str], params: list[str]) -> dict[str, int]:
    if not endpoints:
        raise ConfigError("optim.layer_decay_by = 'stage': the model has no endpoints, so no stages; take 'block'")
    reached = _reached(network, image_shape)
    found = {}
    for path in params:
        stage = next((number for number, name in enumerate(endpoints) if path in reached[name]), len(endpoints))
        found[path] = len(endpoints) - stage + (path.startswith("stem") and stage == 0)
    return found


def _abstract(network: nn.Module, image_shape: Shape) -> tuple[Any, Any, jax.ShapeDtypeStruct]:
    """The shapes of parameters, other variables, and a batch of one image."""
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables: dict[str, Any] = dict(jax.eval_shape(lambda x: calling.init(network, jax.random.key(0), x), images))
    return variables.pop("params", {}), variables, images


def _paths(params: Any) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]


def _first_calls(network: nn.Module, image_shape: Shape, **options: Any) -> tuple[list[str], list[str]]:
    """The network's own modules with parameters in the order of their first calls, and the paths of all parameters."""
    params, others, images = _abstract(network, image_shape)
    names: dict[str, None] = {}

    def record(method: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if context.module.path and context.method_name != "setup":
            names[context.module.path[0]] = None
        return method(*args, **kwargs)

    module, mode = calling.in_mode(network, train=False)
    with nn.intercept_methods(record):
        jax.eval_shape(lambda given, x: module.apply(given, x, **mode, **options), {"params": params, **others}, images)
    return [name for name in names if name in params], _paths(params)


def _reached(network: nn.Module, image_shape: Shape) -> Mapping[str, set[str]]:
    """The paths of the parameters that each endpoint is computed from, by its name."""
    params, others, images = _abstract(network, image_shape)
    module, mode = calling.in_mode(network, train=False)

    def maps(given: Any, others: Any, x: jax.Array) -> Any:
        return module.apply({"params": given, **others}, x, endpoints=True, **mode)

    traced, shapes = jax.make_jaxpr(maps, return_shape=True)(params, others, images)
    paths, jaxpr = _paths(params), traced.jaxpr
    behind = {variable: {path} for variable, path in zip(jaxpr.invars, paths, strict=False)}
    for equation in jaxpr.eqns:
        read = [behind.get(variable, set()) for variable in equation.invars if not isinstance(variable, Constant)]
        behind |= dict.fromkeys(equation.outvars, set().union(*read))
    outputs = [set() if isinstance(variable, Constant) else behind.get(variable, set()) for variable in jaxpr.outvars]
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)
