"""Arms that a study leaves out: by some of their values, by a condition in words, or by a function of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PrivateAttr

from cnnjax.code import Code, code_of_function
from cnnjax.config import Config, Named, parse, read
from cnnjax.data.loader import EXPERIMENT
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment
from cnnjax.study.condition import Comparison, Condition, Forms, ValueAt, same
from cnnjax.study.designs import Arm
from cnnjax.study.values import frozen, text


class Exclusion(Config, union="exclude"):
    """Which arms to leave out."""

    @property
    def text(self) -> str:
        """It in words."""
        raise NotImplementedError

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """What it compares with what; nothing where it takes the whole experiment."""
        return ()

    def holds(self, value_at: ValueAt, experiment: Callable[[], Experiment]) -> bool:
        """Whether an arm is left out. experiment: of the arm; raises ConfigError where there can be none."""
        raise NotImplementedError


class PartialArm(Exclusion, tag="partial_arm"):
    """Every arm that has all of these values.

    values: by dotted path.
    """

    values: Annotated[Mapping[str, Any], AfterValidator(lambda values: Named(frozen(values)))]

    @property
    def text(self) -> str:
        return " ".join(f"{path}={text(value)}" for path, value in self.values.items())

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        return tuple(Comparison(path, "==", value) for path, value in self.values.items())

    def holds(self, value_at: ValueAt, experiment: Callable[[], Experiment]) -> bool:
        return all(same(value_at(path), value) for path, value in self.values.items())


class Rule(Exclusion, tag="rule"):
    """Every arm for which a condition holds, or which breaks one that says `A requires B` (`study/condition`).

    condition: such as "model.kernel_size == 7 and model.strides != 1", or "A requires B".
    """

    condition: str

    def model_post_init(self, context: Any) -> None:
        """Raise ConfigError where the condition cannot be read."""
        Condition.read(self.condition)

    @property
    def text(self) -> str:
        return self.condition

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        return Condition.read(self.condition).comparisons

    def holds(self, value_at: ValueAt, experiment: Callable[[], Experiment]) -> bool:
        return Condition.read(self.condition).excludes(value_at)


class ByFunction(Exclusion, tag="function"):
    """Every arm for whose experiment a function of the experiment file is true.

    name: the function's, in the file.
    """

    name: str
    _function: Callable[..., Any] | None = PrivateAttr(None)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> ByFunction:
        """The exclusion by a function of an experiment that returns True or False."""
        made = cls(name=getattr(function, "__qualname__", type(function).__qualname__))
        made._function = function
        return made

    @property
    def text(self) -> str:
        return f"the function {self.name}"

    @property
    def function(self) -> str:
        """Its qualified name, led by the module's: `pooling.too_big` in `pooling.py`."""
        module = getattr(self._function, "__module__", None) or type(self._function).__module__
        return f"{module.removeprefix(EXPERIMENT)}.{self.name}"

    @property
    def code(self) -> Code:
        """The user's code that the function is made of."""
        return code_of_function(self._held())

    def _held(self) -> Callable[..., Any]:
        if self._function is None:
            raise ConfigError(f"exclude: {self.text} stands in the experiment file: load the study from there")
        return self._function

    def holds(self, value_at: ValueAt, experiment: Callable[[], Experiment]) -> bool:
        function = self._held()
        try:
            whole = experiment()
        except ConfigError:
            return False  # An arm that cannot be is pruned, with its reason.
        try:
            answer = function(whole)
        except Exception as error:
            raise ConfigError(f"exclude: {self.text} raises {type(error).__name__}: {error}") from error
        if not isinstance(answer, bool):
            raise ConfigError(f"exclude: {self.text} must return True or False, not {answer!r}")
        return answer


def exclusion(written: Any) -> Any:
    """What `exclude=` was given as an Exclusion: a mapping, `a=1 b=2`, a condition, or a function."""
    if isinstance(written, str):
        return of_text(written)
    if isinstance(written, Mapping) and Exclusion.tag_key not in written:
        return PartialArm(values=dict(written))
    return ByFunction.of(written) if callable(written) and not isinstance(written, type) else written


def of_text(written: str) -> Exclusion:
    """The exclusion that a text says: `a=1 b=2` some of an arm's values, anything else a condition."""
    pairs = _pairs(written)
    if pairs is not None:
        return PartialArm(values=pairs)
    Condition.read(written)  # Here, where no class of ours stands before its message.
    return Rule(condition=written)


def _pairs(written: str) -> dict[str, Any] | None:
    found = re.findall(r"([\w.]+)=(?!=)(\"[^\"]*\"|'[^']*'|\[[^]]*\]|\([^)]*\)|[^\s=]+)(?=\s|$)", written)
    if re.sub(r"\s", "", written) != re.sub(r"\s", "", "".join(f"{path}={value}" for path, value in found)):
        return None
    paths = [path for path, _ in found]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"{written!r} gives a path twice")
    return {path: parse(value) for path, value in found} or None


Exclusions = tuple[Annotated[Exclusion, BeforeValidator(exclusion)], ...]
"""Field type of what a study leaves out."""


@dataclass
class LeftOut:
    """How many arms are left out: in all, and by each exclusion for itself."""

    each: list[int]
    total: int = 0


def remaining(
    arms: Iterable[Arm], exclusions: Sequence[Exclusion], varied: Callable[[Arm], Experiment], left_out: LeftOut
) -> Iterator[Arm]:
    """The arms that no exclusion leaves out, one by one. varied: the experiment of an arm. left_out: is counted up.

    After the last arm it raises ConfigError where an exclusion left out none, or all of them together every arm.
    """
    left = 0
    for arm in arms:
        held = [number for number, exclusion in enumerate(exclusions) if leaves_out(exclusion, arm, varied)]
        for number in held:
            left_out.each[number] += 1
        if held:
            left_out.total += 1
        else:
            left += 1
            yield arm
    total = left + left_out.total
    for exclusion, count in zip(exclusions, left_out.each, strict=True):
        if not count:
            raise ConfigError(
                f"exclude: {exclusion.text!r} leaves out none of the {total:,} arms: mend it or take it away"
            )
    if not left:
        texts = "; ".join(exclusion.text for exclusion in exclusions)
        raise ConfigError(f"exclude: nothing is left of the {total:,} arms: {texts}")


def leaves_out(exclusion: Exclusion, arm: Arm, varied: Callable[[Arm], Experiment]) -> bool:
    """Whether an exclusion leaves out the arm."""

    @cache
    def experiment() -> Experiment:
        return varied(arm)

    def value_at(path: str) -> Forms:
        raw = (arm[path],) if path in arm else ()
        if raw and not isinstance(raw[0], Named):
            return raw
        try:
            return (*raw, read(experiment(), path))
        except ConfigError:
            return raw

    return exclusion.holds(value_at, experiment)
