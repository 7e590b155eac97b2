"""Files of runs and studies that were removed, swapped, cut or edited between two commands: no number of another
training, and none that was changed, is taken for a result without a word."""

from __future__ import annotations

import ast
import json
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnjax import SGD, Experiment, Hardware, ImageFolder, Options, SmallCNN, Study, Synthetic, load, sweep, train
from cnnjax.cli.printing import print_json
from cnnjax.config import replace
from cnnjax.errors import CnnjaxError
from cnnjax.events import EpochEnded, Saved, StepTaken
from cnnjax.records.metrics_jsonl import keep_rows, rows_of
from cnnjax.reporting import collect
from cnnjax.reporting.headline import headline
from cnnjax.run import due
from cnnjax.run.directory import RunDirectory
from cnnjax.run.evaluate import evaluate
from cnnjax.run.unmoved import Beginning
from cnnjax.study.file import load as load_file
from tests.marks import slow

DATA = Synthetic(height=8, width=8, channels=1, classes=2, examples=40, test_examples=12)
FIRST = Experiment(
    model=SmallCNN(features=2, dense=0), data=DATA, optim=SGD(learning_rate=0.05), batch_size=12, epochs=4
)
OTHER = replace(FIRST, {"seed": 1})
ONE = Hardware(devices=1)
OPTIONS = Options(ONE, checkpoint_steps=2)
STEPS = 12
"""Of the whole training: three an epoch."""
UNTIL = 8
"""The newest checkpoint of the training that was stopped; it has ended two of four epochs."""
FILE = """
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0), data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40,
    test_examples=12), optim=SGD(learning_rate=0.05), batch_size=12, epochs=4)
study = Study(experiment, axes={"optim.learning_rate": [0.05, 0.1]}, seeds=2)
"""


class Crash(Exception):
    pass


