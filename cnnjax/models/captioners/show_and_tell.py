"""Show and Tell: Vinyals, Toshev, Bengio & Erhan 2015 (arXiv:1411.4555, section 3).

A convolutional network's last map is pooled and embedded, and is what a recurrent network sees first; then it sees the
words one by one, and says after each which comes next:

    x(-1) = W_i pooled(image)      x(t) = W_e S(t)      p(t + 1) = softmax(W_o h(t)),   h(t) = cell(x(t), h(t - 1))

The word before the first has an embedding of its own. Parameters of the head with V words, E numbers an embedding, H
units and P pooled numbers: (P + 1) E of the image, (V + 1) E of words, (H + 1) V of the logits, and 4 H (E + H + 1) of
an LSTM or 3 H (E + H) + 4 H of a GRU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp

from cnnjax.errors import ConfigError
from cnnjax.models.captioners.captioner import Captioner
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import Count
from cnnjax.nn import beam_search


class ShowAndTell(Captioner, tag="show_and_tell"):
    """A recurrent network that sees the pooled map first, and then each word that was said.

    It computes in float32 whatever the precision of the backbone.

    Attributes:
        cell: "lstm" (published) or "gru".
        features: units of the cell; published 512.
        embedding: numbers of the image and of each word as the cell sees them; published 512.
        cells: the last map is averaged in so many by so many parts of equal size, side by side; 1 is its mean, in which
            no place is left, as published.
    """

    cell: Literal["lstm", "gru"] = "lstm"
    features: Count = 512
    embedding: Count = 512
    cells: Count = 1

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        return ShowAndTellHead(self, endpoints[-1].name, outputs)


class ShowAndTellHead(linen.Module):
    """Maps -> sentences, as `Captioner.network` says, in the config's terms. last: the endpoint that is seen."""

    config: ShowAndTell
    last: str
    outputs: int

    def setup(self):
        config = self.config
        self.image = linen.Dense(config.embedding)
        # The last row is of what stands before the first word.
        self.words = linen.Embed(self.outputs + 1, config.embedding)
        cells = {"lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}
        self.cell = cells[config.cell](config.features)
        self.logits = linen.Dense(self.outputs)

    def __call__(
        self, maps: Mapping[str, jax.Array], *, size: tuple[int, int], train: bool, target: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        state = self.begun(maps[self.last])
        if train and target is None:
            target = jnp.zeros((len(maps[self.last]), 1, self.config.longest), jnp.int32)
        said = {} if target is None else {"logits": self.forced(state, target)}
        return said if train else said | self.searched(state)

    def begun(self, x: jax.Array) -> Any:
        """The cell's state, arrays [B, features], once it has seen the maps [B, h, w, C]."""
        pooled = pooled_in_cells(x.astype(jnp.float32), self.config.cells)
        nothing = self.cell.initialize_carry(jax.random.key(0), (len(x), self.config.embedding))
        return self.cell(nothing, self.image(pooled.reshape(len(x), -1)))[0]

    def step(self, state: Any, words: jax.Array) -> tuple[Any, jax.Array]:
        """The state after words int32 [n], and the logits of each next one, [n, outputs]."""
        state, seen = self.cell(state, self.words(words))
        return state, self.logits(seen)

    def forced(self, state: Any, sentences: jax.Array) -> jax.Array:
        """Logits [B, R, T + 1, outputs] of each next word of sentences [B, R, T], where the true ones were seen."""
        batch, count, longest = sentences.shape
        state = jax.tree.map(lambda x: jnp.repeat(x, count, 0), state)
        first = jnp.full((batch * count, 1), self.outputs)
        words = jnp.concatenate([first, sentences.reshape(batch * count, longest)], 1)
        over = linen.scan(
            ShowAndTellHead.step, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1
        )
        _, logits = over(self, state, words)
        return logits.reshape(batch, count, longest + 1, self.outputs)

    def searched(self, state: Any) -> dict[str, jax.Array]:
        """The best sentence of a beam, "words" int32 [B, longest], and its log probability, "score" [B]."""
        config = self.config
        batch, width = len(jax.tree.leaves(state)[0]), config.beam

        def one_word(head: ShowAndTellHead, carried: Any, place: jax.Array) -> tuple[Any, None]:
            state, last, beam = carried
            state, logits = head.step(state, last.reshape(batch * width))
            probabilities = jax.nn.log_softmax(logits).reshape(batch, width, head.outputs)
            beam, parents = beam_search.advanced(beam, probabilities, place, penalty=config.length_penalty)
            rows = (jnp.arange(batch)[:, None] * width + parents).reshape(-1)
            last = jnp.take(beam.words, jnp.minimum(place, config.longest - 1), axis=2)
            return (jax.tree.map(lambda x: x[rows], state), last, beam), None

        state = jax.tree.map(lambda x: jnp.repeat(x, width, 0), state)
        first = jnp.full((batch, width), self.outputs)
        beam = beam_search.begun(batch, width=width, longest=config.longest)
        over = linen.scan(one_word, variable_broadcast="params", split_rngs={"params": False})
        (_, _, beam), _ = over(self, (state, first, beam), jnp.arange(config.longest + 1))
        return {"words": beam.words[:, 0], "score": beam.scores[:, 0]}


def pooled_in_cells(x: jax.Array, cells: int) -> jax.Array:
    """The means of maps [B, h, w, C] in `cells` by `cells` parts, [B, cells, cells, C].

    Raises ConfigError where the sides are no multiples of `cells`.
    """
    batch, height, width, features = x.shape
    if height % cells or width % cells:
        raise ConfigError(
            f"task.captioner.cells = {cells}: the last map is {width}x{height}, which has no {cells}x{cells} parts of "
            "equal size; take a divisor of both"
        )
    return x.reshape(batch, cells, height // cells, cells, width // cells, features).mean((2, 4))
