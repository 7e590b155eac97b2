"""Links in a folder of images: which lead on for ever, out of it, or to nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cnnjax.visible import printable


def said_of_links(root: Path, links: Sequence[str], images: Sequence[str]) -> Iterator[str]:
    """A sentence of each kind that there is. links, images: by their names within `root`."""
    whole = os.path.realpath(root)
    leads = {name: os.path.realpath(root / name) for name in sorted(links)}
    out = {name: target for name, target in leads.items() if not _is_within(target, whole)}
    inside = tuple(f"{name}/" for name in out)
    elsewhere = sum(name in out or name.startswith(inside) for name in images)
    if elsewhere:
        first, target = next(iter(out.items()))
        are, lead = "images lie" if elsewhere > 1 else "image lies", "links lead" if len(out) > 1 else "link leads"
        shown = printable(f"{root / first} -> {target}")
        yield f"{elsewhere:,} {are} outside of {printable(str(root))}, where {len(out):,} {lead}: {shown}"
    gone = [name for name in leads if not os.path.exists(root / name)]
    if gone:
        lead = "links lead" if len(gone) > 1 else "link leads"
        yield f"{len(gone):,} {lead} to nothing: {printable(str(root / gone[0]))}; take out what is gone"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, or to where nobody may look: read as a file, it says what is wrong.
        return False


def leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether a link leads to a folder that it lies in itself, so that there would be no end of it."""
    if not entry.is_symlink():
        return False
    target = entry.stat()
    return any(os.path.samestat(target, parent.stat()) for parent in Path(entry.path).parents)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))