def crash_at(step: int) -> Callable[[Any], None]:
    def sink(event: Any) -> None:
        if isinstance(event, StepTaken) and event.step == step:
            raise Crash

    return sink


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Finished runs `first` and `other`, one of either that was stopped (`begun`, `begun_other`), and a study."""
    folder = tmp_path_factory.mktemp("made")
    for name, experiment in (("first", FIRST), ("other", OTHER)):
        train(experiment, folder / name, options=Options(ONE, checkpoint_steps=2, keep=3))
    for name, experiment in (("begun", FIRST), ("begun_other", OTHER)):
        with pytest.raises(Crash):
            train(experiment, folder / name, options=OPTIONS, sinks=[crash_at(UNTIL + 2)])
    (folder / "exp.py").write_text(FILE)
    sweep(load_file(folder / "exp.py").study, folder / "study", name="exp", options=Options(ONE))
    return folder


@pytest.fixture
def place(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "made"))


# --- what is done


Change = Callable[[Path], object]


def removed(*names: str) -> Change:
    def change(place: Path) -> None:
        for name in names:
            shutil.rmtree(place / name) if (place / name).is_dir() else (place / name).unlink()

    return change


def others(name: str, of: str = "first", by: str = "other") -> Change:
    """A file or folder of one run is that of another."""

    def change(place: Path) -> None:
        there, ours = place / by / name, place / of / name
        if there.is_dir():
            shutil.rmtree(ours)
            shutil.copytree(there, ours)
        else:
            shutil.copy(there, ours)

    return change


def both(*changes: Change) -> Change:
    return lambda place: [change(place) for change in changes]


def edited(name: str, old: str, new: str) -> Change:
    def change(place: Path) -> None:
        text = (place / name).read_text()
        assert old in text
        (place / name).write_text(text.replace(old, new, 1))

    return change


def result(change: Callable[[dict[str, Any]], object], name: str = "first/result.json") -> Change:
    """result.json with other content, as an editor or a script writes it."""

    def changed(place: Path) -> None:
        content = json.loads((place / name).read_text())
        change(content)
        (place / name).write_text(json.dumps(content))

    return changed


def metric(value: Any, name: str = "test_accuracy") -> Change:
    return result(lambda content: content["metrics"].update({name: value}))


def twice(place: Path) -> None:
    path = place / "first/result.json"
    path.write_text(path.read_text().replace('"test_accuracy":', '"test_accuracy": 0.99, "test_accuracy":', 1))


def without_checksum(content: dict[str, Any]) -> None:
    """As it was before results had one: it is checked against the evaluation."""
    del content["checksum"], content["evaluation"], content["rows"]
    content["metrics"]["test_accuracy"] -= 0.1


def renamed(content: dict[str, Any]) -> None:
    content["id"] = FIRST.id
    content["seed"] = 0


def rows(change: Callable[[list[str]], list[str]], name: str = "begun") -> Change:
    def changed(place: Path) -> None:
        path = place / name / "metrics.jsonl"
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

    return changed


def first_row(lines: list[str]) -> list[str]:
    return lines[:1]


def better(lines: list[str]) -> list[str]:
    row = json.loads(lines[0])
    return [json.dumps(row | {"train_loss": row["train_loss"] / 2}) + "\n", *lines[1:]]


def swapped(lines: list[str]) -> list[str]:
    return [lines[1], lines[0], *lines[2:]]


def checkpoint(step: int, name: str = "first") -> Change:
    return removed(f"{name}/checkpoints/{step}")


# --- train, evaluate, load


def trained(name: str, experiment: Experiment = FIRST) -> Change:
    return lambda place: train(experiment, place / name, options=OPTIONS)


def evaluated(place: Path) -> object:
    return evaluate(place / "first", hardware=ONE)


def loaded(place: Path) -> object:
    return load(place / "first")


EXCHANGED = "another experiment"
CHANGED = "was changed since it was written"
REFUSED: dict[str, tuple[Change, Change, str]] = {
    "no config and no result, then another experiment": (
        removed("first/config.json", "first/result.json"),
        trained("first", OTHER),
        "holds checkpoints of another experiment",
    ),
    "no config, then another experiment": (
        removed("first/config.json"),
        trained("first", OTHER),
        "holds the result of another experiment",
    ),
    "no config and no checkpoints, then another experiment": (
        removed("first/config.json", "first/checkpoints"),
        trained("first", OTHER),
        "holds the result of another experiment",
    ),
    "another's result": (others("result.json"), trained("first"), "holds the result of another experiment"),
    "another's result under this id": (
        both(others("result.json"), result(renamed)),
        trained("first"),
        CHANGED,
    ),
    "another's result and config": (
        both(others("result.json"), others("config.json")),
        trained("first"),
        "holds a different experiment",
    ),
    "another's config, the same training": (others("config.json"), trained("first"), "holds a different experiment"),
    "another's config, the other training": (
        others("config.json"),
        trained("first", OTHER),
        "holds the result of another experiment",
    ),
    "another's evaluation": (others("evaluation.json"), trained("first"), "evaluation.json was changed since"),
    "another's rows": (others("metrics.jsonl"), trained("first"), "metrics.jsonl was changed since .other rows"),
    "another's resolved.json": (others("resolved.json"), trained("first"), "resolved.json is another experiment's"),
    "another's resolved.json, used": (others("resolved.json"), evaluated, "resolved.json is of another experiment"),
    "another's checkpoints, evaluated": (others("checkpoints"), evaluated, "checkpoints are of another experiment"),
    "another's checkpoints, loaded": (others("checkpoints"), loaded, "checkpoints are of another experiment"),
    "another's checkpoints, no result": (
        both(others("checkpoints"), removed("first/result.json")),
        trained("first"),
        "holds checkpoints of another experiment",
    ),
    "another's checkpoints, begun": (
        others("checkpoints", "begun", "begun_other"),
        trained("begun"),
        "holds checkpoints of another experiment",
    ),
    "folders exchanged": (
        lambda place: [(place / "first").rename(place / "x"), (place / "other").rename(place / "first")],
        trained("first"),
        "holds a different experiment",
    ),
    "0.9 to 0.8": (metric(0.8), trained("first"), CHANGED),
    "-3": (metric(-3), trained("first"), CHANGED),
    "NaN": (metric(float("nan")), trained("first"), CHANGED),
    "Infinity": (metric(float("inf")), trained("first"), CHANGED),
    "a text": (metric("0.9"), trained("first"), CHANGED),
    "a metric that was not measured": (metric(1.0, "test_top5"), trained("first"), CHANGED),
    "a metric taken out": (
        result(lambda content: content["metrics"].pop("test_accuracy")),
        trained("first"),
        CHANGED,
    ),
    "a key twice": (twice, trained("first"), "'test_accuracy' stands in it twice"),
    "params": (result(lambda content: content.update(params=1)), trained("first"), CHANGED),
    "failed to done": (
        result(lambda content: content.update(status="failed", cause="diverged")),
        trained("first"),
        CHANGED,
    ),
    "an edited result, loaded": (metric(0.8), loaded, CHANGED),
    "an edited result, evaluated": (metric(0.8), evaluated, CHANGED),
    "0.9 to 0.8, before there were checksums": (
        result(without_checksum),
        trained("first"),
        "its test_accuracy is .*, and evaluation.json says",
    ),
    "an edited evaluation": (
        edited("first/evaluation.json", '"count": 12', '"count": 13'),
        trained("first"),
        "evaluation.json was changed since",
    ),
    "rows cut, finished": (rows(first_row, "first"), trained("first"), r"changed since \(1 rows, not 4\)"),
    "rows edited, finished": (rows(better, "first"), trained("first"), r"changed since \(other rows\)"),
    "rows cut, begun": (rows(first_row), trained("begun"), "of the 2 rows that there were .* it has 1: it was cut"),
    "rows edited, begun": (rows(better), trained("begun"), "of the 2 rows .* it has others: it was cut or edited"),
    "rows in another order, begun": (rows(swapped), trained("begun"), "it has others"),
    "rows emptied, begun": (rows(lambda lines: []), trained("begun"), "it has 0"),
    "rows removed, begun": (removed("begun/metrics.jsonl"), trained("begun"), "it has 0"),
    "another's rows, begun": (others("metrics.jsonl", "begun", "begun_other"), trained("begun"), "it has others"),
    "the newest checkpoint gone, evaluated": (
        checkpoint(STEPS),
        evaluated,
        r"its result is of step 12, and the newest checkpoint there is of step 10: .*\(--step 10\)",
    ),
    "the newest checkpoint gone, loaded": (checkpoint(STEPS), loaded, "its result is of step 12, and the newest"),
}  # fmt: skip
"""Case: (what is done between two commands, the second, what it says)."""


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_the_runs_own_is_refused(place, case):
    change, command, said = REFUSED[case]
    change(place)
    with pytest.raises(CnnjaxError, match=said):
        command(place)


GOES_ON: dict[str, tuple[Change, Change]] = {
    "nothing": (lambda place: None, trained("first")),
    "config.json gone": (removed("first/config.json"), trained("first")),
    "result.json gone": (removed("first/result.json"), trained("first")),
    "result and evaluation gone": (removed("first/result.json", "first/evaluation.json"), trained("first")),
    "resolved.json gone": (removed("first/resolved.json", "first/result.json"), trained("first")),
    "the newest checkpoint and the result gone": (
        both(checkpoint(STEPS), removed("first/result.json")),
        trained("first"),
    ),
    "a checkpoint before gone": (checkpoint(10), trained("first")),
    "begun": (lambda place: None, trained("begun")),
    "begun, its newest checkpoint gone": (checkpoint(UNTIL, "begun"), trained("begun")),
    "begun, a last row cut in two": (
        lambda place: (place / "begun/metrics.jsonl").open("a").write('{"step": 9, "epo'),
        trained("begun"),
    ),
    "begun, all checkpoints gone": (removed("begun/checkpoints"), trained("begun")),
}  # fmt: skip


@pytest.mark.parametrize("case", GOES_ON)
def test_what_can_be_made_again_is_the_same(place, made, case):
    """Files that are gone, where the rest says what they were: the same bytes come again."""
    change, command = GOES_ON[case]
    change(place)
    again: Any = command(place)
    name = "first" if "begun" not in case else "begun"
    expected = json.loads((made / "first/result.json").read_text())
    assert again["metrics"] == expected["metrics"]
    for file in ("metrics.jsonl", "evaluation.json"):
        assert (place / name / file).read_bytes() == (made / "first" / file).read_bytes()


def test_a_step_may_be_named_where_the_newest_is_gone(place):
    checkpoint(STEPS)(place)
    said: list[str] = []
    evaluate(place / "first", hardware=ONE, step=10, told=said.append)
    assert said == [f"{place / 'first'}, step 10 of {STEPS}"]
    assert load(place / "first", step=10).step == 10


def test_evaluate_says_its_step(run, place):
    code, out, _ = run("evaluate", place / "first", "--devices", 1)
    assert (code, f"step {STEPS} of {STEPS}" in " ".join(out.split())) == (0, True)
    code, out, err = run("evaluate", place / "begun", "--devices", 1, "--json")
    assert (code, f"step {UNTIL} of {STEPS}" in " ".join(err.split())) == (0, True)
    assert json.loads(out)["test"]["count"] == 12


def test_rows_are_known_to_a_checkpoint_when_it_is_saved(tmp_path):
    """Each epoch's row is there before the checkpoint that counts on it, and the result has the digest of all."""
    seen: list[tuple[str, int]] = []

    def note(event: Any) -> None:
        if isinstance(event, EpochEnded | Saved):
            seen.append((type(event).__name__, rows_of(tmp_path / "metrics.jsonl").count))

    held = train(FIRST, tmp_path, options=Options(ONE, checkpoint_steps=3), sinks=[note])
    assert [count for kind, count in seen if kind == "Saved"] == [1, 2, 3, 4]
    assert held["rows"] == rows_of(tmp_path / "metrics.jsonl").to_json()


