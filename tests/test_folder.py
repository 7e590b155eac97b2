"""Image folders, CSV files and archives: what is read, what is refused, and that nothing leaves its target."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnjax.data.archive import extract, index, read_member, safe_name
from cnnjax.data.folder import ImageFolder
from cnnjax.data.source import Data
from cnnjax.errors import ConfigError, DataError

REAL = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def picture(value: int, size=(12, 10), kind="PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(file, kind)
    return file.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root


def small_set() -> dict[str, bytes]:
    return {
        "train/cat/a.png": picture(10),
        "train/cat/b.PNG": picture(20),
        "train/dog/a.jpg": picture(30, kind="JPEG"),
        "train/dog/deeper/c.webp": picture(40, kind="WEBP"),
        "val/cat/a.bmp": picture(50, kind="BMP"),
        "val/dog/.hidden.png": b"",
        "val/dog/a.png": picture(60),
        "README.txt": b"not an image",
    }


def packed(path: Path, files: dict[str, bytes], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def values(examples) -> list[int]:
    return [int(image[0, 0, 0]) for image in examples.held().images]


@pytest.mark.parametrize("form", ["folder", "tar", "within a folder"])
def test_class_folders_are_read(tmp_path, form):
    files = small_set()
    if form == "tar":
        root = packed(tmp_path / "set.tar", files)
    elif form == "folder":
        root = write(tmp_path / "set", files)
    else:
        root = write(tmp_path / "set", {f"pets-1.0/{name}": content for name, content in files.items()})
    data = Data.from_tag("folder", root=str(root), size=4)
    dataset = data.load()
    assert dataset.name == "set"
    assert dataset.classes == ("cat", "dog")
    assert dataset.image_shape == (4, 4, 3)
    assert values(dataset.train) == pytest.approx([10, 20, 30, 40], abs=1)
    assert list(dataset.train.labels) == [0, 0, 1, 1]
    assert values(dataset.test) == [50, 60]
    assert list(dataset.test.labels) == [0, 1]
    assert type(data).from_json(data.to_json()) == data


def test_a_tar_is_the_folder_it_was_made_of(tmp_path):
    root, tar = write(tmp_path / "set", small_set()), packed(tmp_path / "set.tar", small_set())
    a, b = ImageFolder(root=str(root), size=4), ImageFolder(root=str(tar), size=4)
    assert a.read().fingerprint == b.read().fingerprint
    np.testing.assert_array_equal(a.read().held.train.images, b.read().held.train.images)


def test_an_undivided_set_is_split_stratified(tmp_path):
    files = {f"{label}/{at}.png": picture(10 * at) for label in "ab" for at in range(10)}
    dataset = ImageFolder(root=str(write(tmp_path, files)), test=0.3).read()
    assert (len(dataset.train), len(dataset.test)) == (14, 6)
    assert list(dataset.test.labels) == [0, 0, 0, 1, 1, 1]
    assert dataset.image_shape == (10, 12, 3)


def test_the_test_part_may_be_chosen_and_so_may_the_classes_order(tmp_path):
    files = small_set() | {"test/cat/a.png": picture(70), "test/dog/a.png": picture(80)}
    root = str(write(tmp_path, files))
    assert values(ImageFolder(root=root, size=4).read().test) == [70, 80]
    chosen = ImageFolder(root=root, size=4, test_split="val", classes=("dog", "cat")).read()
    assert chosen.classes == ("dog", "cat")
    assert list(chosen.test.labels) == [1, 0]
    with pytest.raises(DataError, match="has no part 'dev'; there are train"):
        ImageFolder(root=root, test_split="dev").read()


def test_size_and_fit_and_colours(tmp_path):
    left = np.zeros((8, 16, 3), np.uint8)
    left[:, 4:12] = 200
    file = io.BytesIO()
    Image.fromarray(left).save(file, "PNG")
    root = str(write(tmp_path, {"a/1.png": file.getvalue(), "a/2.png": file.getvalue()}))
    crop = ImageFolder(root=root, size=(8, 8), test=0.5).read().train.example(0)[0]
    assert crop.min() == 200, "the middle 8x8 is all bright"
    squashed = ImageFolder(root=root, size=8, fit="squash", test=0.5).read().train.example(0)[0]
    assert squashed[0, 0, 0] == 0
    assert ImageFolder(root=root, channels=1, test=0.5).read().image_shape == (8, 16, 1)
    assert list(ImageFolder(root=root, space="hsv", test=0.5).read().train.example(0)[0][0, 5]) == [0, 0, 200]
    with pytest.raises(ConfigError, match="channels=1 is grey"):
        ImageFolder(root=root, channels=1, space="lab")


def table(*rows: str) -> bytes:
    return "\n".join(rows).encode()


IMAGES = {f"images/{at}.png": picture(at) for at in range(6)}


def test_a_csv_names_files_classes_and_parts(tmp_path):
    rows = table(
        "file,label,split",
        *(f"images/{at}.png,{'ab'[at % 2]},{'train' if at < 4 else 'test'}" for at in range(6)),
    )
    for root in (
        write(tmp_path / "set", IMAGES | {"labels.csv": b"\xef\xbb\xbf" + rows}),
        packed(tmp_path / "set.tar", IMAGES | {"labels.csv": rows}),
    ):
        dataset = ImageFolder(root=str(root), csv="labels.csv", split_column="split").read()
        assert dataset.classes == ("a", "b")
        assert values(dataset.train) == [0, 1, 2, 3]
        assert list(dataset.train.labels) == [0, 1, 0, 1]
        assert values(dataset.test) == [4, 5]
        assert dataset.train.labels.dtype == np.int32


def test_a_csv_may_hold_numbers_and_targets(tmp_path):
    numbers = table("name,class,x,y", *(f"images/{at}.png,{at % 3},{at / 2},{-at}" for at in range(6)))
    root = str(write(tmp_path, IMAGES | {"labels.csv": numbers}))
    dataset = ImageFolder(root=root, csv="labels.csv", file_column="name", label_column="class", test=0.5).read()
    assert dataset.classes == ("0", "1", "2")
    named = ImageFolder(
        root=root, csv="labels.csv", file_column="name", label_column="class", classes=("p", "q", "r"), test=0.5
    )
    assert named.read().classes == ("p", "q", "r")
    targets = ImageFolder(root=root, csv="labels.csv", file_column="name", label_column=("x", "y"), test=0.5).read()
    assert targets.outputs == 2
    one = ImageFolder(root=root, csv="labels.csv", file_column="name", label_column=("x",), test=0.5).read()
    assert (one.classes, one.outputs, one.train.labels.dtype) == ((), 1, np.float32)
    assert targets.train.labels.dtype == np.float32
    np.testing.assert_allclose(targets.train.labels[:, 0] * -2, targets.train.labels[:, 1])


@pytest.mark.parametrize(
    ("rows", "fields", "words"),
    [
        ((), {}, "has no column 'file'"),
        (("file,label",), {}, "has no rows"),
        (("file,label", "images/9.png,a"), {}, "line 2: there is no file .*images/9.png"),
        (("file,label", "../labels.csv,a"), {}, "line 2: there is no file"),
        (("file,label", "images/1.png,a", "images/1.png,b"), {}, "lines 2 and 3 are both of images/1.png"),
        (("file,label", "images/1.png,a,b"), {}, "line 2 has not as many fields as the header"),
        (("file,label", "images/1.png"), {}, "line 2 has not as many fields as the header"),
        (("file,label", "images/1.png,-1", "images/2.png,1"), {}, "line 2: label '-1' is none of the 2 classes"),
        (("file,label", "images/1.png,7"), {"classes": ("a", "b")}, "label '7' is none of the 2 classes, nor in 0..1"),
        (("file,label", "images/1.png,c"), {"classes": ("a", "b")}, "label 'c' is none"),
        (("file,label", "images/1.png,123456"), {}, "label 123456 of 1 images"),
        (("file,x,y", "images/1.png,1,high"), {"label_column": ("x", "y")}, "line 2: y is 'high'"),
        (("file,x,y", "images/1.png,1,nan"), {"label_column": ("x", "y")}, "line 2: y is 'nan'"),
        (("file,label", "images/1.png,a"), {"split_column": "part"}, "has no column 'part'; there are file, label"),
        (("file,label,part", "images/1.png,a,test"), {"split_column": "part"}, "no part 'train'; there are test"),
    ],
)
def test_a_csv_that_is_wrong_is_named(tmp_path, rows, fields, words):
    root = write(tmp_path, IMAGES | {"labels.csv": table(*rows)})
    with pytest.raises(DataError, match=words):
        ImageFolder(root=str(root), csv="labels.csv", **fields).read()


def test_a_csv_that_is_missing_or_no_text_is_named(tmp_path):
    root = write(tmp_path, IMAGES | {"labels.csv": b"file,label\n\xff\xfe,a"})
    with pytest.raises(DataError, match="is not CSV in UTF-8"):
        ImageFolder(root=str(root), csv="labels.csv").read()
    with pytest.raises(DataError, match=r"there is no .*else.csv; `csv` is a path within `root`"):
        ImageFolder(root=str(root), csv="else.csv").read()


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder or tar .*nowhere"):
        ImageFolder(root=str(tmp_path / "nowhere")).read()
    root = write(tmp_path / "set", small_set())
    (root / "train/eel").mkdir()
    with pytest.raises(DataError, match=r"train/eel: class 'eel' has no images \(.jpg.*take the folder out"):
        ImageFolder(root=str(root)).read()
    (root / "train/eel").rmdir()
    write(root, {"val/eel/a.png": picture(1)})
    with pytest.raises(DataError, match="val has a folder 'eel', which is none of the 2 classes in 'train'"):
        ImageFolder(root=str(root)).read()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no folders of images"):
        ImageFolder(root=str(tmp_path / "empty")).read()


def test_images_of_several_sizes_need_a_size(tmp_path):
    root = write(tmp_path, small_set() | {"train/cat/c.png": picture(1, size=(9, 9))})
    with pytest.raises(DataError, match=r"c.png: it is 9x9, the first 12x10; give the `size`"):
        _ = ImageFolder(root=str(root)).read().held


def test_broken_images_are_named_or_counted(tmp_path):
    broken = picture(10, size=(64, 64), kind="JPEG")[:300]
    root = write(tmp_path, small_set() | {"train/cat/broken.jpg": broken})
    with pytest.raises(DataError, match=r"train/cat/broken.jpg: .*damaged.*delete it, or .*on_broken='skip'"):
        _ = ImageFolder(root=str(root), size=4).read().held
    with pytest.warns(UserWarning, match="1 of 7 images cannot be decoded and are left out.*broken.jpg"):
        dataset = ImageFolder(root=str(root), size=4, on_broken="skip").read()
    assert values(dataset.train) == pytest.approx([10, 20, 30, 40], abs=1)
    assert list(dataset.train.labels) == [0, 0, 1, 1]
    assert dataset.skipped == {"train": 1}
    write(root, {f"train/dog/{name}": b"junk" for name in ("a.jpg", "deeper/c.webp")})
    with pytest.raises(DataError, match="no image of class 'dog' can be decoded"):
        ImageFolder(root=str(root), size=4, on_broken="skip").read()


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    root = write(tmp_path, small_set())

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    # The superuser, as whom tests often run, may read anything.
    monkeypatch.setattr("cnnjax.data.store._opened", refuse)
    with pytest.raises(DataError, match=r"cat/.* cannot be read: Permission denied; mend its permissions"):
        _ = ImageFolder(root=str(root), size=4).read().held


def test_files_are_a_source_that_can_be_streamed(tmp_path):
    for root in (write(tmp_path / "set", small_set()), packed(tmp_path / "set.tar", small_set())):
        files = ImageFolder(root=str(root), size=4).read().train
        again = pickle.loads(pickle.dumps(files))
        assert len(again) == 4
        assert again.classes == ("cat", "dog")
        image, label = again.example(1)
        assert (image.shape, image[0, 0, 0], label) == ((4, 4, 3), 20, 0)
        assert again.read([1, 0]) == [picture(20), picture(10)]
        assert again.take(np.array([3, 0])).names == (files.names[3], files.names[0])
        assert again.fingerprint == files.fingerprint


def test_the_fingerprint_is_of_the_content(tmp_path):
    root = write(tmp_path / "set", small_set())

    def fingerprint() -> str:
        return ImageFolder(root=str(root)).read().train.fingerprint

    before = fingerprint()
    cache = Path(os.environ["XDG_CACHE_HOME"])
    (remembered,) = (cache / "cnnjax" / "digests").iterdir()
    assert fingerprint() == before
    os.utime(root / "train/cat/a.png", (1, 1))
    assert fingerprint() == before, "the time of change alone is not content"
    write(root, {"train/cat/a.png": picture(11)})
    changed = fingerprint()
    assert changed != before
    (root / "train/cat/a.png").rename(root / "train/cat/z.png")
    assert fingerprint() not in (before, changed)
    remembered.write_text("{damaged")
    write(root, small_set())
    (root / "train/cat/z.png").unlink()
    assert fingerprint() == before
    shutil.rmtree(cache)
    cache.write_text("no folder can be made here")
    assert fingerprint() == before


@pytest.mark.parametrize("known", ["[]", '{"version": VERSION, "members": [["a", 1]]}', '{"train/cat/a.png": 3}'])
def test_what_is_remembered_in_another_form_is_found_out_again(tmp_path, known):
    tar = packed(tmp_path / "set.tar", small_set())
    before = ImageFolder(root=str(tar), size=4).read().fingerprint
    version = f"[{tar.stat().st_size}, {tar.stat().st_mtime_ns}]"
    for file in (Path(os.environ["XDG_CACHE_HOME"]) / "cnnjax").glob("*/*.json"):
        file.write_text(known.replace("VERSION", version))
    assert ImageFolder(root=str(tar), size=4).read().fingerprint == before


def test_damaged_arrays_are_not_recalled(tmp_path):
    from cnnjax import cache

    file = tmp_path / "arrays.npz"
    cache.remember_arrays(file, {"labels": np.arange(300)})
    whole = file.read_bytes()
    generator = np.random.default_rng(0)
    for place in [*range(100), *range(len(whole) - 100, len(whole))]:
        damaged = bytearray(whole)
        damaged[place] ^= generator.integers(1, 256)
        file.write_bytes(damaged)
        for values in cache.recall_arrays(file).values():
            np.testing.assert_array_equal(values, np.arange(300))


def test_a_tar_that_changed_is_indexed_again(tmp_path):
    tar = packed(tmp_path / "set.tar", small_set())
    first = ImageFolder(root=str(tar), size=4).read()
    packed(tar, small_set() | {"train/cat/0.png": picture(99)})
    assert len(ImageFolder(root=str(tar), size=4).read().train) == len(first.train) + 1


# Archives


def test_an_index_gives_every_members_bytes(tmp_path):
    files = small_set() | {"long/" + "x" * 150 + ".bin": b"long name", "empty": b""}
    inner = packed(tmp_path / "inner.tar", {"deep/a": b"12", "b": b"345"})
    tar = packed(tmp_path / "outer.tar", files | {"more/n01.tar": inner.read_bytes()})
    members = {member.name: member for member in index(tar)}
    expected = files | {"more/n01/deep/a": b"12", "more/n01/b": b"345"}
    assert {name: read_member(tar, member) for name, member in members.items()} == expected
    assert [member.name for member in index(tar, nested=False)][-1] == "more/n01.tar"


def test_a_tar_cut_anywhere_is_named(tmp_path):
    inner = packed(tmp_path / "inner.tar", {"a": bytes(700), "b": bytes(9)}).read_bytes()
    whole = packed(tmp_path / "whole.tar", small_set() | {"inner.tar": inner}).read_bytes()
    end = whole.rstrip(b"\0").__len__() // 512 * 512 + 512
    for keep in [*range(0, end, 512), *range(100, end, 700)]:
        (tmp_path / "cut.tar").write_bytes(whole[:keep])
        with pytest.raises(DataError, match=r"cut.tar"):
            index(tmp_path / "cut.tar")
        with pytest.raises(DataError, match=r"cut.tar"):
            extract(tmp_path / "cut.tar", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    content = bytearray(packed(tmp_path / "set.tar", small_set()).read_bytes())
    at = next(m for m in index(tmp_path / "set.tar") if m.name == "val/cat/a.bmp").offset - 512
    content[at : at + 20] = b"\xff" * 20
    (tmp_path / "set.tar").write_bytes(content)
    with pytest.raises(DataError, match="no end mark after"):
        index(tmp_path / "set.tar")
    with pytest.raises(DataError, match="no end mark after"):
        extract(tmp_path / "set.tar", tmp_path / "out")


def test_a_compressed_tar_has_no_index(tmp_path):
    tar = packed(tmp_path / "set.tar.gz", small_set(), "w:gz")
    with pytest.raises(DataError, match="compressed where it must not be.*unpack"):
        index(tar)
    with pytest.raises(DataError, match="there is no archive"):
        index(tmp_path / "nowhere.tar")


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_archives_are_unpacked(tmp_path):
    files = {f"./{name}": content for name, content in small_set().items()}
    archives = [
        packed(tmp_path / "a.tar", files),
        packed(tmp_path / "a.tar.gz", files, "w:gz"),
        packed(tmp_path / "a.tar.xz", files, "w:xz"),
        packed(tmp_path / "a.tar.bz2", files, "w:bz2"),
        zipped(tmp_path / "a.zip", files),
    ]
    for number, archive in enumerate(archives):
        target = tmp_path / f"out{number}" / "set"
        assert extract(archive, target) == len(files)
        assert {name: (target / name).read_bytes() for name in files} == files
        assert ImageFolder(root=str(target), size=4).read().classes == ("cat", "dog")
        with pytest.raises(DataError, match="exists already"):
            extract(archive, target)


def special(path: Path, name: str, kind: bytes, link: str = "") -> Path:
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        tar.addfile(entry)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "link", "words"),
    [
        ("link", tarfile.SYMTYPE, "/etc/passwd", "'link' is a link, a device or sparse"),
        ("link", tarfile.SYMTYPE, "inside", "'link' is a link"),
        ("link", tarfile.LNKTYPE, "../x", "'link' is a link"),
        ("null", tarfile.CHRTYPE, "", "'null' is a link, a device"),
        ("disk", tarfile.BLKTYPE, "", "'disk' is a link, a device"),
        ("pipe", tarfile.FIFOTYPE, "", "'pipe' is a link, a device"),
        ("../x", tarfile.REGTYPE, "", "'../x' would lie outside"),
        ("a/../../x", tarfile.REGTYPE, "", "would lie outside"),
        ("/tmp/x", tarfile.REGTYPE, "", "'/tmp/x' would lie outside"),
        ("../d", tarfile.DIRTYPE, "", "'../d' would lie outside"),
        ("C:x", tarfile.REGTYPE, "", "would lie outside"),
        ("..\\x", tarfile.REGTYPE, "", "would lie outside"),
    ],
)
def test_a_malicious_tar_is_refused(tmp_path, name, kind, link, words):
    tar = special(tmp_path / "bad.tar", name, kind, link)
    before = set(tmp_path.rglob("*"))
    for act in (lambda: index(tar), lambda: extract(tar, tmp_path / "out")):
        with pytest.raises(DataError, match=words):
            act()
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x"])
def test_a_malicious_zip_is_refused(tmp_path, name):
    archive = zipped(tmp_path / "bad.zip", {name: b"1"})
    with pytest.raises(DataError, match="would lie outside"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_doubles_and_damage_in_archives_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="'link' is a link"):
        extract(tmp_path / "link.zip", tmp_path / "out")
    with tarfile.open(tmp_path / "twice.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a"))
    with pytest.raises(DataError, match="'a' is in it twice"):
        index(tmp_path / "twice.tar")
    with pytest.raises(DataError, match="'a' is in it twice"):
        extract(tmp_path / "twice.tar", tmp_path / "out")
    whole = packed(tmp_path / "a.tar", {"a": os.urandom(5000)}).read_bytes()
    zips = zipped(tmp_path / "a.zip", {"a": os.urandom(5000)}).read_bytes()
    damaged = zips[:2000] + b"\0\0\0\0" + zips[2004:]
    cut = {"a.tar.gz": gzip.compress(whole)[:3000], "b.zip": zips[:3000], "c.zip": damaged, "d.tar": b"no archive"}
    for name, content in cut.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            extract(tmp_path / name, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_an_archive_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "bomb.zip", {"a": bytes(10**6)})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**5))
    with pytest.raises(DataError, match="'a' would take more than the free disk space"):
        extract(archive, tmp_path / "out")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text("ab./\\:~ \0", min_size=1, max_size=12))
def test_a_safe_name_stays_inside(name):
    try:
        safe = safe_name(Path("a.tar"), name)
    except DataError:
        return
    inside = os.path.normpath(os.path.join("/target", safe))
    assert inside == "/target" or inside.startswith("/target/")


# Real images, where this machine has them


def test_imagenette_is_read_from_its_tar():
    tar = REAL / "imagenette224_small.tar"
    if not tar.is_file():
        pytest.skip(f"needs {tar}")
    dataset = ImageFolder(root=str(tar), size=64).read()
    assert (len(dataset.train), len(dataset.test), len(dataset.classes)) == (1500, 500, 10)
    assert dataset.classes[0] == "n01440764"
    assert dataset.image_shape == (64, 64, 3)


def test_imagenets_tar_of_tars_is_read_in_place():
    tar = REAL / "imagenet_mini/ILSVRC2012_img_train.tar"
    if not tar.is_file():
        pytest.skip(f"needs {tar}")
    # Each class has one image.
    with pytest.warns(UserWarning, match="125 of 250 classes have none in the (training|test) part"):
        dataset = ImageFolder(root=str(tar), test=0.5, size=64).read()
    assert len(dataset.train) + len(dataset.test) == 250
    assert dataset.classes[0] == "n01440764"
    assert dataset.train.example(0)[0].shape == (64, 64, 3)
