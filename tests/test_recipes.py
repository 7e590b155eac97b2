"""Recipes: found by name, in the source tree and in an installed wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cnnjax import ConfigError
from cnnjax.recipes import Recipe, find, recipes, shelf
from tests.marks import slow

ROOT = Path(__file__).parents[1]


def test_a_recipe_has_the_name_of_its_path():
    assert find("digits/baseline").path == ROOT / "experiments" / "digits" / "baseline.py"
    assert find("few_digits").name == "methods/few_digits", "alone, where that is clear"
    assert find(str(ROOT / "experiments" / "digits" / "baseline.py")).name == "digits/baseline"


def test_all_are_found_and_can_be_loaded_in_one_process():
    before = list(sys.path)
    found = list(recipes())
    assert [recipe for recipe in found if not isinstance(recipe, Recipe)] == []
    files = (ROOT / "experiments").rglob("*.py")
    assert {recipe.path for recipe in found if isinstance(recipe, Recipe)} == set(files)
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digits/basline", "Did you mean 'digits/baseline'"),
        ("basline", "Did you mean 'baseline'?"),
        ("nothing of the kind", "'nothing of the kind' is no recipe. `cnnjax recipes` lists the"),
        ("nowhere.py", "no experiment file nowhere.py"),
    ],
)
def test_a_wrong_name_is_refused_with_the_near_misses(name, said):
    with pytest.raises(ConfigError) as error:
        find(name)
    assert said in str(error.value)


def test_one_name_in_two_folders_is_not_guessed(tmp_path, monkeypatch):
    for folder in ("mnist", "fashion_mnist"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lenet5.py").write_text("")
    monkeypatch.setattr(shelf, "INSTALLED", tmp_path)
    with pytest.raises(ConfigError, match="there are 2 recipes 'lenet5': fashion_mnist/lenet5, mnist/lenet5"):
        find("lenet5")


def test_a_file_that_does_not_load_does_not_hide_the_others(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "good.py").write_text(
        "from cnnjax import Experiment, SmallCNN\nexperiment = Experiment(model=SmallCNN())"
    )
    monkeypatch.setattr(shelf, "INSTALLED", tmp_path)
    broken, good = recipes()
    assert isinstance(broken, tuple)
    assert "ZeroDivisionError" in str(broken[1])
    assert isinstance(good, Recipe)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """What an installed wheel has."""
    wheel = pytest.importorskip("hatchling.builders.wheel")
    folder = tmp_path_factory.mktemp("wheel")
    [path] = wheel.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    zipfile.ZipFile(path).extractall(folder / "installed")
    return folder / "installed"


def test_the_wheel_has_every_recipe(unpacked):
    there = unpacked / "cnnjax" / shelf.INSTALLED.relative_to(ROOT / "cnnjax")
    kinds = ("*.py", "*.json")
    shipped = {path.relative_to(ROOT / "experiments") for kind in kinds for path in (ROOT / "experiments").rglob(kind)}
    assert shipped == {path.relative_to(there) for kind in kinds for path in there.rglob(kind)}


@pytest.mark.parametrize("name", slow("methods/optimizers"))
def test_an_installed_package_finds_its_own(unpacked, tmp_path, name):
    code = f"from cnnjax.recipes import find; print(find({name!r}).path)"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(unpacked / "cnnjax" / "recipes" / "experiments" / f"{name}.py")
