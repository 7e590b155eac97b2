"""What is known of the joints of a figure: which are left and right, which are joined, how exactly they are marked."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from cnnjax.config import Config
from cnnjax.errors import DataError

Joint = Annotated[int, Field(ge=0)]
Pair = tuple[Joint, Joint]


class Skeleton(Config):
    """Of figures whose joints are the rows of the entry `keypoints` [K, 3]; joints are meant by their rows, 0 to K - 1.

    pairs: of joints that change their names in a mirror, such as left and right wrist; none is in two. Those that are
    in none keep theirs. limbs: of joints that are joined by a line in pictures. sigmas: of each joint, how far those
    who mark it miss it, as a share of the root of the figure's area, for the object keypoint similarity: K numbers
    above 0 (COCO's are 0.025 for eyes to 0.107 for hips). torso: two joints whose distance is the length of the torso,
    such as left shoulder and right hip; None where there is none.
    """

    pairs: tuple[Pair, ...] = ()
    limbs: tuple[Pair, ...] = ()
    sigmas: tuple[Annotated[float, Field(gt=0)], ...]
    torso: Pair | None = None

    @model_validator(mode="after")
    def _joints_are_there(self) -> Self:
        joints = len(self.sigmas)
        named = {"pairs": self.pairs, "limbs": self.limbs, "torso": () if self.torso is None else (self.torso,)}
        for field, pairs in named.items():
            for pair in pairs:
                if max(pair) >= joints or pair[0] == pair[1]:
                    raise ValueError(f"{field}: {pair} must be two of the {joints} joints, 0 to {joints - 1}")
        mirrored = [joint for pair in self.pairs for joint in pair]
        if len(mirrored) > len(set(mirrored)):
            raise ValueError(f"pairs = {self.pairs}: a joint is in two of them")
        return self

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Of each joint the one that it is called in a mirror: K rows, a permutation that is its own inverse."""
        other = {a: b for pair in self.pairs for a, b in (pair, pair[::-1])}
        return tuple(other.get(joint, joint) for joint in range(len(self.sigmas)))

    def check(self, shape: tuple[int, ...] | None, classes: tuple[str, ...], where: str) -> None:
        """Raise DataError, beginning with `where`, unless it is of examples whose `keypoints` have this shape.

        shape: None where there are no keypoints. classes: the data's, which are the names of the joints.
        """
        if shape is None:
            raise DataError(f"{where}: there is a skeleton, and examples have no keypoints; give them, or leave it out")
        if not len(self.sigmas) == len(classes) == shape[0]:
            raise DataError(
                f"{where}: a skeleton of {len(self.sigmas)} sigmas, {len(classes)} classes and keypoints "
                f"{list(shape)}; there must be as many of each: the classes are the names of the joints"
            )
