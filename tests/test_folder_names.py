"""Folders and tables that are not what they seem: each is read as it is meant, or named with what to do."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from cnnjax.data.csv_table import Columns, by_table
from cnnjax.data.folder import ImageFolder
from cnnjax.data.partition import Wanted, family
from cnnjax.data.spelling import in_order, tidy
from cnnjax.data.store import open_store
from cnnjax.errors import DataError
from cnnjax.experiment import parts_of
from tests.test_folder import IMAGES, packed, picture, small_set, table, values, write


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def classes_of(*folders: str, start: int = 0) -> dict[str, bytes]:
    """Two images in each folder."""
    return {
        f"{folder}/{at}.png": picture(start + 10 * place + at)
        for place, folder in enumerate(folders)
        for at in range(2)
    }


def from_table(tmp_path: Path, rows: bytes, **fields):
    root = write(tmp_path / "set", IMAGES | {"labels.csv": rows})
    return ImageFolder(root=str(root), csv="labels.csv", **{"split_column": "split", **fields}).read()


def split_table(*labels: str, splits="train train train train test test", head="file,label,split") -> bytes:
    """A row for each label."""
    parts = splits.split(" ")
    return table(head, *(f"images/{at}.png,{label},{parts[at]}" for at, label in enumerate(labels)))


LABELS = ("a", "b", "a", "b", "a", "b")


# Parts


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (name, "train")
            for name in ("train", "Training", "TRAIN ", "training_set", "Train-Images", "trainset", "trn")
        ),
        *((name, "test") for name in ("test", "Testing", "test_data", "TestSet")),
        *((name, "val") for name in ("val", "Valid", "validation", "dev", "eval", "val2017", "Validation Set")),
        *((name, None) for name in ("cat", "trainer", "test cat", "tested", "", "set", "2017")),
    ],
)
def test_common_names_of_parts(name, kind):
    found = family(name)
    assert (found and found[0]) == kind


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("TRAIN", "Test"), ("training_set", "test_set"), ("train", "dev"), ("Train", "eval")],
)
def test_parts_go_by_any_common_name(tmp_path, train, test):
    root = write(
        tmp_path, classes_of(f"{train}/cat", f"{train}/dog") | classes_of(f"{test}/cat", f"{test}/dog", start=50)
    )
    dataset = ImageFolder(root=str(root)).read()
    assert dataset.classes == ("cat", "dog")
    assert (values(dataset.train), values(dataset.test)) == ([0, 1, 10, 11], [50, 51, 60, 61])


@pytest.mark.parametrize(
    "parts", [("train", "Training", "test"), ("train", "test", "Testing"), ("train", "val", "validation")]
)
def test_two_names_of_one_part_are_refused(tmp_path, parts):
    root = write(tmp_path, classes_of(*(f"{part}/{label}" for part in parts for label in ("cat", "dog"))))
    with pytest.raises(DataError, match=r"names of the same part.*or name one with (train|test)_split"):
        ImageFolder(root=str(root)).read()
    chosen = {"Training": {"train_split": "Training"}, "test": {"test_split": "Testing"}, "val": {"test_split": "val"}}
    dataset = ImageFolder(root=str(root), **chosen[parts[1]]).read()
    assert (len(dataset.train), len(dataset.test)) == (4, 4)


def test_a_class_may_be_called_train(tmp_path):
    assert ImageFolder(root=str(write(tmp_path / "a", classes_of("bus", "train"))), test=0.5).read().classes == (
        "bus",
        "train",
    )
    flat = write(tmp_path / "b", {"train/1.png": picture(1), "test/2.png": picture(2)})
    with pytest.raises(DataError, match="train has no folders of images"):
        ImageFolder(root=str(flat)).read()


def test_what_is_in_no_part_is_counted(tmp_path):
    more = {"extra/1.png": picture(1), "extra/2.png": picture(2), "train/loose.png": picture(3)}
    root = write(tmp_path, small_set() | more)
    with pytest.warns(UserWarning, match="not used") as said:
        dataset = ImageFolder(root=str(root), size=4).read()
    texts = [str(warning.message) for warning in said]
    assert any("2 images in" in text and "extra are not used" in text for text in texts)
    assert any("an image directly in" in text and "in no class's folder" in text for text in texts)
    assert set(texts) == set(dataset.remarks)


def test_a_validation_part_beside_a_test_part_is_noted(tmp_path):
    files = small_set() | {"test/cat/t.png": picture(70), "test/dog/t.png": picture(80)}
    dataset = ImageFolder(root=str(write(tmp_path, files)), size=4).read()
    assert [remark for remark in dataset.remarks if "2 images in" in remark and "val are not used" in remark]


@pytest.mark.parametrize("blank", ["", " ", "nan"])
def test_a_row_of_no_split_is_named(tmp_path, blank):
    rows = split_table(*LABELS).replace(b"images/2.png,a,train", f"images/2.png,a,{blank}".encode())
    with pytest.raises(DataError, match=r"labels.csv line 4: the split is '.*'; say which part"):
        from_table(tmp_path, rows)


def test_rows_of_an_unknown_split_are_counted_with_the_first(tmp_path):
    with pytest.warns(UserWarning, match=r"labels.csv line 5: a row of split 'tset' is not used, only"):
        dataset = from_table(tmp_path, split_table(*LABELS, splits="train train train tset test test"))
    assert (len(dataset.train), len(dataset.test)) == (3, 2)
    noted = from_table(tmp_path, split_table(*LABELS, splits="train train val val test test"))
    assert "line 4: 2 rows of split 'val' are not used" in noted.remarks[0]


def test_a_tables_splits_go_by_any_common_name(tmp_path):
    dataset = from_table(tmp_path, split_table(*LABELS, splits="Training training TRAINING training Testing testing"))
    assert (len(dataset.train), len(dataset.test)) == (4, 2)
    with pytest.raises(DataError, match="'train', 'training' are names of the same part"):
        from_table(tmp_path, split_table(*LABELS, splits="train training train train test test"))
    folds = from_table(tmp_path, split_table(*LABELS, splits="a a a a B B"), train_split="a", test_split="b")
    assert (len(folds.train), len(folds.test)) == (4, 2)


def test_a_column_of_splits_that_is_not_used_is_said(tmp_path):
    with pytest.warns(UserWarning, match="column 'split' of 'test', 'train', which is not used.*split_column='split'"):
        from_table(tmp_path, split_table(*LABELS), split_column=None, test=0.5)


@pytest.mark.parametrize(
    ("train", "test", "fields"),
    [
        ("training_set/training_set", "test_set/test_set", {}),
        ("train/images", "test", {}),
        ("seg_train/seg_train", "seg_test/seg_test", {"train_split": "seg_train", "test_split": "seg_test"}),
    ],
)
def test_a_folder_that_holds_all_of_a_part_is_gone_into(tmp_path, train, test, fields):
    files = classes_of(f"{train}/cat", f"{train}/dog") | classes_of(f"{test}/cat", f"{test}/dog", start=50)
    dataset = ImageFolder(root=str(write(tmp_path, files)), **fields).read()
    assert dataset.classes == ("cat", "dog")
    assert (values(dataset.train), values(dataset.test)) == ([0, 1, 10, 11], [50, 51, 60, 61])


def test_the_only_class_of_a_test_part_is_not_gone_into(tmp_path):
    files = classes_of("train/cat/a", "train/cat/b", "train/dog/c") | classes_of("test/cat/a", start=50)
    with pytest.warns(UserWarning, match="none in the test part.*'dog'"):
        dataset = ImageFolder(root=str(write(tmp_path, files))).read()
    assert (dataset.classes, dataset.test.labels.tolist()) == (("cat", "dog"), [0, 0])


def test_parts_within_classes_are_refused(tmp_path):
    root = write(tmp_path, classes_of("cat/train", "cat/test", "dog/train", "dog/test"))
    with pytest.raises(DataError, match="cat holds parts, 'test', 'train', and so do others.*move them to test/cat"):
        ImageFolder(root=str(root)).read()


@pytest.mark.parametrize("inner", ["", "seg_train/"])
def test_parts_with_uncommon_names_are_no_classes(tmp_path, inner):
    files = classes_of(f"seg_train/{inner}cat", f"seg_train/{inner}dog", f"seg_test/{inner}cat")
    root = write(tmp_path, files)
    with pytest.raises(DataError, match="look like parts; choose with train_split='seg_train' and test_split='seg_te"):
        ImageFolder(root=str(root)).read()
    assert ImageFolder(root=str(root), classes=("seg_test", "seg_train"), test=0.5).read().classes[1] == "seg_train"


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (
            ("fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"),
            "'fold1', 'fold2' have folders of the same names, 'cat', ",
        ),
        (("cat_train", "cat_test", "dog"), "'cat_train' and 'cat_test' are taken for classes"),
        (("images", "masks"), "'images', 'masks' are taken for the name of a class; masks and boxes"),
    ],
)
def test_what_may_be_no_class_is_said(tmp_path, folders, words):
    with pytest.warns(UserWarning, match=words):
        ImageFolder(root=str(write(tmp_path, classes_of(*folders))), test=0.5).read()


def test_images_without_labels_are_no_test_part(tmp_path):
    root = write(tmp_path, small_set() | {"test/1.png": picture(1)})
    with pytest.raises(
        DataError, match=r"Of images without labels: choose another part with test_split \(val\), or hold"
    ):
        ImageFolder(root=str(root), size=4).read()
    assert len(ImageFolder(root=str(root), size=4, test_split="val").read().test)


@pytest.mark.parametrize(
    ("head", "values", "words"),
    [
        (
            "file,label,is_valid",
            "False False False True True True",
            "split_column='is_valid', train_split and test_split",
        ),
        ("file,label,Fold", "1 2 3 1 2 3", "a column 'Fold' of '1', '2', '3'"),
        ("file,label,split", "0 0 0 1 1 1", "a column 'split' of '0', '1'"),
    ],
)
def test_a_column_that_is_called_like_splits_is_said(tmp_path, head, values, words):
    with pytest.warns(UserWarning, match=words):
        from_table(tmp_path, split_table(*LABELS, splits=values, head=head), split_column=None, test=0.5)


@pytest.mark.parametrize(
    "cell", ["0", "0.png", "IMAGES/0.PNG", "C:\\me\\set\\images\\0.png", "/x/images/0.png", "../images/0"]
)
def test_the_file_that_may_have_been_meant_is_named(tmp_path, cell):
    with pytest.raises(DataError, match=r"labels.csv line 2: there is no file .*; is it 'images/0.png'\? Paths"):
        from_table(tmp_path, table("file,label", f"{cell},a", "images/1.png,b"), split_column=None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"File,Label\nimages/0.png,a\n", r"no column 'file'; there are File, Label: name it with file_column"),
        (b"file,class\nimages/0.png,a\n", r"no column 'label'; there are file, class: name it with label_column"),
        (b"", r"no column 'file'; it is empty"),
        (b"PK\3\4\x14\0\xff", "is a workbook of a spreadsheet or an archive, no CSV"),
    ],
)
def test_what_is_no_such_table_says_what_to_do(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        from_table(tmp_path, content, split_column=None)


# Classes


def test_names_are_one_class_however_they_are_written(tmp_path):
    composed, apart = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    assert composed != apart
    labels = ("a b", " a b", "a  b ", composed, apart, "\u200ba b\u00a0")
    dataset = from_table(tmp_path, split_table(*labels, splits="train train train train test test"))
    assert dataset.classes == ("a b", composed)
    assert list(dataset.train.labels) == [0, 0, 0, 1]
    root = write(
        tmp_path / "folders", classes_of(f"train/{composed}", "train/b") | classes_of(f"test/{apart}", "test/b ")
    )
    assert ImageFolder(root=str(root)).read().classes == ("b", composed)


def test_two_folders_of_one_class_are_refused(tmp_path):
    root = write(tmp_path, classes_of("cat", "cat ", "dog"))
    with pytest.raises(DataError, match=r"cat.* and .*cat are both of class 'cat'.*put the images into one"):
        ImageFolder(root=str(root)).read()


def test_names_that_differ_in_case_are_said(tmp_path):
    with pytest.warns(UserWarning, match="classes 'Cat', 'cat' differ only in case"):
        from_table(tmp_path, split_table("Cat", "cat", "Cat", "cat", "Cat", "cat"))
    assert from_table(tmp_path, split_table("A", "a", "A", "a", "A", "a")).classes == ("A", "a"), "letters are classes"
    root = write(tmp_path / "folders", classes_of("train/Cat", "train/dog") | classes_of("test/cat", "test/dog"))
    with pytest.raises(DataError, match="a folder 'cat', which is none of the 2 classes in 'train'; is it 'Cat'"):
        ImageFolder(root=str(root)).read()


@pytest.mark.parametrize("blank", ["", "  ", "NaN", "<NA>"])
def test_a_blank_label_is_named(tmp_path, blank):
    with pytest.raises(DataError, match=r"labels.csv line 3: the label is '.*'; give the image one"):
        from_table(tmp_path, split_table("a", blank, "a", "b", "a", "b"))


def test_numbers_are_in_the_order_of_numbers(tmp_path):
    root = write(tmp_path, classes_of("10", "9", "100", "1"))
    assert ImageFolder(root=str(root), test=0.5).read().classes == ("1", "9", "10", "100")
    assert in_order(["2.5", "10", "-1", "0.5"]) == ["-1", "0.5", "2.5", "10"]
    assert in_order(["10", "9", "x"]) == ["10", "9", "x"]
    assert in_order(["nan", "10", "9"]) == ["10", "9", "nan"]


@pytest.mark.parametrize(
    ("labels", "classes", "ids"),
    [
        ("0.0 1.0 2 0 1 2.0", "0 1 2", [0, 1, 2, 0, 1, 2]),
        ("1 2 3 03 1 10", "0 1 2 3 4 5 6 7 8 9 10", [1, 2, 3, 3, 1, 10]),
        ("1 2 3 03 1 2", "1 2 3", [0, 1, 2, 2, 0, 1]),
        ("b2 b10 b2 b10 b2 b10", "b10 b2", [1, 0, 1, 0, 1, 0]),
        ("2.5 10.5 2.5 10.5 2.5 10.5", "2.5 10.5", [0, 1, 0, 1, 0, 1]),
    ],
)
def test_labels_that_are_numbers(tmp_path, labels, classes, ids):
    root = write(tmp_path, IMAGES | {"labels.csv": split_table(*labels.split())})
    found = by_table(open_store(root), "labels.csv", Columns("file", ("label",)), Wanted())
    assert " ".join(found.classes) == classes
    assert list(found.train.labels) == ids


def test_numbers_that_no_row_has_are_said(tmp_path):
    with pytest.warns(UserWarning, match=r"1 of 3 classes have no image at all: '1'"):
        from_table(tmp_path, split_table("0", "2", "0", "2", "0", "2"))


def test_a_number_is_no_other_number_of_classes_that_are_numbers(tmp_path):
    numbers = ("5", "7")
    dataset = from_table(tmp_path, split_table("5", "7", "5", "7", "5", "7"), classes=numbers)
    assert list(dataset.train.labels) == [0, 1, 0, 1]
    with pytest.raises(DataError, match="line 3: label '0' is none of the 2 classes"):
        from_table(tmp_path, split_table("5", "0", "5", "7", "5", "7"), classes=numbers)
    with pytest.raises(DataError, match="all labels are negative"):
        from_table(tmp_path, split_table(*["-1"] * 6))


def test_classes_without_examples(tmp_path):
    with pytest.raises(DataError, match="line 7: class 'c' is in the test part and in no row of the training part"):
        from_table(tmp_path, split_table("a", "b", "a", "b", "a", "c"))
    with pytest.warns(UserWarning, match="1 of 3 classes have none in the test part, so that it does not .*: 'c'"):
        from_table(tmp_path, split_table("a", "b", "c", "b", "a", "b"))
    with pytest.warns(UserWarning, match="1 of 3 classes have no image at all: 'c'"):
        from_table(tmp_path, split_table(*LABELS), classes=("a", "b", "c"))
    root = write(tmp_path / "folders", classes_of("train/cat", "train/dog", "test/cat"))
    with pytest.warns(UserWarning, match="have none in the test part.*'dog'"):
        ImageFolder(root=str(root)).read()
    (root / "test/cat/0.png").unlink()
    (root / "test/cat/1.png").unlink()
    (root / "test/cat").rmdir()
    with pytest.raises(DataError, match="test has no folders of images"):
        ImageFolder(root=str(root)).read()


# Names of files


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_names_that_are_not_utf8_are_read_and_shown(tmp_path, form, capsys):
    odd = os.fsdecode(b"caf\xe9")
    files = classes_of("train/b", f"train/{odd}", "test/b", f"test/{odd}") | {f"train/b/{odd}.jpg": b"junk"}
    root = packed(tmp_path / "set.tar", files) if form == "tar" else write(tmp_path / "set", files)
    dataset = ImageFolder(root=str(root)).read()
    assert dataset.classes == ("b", "caf\\xe9")
    assert len(dataset.fingerprint) == 12
    assert ImageFolder(root=str(root)).read().fingerprint == dataset.fingerprint
    with pytest.raises(DataError, match=r"caf\\xe9.jpg: not a whole JPEG") as error:
        _ = dataset.held
    print(str(error.value).encode("ascii"), "caf\\xe9.jpg", dataset.classes)


@pytest.mark.filterwarnings("ignore:.*images cannot be decoded and are left out")
@pytest.mark.parametrize(("policy", "said"), [("error", "which training stops at"), ("skip", "left out")])
def test_broken_images_are_told_of_once(run, tmp_path, policy, said):
    root = write(tmp_path, small_set() | {"train/cat/b.png": b"junk"})
    _, shown, _ = run("data", "show", "folder", f"data.root={root}", "data.size=4", f"data.on_broken={policy}")
    lines = [line for line in shown.splitlines() if "1 images cannot be decoded" in line]
    assert [said in line for line in lines] == [True]


def test_a_tables_paths_may_be_of_another_system(tmp_path):
    files = [
        r"images\0.png",
        "./images/1.png",
        str(tmp_path / "set/images/2.png"),
        " images/3.png ",
        "images//4.png",
        "images/5.png",
    ]
    rows = table(
        "file,label,split", *(f"{file},{'ab'[at % 2]},{'train' if at < 4 else 'test'}" for at, file in enumerate(files))
    )
    dataset = from_table(tmp_path, rows)
    assert (values(dataset.train), values(dataset.test)) == ([0, 1, 2, 3], [4, 5])
    for wrong, hint in (("0.png", "images/0.png"), ("images/0", "images/0.png"), ("images/0.PNG", "images/0.png")):
        with pytest.raises(DataError, match=f"line 2: there is no file .*; is it '{hint}'"):
            from_table(tmp_path, table("file,label", f"{wrong},a"), split_column=None)
    with pytest.raises(DataError, match="lines 2 and 3 are both of images/0.png; take one"):
        from_table(tmp_path, table("file,label", "images/0.png,a", r"images\0.png,a"), split_column=None)
    with pytest.raises(DataError, match="line 3: the file is ''; name one"):
        from_table(tmp_path, table("file,label", "images/0.png,a", ",a"), split_column=None)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_table_may_have_another_separator_and_encoding(tmp_path, separator):
    text = split_table(*LABELS).decode().replace(",", separator)
    for content in (text.encode(), text.encode("utf-16"), text.replace("\n", "\r\n").encode("utf-8-sig")):
        assert len(from_table(tmp_path, content).train) == 4


def test_a_table_that_is_none_is_named_with_its_line(tmp_path):
    with pytest.raises(DataError, match="not CSV in UTF-8: line 3: .*save it as UTF-8"):
        from_table(tmp_path, split_table("a", "caf\xe9", "a", "b", "a", "b").decode().encode("latin-1"))
    quoted = table("file,label,split", 'images/0.png,"a,train', 'images/1.png,b",train', "images/2.png,b,test")
    with pytest.raises(DataError, match="line 3: label has a line break in it.*quotation mark"):
        from_table(tmp_path, quoted)
    with pytest.raises(DataError, match="line 1: 2 columns are called 'label'"):
        from_table(tmp_path, table("file,label,label,split", "images/0.png,a,b,train"))
    spaced = split_table(*LABELS, head="file, label ,\u200bsplit")
    assert from_table(tmp_path, spaced).classes == ("a", "b")


# What is left out


def test_every_suffix_of_a_kind_that_is_read_counts(tmp_path):
    kinds = {"GIF": ("gif", "GIF"), "TIFF": ("tif", "TIFF"), "JPEG": ("jfif", "jpe", "JPG"), "PPM": ("ppm", "pgm")}
    files = {
        f"{label}/{at}.{suffix}": picture(10 * at + number, kind=kind)
        for label in ("a", "b")
        for number, (kind, suffixes) in enumerate(kinds.items())
        for at, suffix in enumerate(suffixes)
    }
    dataset = ImageFolder(root=str(write(tmp_path, files)), test=0.5).read()
    assert len(dataset.train) + len(dataset.test) == len(files) == 18
    assert dataset.held.train.images.shape == (9, 10, 12, 3)


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_what_looks_like_images_and_is_not_read_is_counted(tmp_path, form):
    odd = {
        "cat/a.heic": b"",
        "cat/b.HEIC": b"",
        "dog/c.zip": b"",
        "dog/no_suffix": picture(1),
        "dog/d.jpg_": picture(2),
    }
    plain = {"cat/notes.txt": b"BMW", "README": b"", "dog/labels.json": b"{}", "labels.csv": b"file\n", "all.zip": b""}
    files = classes_of("cat", "dog") | odd
    root = packed(tmp_path / "set.tar", files | plain) if form == "tar" else write(tmp_path / "set", files | plain)
    words = r"5 files look like images and are .*not read \(2 .heic, .*1 .zip.*1 without a suffix\)|1 .jpg_.*convert"
    with pytest.warns(UserWarning, match=words):
        dataset = ImageFolder(root=str(root), test=0.5).read()
    assert any("2 .heic" in remark for remark in dataset.remarks)


def test_images_in_no_row_are_counted(tmp_path):
    with pytest.warns(UserWarning, match=r"labels.csv: 2 images under it are in no row and not used.*images/4.png"):
        from_table(tmp_path, split_table(*LABELS[:4], splits="train train test test"))


def test_what_systems_leave_behind_is_no_class(tmp_path):
    left = {
        "__MACOSX/cat/._a.png": b"",
        "cat/.DS_Store": b"",
        "cat/Thumbs.db": b"",
        "@eaDir/a.png": b"",
        "dog/._0.png": b"",
    }
    for root in (
        write(tmp_path / "set", classes_of("cat", "dog") | left),
        packed(tmp_path / "set.tar", classes_of("cat", "dog") | left),
    ):
        assert ImageFolder(root=str(root), test=0.5).read().classes == ("cat", "dog")


def test_links_to_folders_are_followed_and_lead_nowhere_twice(tmp_path):
    write(tmp_path / "elsewhere", classes_of("cats"))
    root = write(tmp_path / "set", classes_of("dog", start=50))
    (root / "cat").symlink_to(tmp_path / "elsewhere/cats")
    (root / "dog/again").symlink_to(root)
    dataset = ImageFolder(root=str(root), test=0.5).read()
    assert dataset.classes == ("cat", "dog")
    assert len(dataset.train) + len(dataset.test) == 4


def test_an_image_in_both_parts_or_of_two_classes_is_said(tmp_path):
    files = small_set() | {"val/dog/copy.png": picture(10), "train/dog/wrong.png": picture(20)}
    dataset = ImageFolder(root=str(write(tmp_path, files)), size=4).read()
    with pytest.warns(UserWarning, match="training") as said:
        assert len(dataset.fingerprint) == 12
    texts = [str(warning.message) for warning in said]
    assert "an image of the test part is in the training part too, byte for byte" in texts[0]
    assert "val/dog/copy.png is " in texts[0]
    assert "1 training images are there again with another label" in texts[1]
    assert "b.PNG" in texts[1]
    one = write(tmp_path / "one", {"train/a/1.png": picture(1), "test/a/1.png": picture(2)})
    assert ImageFolder(root=str(one)).read().repeated == ()


# Read again


def test_what_was_mended_is_read_again(tmp_path):
    root = write(tmp_path / "set", IMAGES | {"labels.csv": split_table(*LABELS)})
    data = ImageFolder(root=str(root), csv="labels.csv", split_column="split")
    first = data.load()
    assert data.load() is first
    assert list(first.train.labels) == [0, 1, 0, 1]
    (root / "labels.csv").write_bytes(split_table("b", "a", "a", "b", "a", "b"))
    assert list(data.load().train.labels) == [1, 0, 0, 1]
    tar = packed(tmp_path / "set.tar", classes_of("cat", "dog"))
    inside = ImageFolder(root=str(tar), test=0.5)
    assert len(inside.load().train) == 2
    packed(tar, classes_of("cat", "dog", "eel", "fox"))
    assert len(inside.load().train) == 4


def test_a_folder_that_changed_is_read_again_and_one_that_did_not_is_kept(tmp_path):
    root = write(tmp_path / "set", small_set())
    data = ImageFolder(root=str(root), size=4)
    first = data.load()
    assert len(first.fingerprint) == 12
    (root / "runs.log").write_text("beside it")
    assert data.load() is first, "what was found out of it holds"
    write(root, {"train/cat/new.png": picture(15)})
    assert len(data.load().train) == len(first.train) + 1
    (root / "train/cat/new.png").unlink()
    assert data.load().fingerprint == first.fingerprint


def test_parts_of_an_experiment_are_those_of_the_table_as_it_is_now(tmp_path):
    from cnnjax import Experiment, SmallCNN

    root = write(tmp_path / "set", IMAGES | {"labels.csv": split_table(*LABELS)})
    data = ImageFolder(root=str(root), csv="labels.csv", split_column="split")
    experiment = Experiment(model=SmallCNN(), data=data, validation=0)
    assert list(parts_of(experiment).train.labels) == [0, 1, 0, 1]
    (root / "labels.csv").write_bytes(split_table("b", "a", "b", "a", "a", "b"))
    assert list(parts_of(experiment).train.labels) == [1, 0, 1, 0]


def test_tidy_names():
    assert tidy("  a \t b\n") == "a b"
    assert tidy("\ufeffcat\u200e") == "cat"
    assert tidy("") == ""
    np.testing.assert_equal(tidy("👩\u200d🔬"), "👩\u200d🔬")
