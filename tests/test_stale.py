"""What was trained by other code or on other data is not used without a word."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from pathlib import Path

import pytest

from cnnjax import Hardware, Options
from cnnjax.events import StepTaken
from cnnjax.reporting import find, writing

ONE = Options(Hardware(devices=1))
FILE = '''
"""Does the width matter?"""
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
from cnnjax import SGD, Augmentation, Data, Dataset, Examples, Experiment, Loss, Model, Optim, Study
from cnnjax.losses import SoftmaxCrossEntropy
from blocks import act

class Net(nn.Module):
    config: object
    @nn.compact
    def __call__(self, x, train=False):
        x = act(nn.Conv(self.config.width, (3, 3))(x))
        return nn.Dense(self.config.num_classes, name="logits")(x.mean((1, 2)))

class Mine(Model):
    width: int = 2
    def network(self):
        return Net(self)

class Stripes(Data):
    rows: int = 6
    def read(self):
        images = np.arange(24 * self.rows * 6, dtype=np.uint32).reshape(24, self.rows, 6, 1) % 251
        labels = np.arange(24, dtype=np.int32) % 2
        part = Examples(images.astype(np.uint8), labels)
        return Dataset("stripes", part, part, ("a", "b"))

class Brighter(Augmentation):
    by: float = 0.1
    def apply(self, image, key):
        return image + self.by

class Plain(Optim):
    def direction(self):
        return optax.identity()

class Doubled(SoftmaxCrossEntropy):
    def __call__(self, logits, labels):
        return 2 * super().__call__(logits, labels)

experiment = Experiment(
    model=Mine(), data=Stripes(), augment=(Brighter(),), optim=Plain(learning_rate=0.1), loss=Doubled(),
    steps=2, batch_size=8, validation=4,
)
study = Study(experiment, axes={"model.width": [2, 3]}, seeds=1)
'''
BLOCKS = "import flax.linen as nn\ndef act(x):\n    return nn.relu(x)\n"


def write(folder: Path, *edits: tuple[str, str]) -> Path:
    for name, text in {"exp.py": FILE, "blocks.py": BLOCKS}.items():
        for old, new in edits:
            text = text.replace(old, new)
        (folder / name).write_text(text)
    sys.modules.pop("blocks", None)
    return folder / "exp.py"


@pytest.fixture(autouse=True)
def _no_neighbours():
    yield
    sys.modules.pop("blocks", None)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Reports are written without them: they take most of the time and show nothing here."""
    monkeypatch.setattr(writing, "find", functools.partial(find, draw=False))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A study of two arms with one seed, and a run of its first arm, trained by the code as it stands above."""
    from cnnjax import sweep, train
    from cnnjax.study.file import load

    folder = tmp_path_factory.mktemp("trained")
    file = load(write(folder))
    sweep(file.study, folder / "study", name="exp", options=ONE)
    train(file.experiment, folder / "run", options=ONE)
    return folder


@pytest.fixture
def run(run):
    """On one device, which compiles sooner than many."""
    devices = dict.fromkeys(("train", "sweep", "evaluate"), ("--devices", 1))
    return lambda command, *words: run(command, *words, *devices.get(command, ()))


@pytest.fixture
def place(trained, tmp_path):
    """The folder of the trained study, to be changed."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def results(study: Path) -> dict[str, dict]:
    files = sorted(study.glob("trials/*/result.json"))
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def edit(path: Path, **changes: object) -> None:
    """Change a result as if that had been written so, before results had checksums."""
    held = {name: value for name, value in json.loads(path.read_text()).items() if name != "checksum"} | changes
    path.write_text(json.dumps({name: value for name, value in held.items() if value is not None}))


TANH = ("nn.relu(x)", "nn.tanh(x)")
LAYER = (
    "        return nn.Dense(self.config.num",
    "        x = nn.Conv(3, (1, 1))(x)\n        return nn.Dense(self.config.num",
)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (TANH, "function act in blocks.py changed"),
        (LAYER, "class Net in exp.py changed"),
        (("% 251", "% 250"), "class Stripes in exp.py changed"),
        (("image + self.by", "image - self.by"), "class Brighter in exp.py changed"),
        (("optax.identity()", "optax.scale(2.0)"), "class Plain in exp.py changed"),
        (("2 * super", "3 * super"), "class Doubled in exp.py changed"),
    ],
)
def test_an_edit_of_any_class_stops_and_says_what_changed(run, place, edit, said):
    before = results(place / "study")
    file = write(place, edit)
    commands = [("sweep", "study")]
    if edit == TANH:
        code, out, _ = run("sweep", file, "--out", place / "study", "--dry-run")
        assert code == 0
        assert f"stale: {said}" in out
        assert "2 of 2 trials" in out
        commands.append(("train", "run"))
    for command, folder in commands:
        code, _, error = run(command, file, "--out", place / folder)
        assert code == 1
        assert said in error
        assert "the file was written" in error
        for way in ("rerun", "keep", "separate"):
            assert f"--stale {way}" in error
    assert results(place / "study") == before


