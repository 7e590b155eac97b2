"""Groups of parameters that an optimizer treats otherwise than the rest, by patterns on their paths.

A parameter's path is its place in the tree, with dots: `stem.conv1.conv.kernel`. A pattern is one of `fnmatch`: `*`
stands for anything, dots too, `?` for one character, `[12]` for one of some. The first pattern that matches counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import optax
from pydantic import Field, model_validator

from cnnjax.config import Config, Named, later
from cnnjax.errors import ConfigError, did_you_mean
from cnnjax.optim.schedules import Schedule

Path = tuple[Any, ...]


class Group(Config):
    """What is other for the parameters of a group: multipliers of the optimizer's own values.

    learning_rate: greater than 0, times the optimizer's. weight_decay: at least 0, times the optimizer's; parameters
    that `decay_skips` leaves out stay out. frozen: they do not move, whatever gradient they have, and the optimizer
    keeps nothing for them. inference: in training too, the modules of the group run as at inference: batch
    normalization by its running statistics, which stay as they are, and no dropout. Its pattern names modules, so it is
    `*` or ends with `.*`. Each value is a program of its own.

    until: epochs (fractions allowed, more than 0, fewer than the training has) after which the parameters do not move
    any more; the optimizer still keeps what it keeps for them. schedule: the group's own, in the place of the
    optimizer's, from the same peak times `learning_rate`, over the epochs up to `until`, or over the whole training.
    """

    no_lanes: ClassVar[str] = "which parameters differ, and how, decides what is compiled"

    learning_rate: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=1.0, ge=0)
    frozen: bool = False
    inference: bool = later(False)
    until: float | None = later(None, gt=0)
    schedule: Schedule | None = later(None)

    @model_validator(mode="after")
    def _frozen_has_no_rate(self) -> Self:
        if self.frozen and (self.learning_rate, self.weight_decay) != (1, 1):
            raise ValueError("frozen: parameters that do not move have no learning_rate and no weight_decay")
        if self.frozen and (self.until is not None or self.schedule is not None):
            raise ValueError("frozen: parameters that never move have no until and no schedule")
        return self

    def steps(self, *, steps: int, steps_per_epoch: int) -> int:
        """How many steps of a training of that length the parameters move in. Raises ConfigError for none or all."""
        if self.until is None:
            return steps
        own = round(self.until * steps_per_epoch)
        if self.until > 0 and not 0 < own < steps:  # 0 where there is no length (`group_times.without_length`)
            raise ConfigError(
                f"optim.groups: until = {self.until:g} epochs of {steps_per_epoch} steps are {own} steps, and the "
                f"training has {steps}: it must lie within; leave it out, or take frozen"
            )
        return own


Groups = Mapping[str, Group]
_REST = Group()


def linear_probe() -> Named[Group]:
    """Groups with which the layer of logits alone is trained, on a backbone that runs as at inference.

    `cnnjax train FILE initial=RUN optim.groups=linear_probe`. All layers with `logits` in their names are trained.
    """
    return Named({"*logits.*": Group(), "*": Group(frozen=True, inference=True)})


NAMED_GROUPS: Mapping[str, Callable[[], Named[Group]]] = {"none": Named, "linear_probe": linear_probe}
"""Groups that are given by name."""


def groups_by_name(value: Any) -> Any:
    """The groups that a text names; what is no text, as it is. Raises ValueError for another text."""
    if not isinstance(value, str):
        return value
    if value not in NAMED_GROUPS:
        raise ValueError(
            f"{value!r}: give patterns with their groups, such as "
            f'{{"stem.*": {{"frozen": true}}}}, or one of: {", ".join(NAMED_GROUPS)}'
        )
    return NAMED_GROUPS[value]()


def group_at(groups: Groups, path: str) -> Group:
    """The group of the parameter at a dotted path: of the first pattern that matches."""
    return next((group for pattern, group in groups.items() if fnmatchcase(path, pattern)), _REST)


def pattern_at(groups: Groups, path: str) -> str | None:
    """The first pattern that matches the dotted path of a parameter; None where none does."""
    return next((pattern for pattern in groups if fnmatchcase(path, pattern)), None)


def check_groups(groups: Groups, params: Any) -> None:
    """Raise ConfigError for a pattern that matches no parameter that earlier ones leave, and where all are frozen."""
    paths = [path for path, _ in _leaves(params)]
    for pattern, group in groups.items():
        if group.inference and pattern != "*" and not pattern.endswith(".*"):
            raise ConfigError(f"optim.groups: {pattern!r}: inference is for modules; end the pattern with .*")
    for position, pattern in enumerate(groups):
        matched = [path for path in paths if fnmatchcase(path, pattern)]
        if not matched:
            raise ConfigError(f"optim.groups: {pattern!r} matches no parameter.{_near(pattern, paths)}")
        earlier = list(groups)[:position]
        if all(any(fnmatchcase(path, other) for other in earlier) for path in matched):
            takers = [other for other in earlier if any(fnmatchcase(path, other) for path in matched)]
            raise ConfigError(
                f"optim.groups: {pattern!r} has no effect: {' and '.join(map(repr, takers))} before it match all that "
                "it does, and the first match counts; put it first"
            )
    if paths and all(group_at(groups, path).frozen for path in paths):
        raise ConfigError("optim.groups: all parameters are frozen, so that nothing would be trained")


def group_sizes(groups: Groups, params: Any) -> dict[str, int]:
    """How many parameters each pattern is the first to match, by pattern."""
    sizes = dict.fromkeys(groups, 0)
    for path, leaf in _leaves(params):
        first = pattern_at(groups, path)
        if first is not None:
            sizes[first] += leaf.size
    return sizes


def _near(pattern: str, paths: list[str]) -> str:
    modules = {path[:end] + ".*" for path in paths for end, letter in enumerate(path) if letter == "."}
    near = did_you_mean(pattern, [*sorted(modules), *paths])
    tops = sorted({path.partition(".")[0] for path in paths})
    return near or f" Paths begin with: {', '.join(tops)}"


def _leaves(params: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        yield dotted(path), leaf


def dotted(path: Path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _by_group(groups: Groups, params: Any, value: Callable[[Group], Any]) -> Any:
    """The tree of `params` with a value for each, of its group."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: value(group_at(groups, dotted(path))), params)


