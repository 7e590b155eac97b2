"""The format of a weights file, recognized by its first bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from cnnjax.errors import WeightsError

HEAD = 512
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\x00": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
_OTHERS = {
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUMPY": "one array of NumPy's",
    b"7z\xbc\xaf": "a 7-zip archive: unpack it",
    b"%PDF": "a PDF document",
}


def kind(path: Path) -> Literal["safetensors", "torch"]:
    """Which reader the file is for, by its content. Raises WeightsError saying what it is, where it is for none."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40:
        return "safetensors"
    if head.startswith(b"PK"):
        _check_zip(path)
        return "torch"
    problem = _empty_or_packed(head) or _text(head)
    if problem:
        raise WeightsError(f"{path}: not a file of weights: it is {problem}")
    return "safetensors" if path.suffix == ".safetensors" else "torch"


def _empty_or_packed(head: bytes) -> str | None:
    if not head:
        return "empty; whatever should have written it did not finish: fetch or save it again"
    for magic, (name, command) in _COMPRESSED.items():
        if head.startswith(magic):
            return f"compressed by {name}: unpack it first ({command})"
    return next((what for magic, what in _OTHERS.items() if head.startswith(magic)), None)


def _text(head: bytes) -> str | None:
    try:
        # A character may be cut in two at the end.
        text = head[: HEAD - 4].decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if any(not character.isprintable() and not character.isspace() for character in text):
        return None
    start = text.lstrip().lower()
    if start.startswith("version https://git-lfs"):
        return "a pointer of Git LFS, which stands for the file: fetch that with `git lfs pull` in its repository"
    if start.startswith(("<!doctype", "<html", "<?xml", "<head", "<body", "<!--")):
        return "a web page (HTML): download the file itself, by its direct link, and log in where it is needed"
    if start.startswith("{") and "weight_map" in text:
        return "the index of weights in several files: give those in one, torch.save or save_file of them all"
    return f"text, which begins {text[:60]!r}: download the file itself"


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise WeightsError(f"{path}: not a whole file of torch.save's: it is cut short or damaged") from None
    base = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in base:
        raise WeightsError(
            f"{path}: refused: it is a TorchScript program, and loading it would run code; save the weights in it: "
            "torch.save(torch.jit.load(...).state_dict(), ...)"
        )
    if "data.pkl" not in base:
        held = ", ".join(sorted(names)[:3]) or "nothing"
        raise WeightsError(
            f"{path}: not a file of weights: it is a zip archive that torch.save did not write (it holds {held}, ...); "
            "unpack it and give the file of weights in it"
        )
