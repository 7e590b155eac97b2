"""Where image files lie: a folder or an uncompressed tar, read by name, and known by their contents' hashes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from io import BufferedReader
from pathlib import Path, PurePosixPath
from string import hexdigits
from typing import Any, NoReturn

from cnnjax.cache import place, recall, remember
from cnnjax.data.archive import Member, index, read_member
from cnnjax.data.links import is_folder, leads_back, said_of_links
from cnnjax.errors import DataError
from cnnjax.files import LARGEST
from cnnjax.visible import printable

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
BEGINNING = 16
# What systems and programs put beside people's files; there are copies of images in some.
_SYSTEM = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"))


@dataclass(frozen=True)
class FileKind:
    """Files that are examples, known by their suffixes. one, many: what an error calls them."""

    one: str
    many: str
    suffixes: tuple[str, ...]

    def includes(self, name: str) -> bool:
        """Whether a file's name is that of one."""
        return name[name.rfind(".") :].lower() in self.suffixes


IMAGES = FileKind("an image", "images", SUFFIXES)
SOUNDS = FileKind("a sound", "sounds", (".wav", ".wave"))


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image that can be decoded."""
    return IMAGES.includes(name)


def open_store(root: Path) -> Store:
    """The folder or tar at `root`. Raises DataError where there is none."""
    if root.is_dir():
        return Folder(root)
    if root.is_file():
        return Tar(root)
    raise DataError(f"there is no folder or tar {root}; check `root`")


@dataclass(frozen=True)
class Store:
    """Files under `root`, named relative to it with `/`.

    What is hidden (begins with a dot) and folders of the system's own are left out. names: all files, sorted. folders:
    all folders, sorted; of a tar only those with files in them.
    """

    root: Path

    @property
    def names(self) -> tuple[str, ...]:
        raise NotImplementedError

    @property
    def folders(self) -> tuple[str, ...]:
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises DataError."""
        raise NotImplementedError

    def begins(self, name: str) -> bytes:
        """The first bytes of a file; none of one that cannot be read."""
        raise NotImplementedError

    def digest(self, name: str) -> str:
        """16 hex digits of the BLAKE2b of a file's content."""
        return _digest(self.read(name))

    def version(self, name: str) -> list[int]:
        """[size, time of the last change in ns] of what holds the file."""
        raise NotImplementedError

    @property
    def listed(self) -> dict[Path, tuple[int, int]]:
        """(size, time of the last change in ns) of what says which files there are, as it was when they were listed."""
        raise NotImplementedError

    def shown(self, name: str) -> str:
        """How a file is named to the user."""
        raise NotImplementedError

    @property
    def linked(self) -> tuple[str, ...]:
        """What to say of images that lie elsewhere, where links lead out of `root`; empty where there are none."""
        return ()

    def digests(self, names: Iterable[str]) -> list[str]:
        """`digest` of each file.

        Remembered in the user's cache folder; a file whose size or time of change is another is read again.
        """
        versions = {name: self.version(name) for name in names}
        known = recall(_place("digests", self.root))
        stale = [name for name, version in versions.items() if not _is_of(known.get(name), version)]
        if stale:
            with ThreadPoolExecutor() as pool:
                for name, digest in zip(stale, pool.map(self.digest, stale), strict=True):
                    known[name] = [*versions[name], digest]
            remember(_place("digests", self.root), known)
        return [known[name][2] for name in versions]


