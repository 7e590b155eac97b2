"""What the names of files say of them: label, speaker, take and the like, by a pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from cnnjax.errors import DataError

_PLACE = re.compile(r"\{(\w*)\}")


def places(pattern: str) -> tuple[str, ...]:
    """The names of the places in a pattern such as "{label}_{speaker}_{take}", in order; `{}` has none and is left out.

    Raises ValueError for a name that is there twice, and for a brace that belongs to no place.
    """
    names = [name for name in _PLACE.findall(pattern) if name]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"pattern = {pattern!r}: {{{name}}} is there twice")
        if not name.isidentifier():
            raise ValueError(f"pattern = {pattern!r}: {name!r} is no name; begin it with a letter")
    if set("{}") & set(_PLACE.sub("", pattern)):
        raise ValueError(f"pattern = {pattern!r}: places are written {{name}}, or {{}} for what is not needed")
    return tuple(names)


def said_by(pattern: str, names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """What stands at the places of the pattern in each of the files' names that it fits, by the name.

    The pattern is of a path's end, without the suffix: as many folders as it has. A place stands for one or more
    characters, none of them "/". Raises DataError for a name that it fits in more than one way.
    """
    depth = pattern.count("/") + 1
    shortest, longest = _compiled(pattern, "+?"), _compiled(pattern, "+")
    found = {}
    for name in names:
        path = PurePosixPath(name).with_suffix("")
        end = "/".join(path.parts[-depth:])
        one, other = shortest.fullmatch(end), longest.fullmatch(end)
        if one is None or other is None:
            continue
        if one.groups() != other.groups():
            raise DataError(
                f"{name}: the pattern {pattern!r} fits it in more than one way, as {one.groups()} and "
                f"{other.groups()}; rename it"
            )
        found[name] = one.groupdict()
    return found


@lru_cache(maxsize=8)
def _compiled(pattern: str, times: str) -> re.Pattern[str]:
    parts, at = [], 0
    for place in _PLACE.finditer(pattern):
        name = f"?P<{place[1]}>" if place[1] else ""
        parts += [re.escape(pattern[at : place.start()]), f"({name}[^/]{times})"]
        at = place.end()
    return re.compile("".join([*parts, re.escape(pattern[at:])]), re.DOTALL)