def test_rows_that_a_checkpoint_does_not_count_are_written_again(tmp_path):
    """In a pack one may be saved at the end of an epoch, before the row: with that its step would have two rows."""
    lines = [json.dumps({"step": step, "epoch": epoch}) + "\n" for epoch, step in ((1, 3), (2, 6), (3, 9))]
    path = tmp_path / "metrics.jsonl"
    for until, count, left in ((6, 1, 1), (6, 2, 2), (6, None, 2), (9, 2, 2), (0, None, 0)):
        path.write_text("".join(lines))
        keep_rows(path, until, count=count)
        assert path.read_text() == "".join(lines[:left]), (until, count)


# --- sweep and report


def trials(place: Path) -> list[Path]:
    plan = json.loads((place / "study/plan.json").read_text())
    return [place / "study/trials" / trial["id"] for trial in plan["trials"]]


def exchange(*names: str) -> Change:
    """Two trials of the study have each other's files, or (without names) folders."""

    def change(place: Path) -> None:
        one, two = trials(place)[:2]
        for a, b in [(one / name, two / name) for name in names] or [(one, two)]:
            a.rename(place / "aside")
            b.rename(a)
            (place / "aside").rename(b)

    return change


def in_trial(change: Callable[[Path], object]) -> Change:
    return lambda place: change(trials(place)[0])


