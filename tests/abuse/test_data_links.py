"""Links in folders of images are read, those that lead out are counted and said, and none leads on for ever; of tables,
a column twice is refused."""

from __future__ import annotations

import io
import json
import os
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnjax import ImageFolder
from cnnjax.data.store import open_store
from cnnjax.errors import DataError


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), number, np.uint8)).save(file, "png")
    return file.getvalue()


def classes(folder: Path, *names: str, start: int = 0) -> Path:
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(4):
            (folder / name / f"{number}.png").write_bytes(picture(start + 10 * place + number))
    return folder


def linked(link: str, to: str) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        (place / "set" / link).parent.mkdir(parents=True, exist_ok=True)
        (place / "set" / link).symlink_to(place / to if not to.startswith("..") else to)

    return make


def several(*makes: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda place: [make(place) for make in makes] and None


READ: dict[str, tuple[Callable[[Path], None], int, int]] = {
    "no link": (lambda place: None, 8, 0),
    "a class elsewhere": (linked("cow", "far/cow"), 12, 4),
    "two classes elsewhere": (several(linked("cow", "far/cow"), linked("dog", "far/dog")), 16, 8),
    "a class elsewhere, by a relative link": (linked("cow", "../far/cow"), 12, 4),
    "a class of the set": (linked("ape/more", "set/cat"), 8, 0),
    "an image elsewhere": (linked("ant/z.png", "far/cow/0.png"), 9, 1),
    "an image of the set": (linked("ant/z.png", "set/cat/0.png"), 9, 0),
    "to itself": (several(linked("ant/again", "set"), linked("ant/here", "set/ant")), 8, 0),
    "to each other": (several(linked("ant/x", "set/cat"), linked("cat/y", "set/ant")), 8, 0),
}
"""Case: (the links beside classes ant and cat, how many files a walk may find at least, how many lie outside)."""


@pytest.mark.parametrize("case", READ)
def test_links_are_read_and_those_that_lead_out_are_said(tmp_path, case):
    make, images, outside = READ[case]
    classes(tmp_path / "far", "cow", "dog", start=100)
    root = classes(tmp_path / "set", "ant", "cat")
    make(tmp_path)
    store = open_store(root)
    assert len(store.names) >= images
    assert len(store.names) < 100
    said = " ".join(store.linked)
    assert bool(said) == bool(outside)
    if outside:
        assert said.startswith(f"{outside} image")
        assert f" outside of {root}, where " in said
        assert f" -> {tmp_path}/far/" in said


def test_a_data_set_and_its_command_say_it(run, tmp_path):
    root = classes(tmp_path / "set", "ant", "cat")
    classes(tmp_path / "far", "cow", start=100)
    (root / "cow").symlink_to(tmp_path / "far/cow")
    dataset = ImageFolder(root=str(root), size=8, test=0.5).read()
    assert dataset.classes == ("ant", "cat", "cow")
    assert any("4 images lie outside of" in remark for remark in dataset.remarks)
    code, out, err = run("data", "show", "folder", f"data.root={root}", "data.size=8", "data.test=0.5", "--json")
    assert code == 0, err
    assert any("4 images lie outside of" in remark for remark in json.loads(out)["remarks"])


GONE: dict[str, tuple[str, str]] = {
    "an image that is gone": ("ant/z.png", "gone.png"),
    "an image that is itself": ("ant/z.png", "z.png"),
}


@pytest.mark.parametrize("case", GONE)
def test_a_link_to_nothing_is_refused_by_name(tmp_path, case):
    link, target = GONE[case]
    root = classes(tmp_path / "set", "ant", "cat")
    (root / link).symlink_to(target)
    with pytest.raises(DataError, match=rf"set/{link}"):
        ImageFolder(root=str(root), size=8).read().fingerprint  # noqa: B018 (files are read for it)


def test_a_class_that_is_gone_is_said(tmp_path):
    root = classes(tmp_path / "set", "ant", "cat")
    (root / "cow").symlink_to(tmp_path / "gone")
    dataset = ImageFolder(root=str(root), size=8).read()
    assert dataset.classes == ("ant", "cat")
    assert f"1 link leads to nothing: {root}/cow; take out what is gone" in dataset.remarks


MEMBERS = {
    "out of the archive": (tarfile.SYMTYPE, "/etc/passwd"),
    "within it": (tarfile.SYMTYPE, "0.png"),
    "to itself": (tarfile.SYMTYPE, "link.png"),
    "to nothing": (tarfile.SYMTYPE, "gone.png"),
    "hard": (tarfile.LNKTYPE, "ant/0.png"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_a_link_in_a_tar_is_refused_by_name(tmp_path, case):
    kind, target = MEMBERS[case]
    root = classes(tmp_path / "set", "ant", "cat")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(root, ".")
        entry = tarfile.TarInfo("ant/link.png")
        entry.type, entry.linkname = kind, target
        tar.addfile(entry)
    with pytest.raises(DataError, match=r"'ant/link.png' is a link"):
        ImageFolder(root=str(tmp_path / "set.tar"), size=8).read()


HEADERS = {
    "asked for, twice": "file,label,label",
    "asked for, with blanks": "file,label, label ",
    "asked for, in another case": "file,label,Label",
    "asked for, in other case and blanks": "File ,file,label",
    "asked for, with a letter that is not seen": "file,label,la\u200bbel",
    "not asked for, twice": "file,label,note,note",
    "not asked for, in another case": "file,label,note,NOTE",
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_column_twice_is_refused_by_name(tmp_path, case):
    root = classes(tmp_path / "set", "ant", "cat")
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    header = HEADERS[case]
    rest = ["x"] * (header.count(",") - 1)
    rows = [",".join([name, name[:3], *rest]) for name in names]
    (root / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match="t.csv line 1: .* are called .*; rename all but one"):
            ImageFolder(root=str(root), csv="t.csv", size=8).read()


def test_columns_without_a_name_are_no_doubles(tmp_path):
    """Spreadsheets leave some at the end of a table."""
    root = classes(tmp_path / "set", "ant", "cat")
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    (root / "t.csv").write_text("\n".join(["file,label,,", *(f"{name},{name[:3]},," for name in names)]) + "\n")
    assert ImageFolder(root=str(root), csv="t.csv", size=8).read().classes == ("ant", "cat")
    assert os.listdir(root)
