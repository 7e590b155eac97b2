"""Beam search over sentences under jit: K hypotheses an image, of fixed length, pruned word by word.

A sentence is ids of words followed by `END`. A hypothesis that has ended keeps its place and its score until longer
ones push it out, so that a beam of one is greedy decoding, and one that is wide enough finds the best of all sentences.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

END = 0
"""The id of what ends a sentence, and of what fills up the places after it."""


class Beam(NamedTuple):
    """K hypotheses of each of B images, the best first.

    words: ids int32 [B, K, L], `END` from the end on. scores: sums of log probabilities, float32 [B, K], -inf where
    there is no hypothesis. lengths: words with the end, int32 [B, K]. ended: bool [B, K].
    """

    words: jax.Array
    scores: jax.Array
    lengths: jax.Array
    ended: jax.Array

    def ranked(self, penalty: float) -> jax.Array:
        """What hypotheses are compared by, [B, K]: their scores divided by length to the power of `penalty`."""
        return self.scores / jnp.maximum(self.lengths, 1).astype(jnp.float32) ** penalty


def begun(batch: int, *, width: int, longest: int) -> Beam:
    """The beam before the first word: one empty hypothesis an image."""
    scores = jnp.full((batch, width), -jnp.inf).at[:, 0].set(0.0)
    nothing = jnp.zeros((batch, width), jnp.int32)
    return Beam(jnp.zeros((batch, width, longest), jnp.int32), scores, nothing, nothing.astype(bool))


def advanced(beam: Beam, log_probabilities: jax.Array, place: jax.Array, *, penalty: float) -> tuple[Beam, jax.Array]:
    """The beam after the word at `place` (from 0), and of which hypothesis each is the continuation, int32 [B, K].

    log_probabilities: of each next word, float32 [B, K, V]. At place L every sentence ends, whatever that costs. Of
    equals the one of the earlier hypothesis and lower id comes first.
    """
    batch, width, longest = beam.words.shape
    vocabulary = log_probabilities.shape[-1]
    is_end = jnp.arange(vocabulary) == END
    costs = jnp.where((place < longest) | is_end[None, None, :], log_probabilities, -jnp.inf)
    costs = jnp.where(beam.ended[..., None], jnp.where(is_end[None, None, :], 0.0, -jnp.inf), costs)
    scores = beam.scores[..., None] + costs
    lengths = jnp.where(beam.ended, beam.lengths, beam.lengths + 1)
    ranked = scores / lengths[..., None].astype(jnp.float32) ** penalty
    _, chosen = jax.lax.top_k(ranked.reshape(batch, width * vocabulary), width)
    parents, word = chosen // vocabulary, (chosen % vocabulary).astype(jnp.int32)
    here = (jnp.arange(longest) == place)[None, None, :]
    after = Beam(
        words=jnp.where(here, word[..., None], of_parents(beam.words, parents)),
        scores=jnp.take_along_axis(scores.reshape(batch, -1), chosen, 1),
        lengths=of_parents(lengths, parents),
        ended=of_parents(beam.ended, parents) | (word == END),
    )
    return after, parents


def of_parents(x: jax.Array, parents: jax.Array) -> jax.Array:
    """The rows [B, K, ...] of the hypotheses that `parents` [B, K] names."""
    return jax.vmap(lambda rows, own: rows[own])(x, parents)