def accuracy(value: Any) -> Change:
    def change(trial: Path) -> None:
        content = json.loads((trial / "result.json").read_text())
        content["metrics"]["test_accuracy"] = value
        (trial / "result.json").write_text(json.dumps(content))

    return in_trial(change)


IN_STUDY: dict[str, tuple[Change, int, str]] = {
    "folders exchanged": (exchange(), 2, "is the result of trial|holds a different experiment"),
    "results exchanged": (exchange("result.json"), 2, "is the result of trial"),
    "configs exchanged": (exchange("config.json"), 2, "config.json is another experiment's"),
    "evaluations exchanged": (exchange("evaluation.json"), 2, "evaluation.json was changed since"),
    "rows exchanged": (exchange("metrics.jsonl"), 2, "metrics.jsonl was changed since"),
    "resolved.json exchanged": (exchange("resolved.json"), 2, "resolved.json is another experiment's"),
    "0.9 to 0.8": (accuracy(0.8), 1, CHANGED),
    "-3": (accuracy(-3), 1, CHANGED),
    "NaN": (accuracy(float("nan")), 1, CHANGED),
    "Infinity": (accuracy(float("inf")), 1, CHANGED),
    "-Infinity": (accuracy(float("-inf")), 1, CHANGED),
    "a text": (accuracy("0.9"), 1, CHANGED),
    "true": (accuracy(True), 1, CHANGED),
    "null": (accuracy(None), 1, CHANGED),
    "a list": (accuracy([0.9]), 1, CHANGED),
    "not JSON": (in_trial(lambda trial: (trial / "result.json").write_text("{")), 1, "is damaged"),
    "rows cut": (
        in_trial(lambda trial: (trial / "metrics.jsonl").write_text("")),
        1,
        "metrics.jsonl was changed since .0 rows",
    ),
}  # fmt: skip
"""Case: (what is done to a finished study, how many trials are not believed, what is said of each)."""


