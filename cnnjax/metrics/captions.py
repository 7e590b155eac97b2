"""Metrics of sentences: BLEU of a whole part, perplexity, and the shares of words and of sentences that are right.

Sentences are ids of words, in rows that are filled up with 0 from their end on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import DataError
from cnnjax.records.resolved import Specification

GRAMS = 4


def bleu(said: Sequence[Sequence[Any]], references: Sequence[Sequence[Sequence[Any]]]) -> float:
    """BLEU-4 of N sentences as a whole, 0..1 (Papineni et al. 2002, section 2.3), without smoothing.

    said: of each image the words that are said. references: of each image one or several sentences. The geometric mean
    of the precisions of 1- to 4-grams, of which a sentence's count at most as often as in one of its references; times
    exp(1 - r / c) where c, the words that are said, are fewer than r, those of the references nearest in length (of two
    as near the shorter). 0 where some precision is 0, as it is where no sentence has four words.
    """
    right, all_grams, words, reference_words = [0] * GRAMS, [0] * GRAMS, 0, 0
    for sentence, true in zip(said, references, strict=True):
        words += len(sentence)
        reference_words += min((abs(len(each) - len(sentence)), len(each)) for each in true)[1]
        for place in range(GRAMS):
            grams = _grams(sentence, place + 1)
            most: Counter[Any] = Counter()
            for each in true:
                most |= _grams(each, place + 1)
            right[place] += (grams & most).total()
            all_grams[place] += grams.total()
    if not all(right):
        return 0.0
    precision = math.exp(sum(math.log(a / b) for a, b in zip(right, all_grams, strict=True)) / GRAMS)
    return precision * math.exp(min(0.0, 1 - reference_words / words))


def _grams(sentence: Sequence[Any], length: int) -> Counter[Any]:
    return Counter(tuple(sentence[start : start + length]) for start in range(len(sentence) - length + 1))


def sentence_of(row: Any) -> list[int]:
    """The ids of a row before its first 0."""
    return [int(word) for word in row[: int(np.argmin(np.append(row, 0) != 0))]]


def caption_specifications(*, loss_unit: str = "") -> tuple[Specification, ...]:
    """What is measured of sentences, the most important first. loss_unit: the loss's own (`Loss.unit`)."""
    exact = {"label": "sentences exactly right", "unit": "share", "higher_is_better": True, "printed": ".2%"}
    return (
        Specification(name="bleu", label="BLEU-4", total="said", unit="share", higher_is_better=True, printed=".2%"),
        Specification(name="exact", total="exact", binomial=True, **exact),
        Specification(name="word_accuracy", total="right_words", unit="share", higher_is_better=True, printed=".2%"),
        Specification(name="perplexity", total="surprise", unit="", higher_is_better=False, printed=".3f"),
        Specification(name="loss", total="loss", unit=loss_unit, higher_is_better=False, printed=".4f"),
    )


def measure_captions(
    logits: jax.Array, *, words: jax.Array, counted: jax.Array, valid: jax.Array, losses: jax.Array
) -> dict[str, jax.Array]:
    """The sums of one batch, where the true words before each were seen; counts are exact int32.

    logits: float [B, N, V] of N places. words: the true ones, int32 [B, N]. counted: whether there is one, bool [B, N].
    valid: [B], False for padding, which adds nothing, whatever it holds. losses: [B]. surprise: -log p of the words.
    """
    valid = valid.astype(bool)
    counted = counted & valid[:, None]
    surprise = -jnp.take_along_axis(jax.nn.log_softmax(logits.astype(jnp.float32)), words[..., None], -1)[..., 0]
    return {
        "count": jnp.sum(valid, dtype=jnp.int32),
        "loss": jnp.sum(jnp.where(valid, losses.astype(jnp.float32), 0.0)),
        "words": jnp.sum(counted, dtype=jnp.int32),
        "right_words": jnp.sum(counted & (jnp.argmax(logits, -1) == words), dtype=jnp.int32),
        "surprise": jnp.sum(jnp.where(counted, surprise, 0.0)),
    }


def summarize_captions(sums: Mapping[str, Any]) -> dict[str, Any]:
    """What the `sums` of a whole part mean: count (images), loss (their mean), word_accuracy (of words, ends counted,
    where the true ones before were seen) and perplexity, exp of the mean -log p of a word; with what was said of each
    image, bleu and exact, the share of images of which one of their references was said.

    said: ids [N, L]; true: ids [N, R, T], rows of 0 alone being no reference. Raises DataError if no example was
    measured.
    """
    count = int(np.asarray(sums["count"]))
    if count == 0:
        raise DataError("no example was measured: every row of every batch is padding")
    words = int(np.asarray(sums["words"]))
    summary = {
        "count": count,
        "loss": float(np.asarray(sums["loss"])) / count,
        "word_accuracy": float(np.asarray(sums["right_words"])) / words if words else math.nan,
        "perplexity": math.exp(float(np.asarray(sums["surprise"])) / words) if words else math.nan,
    }
    if "said" not in sums:
        return summary
    said = [sentence_of(row) for row in np.asarray(sums["said"])]
    true = [[sentence_of(row) for row in rows if row[0]] for rows in np.asarray(sums["true"])]
    exact = sum(sentence in own for sentence, own in zip(said, true, strict=True))
    return {**summary, "bleu": bleu(said, true), "exact": exact / count}
