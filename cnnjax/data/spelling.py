"""Names as people write them: of classes, splits and files, compared and ordered as they are meant."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from cnnjax.visible import printable

# Longer ones are no class numbers, and beyond 4,300 digits Python refuses to read them.
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
_SHOWN = 5


@lru_cache(maxsize=1 << 14)
def tidy(text: str) -> str:
    """`text` in Unicode's composed form (NFC), runs of white space one blank, no blanks or invisible signs about it."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    begin, end = 0, len(text)
    while begin < end and _is_invisible(text[begin]):
        begin += 1
    while begin < end and _is_invisible(text[end - 1]):
        end -= 1
    return printable(text[begin:end])


def plainly(name: str) -> str:
    """What is left of a name without upper case, blanks and what is not seen: by it two names look the same."""
    return "".join(sign for sign in tidy(name).casefold() if not _is_invisible(sign))


def _is_invisible(sign: str) -> bool:
    return sign.isspace() or unicodedata.category(sign) in ("Cf", "Cc")


def as_bytes(name: str) -> bytes:
    """The bytes of a file's name as the system has them, whether or not they are UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def whole_number(text: str) -> int | None:
    """The number that a label such as `7`, `07` or `7.0` is; None for any other."""
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else None


def in_order(names: Iterable[str]) -> list[str]:
    """By value where all are numbers, so that 2 comes before 10; else by text."""
    names = list(names)
    values = {name: _number(name) for name in names}
    if all(math.isfinite(value) for value in values.values()):
        return sorted(names, key=lambda name: (values[name], name))
    return sorted(names)


def _number(name: str) -> float:
    try:
        return float(name) if name.isascii() and "_" not in name else math.nan
    except ValueError:
        return math.nan


def differing_in_case(names: Iterable[str]) -> list[list[str]]:
    """Names that are the same but for upper and lower case; single letters, which may be classes, are not looked at."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[name.casefold()].append(name)
    return [group for key, group in groups.items() if len(group) > 1 and len(key) > 1]


def listed(names: Iterable[object]) -> str:
    """The first of them for a message, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) if isinstance(name, str) else str(name) for name in names[:_SHOWN]) + more