@pytest.mark.parametrize("case", IN_STUDY)
def test_a_report_leaves_out_what_is_not_believed_and_says_why(place, case):
    change, count, said = IN_STUDY[case]
    change(place)
    table = collect(place / "study").trials
    failed = table[table["status"] == "failed"]
    assert len(failed) == count
    assert failed["error"].str.contains(said).all(), failed["error"].tolist()
    assert (table["status"] == "done").sum() == 4 - count


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("case", ["results exchanged", "0.9 to 0.8"])
def test_a_sweep_ends_as_its_report_says(run, place, case):
    change, count, _ = IN_STUDY[case]
    change(place)
    words = ("sweep", place / "exp.py", "--out", place / "study", "--devices", 1)
    code, _, err = run(*words)
    assert code == 1
    assert f"of 4 trials {count} could not be trained" in " ".join(err.split())
    code, out, _ = run("report", place / "study", "--json")
    assert len(json.loads(out)["failed"]) == count


@pytest.mark.parametrize("case", slow(*sorted(IN_STUDY.keys() - {"results exchanged", "0.9 to 0.8"})))
def test_a_sweep_believes_no_trial_that_its_report_leaves_out(place, case):
    """Nor does it train another in its place."""
    change, count, said = IN_STUDY[case]
    change(place)
    outcome = sweep(load_file(place / "exp.py").study, place / "study", name="exp", options=Options(ONE))
    assert (outcome.complete, len(outcome.errors), len(outcome.done), len(outcome.skipped)) == (
        False,
        count,
        0,
        4 - count,
    )
    assert all(re.search(said, reason) for reason in outcome.errors.values()), outcome.errors
    table = collect(place / "study").trials
    assert set(table.loc[table["status"] == "failed", "id"]) == set(outcome.errors)


def test_a_single_run_that_was_edited_is_not_reported(place):
    for case in ("0.9 to 0.8", "another's evaluation", "another's config, the same training"):
        shutil.copytree(place / "first", place / "kept")
        REFUSED[case][0](place)
        with pytest.raises(CnnjaxError, match=f"{CHANGED}|cannot be believed"):
            collect(place / "first")
        shutil.rmtree(place / "first")
        (place / "kept").rename(place / "first")


# --- data


def images(folder: Path, shade: int) -> Path:
    from PIL import Image

    for part, label, number in [(p, c, n) for p in ("train", "test") for c in ("a", "b") for n in range(4)]:
        path = folder / part / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        level = shade + 9 * number + (90 if label == "b" else 0) + (4 if part == "test" else 0)
        Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(path)
    return folder


