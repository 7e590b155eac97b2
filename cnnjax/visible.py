"""Texts of others made visible: what would move a terminal's cursor, turn the direction of writing, or show nothing."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that show nothing, though Unicode counts them among those that do."""
_PLAIN = re.compile(r"[ -~\n\t]*")
"""What most texts consist of."""


def visible(text: str) -> str:
    """`text` in which every character that is not seen is its escape, as in Python: `\\x1b`, `\\u202e`, `\\r`.

    Lines, tabs and blanks stay. Bytes of a file's name that are not UTF-8 are `\\xe9`. What is visible stays as it is.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def one_line(text: str) -> str:
    """`visible(text)` for a place of one line: the ends of lines and tabs are `\\n` and `\\t`."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def indented(text: str) -> str:
    """`text` whose second and later lines stand under its first, so that none of them begins as a line of ours does."""
    return text.replace("\n", "\n  ")


def printable(text: str) -> str:
    """`text` as it can be written into any file: bytes of a file's name that are not UTF-8 are `\\xe9`, halves of pairs
    of UTF-16 `\\ud800`."""
    if text.isascii():
        return text
    return "".join(_shown(sign) if "\ud800" <= sign <= "\udfff" else sign for sign in text)


def in_json(text: str) -> str:
    """The JSON `text` with the same value, in which what is not seen is escaped."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(character if _is_seen(character) else _in_json(character) for character in text)


@lru_cache(maxsize=1 << 12)
def _shown(character: str) -> str:
    if _is_seen(character):
        return character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode() if not character.isprintable() else f"\\u{ord(character):04x}"


@lru_cache(maxsize=1 << 12)
def _is_seen(character: str) -> bool:
    if character in "\n\t" or unicodedata.category(character) == "Zs":
        return True
    return character.isprintable() and character not in _BLANK


def _in_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
