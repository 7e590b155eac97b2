"""Which of the names that a data set gives its parts is the training part, and which the test part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cnnjax.data.spelling import listed, tidy
from cnnjax.errors import DataError

TRAIN = ("train", "training", "trn")
TEST = ("test", "testing", "tst")
VALIDATION = ("val", "validation", "valid", "validate", "dev", "development", "eval", "evaluation", "holdout")
# `Training Set`, `test_data` and `val2017` are what they are without these.
_FILLERS = frozenset(("set", "split", "data", "dataset", "part", "images", "imgs", "img", "image"))


@dataclass(frozen=True)
class Wanted:
    """The parts a config asks for.

    train, test: their names; of `train`, "train" stands for any common name of a training part. test: None is the part
    with a common name of a test part or, where there is none, of a validation part.
    """

    train: str = "train"
    test: str | None = None

    def names(self, name: str) -> bool:
        """Whether a part may be meant by `name`: one that is asked for, or any that is common."""
        asked = {_plain(self.train), _plain(self.test or self.train)}
        return _plain(name) in asked or family(name) is not None


@dataclass(frozen=True)
class ChosenParts:
    """The names of the parts that are used; test: None where there is none."""

    train: str
    test: str | None


def family(name: str) -> tuple[str, ...] | None:
    """TRAIN, TEST or VALIDATION, where `name` is a common one of such a part, in any case; else None."""
    words = [word for word in re.split(r"[\W_\d]+", _plain(name)) if word and word not in _FILLERS]
    if len(words) != 1:
        return None
    word = words[0]
    return next((some for some in (TRAIN, TEST, VALIDATION) if {word, word.removesuffix("set")} & set(some)), None)


def choose(names: Sequence[str], wanted: Wanted, where: str) -> ChosenParts:
    """The parts that are wanted among `names`.

    Raises DataError, beginning with `where`, for one that is not there, and where several may be meant.
    """
    train = _common(names, TRAIN, where, "train_split") if wanted.train == Wanted.train else None
    train = train or _named(names, wanted.train)
    if train is None:
        raise DataError(f"{where} has no part {wanted.train!r}; there are {', '.join(names)}; name it with train_split")
    if wanted.test is None:
        others = [name for name in names if name != train]
        groups = (TEST, VALIDATION)
        test = next((found for some in groups if (found := _common(others, some, where, "test_split"))), None)
        return ChosenParts(train, test)
    test = _named(names, wanted.test)
    if test is None:
        raise DataError(f"{where} has no part {wanted.test!r}; there are {', '.join(names)}; name it with test_split")
    return ChosenParts(train, test)


def _common(names: Iterable[str], some: tuple[str, ...], where: str, field: str) -> str | None:
    found = [name for name in names if family(name) is some]
    if len(found) > 1:
        remedy = f"rename all but one, or name one with {field}"
        raise DataError(f"{where}: {listed(found)} are names of the same part, and it may be any of them; {remedy}")
    return found[0] if found else None


def _named(names: Iterable[str], wanted: str) -> str | None:
    names = list(names)
    alike = [name for name in names if _plain(name) == _plain(wanted)]
    if wanted in names:
        return wanted
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return tidy(name).casefold()
