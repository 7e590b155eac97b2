"""Recipes: found by name, in the source tree and in an installed wheel."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cnnjax import Card, ConfigError, Published
from cnnjax.recipes import Recipe, find, recipes, shelf
from cnnjax.recipes.catalogue import _time
from cnnjax.recipes.cost import cost_of
from cnnjax.recipes.figures import expected, reproduced
from cnnjax.recipes.init import neighbours
from cnnjax.recipes.judging import contradiction, form_of
from cnnjax.records.reproduction_json import JudgedClaim, Measured, ReproductionRecord
from cnnjax.records.specification import BEFORE
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
        ("shapes", "'shapes' is a folder of recipes; name one of them: shapes/detection, "),
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


# --- the commands


def test_claims_are_counted_by_their_verdicts():
    fields = {"recipe": "a", "form": "f", "experiments": (), "recorded": "2026-01-02T03:04:05+00:00", "seeds": 5}
    about = {"metric": "test_accuracy", "claim": {}, "verdict": "", "settings": 1, "said": "", "n": 5}
    words = ["holds", "not told apart", "holds", "no difference larger than", "not told apart"]
    claims = tuple(JudgedClaim(word=word, **about) for word in words)
    assert reproduced(ReproductionRecord(claims=claims, **fields)) == ("2 holds, 1 same, 2 open, n = 5")


CARDED = '''"""Does it {word}?

Hypothesis: it does."""
from beside import experiment
from cnnjax import Band, Card, Machine, Published, Study

study = Study(experiment, seeds=3)
card = Card(
    source="a paper, section 3",
    deviations=(),
    published=(Published(mean=0.9915, sd=0.0004, n=5), Published(mean=3.2, metric="mean_absolute_error")),
    band=Band(low=0.99, n=3),
    machines={{"gpu": Machine(kind="a100", devices=2, batch_size=16, hours=20.0)}},
)
'''
BESIDE = """from cnnjax import Experiment, SmallCNN, Synthetic

data = Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16)
experiment = Experiment(model=SmallCNN(features=2, dense=0), data=data, batch_size=8, epochs=2, validation=0)
"""


@pytest.fixture
def own_shelf(tmp_path, monkeypatch):
    """A shelf with a recipe, its neighbour, which is an experiment too, and a file that does not run."""
    folder = tmp_path / "shelf" / "made"
    folder.mkdir(parents=True)
    (folder / "learns.py").write_text(CARDED.format(word="learn"))
    (folder / "beside.py").write_text(BESIDE)
    (folder / "broken.py").write_text("1 / 0\n")
    monkeypatch.setattr(shelf, "INSTALLED", folder.parent)
    yield folder
    sys.modules.pop("beside", None)


BY_SEED = {"0": 0.9911, "1": 0.9915, "2": 0.9919}


def recorded(recipe, **changes):
    fields = {
        "recipe": recipe.name,
        "form": form_of(recipe.file),
        "experiments": (),
        "recorded": "2026-01-02T03:04:05+00:00",
        "seeds": 3,
        "band": {"low": 0.99, "high": 1.0, "n": 3, "metric": "accuracy"},
        "verdict": "pass",
        "result": Measured(
            metric="test_accuracy", specification=BEFORE[0], n=3, mean=0.9915, sd=0.0004, values=BY_SEED
        ),
    }
    return ReproductionRecord(**fields | changes)


def test_recipes_are_listed_with_what_is_expected_and_measured(run, own_shelf):
    code, out, _ = run("recipes")
    assert code == 0
    [row] = [line for line in out.splitlines() if line.startswith("made/learns")]
    cells = ["made/learns", "Does it learn?", "99.15 ± 0.04% (n = 5)", "2 x a100, 20 h", "-"]
    assert re.split(r"  +", row.strip()) == cells
    assert "broken: " in out.replace("\n", " ")
    record = recorded(find("made/learns"))
    record.write(own_shelf / "learns.json")
    code, out, _ = run("recipes", "--json")
    entries = {entry["name"]: entry for entry in json.loads(out)["recipes"]}
    assert entries["made/learns"]["cost"] == "2 x a100, 20 h"
    assert entries["made/learns"]["reproduced"] == "pass 99.15 ± 0.04%, n = 3"
    assert entries["made/beside"]["expected"] is None, "an experiment without a card"
    record.model_copy(update={"form": "another"}).write(own_shelf / "learns.json")
    entries = {entry["name"]: entry for entry in json.loads(run("recipes", "--json")[1])["recipes"]}
    assert entries["made/learns"]["reproduced"] == "of an earlier form: pass 99.15 ± 0.04%, n = 3"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mean", 0.9999, "mean = 0.9999, and its values by seed have 0.9915"),
        ("mean", math.nan, "mean = nan"),
        ("values", {"0": 0.9911, "1": 0.9915}, "n = 3, and its values by seed have 2"),
        ("values", {}, "n = 3, and its values by seed have 0"),
        ("sd", 0.0001, "sd = 0.0001"),
        ("verdict", "fail", "verdict = fail, and its numbers have pass"),
    ],
)
def test_a_record_that_contradicts_itself_is_not_shown_and_hides_no_other(run, own_shelf, key, value, said):
    content = recorded(find("made/learns")).to_json()
    (content if key == "verdict" else content["result"])[key] = value
    (own_shelf / "learns.json").write_text(json.dumps(content))
    code, _, err = run("recipes", "made/learns")
    assert code == 1
    assert said in " ".join(err.split())
    assert "with --record" in " ".join(err.split())
    listed = json.loads(run("recipes", "--json")[1])
    assert "made/beside" in [entry["name"] for entry in listed["recipes"]]
    assert any(said in broken for broken in listed["broken"])


def test_a_verdict_on_a_claim_follows_from_its_interval():
    claim = {"text": "More is more", "of": [{"a": 1}], "against": [{"a": 2}], "expects": "more", "margin": 0.01}
    about = {"metric": "test_accuracy", "claim": claim, "settings": 1, "said": "", "method": "", "n": 3, "sd": 0.01}
    judged = JudgedClaim(
        word="holds", verdict="holds", values={"0": 0.02, "1": 0.03, "2": 0.04}, mean=0.03, low=0.01, high=0.05, **about
    )
    fields = {"recipe": "a", "form": "f", "experiments": (), "recorded": "2026-01-02T03:04:05+00:00", "seeds": 3}
    for changed, said in [
        ({}, ""),
        ({"low": -0.01}, "More is more: 'holds', and its interval has 'not told apart'"),
        ({"verdict": "fails"}, "More is more: 'fails', and its interval has 'holds'"),
        ({"low": 0.04}, "test_accuracy: its mean is not in its interval"),
        ({"missing": ("a=1, seed 2: running",)}, "More is more: holds, without what a verdict takes"),
    ]:
        assert contradiction(ReproductionRecord(claims=(judged.model_copy(update=changed),), **fields)) == said


@pytest.mark.parametrize(("minutes", "said"), [(0.064, "3.8 s"), (1.4, "1.4 min"), (0.99, "59 s"), (90, "1.5 h")])
def test_short_times_are_seconds(minutes, said):
    assert _time(minutes) == said


def test_a_figure_that_is_no_accuracy_is_named():
    figures = (Published(mean=0.8993, n=1, metric="top5_accuracy"), Published(mean=0.687))
    assert expected(Card(source="a", deviations=(), published=figures)) == "top5 89.93% (n = 1)"
    assert expected(Card(source="a", deviations=(), published=figures[1:])) == "68.70%"


def test_a_recipe_shows_its_whole_card(run, own_shelf):
    recorded(find("learns"), environments=({"hardware": "an abacus", "cnnjax_commit": "c0ffee"},)).write(
        own_shelf / "learns.json"
    )
    code, out, err = run("recipes", "made/learns")
    assert code == 0, err
    for said in [
        "Hypothesis: it does.",
        "source: a paper, section 3",
        "- accuracy 99.15 ± 0.04% (n = 5)",
        "- mean absolute error 3.2",
        "deviations from the source: none",
        "reproduced if: accuracy at least 99.00%, mean of 3 seeds",
        "--on gpu: 2 x a100, 20 h, batch 16",
        "cost of one training on 2 x a100 with 40.0 GB each:",
        "a device for a step of 8 images (an estimate)",
        # 40 images in batches of 16, twice.
        "5 steps, with 40 images to train on",
        "3 trainings in the study",
        "measured: 99.15 ± 0.04%, n = 3",
        "verdict: pass",
        "2026-01-02, cnnjax c0ffee, an abacus",
    ]:
        assert said in out
    # 3x3x1x2 + 2, 3x3x2x4 + 4, and 4 classes from 4 features of 2x2 maps.
    assert f"{20 + 76 + 16 * 4 + 4} parameters" in out


def test_a_recipe_of_a_whole_set_costs_what_that_costs(own_shelf):
    text = CARDED.format(word="learn").replace("Study\n", "Study, TFDS, WholeSet\n")
    data = 'experiment = experiment.model_copy(update={"data": TFDS(name="mnist", size=8, data_dir="nowhere")})\nstudy'
    text = text.replace("\nstudy", f"\n{data}")
    (own_shelf / "whole.py").write_text(text[:-2] + "    whole=WholeSet(train=160, test=16, classes=4),\n)\n")
    found = cost_of(find("made/whole"))
    assert (found.examples, found.steps, found.notes) == (160, 20, ())


def test_a_recipe_is_copied_with_the_modules_that_it_imports(run, own_shelf, tmp_path):
    code, out, err = run("init", "made/learns", "mine")
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["beside.py", "learns.py"]
    assert (tmp_path / "mine" / "learns.py").read_bytes() == (own_shelf / "learns.py").read_bytes()
    assert "cnnjax sweep mine/learns.py --on gpu --dry-run" in out
    assert "not here" not in out
    assert "cnnjax sweep 'my own/learns.py' --on gpu --dry-run" in run("init", "made/learns", "my own")[1]
    code, _, err = run("init", "made/learns", "mine/beside.py")
    assert code == 2
    assert "mine/beside.py is a file: name a folder" in " ".join(err.split())
    (tmp_path / "mine" / "learns.py").write_text("mine")
    code, _, err = run("init", "made/learns", "mine")
    assert code == 1
    assert "is there already, and nothing is overwritten" in " ".join(err.split())
    assert (tmp_path / "mine" / "learns.py").read_text() == "mine"


def test_a_copy_says_which_data_it_needs(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    code, out, err = run("init", "mnist/lenet5")
    assert code == 0, err
    said = " ".join(out.split())
    assert "its data are not here (mnist)" in said
    assert "cnnjax data prepare mnist" in said


def test_neighbours_of_neighbours_are_found_once(tmp_path):
    (tmp_path / "a.py").write_text("import b\nfrom c.d import e\nimport numpy")
    (tmp_path / "b.py").write_text("def f():\n    from a import g\n    import c")
    (tmp_path / "c.py").write_text("")
    assert [path.name for path in neighbours(tmp_path / "a.py")] == ["b.py", "c.py"]
