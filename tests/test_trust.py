"""A prepared set whose files name somebody's class is refused before anything of it is imported."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import pytest

from cnnjax.data import prepare as preparing
from cnnjax.data.source import Data
from cnnjax.data.tfds import TFDS
from cnnjax.data.trust import check_classes
from cnnjax.errors import ConfigError, DataError

OWN = "tensorflow_datasets.core.features"
IMAGE = {"pythonClassName": f"{OWN}.image_feature.Image", "image": {"shape": {"dimensions": ["8", "8", "3"]}}}
LABEL = {"pythonClassName": f"{OWN}.class_label_feature.ClassLabel", "classLabel": {"numClasses": "2"}}


def features(**more) -> dict:
    inside = {"image": IMAGE, "label": LABEL, **more}
    return {"pythonClassName": f"{OWN}.features_dict.FeaturesDict", "featuresDict": {"features": inside}}


@pytest.fixture
def hostile(tmp_path, monkeypatch) -> str:
    """A module that leaves a mark where it is imported, and is not imported yet; the name of a class in it."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/hostile_features.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "hostile_features", raising=False)
    return "hostile_features.Image"


def prepared_set(folder: Path, written: object, place="own_set/1.0.0", info: dict | None = None) -> Path:
    version = folder / place
    version.mkdir(parents=True)
    splits = [{"name": split, "shardLengths": ["1"]} for split in ("train", "test")]
    said = {"name": "own_set", "fileFormat": "array_record", "splits": splits, "version": "1.0.0", **(info or {})}
    (version / "dataset_info.json").write_text(json.dumps(said))
    (version / "features.json").write_text(json.dumps(written))
    for split in ("train", "test"):
        (version / f"own_set-{split}.array_record-00000-of-00001").write_bytes(b"no record")
    return folder


def forms(name: str) -> dict[str, object]:
    """Everywhere that TFDS reads a class's name from."""
    strange = {"pythonClassName": name, "image": {}}
    legacy = {"type": name, "content": {}}
    sequence = {"pythonClassName": f"{OWN}.sequence_feature.Sequence", "sequence": {"feature": strange}}
    written = json.dumps({"feature": legacy})
    text = {"pythonClassName": f"{OWN}.sequence_feature.Sequence", "jsonFeature": {"json": written}}
    return {
        "top": {**features(), "pythonClassName": name},
        "nested": features(extra=strange),
        "nested twice": features(extra=sequence),
        "protobuf's own spelling": features(extra={"python_class_name": name}),
        "older form": {"type": f"{OWN}.features_dict.FeaturesDict", "content": {"image": legacy}},
        "JSON within JSON": features(extra=text),
    }


@pytest.mark.parametrize("form", forms(""))
def test_a_class_of_another_module_is_refused_and_not_imported(tmp_path, hostile, form):
    folder = prepared_set(tmp_path / "sets", forms(hostile)[form])
    with pytest.raises(DataError, match=r"1.0.0/features.json names the class 'hostile_features.Image'.*delete"):
        TFDS(name="own_set", data_dir=str(folder)).read()
    assert "hostile_features" not in sys.modules
    assert not (tmp_path / "mark").exists()


def test_tfds_itself_would_import_it(tmp_path, hostile):
    import tensorflow_datasets as tfds

    folder = prepared_set(tmp_path / "sets", forms(hostile)["top"])
    # How it goes on, without such a class and without TensorFlow, is of no matter.
    with contextlib.suppress(Exception):
        tfds.builder("own_set", data_dir=folder)
    assert (tmp_path / "mark").exists(), "else there is nothing to guard against"


def test_every_version_and_every_file_is_looked_at(tmp_path, hostile):
    folder = prepared_set(tmp_path / "sets", features())
    check_classes("own_set", folder)
    with_info = prepared_set(tmp_path / "info", features(), info={"features": forms(hostile)["nested"]})
    with pytest.raises(DataError, match=r"dataset_info.json names the class"):
        check_classes("own_set", with_info)
    # TFDS takes the latest, whether or not it is whole.
    newer = folder / "own_set/variant/2.0.0"
    newer.mkdir(parents=True)
    (newer / "features.json").write_text(json.dumps(forms(hostile)["top"]))
    with pytest.raises(DataError, match=r"variant/2.0.0/features.json"):
        TFDS(name="own_set", data_dir=str(folder)).read()
    with pytest.raises(DataError, match=r"variant/2.0.0/features.json"):
        check_classes("own_set", folder)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "strange", ["tensorflow_datasets_evil.A", "os.path", "Image", "", None, 3, "tensorflow_datasets"]
)
def test_only_tfdss_own_package_is_admitted(tmp_path, strange):
    folder = prepared_set(tmp_path, forms(strange)["top"])
    with pytest.raises(DataError, match="not of tensorflow_datasets"):
        check_classes("own_set", folder)


@pytest.mark.parametrize("name", ["huggingface:own_set", "own_set:1.0.0", "OwnSet", "own_set/a=1", "../own_set", "*"])
def test_names_that_tfds_would_look_for_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="no name of a prepared set"):
        check_classes(name, tmp_path)


def test_preparing_does_not_import_it_either(tmp_path, hostile, monkeypatch):
    folder = tmp_path / "sets"
    prepared_set(folder, forms(hostile)["nested"], place="mnist/3.0.1")
    (folder / "mnist/3.0.1/dataset_info.json").unlink()
    with pytest.raises(DataError, match="names the class"):
        preparing.prepare("mnist", data_dir=folder)
    assert not (tmp_path / "mark").exists()


def test_a_set_that_was_prepared_since_is_known(tmp_path):
    with pytest.raises(ConfigError, match="'own_set' is no data set"):
        Data.from_tag("own_set", data_dir=str(tmp_path))
    prepared_set(tmp_path, features())
    assert Data.from_tag("own_set", data_dir=str(tmp_path)) == TFDS(name="own_set", data_dir=str(tmp_path))
