"""What training makes of the examples of a batch: every entry augmented, and one example mixed with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from cnnjax.data.augment import Augmentation, Mixing, spatial
from cnnjax.data.entries import PARTNERS, Entry, Kind, kind_of
from cnnjax.data.example_form import ExampleForm, as_images, seen_kind
from cnnjax.errors import ConfigError
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.network import task_of
from cnnjax.experiment.sizes import Size
from cnnjax.training.state import derive, example_keys, root_key

Entries = dict[str, jax.Array]
Weighed = tuple[tuple[Entries, jax.Array | float], ...]


def augmented(
    experiment: Experiment,
    images: jax.Array,
    keys: jax.Array,
    *,
    index: jax.Array,
    epoch: jax.Array,
    maximum: int = 255,
) -> jax.Array:
    """The images as training sees them before normalization: uint8 [B, H, W, C] -> float32 in 0..1.

    keys [B]: each example's own. index, epoch [B]: of the examples in the training part, and of the pass over it.
    maximum: the pixel value of full brightness.
    """
    x = images.astype(jnp.float32) / maximum
    return augmented_entries(experiment, {"image": x}, keys, index=index, epoch=epoch)["image"]


def augmented_entries(
    experiment: Experiment,
    entries: Mapping[str, jax.Array],
    keys: jax.Array,
    *,
    index: jax.Array,
    epoch: jax.Array,
    kinds: Mapping[str, Kind] | None = None,
    outside: int = 0,
    mirrored: Sequence[int] = (),
) -> Entries:
    """The same of examples that are more than an image: each entry [B, ...] by name, images already float32 in 0..1.

    kinds: of the entries; by default what their names say (`data.entries.kind_of`). outside: the class id of a mask's
    pixels that come from outside the image. mirrored: of keypoints, the rows that change places in a mirror
    (`Skeleton.mirrored`). What moves the image moves its masks, boxes and keypoints.
    """
    kinds = {name: kind_of(name) for name in entries} if kinds is None else kinds
    x = dict(entries)
    for purpose, augmentation in zip(purposes(experiment), experiment.augment, strict=True):
        own = jax.vmap(lambda key, purpose=purpose: derive(key, purpose))(keys)
        x = jax.vmap(
            lambda example, key, i, e, a=augmentation: spatial.change(
                a, example, kinds, key, index=i, epoch=e, outside=outside, mirrored=mirrored
            )
        )(x, own, index, epoch)
    return x


def purposes(experiment: Experiment) -> tuple[str, ...]:
    """What the key of each augmentation is derived for: its place, or with common random numbers what it is."""
    if experiment.random_numbers == "by_place":
        return tuple(map(str, range(len(experiment.augment))))
    return by_tag(experiment.augment)


def by_tag(augmentations: Sequence[Augmentation]) -> tuple[str, ...]:
    """What each operation is: its tag, and how many of that tag stand before it: "flip 0", "cutout 0", "flip 1"."""
    before: Counter[str] = Counter()
    found = []
    for augmentation in augmentations:
        found.append(f"{augmentation.tag} {before[augmentation.tag]}")
        before[augmentation.tag] += 1
    return tuple(found)


def keys_of_batch(
    experiment: Experiment, purpose: str, position: jax.Array, *, key: jax.Array, step: jax.Array
) -> jax.Array:
    """The key of each example of a batch for a named purpose. position [B]: in the global batch. key: the step's.

    With common random numbers it depends on how many examples were drawn before, whatever the size of the batches.
    experiment: its seed is the training's, as in a copy whose lanes are bound.
    """
    if experiment.random_numbers == "by_place":
        return example_keys(derive(key, purpose), position)
    drawn_before = step * experiment.batch_size + position
    return example_keys(derive(root_key(experiment.seed), purpose), drawn_before)


def resized_entries(entries: Entries, kinds: Mapping[str, Kind], size: Size) -> Entries:
    """The entries [B, ...] of examples whose images, float32 in 0..1, get that size, unless they have it."""
    if entries["image"].shape[1:3] == size:
        return entries
    return jax.vmap(lambda example: spatial.resized(example, kinds, size))(entries)


def cropped_entries(entries: Entries, kinds: Mapping[str, Kind], size: Size, keys: jax.Array) -> Entries:
    """The entries [B, ...] of examples of which a window of that size is cut out; keys [B]: each example's own."""
    own = jax.vmap(lambda key: derive(key, "crop"))(keys)
    return jax.vmap(lambda example, key: spatial.cropped(example, kinds, size, key))(entries, own)


