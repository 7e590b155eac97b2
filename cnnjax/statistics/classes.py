"""Answers by class: which class each example is taken for, and which classes are taken for which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int_]
Floats = NDArray[np.float64]


def taken_for(outputs: np.ndarray, target: np.ndarray, right: np.ndarray, *, classes: int) -> Ints:
    """The class that each example is taken for, [N]; -1 where an output is NaN.

    outputs: [N, K] with K at least `classes`, of which the first are the classes', or the log-odds of the second of two
    classes, [N, 1]; they may be rounded. target: [N], right: bool [N], whether the exact outputs are largest at it:
    where rounding has made outputs equal, it decides. Raises ValueError for outputs that rank no such classes.
    """
    if outputs.shape[1] == 1 and classes == 2:
        scores = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    elif outputs.shape[1] >= classes:
        scores = outputs[:, :classes]
    else:
        raise ValueError(f"{outputs.shape[1]} outputs cannot rank {classes} classes")
    found = scores.argmax(1)
    found[right] = target[right]
    tied = np.flatnonzero(~right & (found == target))
    others = scores[tied].astype(np.float32)
    others[np.arange(len(tied)), target[tied]] = -np.inf
    found[tied] = others.argmax(1)
    found[np.isnan(scores).any(1)] = -1
    return found


def confusion(target: np.ndarray, taken: np.ndarray, *, classes: int) -> Ints:
    """[C, C]: examples of each class (rows) by the class that they are taken for (columns). target, taken: int [N];
    an example of either below 0 or beyond the classes is in no cell."""
    known = (target >= 0) & (target < classes) & (taken >= 0) & (taken < classes)
    cells = target[known].astype(np.int64) * classes + taken[known]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def counts(target: np.ndarray, *, classes: int) -> Ints:
    """The examples of each class, [C]."""
    return np.bincount(target[(target >= 0) & (target < classes)], minlength=classes)


def recall(target: np.ndarray, right: np.ndarray, *, classes: int) -> Floats:
    """The share of each class's examples that are right, [C]; NaN of a class without examples."""
    with np.errstate(invalid="ignore"):
        return counts(target[right], classes=classes) / counts(target, classes=classes)


def precision(matrix: np.ndarray) -> Floats:
    """Of the examples that are taken for each class, the share that are of it, [C]; NaN where none is.

    matrix: as `confusion` gives it, [C, C].
    """
    with np.errstate(invalid="ignore"):
        return np.diag(matrix) / matrix.sum(0)