def test_what_the_trials_do_not_run_is_not_stale(run, place):
    file = write(
        place, ("[2, 3]", "[2, 3, 4]"), ('"""Does the', '"""Which'), ("x.mean((1, 2))", "x.mean(\n            (1, 2))")
    )
    code, out, _ = run("sweep", file, "--out", place / "study", "--dry-run", "--json")
    assert (code, json.loads(out)["stale"]) == (0, [])


def test_rerun_trains_again_and_keeps_what_was_there_aside(run, place):
    before = results(place / "study")
    code, out, _ = run("sweep", write(place, LAYER), "--out", place / "study", "--stale", "rerun")
    after = results(place / "study")
    assert code == 0
    assert "MIXED" not in out
    assert list(after) == list(before)
    for name, result in after.items():
        width = result["config"]["model"]["width"]
        assert result["params"] - before[name]["params"] == (3 * width + 3) + (3 * 2 + 2) - (width * 2 + 2)
        assert result["codes"] != before[name]["codes"]
        aside = place / "study" / "trials" / name / "stale" / "1" / "result.json"
        assert json.loads(aside.read_text()) == before[name]
    assert len(list((place / "study" / "code").glob("*.json"))) == 2


def test_separate_leaves_all_as_it_is_and_is_found_again(run, place):
    before, file = results(place / "study"), write(place, TANH)
    code, out, _ = run("sweep", file, "--out", place / "study", "--stale", "separate")
    (apart,) = place.glob("study-*")
    assert (code, results(place / "study")) == (0, before)
    assert f"{apart.name}/report" in out
    assert len(results(apart)) == 2
    stamps = {path: path.stat().st_mtime_ns for path in apart.glob("trials/*/result.json")}
    assert run("sweep", file, "--out", place / "study", "--stale", "separate")[0] == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in apart.glob("trials/*/result.json")}


def test_keep_says_first_that_the_code_is_mixed(run, place):
    file = write(place, TANH)
    code, out, error = run("sweep", file, "--out", place / "study", "--stale", "keep", "--seeds", 2)
    assert code == 0, error
    lines = [line for line in out.splitlines() if line]
    assert lines[0].startswith("MIXED CODE")
    assert lines[1].startswith("function act in blocks.py differs: 2 trials with that of ")
    assert lines[2] == "Arms 1, 2 average over it."
    code, out, _ = run("report", place / "study", "--json")
    assert json.loads(out)["headline"][0].startswith("MIXED CODE")
    page = (place / "study" / "report" / "report.md").read_text()
    assert page.index("MIXED CODE") < page.index("planned trials finished")


def test_a_result_of_another_size_is_refused_in_any_case(run, place):
    code, _, error = run("sweep", write(place, LAYER), "--out", place / "study", "--stale", "keep")
    assert code == 1
    assert "params" in error
    assert "--stale rerun" in error
    code, _, error = run("train", place / "exp.py", "--out", place / "run", "--stale", "keep")
    assert code == 1
    assert "params" in error


def test_a_report_leaves_out_a_result_of_another_size(run, place):
    name, result = next(iter(results(place / "study").items()))
    edit(place / "study" / "trials" / name / "result.json", params=result["params"] + 1)
    code, out, _ = run("report", place / "study", "--json")
    (failed,) = json.loads(out)["failed"]
    assert (code, failed["id"]) == (0, name)
    assert "params" in failed["error"]


def test_seeds_of_an_arm_are_of_the_same_data(run, place):
    file = write(place, ("% 251", "% 250"))
    code, _, error = run("sweep", file, "--out", place / "study", "--stale", "keep", "--seeds", 2)
    assert code == 1
    assert "2 data sets" in error
    # A whole arm of the former data may stay, as is asked for.
    assert run("sweep", file, "--out", place / "study", "--stale", "keep")[0] == 0


def test_a_report_leaves_out_seeds_of_other_data(run, place):
    assert run("sweep", write(place), "--out", place / "study", "--seeds", 2)[0] == 0
    name = next(name for name, result in results(place / "study").items() if result["seed"] == 1)
    edit(place / "study" / "trials" / name / "result.json", data_fingerprint="others")
    code, out, _ = run("report", place / "study", "--json")
    (failed,) = json.loads(out)["failed"]
    assert (code, failed["id"]) == (0, name)
    assert "others" in failed["error"]


