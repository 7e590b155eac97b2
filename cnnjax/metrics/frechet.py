"""How far two sets of images are from each other, by the features that a network has of them."""

from __future__ import annotations

from typing import Any

import numpy as np


def frechet_distance(ones: np.ndarray, others: np.ndarray) -> float:
    """The squared Frechet distance of the normal distributions that have the moments of features [N, F] and [M, F].

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with the unbiased covariances S (Dowson & Landau 1982; Heusel et al.
    2017, arXiv:1706.08500, equation 6: the FID, where the features are Inception's). In float64. The trace of the
    root is the sum of the singular values of A B', where A' A = S1 and B' B = S2: those of the centred features
    themselves, so that no root of a matrix is taken. It depends on N and M: fewer examples give larger distances.
    Raises ValueError unless each set has two examples.
    """
    if min(len(ones), len(others)) < 2:
        raise ValueError(f"a covariance takes 2 examples, and there are {len(ones)} and {len(others)}")
    (mean, root), (other_mean, other_root) = (_moments(features) for features in (ones, others))
    common = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    traces = np.square(root).sum() + np.square(other_root).sum()
    return max(0.0, float(np.square(mean - other_mean).sum() + traces - 2 * common))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean [F], and a matrix R of at most F rows for which R' R is the covariance, of features [N, F]."""
    x = np.asarray(features, np.float64)
    mean = x.mean(0)
    root: Any = np.linalg.qr((x - mean) / np.sqrt(len(x) - 1), mode="r")
    return mean, root
