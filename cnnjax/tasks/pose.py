"""Where the joints of an image's one figure are: pose by heat maps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from cnnjax import metrics
from cnnjax.config import lane
from cnnjax.data import FlipViews, Mixing, SingleView, Skeleton, TestTime
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.losses import Loss
from cnnjax.metrics.pose import measure_poses
from cnnjax.models import Model
from cnnjax.models.heads import Head, SimpleBaseline
from cnnjax.records.resolved import Specification
from cnnjax.tasks import maps
from cnnjax.tasks.poses import Poses
from cnnjax.tasks.task import Answered, Outputs, Sums, Task


class Pose(Task):
    """A map for each joint, which should be a Gaussian on the joint's place (Xiao, Wu & Wei 2018, arXiv:1804.06208).

    The maps may be smaller than the image, whose sides their places divide evenly. The loss of an example is the mean
    over its joints and their maps' places; joints of visibility 0 add nothing, whatever is said of them. Each joint is
    found at the greatest value of its map, which is its score; the pose's is the mean of those. Coordinates are in
    pixels of the data's images.

    Attributes:
        head: what makes maps of a backbone's endpoints: `simple_baseline`, or one of segmentation; None for a model
            that makes maps itself.
        sigma: standard deviation of the Gaussian, whose greatest value is 1, in places of the map.
        rounded: whether it stands on the middle of the joint's place, as published, or on the joint itself.
        shift: how far a joint is moved from the middle of the greatest value's place, along each axis, towards the
            greater of its two neighbours, in places of the map; where there are two. A quarter is as published.
        length: what distances are compared with for PCK: the longer side of the figure's "box", or its "torso", the
            distance of two joints that the data's skeleton says, without which an image does not count.
        fraction: of that length, which a joint that is found lies within.
    """

    entry: ClassVar[str] = "keypoints"
    chosen_by: ClassVar[str] = "mean_ap"
    has_maps: ClassVar[bool] = True
    by_class: ClassVar[tuple[str, ...]] = ("per_class_pck", "per_class_joints")

    head: Head | None = SimpleBaseline()
    sigma: float = lane(2.0, gt=0)
    rounded: bool = True
    shift: float = lane(0.25, ge=0, le=0.5)
    length: Literal["box", "torso"] = "box"
    fraction: Annotated[float, Field(gt=0)] = 0.1

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        if form.skeleton is None:
            raise ConfigError(
                f"task = {self.tag!r}: the data {form.name} do not say which joints are left and right; give the data "
                "set a `skeleton`, and the names of the joints as `classes`"
            )
        boxes = form.entries.get("boxes")
        if boxes is None or boxes.shape[0] != 1:
            many = "no boxes" if boxes is None else f"up to {boxes.shape[0]} boxes"
            raise ConfigError(
                f"task = {self.tag!r}: it is of one figure an image, with a box, and the examples of {form.name} have "
                f"{many}; take data with one, such as stick_figures"
            )
        if "label" in form.entries:
            raise ConfigError(
                f"task = {self.tag!r}: the examples of {form.name} have labels and joints, and its classes are those "
                "of the labels; take data without labels"
            )
        if self.length == "torso" and form.skeleton.torso is None:
            raise ConfigError(
                f"task.length = 'torso': the skeleton of {form.name} does not say between which joints; take 'box'",
                path="task.length",
            )
        if loss.kind not in ("continuous", "sigmoid") or loss.takes_mixed_targets:
            raise ConfigError(
                f"task = {self.tag!r}: loss = {loss.tag!r} is not of maps in 0..1; take squared, absolute or sigmoid"
            )

    # --- examples

    def uses(self, form: ExampleForm) -> Collection[str]:
        return ("image", "keypoints", "boxes", "box_valid")

    def target(self, entries: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        """float32 [K + 2, 3]: of each joint x and y in shares of the image's sides, and visibility; then the box's
        corners, likewise, and whether there is one."""
        height, width = entries["image"].shape[:2]
        sides = jnp.array([[width, height]], jnp.float32)
        corners = entries["boxes"][0].reshape(2, 2) / sides
        there = jnp.broadcast_to(entries["box_valid"][0].astype(jnp.float32), (2, 1))
        joints = jnp.concatenate([entries["keypoints"][:, :2] / sides, entries["keypoints"][:, 2:]], 1)
        return jnp.concatenate([joints, jnp.concatenate([corners, there], 1)])

    @property
    def makes_target(self) -> bool:
        return False

    def check_mixing(self, mixing: Mixing) -> None:
        raise ConfigError(
            f"mixing = {mixing.tag!r}: task {self.tag!r} is of joints, which of two images mixed belong to one or the "
            "other; leave mixing out"
        )

    # --- the network

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(len(form.classes))

    def network(self, model: Model) -> linen.Module:
        return maps.network(model, self.head, task=self.tag)

    def read(self, model: Model, returned: Any, *, batch: int, loss: Loss, form: ExampleForm) -> jax.Array:
        return maps.read(model, returned, batch=batch, needed=len(form.classes), what="joints")

    def merged(self, outputs: jax.Array, views: TestTime, form: ExampleForm) -> jax.Array:
        if isinstance(views, SingleView):
            return outputs[:, 0]
        if not isinstance(views, FlipViews) or views.shift:
            raise ConfigError(
                f"test_time = {views.tag!r}: task {self.tag!r} does not know which joints are left and right in its "
                "views; take none, or flip without shift",
                path="test_time",
            )
        own, mirrored = outputs[:, 0], outputs[:, 1, :, ::-1]
        return (own + mirrored[..., np.array(_skeleton(form).mirrored)]) / 2

    # --- numbers

    def losses(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        joints, visibility = target[:, :-2, :2], target[:, :-2, 2]
        known = visibility > 0
        height, width = outputs.shape[1:3]
        true = gaussians(jnp.where(known[..., None], joints, 0.0), (height, width), self.sigma, rounded=self.rounded)
        said = jnp.moveaxis(outputs, -1, 1).reshape(-1, height * width)
        each = loss.of_each(said, true.reshape(-1, height * width)).reshape(known.shape)
        return jnp.where(known, each, 0.0).mean(1)

    def measure(
        self,
        outputs: jax.Array,
        target: jax.Array,
        *,
        valid: jax.Array,
        losses: jax.Array,
        loss: Loss,
        form: ExampleForm,
        detail: bool,
    ) -> Sums:
        found, true = self._found(outputs, loss, form), _true(target, form)
        known = (true.joints[..., 2] > 0) & (true.box[:, 4:] > 0)
        if self.length == "box":
            lengths = jnp.max(true.box[:, 2:4] - true.box[:, :2], axis=1)
        else:
            ends = np.array(_skeleton(form).torso)
            between = jnp.diff(true.joints[:, ends, :2], axis=1)[:, 0]
            lengths = jnp.where(known[:, ends].all(1), jnp.sqrt(jnp.square(between).sum(-1)), 0.0)
        return measure_poses(
            found[..., :2],
            true.joints[..., :2],
            known=known,
            lengths=lengths,
            fraction=self.fraction,
            valid=valid,
            losses=losses,
            detail=detail,
        )

    def gather(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        found, true = self._found(outputs, loss, form), _true(target, form)
        return {"found": found, "pose_score": found[..., 2].mean(1), "true": true.joints, "box": true.box}

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        return metrics.summarize_poses(sums, sigmas=_skeleton(form).sigmas)

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        return metrics.pose_specifications(of=f"{self.fraction:g} of the {self.length}", loss_unit=loss.unit)

    # --- in use

    def answer(self, outputs: jax.Array, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        """ "outputs" [B, K, 3]: x and y of each joint in pixels, and its score; "scores" [B], of the poses; of every
        image alike, "size" [B, 2], the height and width that those pixels are of, and "limbs" [B, L, 2].
        """
        found = self._found(outputs, loss, form)
        limbs = np.array(_skeleton(form).limbs, np.int32).reshape(-1, 2)
        alike = {"size": np.array(form.image_shape[:2], np.int32), "limbs": limbs}
        batch = outputs.shape[0]
        return {
            "outputs": found,
            "scores": found[..., 2].mean(1),
            **{name: jnp.broadcast_to(array, (batch, *array.shape)) for name, array in alike.items()},
        }

    def check_top(self, top: int, names: tuple[str, ...]) -> None:
        if top != 1:
            raise ConfigError(f"top = {top!r}: every joint is told, at its likeliest place; leave it out")

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        height, width = answers["size"][0]
        return Poses(
            joints=answers["outputs"],
            scores=answers["scores"],
            names=names,
            limbs=tuple((int(a), int(b)) for a, b in answers["limbs"][0]),
            size=(int(height), int(width)),
        )

    def _found(self, outputs: jax.Array, loss: Loss, form: ExampleForm) -> jax.Array:
        """The joints [B, K, 3] of maps: x and y in pixels of the data's images, and score."""
        said = loss.predictions(outputs.reshape(-1, outputs.shape[-1])).reshape(outputs.shape)
        shares, scores = decoded(said, shift=self.shift)
        sides = jnp.array([[[form.image_shape[1], form.image_shape[0]]]], jnp.float32)
        return jnp.concatenate([shares * sides, scores[..., None]], -1)