class Folder(Store):
    """A folder on disk."""

    @cached_property
    def _walked(self) -> tuple[tuple[str, ...], tuple[str, ...], dict[Path, tuple[int, int]], list[str]]:
        names, folders, listed, links = [], [], {}, []
        ahead = [""]
        while ahead:
            at = ahead.pop()
            folder = self.root / at
            listed[folder] = stamp(folder)
            for entry in _entries(folder):
                name = f"{at}/{entry.name}" if at else entry.name
                if entry.is_symlink():
                    links.append(name)
                if not is_folder(entry):
                    names.append(name)
                elif not leads_back(entry):
                    folders.append(name)
                    ahead.append(name)
        return tuple(sorted(names)), tuple(sorted(folders)), listed, links

    @property
    def linked(self) -> tuple[str, ...]:
        return tuple(said_of_links(self.root, self._walked[3], tuple(filter(is_image, self.names))))

    @property
    def names(self) -> tuple[str, ...]:
        return self._walked[0]

    @property
    def folders(self) -> tuple[str, ...]:
        return self._walked[1]

    @property
    def listed(self) -> dict[Path, tuple[int, int]]:
        return self._walked[2]

    def read(self, name: str) -> bytes:
        try:
            with _opened(self.root / name) as file:
                size = os.fstat(file.fileno()).st_size
                if size > LARGEST:
                    raise DataError(f"{self.root / name} has {size:,} bytes, which no image has; take it out")
                return file.read()
        except OSError as error:
            _refuse(error)

    def begins(self, name: str) -> bytes:
        try:
            with _opened(self.root / name) as file:
                return file.read(BEGINNING)
        except (OSError, DataError):
            return b""

    def digest(self, name: str) -> str:
        # A file may be larger than memory.
        try:
            with _opened(self.root / name) as file:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
        except OSError as error:
            _refuse(error)

    def version(self, name: str) -> list[int]:
        return list(stamp(self.root / name))

    def shown(self, name: str) -> str:
        return printable(str(self.root / name))


class Tar(Store):
    """An uncompressed tar, read in place. Where its members lie is remembered in the user's cache folder."""

    @cached_property
    def _members(self) -> dict[str, Member]:
        known, version = recall(_place("tars", self.root)), list(self._stamp)
        if known.get("version") != version or not _are_members(known.get("members")):
            members = [[member.name, member.offset, member.size] for member in index(self.root)]
            known = {"version": version, "members": members}
            remember(_place("tars", self.root), known)
        return {name: Member(name, *where) for name, *where in known["members"] if not _hidden(name)}

    @cached_property
    def _stamp(self) -> tuple[int, int]:
        return stamp(self.root)

    @property
    def listed(self) -> dict[Path, tuple[int, int]]:
        return {self.root: self._stamp}

    @cached_property
    def _listed(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        folders = {name.rpartition("/")[0] for name in self._members}
        parents = {str(parent) for name in folders for parent in (PurePosixPath(name), *PurePosixPath(name).parents)}
        return tuple(sorted(self._members)), tuple(sorted(parents - {"."}))

    @property
    def names(self) -> tuple[str, ...]:
        return self._listed[0]

    @property
    def folders(self) -> tuple[str, ...]:
        return self._listed[1]

    def read(self, name: str) -> bytes:
        try:
            return read_member(self.root, self._members[name])
        except OSError as error:
            _refuse(error)

    def begins(self, name: str) -> bytes:
        member = self._members[name]
        return read_member(self.root, replace(member, size=min(member.size, BEGINNING)))

    def version(self, name: str) -> list[int]:
        return list(stamp(self.root))

    def shown(self, name: str) -> str:
        return printable(f"{self.root}: {name}" if name else str(self.root))


def _is_of(known: Any, version: list[int]) -> bool:
    if not (isinstance(known, list) and len(known) == 3 and known[:2] == version and isinstance(known[2], str)):
        return False
    return len(known[2]) == 16 and set(known[2]) <= set(hexdigits)


def _are_members(known: Any) -> bool:
    return isinstance(known, list) and all(
        isinstance(fields, list) and list(map(type, fields)) == [str, int, int] for fields in known
    )


def stamp(path: Path) -> tuple[int, int]:
    """(size, time of the last change in ns) of a file or folder. Raises DataError where there is none."""
    try:
        status = path.stat()
    except OSError as error:
        _refuse(error)
    return status.st_size, status.st_mtime_ns


def _left_out(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM


def _hidden(name: str) -> bool:
    return any(map(_left_out, name.split("/")))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not _left_out(entry.name)]
    except OSError as error:
        _refuse(error)


def _opened(path: Path) -> BufferedReader:
    """Open a file. Raises DataError where it is a pipe or a device, which reading might wait for."""
    # Without O_NONBLOCK a pipe would wait for its writer here.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise DataError(f"{path} is {what}, not a file; take it out")
    return os.fdopen(descriptor, "rb")


def _refuse(error: OSError) -> NoReturn:
    name = printable(os.fsdecode(error.filename or "a file"))
    raise DataError(f"{name} cannot be read: {error.strerror}; mend its permissions or take it out")


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _place(kind: str, root: Path) -> Path:
    return place(kind, os.fsencode(root.resolve()))
