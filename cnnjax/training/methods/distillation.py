"""Knowledge distillation: a network learns from the outputs of one that was trained before."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from cnnjax.config import lane
from cnnjax.training.methods.method import Method, TeacherRun

TEMPERATURE = 4.0


class Distillation(Method, tag="distillation"):
    """Knowledge distillation from a run (Hinton et al. 2015, arXiv:1503.02531, section 2).

    The loss of an example is (1 - alpha) L + alpha T^2 KL(p || q): L is the experiment's own, p = softmax(v / T) of the
    teacher's outputs v, q = softmax(z / T) of the network's outputs z, and T the `temperature`. T^2 keeps the size of
    the gradient where T changes. With labels "hard" it is (1 - alpha) L + alpha (-log q_k), where q has T = 1 and k is
    the class that the teacher finds likeliest (Touvron et al. 2021, arXiv:2012.12877, equation 3, with alpha = 0.5).

    teacher: folder of its run, a finished one, or one imported from PyTorch. weights: which of it: a method's ("ema"),
    "raw" for those that its optimizer trained, None for those that its results are of. alpha: from 0, nothing of the
    teacher, to 1, nothing of the labels. The teacher sees the very images that the network sees, augmented and mixed
    alike (Beyer et al. 2022, arXiv:2106.05237), normalized as those that it was trained on, and is in inference: its
    batch statistics and dropout are those of an evaluation. Outputs of auxiliary classifiers learn from labels alone.
    The loss that is reported is L.

    labels: what is learnt of the teacher, its probabilities ("soft") or its likeliest class ("hard").
    """

    teacher: str = Field(min_length=1)
    weights: str | None = None
    temperature: float = lane(TEMPERATURE, gt=0)
    alpha: float = lane(0.9, ge=0, le=1)
    labels: Literal["soft", "hard"] = "soft"

    @model_validator(mode="after")
    def _has_an_effect(self) -> Distillation:
        if self.labels == "hard" and self.temperature != TEMPERATURE:
            raise ValueError(f"temperature = {self.temperature}: hard labels have none; leave it out")
        return self

    def teacher_run(self) -> TeacherRun:
        return TeacherRun(self.teacher, self.weights)

    def losses(self, losses: jax.Array, outputs: jax.Array, *, teacher: jax.Array | None) -> jax.Array:
        assert teacher is not None, "a check refuses distillation without its teacher"
        # A softmax loss takes more outputs than there are classes; those teach nothing.
        logits = outputs[:, : teacher.shape[1]].astype(jnp.float32)
        taught = _hard(logits, teacher) if self.labels == "hard" else _soft(logits, teacher, self.temperature)
        return (1 - self.alpha) * losses + self.alpha * taught


def _soft(logits: jax.Array, teacher: jax.Array, temperature: float | jax.Array) -> jax.Array:
    """T^2 KL(softmax(teacher / T) || softmax(logits / T)) of each example, [B]."""
    log_p, log_q = (jax.nn.log_softmax(outputs / temperature) for outputs in (teacher, logits))
    return temperature**2 * jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1)


def _hard(logits: jax.Array, teacher: jax.Array) -> jax.Array:
    """-log softmax(logits) of the teacher's likeliest class, [B]; of equals the first."""
    likeliest = jnp.argmax(teacher, axis=1)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), likeliest[:, None], axis=1)[:, 0]