def without_frozen(groups: Groups, params: Any) -> Any:
    """`params` in which no gradient reaches those that are frozen."""
    if not any(group.frozen for group in groups.values()):
        return params
    frozen = _by_group(groups, params, lambda group: group.frozen)
    return jax.tree.map(lambda leaf, stays: jax.lax.stop_gradient(leaf) if stays else leaf, params, frozen)


def in_inference(groups: Groups) -> Callable[[str], bool] | None:
    """Whether the module at a dotted path runs as at inference in training too; None where none does."""
    if not any(group.inference for group in groups.values()):
        return None
    return lambda path: group_at(groups, f"{path}.").inference


def grouped(
    every: optax.GradientTransformation,
    groups: Groups,
    around: Callable[[optax.GradientTransformation], optax.GradientTransformation],
    shares: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
    """What an optimizer does for all parameters, with the learning rates of groups, and without what is frozen.

    around: what is made of the former, for the parameters that are not frozen. shares: a further multiplier of the
    learning rate of each parameter, by its path; {} where all are 1.
    """
    if shares is not None or any(group.learning_rate != 1 for group in groups.values()):
        every = optax.chain(every, optax.stateless(lambda updates, params: _times_rate(groups, shares or {}, updates)))
    every = around(every)
    if not any(group.frozen for group in groups.values()):
        return every

    def chosen(frozen: bool) -> Callable[[Any], Any]:
        return lambda params: _by_group(groups, params, lambda group: group.frozen == frozen)

    return optax.chain(optax.masked(every, chosen(False)), optax.masked(_still(), chosen(True)))


def _times_rate(groups: Groups, shares: Mapping[str, float], updates: Any) -> Any:
    def times(path: Path, update: jax.Array) -> jax.Array:
        name = dotted(path)
        rate = group_at(groups, name).learning_rate * (shares[name] if shares else 1)
        return update if rate == 1 else update * rate

    return jax.tree_util.tree_map_with_path(times, updates)


def _still() -> optax.GradientTransformation:
    """Updates that change no bit: x + (-0.0) is x, also where x is -0.0."""
    return optax.stateless(lambda updates, params: jax.tree.map(lambda update: jnp.full_like(update, -0.0), updates))


def decayed(weight_decay: Any, groups: Groups, chosen: Callable[[Any], Any] | None) -> optax.GradientTransformation:
    """Adds weight decay with the groups' multipliers; chosen: params -> which are decayed at all, None for all."""

    def update(updates: Any, params: Any) -> Any:
        shares = _by_group(groups, params, lambda group: group.weight_decay)
        if chosen is not None:
            shares = jax.tree.map(lambda share, decays: share if decays else 0.0, shares, chosen(params))

        def added(update: jax.Array, share: float, param: jax.Array) -> jax.Array:
            return update if share == 0 else update + weight_decay * share * param

        return jax.tree.map(added, updates, shares, params)

    return optax.stateless(update)


def paths_of(params: Any) -> list[str]:
    """The dotted paths of the parameters, in the order of the tree's leaves."""
    return [path for path, _ in _leaves(params)]


def matching(patterns: Iterable[str], params: Any) -> Any:
    """The tree of `params` with whether a pattern matches each one's path."""
    patterns = tuple(patterns)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: any(fnmatchcase(dotted(path), pattern) for pattern in patterns), params
    )


def check_patterns(field: str, patterns: Iterable[str], params: Any) -> None:
    """Raise ConfigError for a pattern that matches no parameter; `field` is where the patterns stand."""
    paths = paths_of(params)
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise ConfigError(f"{field}: {pattern!r} matches no parameter.{_near(pattern, paths)}")
