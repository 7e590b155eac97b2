"""Whether probabilities are as often right as they say, and the temperature that makes them so (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15
"""Bins of equal width that confidence is sorted into (Guo et al. 2017, arXiv:1706.04599)."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Examples by the probability of their likeliest class, in equal bins of (0, 1], both ends named.

    count: int64 [bins]. confidence, correct: mean probability and share right in each, float64 [bins], NaN where it is
    empty. error: the expected calibration error, the mean over examples of how far apart the two are in their bin
    (equation 3).
    """

    count: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    error: float


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Of softmax, float64 [N, C]. temperature: what logits are divided by, above 0."""
    scaled = logits.astype(np.float64) / temperature
    scaled = scaled - scaled.max(1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(1, keepdims=True))


def reliability(probabilities: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> Reliability:
    """probabilities: [N, C], labels: int [N]. Bins are those of a training's `expected_calibration_error`."""
    return binned(probabilities.max(1), probabilities.argmax(1) == labels, bins=bins)


def binned(confidence: np.ndarray, right: np.ndarray, *, bins: int = BINS) -> Reliability:
    """confidence: [N], of the likeliest class; right: bool [N], whether it is the example's."""
    # As training measures it, in float32: a probability on a bin's edge falls to the same side.
    position = np.ceil(confidence.astype(np.float32) * np.float32(bins)).astype(int) - 1
    place = np.clip(position, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, confidence, bins) / count
        share = np.bincount(place, right.astype(float), bins) / count
    gaps = np.where(count > 0, count * np.abs(np.nan_to_num(share) - np.nan_to_num(mean)), 0)
    return Reliability(count, mean, share, float(gaps.sum() / len(right)))


TOGETHER = 2**21
"""Numbers that are computed at once in `confidence_and_loss`."""


def confidence_and_loss(
    logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """(the probability of the likeliest class, the negative log likelihood in nats), float64 [N] each, of logits [N, C]
    of any floating type and labels int [N]; in pieces, whatever their number."""
    step = max(1, TOGETHER // logits.shape[1])
    pieces = [slice(start, start + step) for start in range(0, len(logits), step)]
    confidence, losses = np.empty(len(logits)), np.empty(len(logits))
    for piece in pieces:
        own = log_probabilities(logits[piece], temperature)
        confidence[piece], losses[piece] = np.exp(own.max(1)), -own[np.arange(len(own)), labels[piece]]
    return confidence, losses


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """The mean over examples, in nats."""
    return float(-log_probabilities(logits, temperature)[np.arange(len(labels)), labels].mean())


def fitted_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """The temperature of the least negative log likelihood (section 4.2); None where there is none from 1/1000 to 1000.

    There is none where every example is right (it falls to 0) or the labels are as chance would have them.
    The loss is convex in 1/T, so its slope has one zero, which is found by halving.
    """
    own = logits.astype(np.float64)

    def slope(inverse: float) -> float:
        """Of the loss by 1/T: what the model expects of the logits less what the labels have."""
        p = np.exp(log_probabilities(own, 1 / inverse))
        return float(((p * own).sum(1) - own[np.arange(len(labels)), labels]).mean())

    low, high = 1e-3, 1e3
    if slope(low) >= 0 or slope(high) <= 0:
        return None
    # Of 1e6 between them, so many halvings leave nothing but round-off.
    for _ in range(60):
        middle = np.sqrt(low * high)
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float(1 / np.sqrt(low * high))