class _True(NamedTuple):
    """What a target says, in pixels of the data's images: joints [B, K, 3]; box [B, 5], last whether there is one."""

    joints: jax.Array
    box: jax.Array


def _true(target: jax.Array, form: ExampleForm) -> _True:
    pixels = target * jnp.array([[[form.image_shape[1], form.image_shape[0], 1.0]]], jnp.float32)
    corners = [pixels[:, -2, :2], pixels[:, -1, :2], pixels[:, -1, 2:]]
    return _True(pixels[:, :-2], jnp.concatenate(corners, 1))


def _skeleton(form: ExampleForm) -> Skeleton:
    assert form.skeleton is not None
    return form.skeleton


def gaussians(
    joints: jax.Array, size: tuple[int, int], sigma: float | jax.Array, *, rounded: bool = False
) -> jax.Array:
    """Maps [..., h, w] of that size, with 1 at each joint [..., 2] (x, y in shares of the sides) and less around it.

    exp(-d^2 / (2 sigma^2)), d being the distance of the middle of a place from the joint, in places; rounded: from the
    middle of the place that the joint lies in.
    """
    height, width = size

    def along(share: jax.Array, places: int) -> jax.Array:
        middle = share[..., None] * places
        middle = jnp.floor(middle) + 0.5 if rounded else middle
        middles = (jnp.arange(places, dtype=jnp.float32) + 0.5).reshape(*(1,) * share.ndim, places)
        return jnp.exp(-jnp.square(middles - middle) / (2 * jnp.square(sigma)))

    return along(joints[..., 1], height)[..., :, None] * along(joints[..., 0], width)[..., None, :]