def test_a_finished_run_whose_data_changed_is_refused(tmp_path):
    data = ImageFolder(root=str(images(tmp_path / "set", 10)), size=(8, 8))
    experiment = Experiment(model=SmallCNN(features=2, dense=0), data=data, batch_size=4, epochs=1, validation=0)
    train(experiment, tmp_path / "run", options=OPTIONS)
    assert train(experiment, tmp_path / "run", options=OPTIONS)["status"] == "done"
    images(tmp_path / "set", 20)
    with pytest.raises(CnnjaxError, match="the data are others now"):
        train(experiment, tmp_path / "run", options=OPTIONS)
    images(tmp_path / "set", 10)
    assert train(experiment, tmp_path / "run", options=OPTIONS)["status"] == "done"


# --- numbers


@pytest.mark.parametrize("rate", ["1e-320", "1e-40", "1e-45", "5e-324", "1e39", "0", "-0.1", "nan", "inf", "-inf"])
def test_a_learning_rate_that_trains_at_nothing_is_refused(run, made, tmp_path, rate):
    words = (f"optim.learning_rate={rate}", "--out", tmp_path / "run", "--devices", 1)
    code, _, err = run("train", made / "exp.py", *words)
    assert code == 1
    assert "learning_rate" in err
    assert not (tmp_path / "run" / "checkpoints").exists()


STILL = "every parameter is what it was before the first"