def training_examples(
    experiment: Experiment, form: ExampleForm, used: Mapping[str, Entry], *, examples: int, size: Size | None = None
) -> Callable[[Mapping[str, jax.Array], jax.Array, jax.Array], Weighed]:
    """(batch, the step's key, the step's number) -> examples as training sees them, with the weights of their targets.

    used: the entries that a batch has. examples: of the training part. size: that augmented examples are resized or
    cut to, before they are mixed; None for the data's own. One set of entries [B, ...] with weight 1, or
    where examples are mixed two, of the same images, with weights [B] that add up to 1; one where several are merged
    into one (`Mixing.merge`). Images are float32 in 0..1.
    """
    kinds: dict[str, Kind] = {name: seen_kind(entry.kind) for name, entry in used.items()}
    mixing, outside = experiment.mixing, task_of(experiment, form).outside(form)
    crops = experiment.resolution is not None and experiment.resolution.by == "crop"

    def seen(batch: Mapping[str, jax.Array], key: jax.Array, step: jax.Array) -> Weighed:
        def of_each(prefix: str) -> Entries:
            position, index = batch[f"{prefix}position"], batch[f"{prefix}index"]
            keys = keys_of_batch(experiment, "augment", position, key=key, step=step)
            held = {name: batch[f"{prefix}{name}"] for name in kinds}
            entries = augmented_entries(
                experiment,
                {name: as_images(form, x) if kinds[name] == "image" else x for name, x in held.items()},
                keys,
                index=index,
                epoch=(step * experiment.batch_size + position) // experiment.repeats // examples,
                kinds=kinds,
                outside=outside,
                mirrored=() if form.skeleton is None else form.skeleton.mirrored,
            )
            if size is None:
                return entries
            return cropped_entries(entries, kinds, size, keys) if crops else resized_entries(entries, kinds, size)

        own = of_each("")
        if mixing is None:
            return ((own, 1.0),)
        keys = example_keys(derive(key, "mixing"), _draws(mixing, batch["position"]))
        others = [of_each(prefix) for prefix in PARTNERS[: mixing.partners]]
        if mixing.merges():
            merge = partial(mixing.merge, kinds=kinds, outside=outside)
            return ((jax.vmap(lambda examples, key: merge(examples, key=key))([own, *others], keys), 1.0),)
        first, second, share = jax.vmap(partial(mixing.mix_entries, kinds=kinds))(own, others[0], key=keys)
        return (first, share), (second, 1 - share)

    return seen


def _draws(mixing: Mixing, position: jax.Array) -> jax.Array:
    """The number of the draw by which the example at each position of the batch is mixed."""
    if mixing.together is None:
        return position
    return jnp.zeros_like(position) if mixing.together == "batch" else position // mixing.together


def check_training_examples(experiment: Experiment, form: ExampleForm, used: Mapping[str, Entry]) -> None:
    """Raise ConfigError where an entry that is used cannot follow the image that is augmented, resized or mixed."""
    if experiment.resolution is not None:
        spatial.check_entries(used)
    spatial.check_moves(experiment.augment, used, outside=task_of(experiment, form).outside(form))
    if experiment.mixing is not None:
        experiment.mixing.check_entries({name: seen_kind(entry.kind) for name, entry in used.items()})
        if experiment.mixing.merges():
            _check_merging(experiment.mixing, used, outside=task_of(experiment, form).outside(form))


def _check_merging(mixing: Mixing, used: Mapping[str, Entry], *, outside: int) -> None:
    """Raise ConfigError where examples of those entries cannot be merged into one, by its form alone."""
    kinds: dict[str, Kind] = {name: seen_kind(entry.kind) for name, entry in used.items()}
    if "clip" not in {entry.kind for entry in used.values()}:
        spatial.check_entries(used, outside=outside)
        shapes = {
            name: jax.ShapeDtypeStruct(entry.shape, jnp.float32 if entry.kind == "image" else entry.dtype)
            for name, entry in used.items()
        }
        try:
            jax.eval_shape(
                lambda examples, key: mixing.merge(examples, kinds, key, outside=outside),
                [shapes] * (1 + mixing.partners),
                jax.random.key(0),
            )
        except ConfigError as error:
            # What entries of `augment` and mixings share names the first.
            raise ConfigError(f"mixing: {str(error).removeprefix('augment: ')}", path="mixing") from error