def decoded(said: jax.Array, *, shift: float | jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of maps [B, h, w, K], x and y of each one's greatest value in shares of the sides [B, K, 2], and it [B, K].

    Of equals the first, row by row. shift: as of `Pose`.
    """
    batch, height, width, joints = said.shape
    by_joint = jnp.moveaxis(said, -1, 1)
    flat = by_joint.reshape(batch, joints, -1)
    best = jnp.argmax(flat, axis=-1)
    row, column = best // width, best % width

    def at(rows: jax.Array, columns: jax.Array) -> jax.Array:
        inside = jnp.clip(rows, 0, height - 1) * width + jnp.clip(columns, 0, width - 1)
        return jnp.take_along_axis(flat, inside[..., None], -1)[..., 0]

    def towards(before: jax.Array, after: jax.Array, place: jax.Array, places: int) -> jax.Array:
        between = (place > 0) & (place < places - 1)
        return jnp.where(between, shift * jnp.sign(after - before), 0.0)

    across = towards(at(row, column - 1), at(row, column + 1), column, width)
    down = towards(at(row - 1, column), at(row + 1, column), row, height)
    x, y = (place.astype(jnp.float32) + 0.5 for place in (column, row))
    shares = jnp.stack([(x + across) / width, (y + down) / height], -1)
    return shares, jnp.max(flat, axis=-1)