def test_a_learning_rate_that_float32_cannot_add_is_said_and_kept(tmp_path):
    """Beside one that learns, in a lane of the same program; biases, which begin at 0, take any step."""
    study = Study(FIRST, axes={"optim.learning_rate": [1e-30, 0.05]}, seeds=1)
    with pytest.warns(UserWarning, match=STILL) as warned:
        sweep(study, tmp_path, options=OPTIONS, pack=2)
    assert sum(STILL in str(each.message) for each in warned) == 1
    results = [json.loads(path.read_text()) for path in tmp_path.glob("trials/*/result.json")]
    still, moving = sorted(results, key=lambda held: held["config"]["optim"]["learning_rate"])
    assert (still["status"], still["unmoved"], "unmoved" in moving) == ("done", STEPS // 4, False)
    assert STILL in (tmp_path / "trials" / still["id"] / "log.txt").read_text()
    (said,) = [line for line in headline(collect(tmp_path)) if "No parameter moved" in line]
    assert f"of 1 of 2 finished trials, whose numbers are of the weights that it began with: {still['id']}" in said


def resumed(experiment: Experiment, folder: Path, step: int) -> dict[str, Any]:
    """The result of a training that crashes at a step, with a checkpoint of every step, and is continued."""
    options = Options(ONE, checkpoint_steps=1)
    with pytest.raises(Crash):
        train(experiment, folder, options=options, sinks=[crash_at(step)])
    assert RunDirectory(folder).saved_step(), "else nothing is continued"
    return train(experiment, folder, options=options)


@pytest.mark.parametrize("step", [2, STEPS // 4, STEPS // 4 + 1, UNTIL + 2])
def test_that_no_parameter_moved_is_still_known_after_a_crash(tmp_path, step):
    """Before the first epoch's end, at it, and after."""
    with pytest.warns(UserWarning, match=STILL):
        result = resumed(replace(FIRST, {"optim.learning_rate": 1e-30}), tmp_path, step)
    assert result["unmoved"] == STEPS // 4


def test_a_training_that_moves_is_not_said_to_stand_still_after_a_crash(tmp_path):
    assert "unmoved" not in resumed(FIRST, tmp_path, 2)


LAST_BIT = np.nextafter(np.float32(2), np.float32(3))
MOVED: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "nothing": ({"a": [0.5, -2.0], "b": 0.0}, {"a": [0.5, -2.0], "b": 0.0}, False),
    "the last bit of one": ({"a": [0.5, 2.0]}, {"a": [0.5, LAST_BIT]}, True),
    "zeros, lost beside the rest": ({"a": 2.0, "b": [0.0, 0.0]}, {"a": 2.0, "b": [1e-30, -2e-7]}, False),
    "zeros, not lost": ({"a": 2.0, "b": [0.0, 0.0]}, {"a": 2.0, "b": [1e-30, -3e-7]}, True),
    "zeros alone": ({"b": [0.0]}, {"b": [1e-30]}, True),
    "there are none": ({}, {}, True),
}
"""Case: (parameters before, after, whether that is a move). float32 has 24 binary digits: 2 + 2e-7 is 2."""


@pytest.mark.parametrize(("before", "after", "moved"), MOVED.values(), ids=list(MOVED))
def test_what_is_a_move(before, after, moved):
    one, other = ({name: np.asarray(x, np.float32) for name, x in tree.items()} for tree in (before, after))
    assert Beginning.of(one).still(other) != moved
    packed = {name: np.stack([one[name], other[name]]) for name in one}
    assert (Beginning.of(one).still(packed, 0), Beginning.of(one).still(packed, 1)) == (bool(one), not moved)


@pytest.mark.parametrize("rate", ["1e-320", "1e-40", "1e39"])
def test_a_plan_leaves_out_such_a_learning_rate(run, made, tmp_path, rate):
    words = (f"optim.learning_rate={rate},0.1", "--dry-run", "--json", "--out", tmp_path / "study", "--devices", 1)
    code, out, _ = run("sweep", made / "exp.py", *words)
    plan = json.loads(out)
    assert (code, [trial["arm"]["optim.learning_rate"] for trial in plan["trials"]]) == (0, [0.1, 0.1])
    assert "float32" in plan["pruned"][0]["reason"]


STANDARD: list[Any] = [
    *map(float, ("nan", "inf", "-inf", "0.5")),
    np.float64("nan"),
    {"a": {"b": [1.0, float("nan")]}},
    (float("inf"),),
    [],
]


@pytest.mark.parametrize("value", STANDARD, ids=repr)
def test_json_is_standard(capsys, value):
    def refused(constant: str) -> None:
        raise AssertionError(constant)

    print_json({"value": value})
    json.loads(capsys.readouterr().out, parse_constant=refused)


def test_every_command_prints_json_so():
    for path in (Path(__file__).parents[2] / "cnnjax/cli").glob("*.py"):
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert "json.dumps" not in calls or path.stem == "printing", f"{path}: print_json writes standard JSON"


# --- kills


class FastClock:
    """An hour goes by in each second."""

    @staticmethod
    def perf_counter() -> float:
        return 3600 * time.perf_counter()


@pytest.mark.parametrize(("seconds", "crashes"), [(60.0, 3), *slow((1e-9, 3), (1e9, 3))])
def test_random_crashes_change_nothing(made, tmp_path, monkeypatch, seconds, crashes):
    """With the default time between checkpoints as with others; the places are drawn from a fixed seed."""
    assert seconds != 60.0 or Options().checkpoint_seconds == seconds
    monkeypatch.setattr(due, "time", FastClock)
    draw, how, begun = random.Random(20261128), Options(ONE, checkpoint_seconds=seconds), set()
    directory = RunDirectory(tmp_path / "run")
    for _ in range(crashes):
        if directory.saved_step() == STEPS:
            shutil.rmtree(directory.path)
        with pytest.raises(Crash):
            train(FIRST, directory.path, options=how, sinks=[crash_at(draw.randint(directory.saved_step() + 1, STEPS))])
        begun |= {directory.saved_step()}
    train(FIRST, directory.path, options=how)
    for file in ("metrics.jsonl", "evaluation.json"):
        assert (directory.path / file).read_bytes() == (made / "first" / file).read_bytes()
    assert (max(begun) > 0) == (seconds < 1e9), "else the clock was not fast enough"
