"""Which classes are taken for which, which examples are most wrong, and which are least decided."""

from __future__ import annotations

import numpy as np


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int64 [C, C]: examples of class i (row) taken for class j (column). logits: [N, C]; of equals the first."""
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)


def worst(log_probabilities: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The examples of the largest cross-entropy, the largest first; of equals the earlier one."""
    return np.argsort(log_probabilities[np.arange(len(labels)), labels], kind="stable")[:count]


def most_ambiguous(log_probabilities: np.ndarray, count: int) -> np.ndarray:
    """The examples whose two likeliest classes are nearest in probability, the nearest first; of equals the earlier."""
    two = np.sort(np.exp(log_probabilities), axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0], kind="stable")[:count]
