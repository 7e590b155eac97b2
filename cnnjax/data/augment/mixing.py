"""Two examples made into one, and the share of the first in it; or several into one that has the targets of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cnnjax.config import later
from cnnjax.data.augment.augmentation import SIDE, Positive, Probability, distance
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig

if TYPE_CHECKING:
    import jax

    from cnnjax.data.entries import Kind

Entries = Mapping[str, "jax.Array"]
Kinds = Mapping[str, "Kind"]


class Mixing(StepConfig, union="name"):
    """One random way to mix two images. A subclass defines `mix`.

    Where examples have masks or more images, it must define `mix_entries` too: whether a mask is pasted, or both masks
    are targets by their shares, is not seen from `mix`. Boxes and keypoints cannot be mixed.

    One that makes a single example of several, with all of their targets in it, defines `merge` instead, and
    `check_entries`.

    partners: how many others of the batch an example is mixed with, 1 to 3. One is that at the mirrored position of the
    batch; several are those at the next positions, after the last of which comes the first.

    together: how many consecutive examples of a batch are mixed by one draw of the share, the box and the choice, or
    "batch" for all of it (timm's mode "batch", torchvision's and Composer's, of each GPU's examples); None: each has
    its own (timm's mode "elem").
    """

    partners: ClassVar[int] = 1

    together: Annotated[int, Field(ge=2)] | Literal["batch"] | None = later(None)

    def as_in_a_step(self) -> None:
        import jax
        import jax.numpy as jnp

        image = jnp.zeros((SIDE, SIDE, 3))
        if self.merges():
            self.merge([{"image": image}] * (1 + self.partners), {"image": "image"}, jax.random.key(0))
        else:
            self.mix(image, image, jax.random.key(0))

    def mix(self, first: jax.Array, second: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The mixed image, float [H, W, C] as both, and the weight of the first one's label, float32 in 0..1.

        Vectorized by the caller, with a key for each example, which may be that of others too (`together`).
        """
        raise ConfigError(f"{type(self).__name__} does not define mix()")

    def mix_entries(
        self, first: Entries, second: Entries, kinds: Kinds, key: jax.Array
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array], jax.Array]:
        """Both examples with what they have in common after mixing, and the weight of the first one's targets.

        Both get the mixed image; a mask that is pasted is the same in both, so that their weights, which add up to 1,
        make it count whole; what stays apart, such as labels, is each one's own. By default `mix` of the images.
        """
        image, share = self.mix(first["image"], second["image"], key)
        return {**first, "image": image}, {**second, "image": image}, share

    def merge(
        self, examples: Sequence[Entries], kinds: Kinds, key: jax.Array, *, outside: int = 0
    ) -> dict[str, jax.Array]:
        """One example of several, with the targets of all: of each one and its `partners`, in their order.

        Entries may get more rows than they had. outside: the class id of a mask's pixels that come from no image.
        Vectorized by the caller, as `mix`.
        """
        raise ConfigError(f"{type(self).__name__} does not define merge()")

    @classmethod
    def merges(cls) -> bool:
        """Whether the class makes one example of several, by `merge`, and not a weighted pair."""
        return cls.merge is not Mixing.merge

    @classmethod
    def says_entries(cls) -> bool:
        """Whether the class says what becomes of masks and further images, of the `mix` that it has."""
        return cls.mix_entries is not Mixing.mix_entries and distance(cls, "mix_entries") <= distance(cls, "mix")

    def check_entries(self, kinds: Kinds) -> None:
        """Raise ConfigError where entries of these kinds cannot be mixed."""
        for name, kind in kinds.items():
            if kind in ("boxes", "keypoints"):
                raise ConfigError(
                    f"mixing = {self.tag!r}: {name} cannot be mixed: a mixed image shows the objects of both examples, "
                    "for which there is no room in one's list; set mixing=none"
                )
        others = [name for name, kind in kinds.items() if kind in ("image", "mask") and name != "image"]
        if others and not self.says_entries():
            raise ConfigError(
                f"mixing = {self.tag!r} does not say what becomes of {', '.join(others)}: define mix_entries() in the "
                "class, beside mix()"
            )


class Mixup(Mixing):
    """The weighted mean of both images (Zhang et al. 2018).

    alpha: the first one's weight is Beta(alpha, alpha) distributed: 1 is even, less is closer to one of both.
    """

    alpha: Positive = 0.2

    def mix(self, first: jax.Array, second: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        import jax
        import jax.numpy as jnp

        share = jax.random.beta(key, self.alpha, self.alpha)
        mixed = share * first.astype(jnp.float32) + (1 - share) * second.astype(jnp.float32)
        return mixed.astype(first.dtype), share

    def mix_entries(
        self, first: Entries, second: Entries, kinds: Kinds, key: jax.Array
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array], jax.Array]:
        # One key, so one share, of which the image's is as good as another's.
        drawn = {name: self.mix(first[name], second[name], key) for name, kind in kinds.items() if kind == "image"}
        mixed = {name: image for name, (image, _) in drawn.items()}
        return {**first, **mixed}, {**second, **mixed}, drawn["image"][1]


