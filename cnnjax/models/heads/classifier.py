"""The weights of a trained classifier as the beginning of the same network under a head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

BACKBONE, HEAD = "backbone", "head"
CONVOLVED = {"conv6": "dense6", "conv7": "dense7"}
"""FCN's convolutions, and the dense layers of VGG and AlexNet that they were."""


def is_under_head(variables: Mapping[str, Any]) -> bool:
    """Whether these variables, by collection, are a backbone's under a head (`with_head`)."""
    return variables.get("params", {}).keys() == {BACKBONE, HEAD}


def under_head(classifier: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A classifier's variables (host arrays, by collection) in the places of those of its network under a head, `own`.

    The backbone's are the classifier's, by their names; what the backbone has not, is left out. The head keeps its own,
    but for FCN's two convolutions, which are the classifier's dense layers where they have as many inputs and outputs
    (Long et al. 2015, section 3.1): a kernel [h w C, F] is one of [h, w, C, F].
    """
    placed = {name: dict(held) for name, held in own.items()}
    for name, held in placed.items():
        if BACKBONE in held:
            inside = held[BACKBONE]
            held[BACKBONE] = {part: leaves for part, leaves in classifier.get(name, {}).items() if part in inside}
    head = dict(own["params"][HEAD])
    for name, dense in CONVOLVED.items():
        if name in head and dense in classifier["params"]:
            head[name] = {**head[name], "conv": _convolved(classifier["params"][dense], head[name]["conv"])}
    placed["params"][HEAD] = head
    return placed


def _convolved(dense: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dense layer's arrays in the shapes of the convolution's; the convolution's own where they do not fit."""
    *window, features = own["kernel"].shape
    if own.keys() != dense.keys() or np.shape(dense["kernel"]) != (math.prod(window), features):
        return own
    return {name: np.reshape(dense[name], leaf.shape) for name, leaf in own.items()}


def boxes_by_class(shapes: Mapping[tuple[str, ...], tuple[int, ...]], path: tuple[str, ...]) -> bool:
    """Whether the array at `path` is of the second stage's layer of boxes, which are four numbers for each logit.

    shapes: of all arrays beside it. In one stage a box is of no class, and its layer a convolution.
    """
    if len(path) < 2 or path[-2] != "box":
        return False
    logits, box = (shapes.get((*path[:-2], name, "kernel"), ()) for name in ("logits", "box"))
    return len(logits) == len(box) == 2 and box[-1] == 4 * logits[-1]
