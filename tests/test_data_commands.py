"""`cnnjax data`: what there is, what it holds, how it looks and how fast it comes; every mistake is one line."""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnjax import Digits, Experiment, Flip, RandomCrop, SmallCNN
from cnnjax.data import prepare as preparing
from cnnjax.data.dataset_statistics import choose, statistics
from cnnjax.data.prepared_sets import prepared, unfinished
from cnnjax.errors import DataError, DiskFull, Interrupted
from cnnjax.experiment import parts_of
from cnnjax.study import data_pictures, data_view, montage

FILE = """
import numpy as np
from cnnjax import Data, Dataset, Examples, Experiment, Flip, SmallCNN

class Mine(Data):
    def read(self):
        images = np.zeros((12, 6, 10, 3), np.uint8)
        images[..., 0] = 255
        examples = Examples(images, np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2], np.int32))
        return Dataset("mine", examples, examples, classes=("a", "b", "c"))

class Scores(Data):
    def read(self):
        examples = Examples(np.zeros((9, 4, 4, 2), np.uint8), np.arange(18, dtype=np.float32).reshape(9, 2))
        return Dataset("scores", examples, examples)

class OneHot(Data):
    def read(self):
        labels = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2]]
        examples = Examples(np.zeros((6, 4, 4, 1), np.uint8), labels)
        return Dataset("one_hot", examples, examples, classes=("a", "b", "c"))

experiment = Experiment(model=SmallCNN(), data=Mine(), augment=(Flip(),), validation=2, batch_size=8)
"""


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """`run("show", "digits")` calls `cnnjax data show digits`, with no set prepared."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return lambda *words: run("data", *words)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def write_set(folder: Path, name: str = "mnist", *, form: str = "array_record", shards: int = 1, present: int = 1):
    """What TFDS leaves behind, but for the content of its shards."""
    version = folder / name / "3.0.1"
    version.mkdir(parents=True)
    splits = [{"name": split, "shardLengths": ["5"] * shards} for split in ("train", "test")]
    info = {"name": name, "fileFormat": form, "splits": splits, "version": "3.0.1"}
    (version / "dataset_info.json").write_text(json.dumps(info))
    for split in ("train", "test"):
        for shard in range(present):
            (version / f"{name.split('/')[0]}-{split}.{form}-{shard:05}-of-{shards:05}").write_bytes(
                b"not a record" * 10
            )
    return version


# --- list


def test_list_names_what_is_there_and_how_to_get_more(run, tmp_path):
    code, out, _ = run("list")
    assert code == 0
    assert "nothing is prepared" in out
    assert "cnnjax data prepare NAME" in out
    write_set(tmp_path / "tfds", shards=2, present=2)
    write_set(tmp_path / "tfds", "cifar10", form="tfrecord")
    write_set(tmp_path / "tfds", "kmnist", shards=3, present=1)
    write_set(tmp_path / "tfds", "emnist/letters")
    (tmp_path / "tfds" / "svhn" / "incomplete.AB12_3.1.0").mkdir(parents=True)
    (tmp_path / "tfds" / "broken" / "1.0.0").mkdir(parents=True)
    (tmp_path / "tfds" / "broken" / "1.0.0" / "dataset_info.json").write_text("{")
    code, out, _ = run("list", "--json")
    assert code == 0
    listed = json.loads(out)
    assert {"digits", "synthetic"} <= {entry["name"] for entry in listed["built_in"]}
    assert all(entry["about"] for entry in listed["built_in"])
    found = {entry["name"]: entry for entry in listed["prepared"]}
    assert found["mnist"]["splits"] == {"train": 10, "test": 10}
    assert found["mnist"]["damage"] is None
    assert found["mnist"]["bytes"] > 4 * 120
    assert found["cifar10"]["format"] == "tfrecord"
    assert "train has 1 of its 3 files" in found["kmnist"]["damage"]
    assert "cannot be read" in found["broken"]["damage"]
    assert "emnist/letters" in found
    assert len(listed["unfinished"]) == 1
    code, out, _ = run("list")
    assert code == 0
    for words in ("train 10, test 10", "tfrecord, cannot be read", "damaged", "unfinished"):
        assert words in out


def test_list_needs_neither_jax_nor_tensorflow(tmp_path):
    code = (
        "import sys; sys.argv = ['cnnjax', 'data', 'list', '--json']\nfrom cnnjax.cli import main\nmain()\n"
        "assert not {'jax', 'tensorflow', 'tensorflow_datasets', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"TFDS_DATA_DIR": str(tmp_path)})


# --- prepare


@pytest.fixture
def built(monkeypatch):
    """Stands for TFDS, which is not asked to write; says what it was asked for."""
    asked = []

    def build(name, folder, manual, *, quiet):
        asked.append((name, folder, manual))
        write_set(folder, name)

    monkeypatch.setattr(preparing, "_build", build)
    monkeypatch.setattr(preparing, "_check_installed", lambda: None)
    return asked


def test_prepare_writes_a_set_once(run, built, tmp_path):
    code, out, _ = run("prepare", "mnist", "--data-dir", tmp_path / "sets")
    assert code == 0
    assert "train 5, test 5" in out
    code, out, _ = run("prepare", "mnist", "--data-dir", tmp_path / "sets", "--json")
    assert code == 0
    assert json.loads(out)["already_prepared"] is True
    assert built == [("mnist", tmp_path / "sets", tmp_path / "sets" / "downloads" / "manual")]


def test_a_set_of_several_variants_is_prepared_by_variant(built, tmp_path):
    assert preparing.prepare("emnist/letters", data_dir=tmp_path).seconds is not None
    # Without one it is the first that TFDS has.
    assert preparing.prepare("emnist", data_dir=tmp_path).version.name == "emnist/byclass"
    assert preparing.prepare("emnist", data_dir=tmp_path).seconds is None
    assert [name for name, *_ in built] == ["emnist/letters", "emnist/byclass"]


@pytest.mark.parametrize(
    ("stop", "raised", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFull, "no space left to prepare mnist"),
        (RuntimeError("write() failed: No space left on device"), DiskFull, "nothing half-written is kept"),
        (OSError("Not enough disk space. Needed: 150 GB"), DiskFull, "Needed: 150 GB"),
        (ConnectionError("no route\nto host"), DataError, "mnist cannot be prepared: no route to host"),
        (KeyboardInterrupt(), Interrupted, "stopped: mnist is not prepared"),
    ],
)
def test_what_stops_a_preparation_leaves_no_set(built, monkeypatch, tmp_path, stop, raised, said):
    write = preparing._build

    def fail(name, folder, manual, *, quiet):
        (folder / name / "incomplete.AB12_3.0.1").mkdir()
        raise stop

    monkeypatch.setattr(preparing, "_build", fail)
    with pytest.raises(raised, match=said.replace("(", "\\(")) as error:
        preparing.prepare("mnist", data_dir=tmp_path)
    assert "\n" not in str(error.value)
    assert prepared(tmp_path) == []
    # The next one clears up what is left of it.
    monkeypatch.setattr(preparing, "_build", write)
    preparing.prepare("mnist", data_dir=tmp_path)
    assert unfinished(tmp_path) == []
    assert [version.name for version in prepared(tmp_path)] == ["mnist"]


def test_two_do_not_prepare_one_set(built, tmp_path):
    with preparing._alone("mnist", tmp_path), pytest.raises(Exception, match="another process is preparing mnist"):
        preparing.prepare("mnist", data_dir=tmp_path)
    assert built == []


def test_prepare_refuses_what_it_cannot_do(run, monkeypatch, tmp_path):
    monkeypatch.setattr(preparing.importlib.util, "find_spec", lambda name: None)
    mistakes = {
        ("mnst",): ["'mnst' is no data set that TFDS can prepare. Did you mean 'mnist'"],
        ("digits",): ["digits comes with cnnjax"],
        ("emnist/nothing",): ["emnist/nothing cannot be prepared"],
        ("voc/2007",): ["voc/2007 is no image classification set"],
        ("mnist",): ["needs tensorflow and importlib_resources", "pip install 'cnnjax[prepare]'"],
        ("imagenet2012",): ["ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar missing", "downloads/manual"],
        ("imagenet2012", "--manual-dir", tmp_path): ["missing", f"in {tmp_path}", "image-net.org"],
        ("resisc45",): ["only you may download"],
    }
    for words, said in mistakes.items():
        code, _, err = run("prepare", *words)
        assert code == 1
        assert len(err.strip().splitlines()) == 1
        for part in said:
            assert part in err
    for archive in preparing.ARCHIVES["imagenet2012"]:
        (tmp_path / archive).touch()
    assert "pip install" in run("prepare", "imagenet2012", "--manual-dir", tmp_path)[2]


def test_prepare_leaves_alone_what_is_in_its_way(run, built, tmp_path):
    write_set(tmp_path / "tfds", "mnist", form="tfrecord")
    write_set(tmp_path / "tfds", "kmnist", present=0)
    assert "not in array_record form" in run("prepare", "mnist")[2]
    assert "damaged (train has 0 of its 1 files" in run("prepare", "kmnist")[2]
    (tmp_path / "file").touch()
    code, _, err = run("prepare", "cifar10", "--data-dir", tmp_path / "file")
    assert code == 1
    assert "cannot write" in err
    assert "--data-dir" in err
    assert built == []


# --- show


def test_show_counts_and_draws(run, file, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = run("show", file, "--json")
    assert code == 0
    said = json.loads(out)
    assert (said["picture"], said["shown"]) == (None, [])
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] == []
    assert said["examples"] == {"train": 10, "validation": 2, "test": 12}
    assert [entry["name"] for entry in said["classes"]] == ["a", "b", "c"]
    assert [entry["test"] for entry in said["classes"]] == [7, 3, 2]
    assert said["image_shape"] == [6, 10, 3]
    assert said["mean"] == [1.0, 0.0, 0.0]
    assert len(said["fingerprint"]) == 12
    assert said["load_seconds"] >= 0
    code, out, _ = run("show", file)
    assert code == 0
    assert "mean 1.0000, 0.0000, 0.0000" in out
    assert "validation" in out
    assert "examples are drawn with --plot FILE" in out
    code, out, _ = run("show", file, "--plot", "mine.png", "--json")
    assert code == 0
    assert json.loads(out)["picture"] == "mine.png"
    assert len(json.loads(out)["shown"]) == 10
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    for words in (["--augmented"], ["--examples", 3]):
        assert "--plot examples.png" in run("show", file, *words)[2]


def test_show_takes_a_name_with_fields(run):
    code, out, _ = run("show", "synthetic", "data.classes=3", "data.examples=30", "validation=0", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["examples"] == {"train": 30, "test": 256}
    assert [entry["train"] for entry in said["classes"]] == [10, 10, 10]


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_a_picture_is_the_same_every_time_and_replaces_none_but_its_own(run, tmp_path, suffix, begins):
    path = tmp_path / f"digits{suffix}"
    words = ("show", "digits", "--examples", 12, "--out", path)
    assert run(*words)[0] == 0
    first = path.read_bytes()
    assert first.startswith(begins)
    assert run(*words)[0] == 0
    assert path.read_bytes() == first
    path.write_bytes(begins + b" of somebody else")
    code, _, err = run(*words)
    assert code == 1
    assert "is no picture of `cnnjax data show`" in err
    assert path.read_bytes() == begins + b" of somebody else"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_show_says_what_is_not_used(run, tmp_path):
    for part, labels in (("train", "ab"), ("test", "ab"), ("val", "a")):
        for label in labels:
            (tmp_path / "set" / part / label).mkdir(parents=True)
            pixels = np.full((8, 8, 3), len(part) + 50 * (label == "a"), np.uint8)
            for at in range(2):
                Image.fromarray(pixels + np.uint8(10 * at)).save(tmp_path / "set" / part / label / f"{at}.tif")
    (tmp_path / "set/train/a/c.heic").touch()
    (tmp_path / "set/test/a/twin.tif").write_bytes((tmp_path / "set/train/a/0.tif").read_bytes())
    words = ("show", "folder", f"data.root={tmp_path / 'set'}", "validation=0")
    code, out, _ = run(*words)
    assert code == 0
    said = " ".join(out.split())
    assert "1 file looks like an image and is of a kind that is not read (1 .heic)" in said
    assert "val are not used" in said
    assert "an image of the test part is in the training part too" in said
    remarks = json.loads(run(*words, "--json")[1])["remarks"]
    assert len(remarks) == 3


def test_sets_without_classes_are_shown(run, file):
    code, out, _ = run("show", file, "data=scores", "loss=squared", "--augmented", "--plot", "scores.png", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["classes"] == []
    assert said["targets"]["test"][1] == {"min": 1.0, "mean": 9.0, "max": 17.0}
    code, out, _ = run("show", file, "data=scores", "loss=squared")
    assert code == 0
    assert "target 1 of the training part" in out


def test_labels_that_are_answers_to_questions_are_shown_as_numbers(run, file):
    words = ("show", file, "data=one_hot", "loss=sigmoid", "validation=2")
    code, out, _ = run(*words, "--plot", "hot.png", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["examples"] == {"train": 4, "validation": 2, "test": 6}
    assert said["classes"] == [{"name": name} for name in "abc"]
    assert [target["mean"] for target in said["targets"]["test"]] == [3 / 6, 2 / 6, 1 / 6]
    code, out, _ = run(*words)
    assert code == 0
    assert "target 1 (b) of the training part: 0 to 1" in out
    assert "before validation or a fraction of it is taken (n=6," in out


def view_of(experiment: Experiment) -> data_view.View:
    return data_view.look(data_view.Found("digits", experiment), augmented=True, examples=10)


def test_augmented_examples_are_what_training_makes_of_them():
    flipped = view_of(Experiment(model=SmallCNN(), data=Digits(), augment=(Flip(probability=1.0),)))
    indices = data_pictures._indices(flipped)
    originals = flipped.train.images[indices] / 16
    assert len(indices) == 10
    for images in data_pictures._views(flipped, indices):
        # Normalizing and undoing it rounds in float32.
        np.testing.assert_allclose(images, originals[:, :, ::-1, 0], atol=1e-6)
    cropped = view_of(
        Experiment(model=SmallCNN(), data=Digits(), augment=(RandomCrop(padding=1),), precision="bfloat16")
    )
    views = data_pictures._views(cropped, indices)
    for k, original in enumerate(originals):
        padded = np.pad(original[..., 0], 1)
        windows = np.stack([padded[r : r + 8, c : c + 8] for r in range(3) for c in range(3)])
        distances = [np.abs(windows - images[k]).max((1, 2)).min() for images in views]
        assert max(distances) < 1e-6
    assert len({images.tobytes() for images in views}) > 1, "every epoch draws anew"


def test_colour_planes():
    red, grey = np.array([1.0, 0, 0]), np.array([0.5, 0.5, 0.5])
    tiles = data_pictures._planes_of(np.stack([red, grey])[None])
    planes = [tile.pixels.tolist() for tile in tiles[1:]]
    assert planes[:3] == [[[1.0, 0.5]], [[0.0, 0.5]], [[0.0, 0.5]]]
    hue, saturation, value = planes[3:]
    assert (hue[0][0], saturation, value) == (0.0, [[1.0, 0.0]], [[1.0, 0.5]])
    assert np.isnan(hue[0][1]), "grey has no hue"
    assert len(data_pictures._planes_of(np.zeros((2, 2)))) == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 40), st.integers(6, 9))
def test_chosen_examples_are_stratified_and_in_range(labels, count, classes):
    labels = np.asarray(labels, np.int32)
    groups = choose(labels, count, classes=classes)
    assert len(groups) == (classes if count >= classes else min(count, len(set(labels.tolist()))))
    for group in groups:
        assert len(set(labels[group])) <= 1
        assert len(set(group.tolist())) == len(group)
    if count >= classes:
        for label, group in enumerate(groups):
            assert set(labels[group]) <= {label}
            assert len(group) in {
                min(share, (labels == label).sum()) for share in (count // classes, -(-count // classes))
            }
    assert sum(map(len, groups)) <= count
    again = choose(labels, count, classes=classes)
    assert all((a == b).all() for a, b in zip(groups, again, strict=True))


def test_statistics_are_numpys():
    digits = Digits().load()
    numbers = statistics(digits, parts_of(Experiment(model=SmallCNN())))
    pixels = digits.train.images / 16
    assert numbers.mean == pytest.approx((pixels.mean(),))
    assert numbers.std == pytest.approx((pixels.std(),))
    assert numbers.sizes() == {"train": 1294, "validation": 144, "test": 359}
    assert numbers.counts["test"] == tuple(np.bincount(digits.test.labels))


@pytest.mark.parametrize("classes", [1, 2, 10, 37, 100])
@pytest.mark.parametrize("shape", [(8, 8), (32, 32, 3), (20, 60, 3), (224, 224, 3)])
@pytest.mark.parametrize("tiles", [1, 8, 70])
def test_nothing_in_a_picture_overlaps(classes, shape, tiles):
    tile = montage.Tile(np.zeros(shape))
    strips = [montage.Strip("of a very long name " * (k % 3), [tile] * tiles) for k in range(classes)]
    grid = montage._laid_out(montage.Panel("many", strips))
    width, height = grid.tile
    boxes = set()
    for index, strip in enumerate(strips):
        left, top = grid.places(index)
        assert montage._inches(montage._fitted(strip.label)) <= grid.label
        for _, (x, y) in montage._boxes(strip, grid, left, top):
            assert x >= left + grid.label
            assert x + width <= grid.size[0] + 1e-9
            assert grid.head <= y <= y + height <= grid.size[1] + 1e-9
            boxes.add((round(x, 6), round(y, 6)))
    assert len(boxes) == classes * tiles
    columns, rows = (sorted({box[axis] for box in boxes}) for axis in (0, 1))
    assert all(b - a >= width for a, b in itertools.pairwise(columns))
    assert all(b - a >= height for a, b in itertools.pairwise(rows))


# --- benchmark


def test_benchmark_gives_a_median_with_its_spread(run, file):
    words = ("benchmark", file, "--batch-size", 4, "--steps", 3, "--devices", 1)
    code, out, _ = run(*words, "--json")
    assert code == 0
    said = json.loads(out)
    rates = said["examples_per_second"]
    assert 0 < rates["min"] <= rates["median"] <= rates["max"]
    assert rates["n"] == 7
    assert (said["batch_size"], said["steps"], said["devices"]) == (4, 3, 1)
    assert said["seconds_per_step"] == pytest.approx(4 / rates["median"])
    assert said["environment"]["versions"]["jax"]
    assert said["environment"]["hardware"]
    assert said["augment"] == [{"name": "flip", "probability": 0.5, "direction": "horizontal"}]
    code, out, _ = run(*words, "mixing=mixup")
    assert code == 0
    assert "n=7 repeats of 3 steps of 4" in out
    # Spread over devices as training would be.
    assert json.loads(run("benchmark", "digits", "--steps", 2, "--devices", 8, "--json")[1])["devices"] == 8


# --- mistakes

MISTAKES = [
    (["show", "mnst"], ["'mnst' is no experiment file and no data set. Did you mean 'mnist'"]),
    (["show", "digts"], ["Did you mean 'digits'"]),
    (["benchmark", "digts"], ["Did you mean 'digits'"]),
    (["show", "nowhere.py"], ["no experiment file nowhere.py"]),
    (["show", "mnist"], ["not prepared", "pip install 'cnnjax[prepare]' && cnnjax data prepare mnist"]),
    (["show", "kmnist"], ["is damaged (train has 1 of its 2 files", "delete that folder"]),
    (["show", "fashion_mnist"], ["'fashion_mnist' in", "cannot be read: "]),
    (["show", "emnist"], ["emnist/letters 3.0.1, which is not what TFDS calls 'emnist'"]),
    (["show", "cifar10"], ["not in array_record form", "move it away"]),
    (["show", "digits", "data.tset=0.1"], ["'tset'", "Did you mean 'test'"]),
    (["show", "digits", "--augmented", "--plot", "x.png"], ["--augmented: this experiment changes no image"]),
    (["show", "digits", "--plot", "digits.gif"], ["--plot digits.gif: must end in .png, .pdf or .svg"]),
    (["show", "digits", "--plot", "/proc/no/digits.png"], ["--plot /proc/no/digits.png", "cannot be written"]),
    (["show", "digits", "validation=1500"], ["cannot split 1500 of 1438"]),
    (["benchmark", "digits", "--batch-size", "5000"], ["there are only 1294 training examples"]),
    (["benchmark", "digits", "--devices", "99"], ["devices = 99"]),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda value: " ".join(value) if len(value) > 1 else None)
def test_a_mistake_is_one_line(run, tmp_path, words, said):
    write_set(tmp_path / "tfds", "kmnist", shards=2, present=1)
    write_set(tmp_path / "tfds", "fashion_mnist")
    write_set(tmp_path / "tfds", "emnist/letters")
    write_set(tmp_path / "tfds", "cifar10", form="tfrecord")
    code, out, err = run(*words)
    assert code == 1
    assert "Traceback" not in err + out
    assert len(err.strip().splitlines()) == 1
    for part in said:
        assert part in err


@pytest.mark.parametrize("command", ["list", "prepare", "show", "benchmark"])
def test_help_has_examples(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "Example" in out
