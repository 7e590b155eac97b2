"""What training makes of a batch whose examples have masks: augmented, mixed, weighted; what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import Experiment, SmallCNN
from cnnjax.data import AugMix, CutMix, Data, Dataset, Examples, Flip, RandomCrop
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.experiment.training_examples import augmented, augmented_entries, training_examples
from cnnjax.models.heads import FCN
from cnnjax.tasks import Classification, Segmentation
from tests.test_mixing_entries import Stacked

SIZE, CLASSES, IGNORED, BATCH = 12, 4, 255, 8
FLIP_AND_CROP = (Flip(), RandomCrop(padding=3))


class Painted(Data):
    """Images that are their masks: a pixel of class c is 40 c + 40; where they are labelled, with a class each too."""

    labelled: bool = True

    def read(self):
        rng = np.random.default_rng(0)
        parts = []
        for _ in range(2):
            mask = rng.integers(0, CLASSES, (40, SIZE, SIZE)).astype(np.uint8)
            image = (40 * mask + 40)[..., None]
            labels = rng.integers(0, CLASSES, 40).astype(np.int32)
            parts.append(Examples(image, labels if self.labelled else None, mask=mask))
        return Dataset("painted", *parts, classes=tuple("abcd"), ignored=IGNORED)


class Everything(Classification, tag="classification_with_everything"):
    """Classes of images, by steps that are given the masks too."""

    @classmethod
    def suits(cls, loss, form):
        return False

    def uses(self, form):
        return form.entries


def experiment(**changes) -> Experiment:
    fields = {"model": SmallCNN(features=2), "data": Painted(), "batch_size": BATCH, "steps": 4}
    return Experiment(**fields | changes)


def seen(mixing=None, **changes):
    trained = experiment(augment=FLIP_AND_CROP, mixing=mixing, **changes)
    form = trained.data.load()
    rows = np.arange(BATCH)
    one = {name: jnp.asarray(array) for name, array in form.train.batch(rows).items()}
    batch = one | {"position": jnp.arange(BATCH, dtype=jnp.int32), "index": jnp.arange(BATCH, dtype=jnp.int32)}
    batch |= {f"partner_{name}": array[::-1] for name, array in batch.items()}
    made = jax.jit(training_examples(trained, form, form.entries, examples=40))
    return batch, jax.tree.map(np.asarray, made(batch, jax.random.key(0), jnp.int32(3)))


def shown(mask: np.ndarray) -> np.ndarray:
    """The image of a mask; what comes from outside is black, and ignored in the mask."""
    return np.where(mask == IGNORED, 0, 40 * mask.astype(np.float32) + 40)[..., None] / 255


def test_masks_follow_their_images():
    batch, ((entries, weight),) = seen()
    assert float(weight) == 1.0
    np.testing.assert_allclose(entries["image"], shown(entries["mask"]), atol=1e-6)
    np.testing.assert_array_equal(entries["label"], batch["label"])
    assert np.any(entries["mask"] == IGNORED)
    assert np.any(entries["mask"] != np.asarray(batch["mask"]))


def test_what_comes_from_outside_is_what_the_task_ignores():
    marked, unmarked = Painted().load(), replace(Painted().load(), ignored=None)
    assert Segmentation(head=FCN()).outside(marked) == IGNORED
    assert Segmentation(head=FCN()).outside(unmarked) == 0
    assert Segmentation(head=FCN(), ignore=3).outside(unmarked) == 3
    _, ((entries, _),) = seen(task=Segmentation(head=FCN()), data=Painted(labelled=False))
    np.testing.assert_allclose(entries["image"], shown(entries["mask"]), atol=1e-6)


def test_pasted_masks_are_the_target_of_both():
    batch, ((first, share), (second, rest)) = seen(CutMix())
    np.testing.assert_allclose(first["image"], shown(first["mask"]), atol=1e-6)
    np.testing.assert_array_equal(first["mask"], second["mask"])
    np.testing.assert_array_equal(first["label"], batch["label"])
    np.testing.assert_array_equal(second["label"], batch["partner_label"])
    np.testing.assert_allclose(share + rest, 1, atol=1e-6)


def test_images_alone_are_augmented_the_same():
    trained, rows = experiment(augment=FLIP_AND_CROP), jnp.arange(BATCH)
    batch = trained.data.load().train.batch(np.arange(BATCH))
    keys = jax.random.split(jax.random.key(0), BATCH)
    images = augmented(trained, jnp.asarray(batch["image"]), keys, index=rows, epoch=rows)
    entries = {"image": jnp.asarray(batch["image"]).astype(jnp.float32) / 255, "mask": jnp.asarray(batch["mask"])}
    together = augmented_entries(trained, entries, keys, index=rows, epoch=rows)
    np.testing.assert_array_equal(together["image"], images)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": (Flip(), AugMix())}, "augment.1: augmix is the mean of images that are moved differently"),
        ({"mixing": Stacked()}, "mixing = 'stacked_by_users' does not say what becomes of mask"),
    ],
)
def test_what_masks_cannot_follow_is_refused_before_training(changes, words):
    with pytest.raises(ConfigError, match=words):
        check(experiment(task=Everything(), **changes))
    # Where no step is given the mask, there is nothing to follow.
    check(experiment(**changes))


def test_what_masks_can_follow_is_traced_before_training():
    check(experiment(task=Everything(), augment=FLIP_AND_CROP, mixing=CutMix()))