@pytest.mark.parametrize("stale", ["stop", "rerun", "keep", "separate"])
def test_a_begun_training_is_not_continued_by_other_code(run, place, stale):
    from cnnjax import train
    from cnnjax.study.file import load

    class Crash(Exception):
        pass

    def crash(event):
        if isinstance(event, StepTaken) and event.step == 2:
            raise Crash

    out = place / "begun"
    with pytest.raises(Crash):
        train(load(write(place)).experiment, out, options=Options(ONE.hardware, checkpoint_steps=1), sinks=[crash])
    code, _, error = run("train", write(place, TANH), "--out", out, "--stale", stale)
    if stale == "stop":
        assert code == 1
        assert "function act in blocks.py changed" in error
        assert not (out / "result.json").exists()
        return
    assert code == 0
    (folder,) = place.glob("begun-*") if stale == "separate" else [out]
    codes = json.loads((folder / "result.json").read_text())["codes"]
    assert len(codes) == (2 if stale == "keep" else 1)
    assert (out / "stale" / "1" / "checkpoints").exists() == (stale == "rerun")


def test_a_checkpoint_is_for_the_experiment_that_wrote_it(run, place):
    (place / "run" / "config.json").unlink()
    (place / "run" / "result.json").unlink()
    code, _, error = run("train", write(place), "model.width=5", "--out", place / "run")
    assert code == 1
    assert "checkpoints of another experiment" in error
    assert not (place / "run" / "config.json").exists()
    code, _, error = run("train", write(place), "--out", place / "run")
    assert code == 0, error


def test_evaluation_wants_the_code_that_trained(run, place):
    assert run("evaluate", place / "run", "--file", write(place))[0] == 0
    code, _, error = run("evaluate", place / "run", "--file", write(place, TANH))
    assert code == 1
    assert "function act in blocks.py changed" in error
    assert run("evaluate", place / "run", "--file", write(place, TANH), "--stale", "keep")[0] == 0
    trial = next((place / "study" / "trials").glob("*/config.json")).parent
    assert "function act in blocks.py changed" in run("evaluate", trial, "--file", write(place, TANH))[2]


def test_results_from_before_code_was_recorded_are_not_trusted(run, place):
    for name in results(place / "study"):
        edit(place / "study" / "trials" / name / "result.json", codes=None)
    code, _, error = run("sweep", write(place), "--out", place / "study")
    assert code == 1
    assert "before the code of an experiment was recorded" in error


@pytest.mark.slow
def test_another_version_of_cnnjax_is_said_and_not_refused(run, place):
    path = sorted((place / "study").glob("trials/*/environment.json"))[0]
    assert len(json.loads(path.read_text())["cnnjax_source"]) == 12
    edit(path, cnnjax_source="another")
    edit(path.with_name("result.json"), environment=None)
    assert run("sweep", write(place), "--out", place / "study")[0] == 0
    summary = json.loads(run("report", place / "study", "--json")[1])
    assert any("do not share the same cnnjax_source" in sentence for sentence in summary["headline"])
    assert summary["trials"]["done"] == 2


# --- whose study a folder is of


@pytest.mark.slow
def test_a_narrower_sweep_does_not_take_the_place_of_the_wider_one(run, place):
    file, held = write(place), (place / "study" / "study.json").read_text()
    code, _, error = run("sweep", file, "model.width=2", "--out", place / "study")
    assert code == 0
    assert "wider study of 2 trials" in error
    assert (place / "study" / "study.json").read_text() == held
    assert len(json.loads((place / "study" / "report" / "arms.json").read_text())["arms"]) == 2
    assert run("sweep", file, "model.width=2", "--out", place / "study", "--replace")[0] == 0
    assert (place / "study" / "study.json").read_text() != held
    assert len(json.loads((place / "study" / "report" / "arms.json").read_text())["arms"]) == 1


def test_another_study_does_not_take_the_place_of_a_finished_one(run, place):
    held = (place / "study" / "plan.json").read_text()
    code, _, error = run("sweep", write(place), "steps=3", "--out", place / "study")
    assert code == 1
    assert "base experiment: steps = 2 there, 3 here" in error
    assert "--extend" in error
    assert "--replace" in error
    assert (place / "study" / "plan.json").read_text() == held


def test_a_run_and_a_study_do_not_share_a_folder(run, place):
    assert "holds a study" in run("train", write(place), "--out", place / "study")[2]
    assert "holds a run" in run("sweep", write(place), "--out", place / "run")[2]
