"""Tar and zip archives: unpacked only into their target, or read in place by offset and size."""

from __future__ import annotations

import contextlib
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from cnnjax.errors import DataError

BLOCK = 512
_CHUNK = 1 << 20
# What zipfile and tarfile let through of damaged, encrypted or unknown compression.
_CODECS = (zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """A file within an uncompressed tar: its name, and the bytes of the tar that are its own."""

    name: str
    offset: int
    size: int


def index(path: Path, *, nested: bool = True) -> tuple[Member, ...]:
    """The files in an uncompressed tar, in its order.

    nested: look into tars within it too, as ImageNet's has one for each class; `n01.tar` with `a.JPEG` in it gives
    `n01/a.JPEG`. Raises DataError where the tar is compressed, damaged or cut short, or holds what `safe_name` or
    `_plain` refuse.
    """
    with _reading(path), path.open("rb") as file:
        total = path.stat().st_size
        members = tuple(_members(path, file, 0, total, "", nested))
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            raise DataError(f"{path}: {member.name!r} is in it twice; pack it again from a clean folder")
        seen.add(member.name)
    return members


def _members(path: Path, file: IO[bytes], start: int, end: int, prefix: str, nested: bool) -> Iterator[Member]:
    file.seek(start)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for entry in tar:
            if not _plain(path, entry):
                continue
            name = prefix + safe_name(path, entry.name)
            if entry.offset_data + entry.size > end:
                raise DataError(_cut(path, f"{name!r} should end at byte {entry.offset_data + entry.size:,}", end))
            if nested and name.endswith(".tar"):
                inside = name.removesuffix(".tar") + "/"
                yield from _members(path, file, entry.offset_data, entry.offset_data + entry.size, inside, nested)
            else:
                yield Member(name, entry.offset_data, entry.size)
        # tarfile takes a damaged header for the end. A whole tar says where it ends, by a block of zeros.
        file.seek(tar.offset)
        if tar.offset + BLOCK > end or any(file.read(BLOCK)):
            raise DataError(_cut(path, f"no end mark after {tar.offset:,} bytes", end))


def _cut(path: Path, what: str, end: int) -> str:
    return f"{path} is cut short or damaged: {what}, and there are {end:,}; copy or download it again"


def read_member(path: Path, member: Member) -> bytes:
    """The bytes of one file of an indexed tar."""
    with path.open("rb") as file:
        file.seek(member.offset)
        content = file.read(member.size)
    if len(content) != member.size:
        raise DataError(f"{path}: {member.name!r} has {len(content):,} of its {member.size:,} bytes; copy it again")
    return content


def extract(path: Path, target: Path) -> int:
    """Unpack a tar (plain, gz, bz2, xz) or zip into the new folder `target`, whole or not at all; the number of files.

    Raises DataError where the archive is damaged, cut short or larger than the free disk space, where a member would
    land outside of `target`, and where one is a link or a device: nothing remains of it then.
    """
    if target.exists():
        raise DataError(f"{target} exists already; delete it or choose another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with _reading(path):
            count = _unpack(path, scratch)
        scratch.chmod(0o755)
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return count


def _unpack(path: Path, folder: Path) -> int:
    room, count = shutil.disk_usage(folder).free, 0
    for name, size, content in _contents(path):
        room -= size
        if room < 0:
            raise DataError(f"{path}: {name!r} would take more than the free disk space; nothing was unpacked")
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with content, place.open("xb") as file:
                shutil.copyfileobj(content, file, _CHUNK)
        except FileExistsError:
            raise DataError(f"{path}: {name!r} is in it twice") from None
        written = place.stat().st_size
        if written != size:
            raise DataError(f"{path} is cut short: {name!r} has {written:,} of its {size:,} bytes; download it again")
        count += 1
    return count


def _contents(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    # (name, size, content) of each file, names already safe.
    if zipfile.is_zipfile(path) and not tarfile.is_tarfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name, kind = safe_name(path, entry.filename), stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise DataError(_special(path, name))
                if not entry.is_dir():
                    yield name, entry.file_size, archive.open(entry)
        return
    with tarfile.open(path) as tar:
        for entry in tar:
            content = tar.extractfile(entry) if _plain(path, entry) else None
            if content is not None:
                yield safe_name(path, entry.name), entry.size, content
        fileobj = tar.fileobj
        if fileobj is not None:
            fileobj.seek(tar.offset)
            ending = fileobj.read(BLOCK)
            if len(ending) < BLOCK or any(ending):
                raise DataError(_cut(path, f"no end mark after {tar.offset:,} bytes", tar.offset + len(ending)))


def _plain(path: Path, entry: tarfile.TarInfo) -> bool:
    """Whether an entry is a file; folders need no entry. DataError where it is neither, or sparse."""
    if entry.isdir():
        safe_name(path, entry.name)
        return False
    if not entry.isreg() or entry.sparse is not None:
        raise DataError(_special(path, entry.name))
    return True


def _special(path: Path, name: str) -> str:
    return f"{path}: {name!r} is a link, a device or sparse; only plain files and folders are read"


def safe_name(path: Path, name: str) -> str:
    """`name` without `./`, still relative and within its folder; DataError naming the archive `path` otherwise."""
    parts = PurePosixPath(name).parts
    outside = ".." in parts or name.startswith("/") or "\\" in name or "\0" in name or name[1:2] == ":"
    if outside or (not parts and name not in (".", "./")):
        raise DataError(f"{path}: {name!r} would lie outside of the folder; do not trust this archive")
    return "/".join(parts)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"there is no archive {path}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, *_CODECS) as error:
        if not path.exists() or path.is_dir():
            raise DataError(f"{path} is no archive") from None
        raise DataError(
            f"{path} is no tar or zip, compressed where it must not be, or cut short: {error}; unpack or copy it again"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read or unpacked: {error.strerror or error}") from None
