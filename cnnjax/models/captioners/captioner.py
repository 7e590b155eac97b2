"""What heads that say sentences have in common: what a task asks of them."""

from __future__ import annotations

import flax.linen as linen
from pydantic import Field

from cnnjax.config import Config
from cnnjax.errors import ConfigError
from cnnjax.models.endpoint import Endpoint


class Captioner(Config, union="name"):
    """Config of a head that says a sentence of an image. A subclass defines `network`.

    beam: hypotheses that are kept at each word; 1 is greedy decoding. longest: words of a sentence that is said.
    length_penalty: hypotheses are compared by their log probability divided by their length, the end counted, to this
    power: 0 compares the probabilities of sentences, 1 those of their words (their geometric mean).
    """

    beam: int = Field(default=3, ge=1, le=10_000)
    longest: int = Field(default=16, ge=1, le=1000)
    length_penalty: float = Field(default=0.0, ge=0, le=10)

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        """The head on a backbone of these endpoints, for a vocabulary of `outputs` words, of which 0 is the end.

        The module is called as `module(maps, size=(H, W), train=..., target=None)`, target being sentences, int32 [B,
        R, T], filled up with 0. It returns arrays by name: with a target "logits" [B, R, T + 1, outputs] of each next
        word (teacher forcing); at inference "words" int32 [B, longest], the sentence that is said, and "score" [B], its
        log probability. In training without a target, where only shapes matter, one of `longest` words stands for it.
        Raises ConfigError where the backbone lacks a map.
        """
        raise ConfigError(f"{type(self).__name__} does not define network(endpoints, outputs)")
