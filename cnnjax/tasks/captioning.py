"""Which sentence says what is in an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import metrics
from cnnjax.data import Mixing, SingleView, TestTime
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.losses import Loss
from cnnjax.losses.pixels import mean_over_pixels
from cnnjax.models import Model
from cnnjax.models.captioners import Captioner, ShowAndTell
from cnnjax.models.heads import with_head
from cnnjax.models.outputs import joined, shown
from cnnjax.records.resolved import Specification
from cnnjax.tasks.sentences import Sentences
from cnnjax.tasks.task import Answered, Outputs, Sums, Task


class Captioning(Task):
    """A sentence of each image, word by word, by a head on a backbone's maps.

    The loss of an example is the mean over the words of all its references, the ends counted, of the softmax loss where
    the true words before each are seen (teacher forcing). What is said in evaluation and use is found by a beam.

    captioner: `show_and_tell`.
    """

    entry: ClassVar[str] = "words"
    chosen_by: ClassVar[str] = "bleu"
    has_maps: ClassVar[bool] = True
    says_by_name: ClassVar[bool] = True

    captioner: Captioner = ShowAndTell()

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        if "label" in form.entries:
            raise ConfigError(
                f"task = {self.tag!r}: the examples of {form.name} have labels and words, and its classes are those of "
                "the labels; take data without labels"
            )
        if len(form.classes) < 2:
            raise ConfigError(f"task = {self.tag!r}: {form.name} names no words; give them as `classes`, the end first")
        if loss.kind != "softmax":
            raise ConfigError(f"task = {self.tag!r}: loss = {loss.tag!r}; a word is one among many: take loss=softmax")
        longest = form.entries[self.entry].shape[-1]
        if self.captioner.longest < longest:
            raise ConfigError(
                f"task.captioner.longest = {self.captioner.longest}: sentences of {form.name} have up to {longest} "
                "words, which could not be said; take as many or more"
            )

    def uses(self, form: ExampleForm) -> Collection[str]:
        return ("image", "words")

    def check_mixing(self, mixing: Mixing) -> None:
        raise ConfigError(
            f"mixing = {mixing.tag!r}: task {self.tag!r} is of sentences, and none is of two images mixed; leave "
            "mixing out"
        )

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(len(form.classes))

    def network(self, model: Model) -> linen.Module:
        assert model.num_classes is not None
        return with_head(model, self.captioner, model.num_classes)

    def shown(self, target: jax.Array, *, train: bool) -> dict[str, Any]:
        return {"target": target}

    def read(self, model: Model, returned: Any, *, batch: int, loss: Loss, form: ExampleForm) -> Any:
        needed = {"logits": 4, "words": 2, "score": 1}
        if not isinstance(returned, Mapping) or not all(
            needed.get(name) == array.ndim and len(array) == batch for name, array in returned.items()
        ):
            raise ShapeError(
                f"{self.captioner.tag}: the head returns {shown(returned)}; it must be arrays by name for {batch} "
                "images: logits [B, R, T + 1, V], words [B, L], score [B]"
            )
        if "logits" in returned and returned["logits"].shape[-1] != len(form.classes):
            raise ShapeError(
                f"{self.captioner.tag}: logits are {shown(returned['logits'])}; there are {len(form.classes)} words"
            )
        return dict(returned)

    def one_array(self, model: Model, returned: Any) -> jax.Array:
        return joined(returned)

    def merged(self, outputs: Any, views: TestTime, form: ExampleForm) -> Any:
        if not isinstance(views, SingleView):
            raise ConfigError(
                f"test_time = {views.tag!r}: task {self.tag!r} is of sentences, and those of several views have no "
                "mean; take none",
                path="test_time",
            )
        return jax.tree.map(lambda x: x[:, 0], outputs)

    def losses(self, outputs: Any, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        words, counted = next_words(target)
        logits = outputs["logits"].reshape(*words.shape, -1)
        losses = loss.of_each(logits.reshape(-1, logits.shape[-1]), words.reshape(-1)).reshape(words.shape)
        return mean_over_pixels(losses, counted=counted, weights=loss.pixel_weights(words))

    def mixed_losses(
        self, outputs: Any, targets: Sequence[tuple[jax.Array, Any]], *, loss: Loss, form: ExampleForm
    ) -> jax.Array:
        [(target, _)] = targets
        return self.losses(outputs, target, loss=loss, form=form)

    def measure(
        self,
        outputs: Any,
        target: jax.Array,
        *,
        valid: jax.Array,
        losses: jax.Array,
        loss: Loss,
        form: ExampleForm,
        detail: bool,
    ) -> Sums:
        words, counted = next_words(target)
        logits = outputs["logits"].reshape(*words.shape, -1)
        return metrics.measure_captions(logits, words=words, counted=counted, valid=valid, losses=losses)

    def gather(self, outputs: Any, target: jax.Array, *, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        return {"said": outputs["words"], "true": target}

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        return metrics.summarize_captions(sums)

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        return metrics.caption_specifications(loss_unit=loss.unit)

    def answer(self, outputs: Any, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        return {"words": outputs["words"], "score": outputs["score"]}

    def check_top(self, top: int, names: tuple[str, ...]) -> None:
        if top != 1:
            raise ConfigError(f"top = {top!r}: one sentence is said of an image; leave it out")

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        return Sentences(words=answers["words"], scores=answers["score"], vocabulary=names)


def next_words(sentences: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of sentences int32 [B, R, T], filled up with 0: the words that come next, int32 [B, R (T + 1)], the end last, and
    which of these places count, bool: those of a sentence and its end, and none of a row that has no word."""
    batch = len(sentences)
    words = jnp.pad(sentences, ((0, 0), (0, 0), (0, 1)))
    before = jnp.pad(sentences, ((0, 0), (0, 0), (1, 0)), constant_values=1) != 0
    counted = before & (sentences[..., :1] != 0)
    return words.reshape(batch, -1), counted.reshape(batch, -1)
