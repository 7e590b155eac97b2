"""A set of encoded images that is planned for and not read: it need not be here, or only a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from cnnjax.cards import WholeSet
from cnnjax.data.dataset import Dataset
from cnnjax.data.encoded import Encoded, ImageForm, Indices, taken
from cnnjax.errors import DataError


@dataclass(frozen=True, eq=False)
class Unread(Encoded):
    """So many examples whose images cannot be read; class ids follow each other. name: of the set."""

    name: str

    def read(self, indices: Indices) -> list[bytes]:
        raise DataError(f"{self.name} is planned for, and not read: its images are asked for only in a training")

    def shown(self, index: int) -> str:
        return f"{self.name}[{index}]"

    def take(self, indices: np.ndarray) -> Unread:
        return replace(self, in_memory=taken(self, indices))

    def __len__(self) -> int:
        return len(self.in_memory["label"])

    @cached_property
    def fingerprint(self) -> str:
        """Empty: nothing is known of their content."""
        return ""


@lru_cache(maxsize=8)
def unread(name: str, form: ImageForm, whole: WholeSet) -> Dataset:
    """The set `name` with so many examples of that form. Raises DataError where the form has no size."""
    if form.size is None:
        raise DataError(f"{name} is planned for without being read, which takes a size: set data.size")
    classes = tuple(map(str, range(whole.classes)))

    def part(examples: int) -> Unread:
        labels = np.arange(examples, dtype=np.int32) % whole.classes
        return Unread({"label": labels}, classes, form, name)

    return _Unread(name, part(whole.train), part(whole.test), classes)


@dataclass(frozen=True, eq=False)
class _Unread(Dataset):
    @cached_property
    def fingerprint(self) -> str:
        """Empty: nothing is known of its content."""
        return ""


_PLANNED: ContextVar[tuple[object, WholeSet] | None] = ContextVar("planned", default=None)


@contextmanager
def planned_as(data: object, whole: WholeSet | None) -> Iterator[None]:
    """Within, sets that are the same as `data` but for how images are decoded have so many examples, none of them read.

    None changes nothing.
    """
    token = _PLANNED.set(None if whole is None else (data, whole))
    try:
        yield
    finally:
        _PLANNED.reset(token)


def whole_of(data: object) -> WholeSet | None:
    """How many examples a set is planned to have; None where it is read."""
    planned = _PLANNED.get()
    if planned is None:
        return None
    other, whole = planned
    return whole if type(other) is type(data) and getattr(other, "name", None) == getattr(data, "name", None) else None