class CutMix(Mixing, tag="cutmix"):
    """The first image with a box of the second, at the same place (Yun et al. 2019).

    The box has the image's aspect ratio, its centre may be any pixel, and what falls outside is cut off; the share is
    that of the pixels that stay. alpha: the share before the cut is Beta(alpha, alpha) distributed.
    """

    alpha: Positive = 1.0

    def mix(self, first: jax.Array, second: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        import jax.numpy as jnp

        inside = self._inside(first.shape[:2], key)
        return jnp.where(inside, second, first), 1 - inside.mean(dtype=jnp.float32)

    def mix_entries(
        self, first: Entries, second: Entries, kinds: Kinds, key: jax.Array
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array], jax.Array]:
        import jax.numpy as jnp

        inside = self._inside(first["image"].shape[:2], key)
        pasted = {
            name: jnp.where(inside if kind == "image" else inside[..., 0], second[name], first[name])
            for name, kind in kinds.items()
            if kind in ("image", "mask")
        }
        return {**first, **pasted}, {**second, **pasted}, 1 - inside.mean(dtype=jnp.float32)

    def _inside(self, image_size: tuple[int, ...], key: jax.Array) -> jax.Array:
        """Which pixels are the second image's: [H, W, 1] booleans."""
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import boxes

        height, width = image_size
        share, place = jax.random.split(key)
        size = jnp.array([height, width], jnp.float32)
        row, column = boxes.whole(jax.random.uniform(place, (2,)), size)
        side = jnp.sqrt(1 - jax.random.beta(share, self.alpha, self.alpha))
        half = jnp.floor(side * size / 2).astype(jnp.int32)
        box = boxes.Box(row - half[0], column - half[1], 2 * half[0], 2 * half[1])
        return boxes.inside(box, height, width)


class Switch(Mixing):
    """One of several mixings for each example, or none.

    mixings: those there are. probabilities: one for each, of 1 at most together; with what is left, the first image
    stays as it is. timm's mixup_prob and mixup_switch_prob multiply to these.
    """

    mixings: tuple[Mixing, ...] = (Mixup(alpha=0.8), CutMix(alpha=1.0))
    probabilities: tuple[Probability, ...] = (0.5, 0.5)

    @model_validator(mode="after")
    def _probabilities_add_up(self) -> Switch:
        if len(self.mixings) != len(self.probabilities):
            raise ValueError(f"{len(self.mixings)} mixings, but {len(self.probabilities)} probabilities")
        for number, mixing in enumerate(self.mixings):
            if mixing.merges():
                raise ValueError(f"mixings.{number} = {mixing.tag}: it makes one example of several, and not of two")
            if mixing.together is not None:
                raise ValueError(f"mixings.{number}.together = {mixing.together!r}: set together of the switch instead")
        if sum(self.probabilities) > 1 + 1e-9:
            raise ValueError(f"probabilities add up to {sum(self.probabilities):g}, more than 1")
        return self

    def mix(self, first: jax.Array, second: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        import jax.numpy as jnp

        image, share = first, jnp.ones((), jnp.float32)
        for mixing, own, chosen in self._drawn(key):
            mixed, mixed_share = mixing.mix(first, second, own)
            image, share = jnp.where(chosen, mixed, image), jnp.where(chosen, mixed_share, share)
        return image, share

    def mix_entries(
        self, first: Entries, second: Entries, kinds: Kinds, key: jax.Array
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array], jax.Array]:
        import jax.numpy as jnp

        # Where none is chosen, the share of 1 leaves the second one's targets out.
        images = {name: first[name] for name, kind in kinds.items() if kind == "image"}
        examples, share = [{**first}, {**second, **images}], jnp.ones((), jnp.float32)
        for mixing, own, chosen in self._drawn(key):
            *mixed, mixed_share = mixing.mix_entries(first, second, kinds, own)
            share = jnp.where(chosen, mixed_share, share)
            examples = [_chosen(chosen, after, before) for after, before in zip(mixed, examples, strict=True)]
        return examples[0], examples[1], share

    def check_entries(self, kinds: Kinds) -> None:
        for mixing in self.mixings:
            mixing.check_entries(kinds)
        super().check_entries(kinds)

    def _drawn(self, key: jax.Array) -> Iterator[tuple[Mixing, jax.Array, jax.Array]]:
        """Each of the mixings with its key and whether it is the chosen one, a boolean."""
        import jax

        switch, *keys = jax.random.split(key, 1 + len(self.mixings))
        drawn, below = jax.random.uniform(switch), 0.0
        for mixing, probability, own in zip(self.mixings, self.probabilities, keys, strict=True):
            yield mixing, own, (drawn >= below) & (drawn < below + probability)
            below += probability


def _chosen(condition: jax.Array, after: Entries, before: Entries) -> dict[str, jax.Array]:
    """The entries of `after` where the condition holds, else those of `before`; what a mixing passes on is left out."""
    import jax.numpy as jnp

    return {
        name: array if after[name] is array else jnp.where(condition, after[name], array)
        for name, array in before.items()
    }
