"""A study edited between two sweeps into one folder: what differs is said, and its finished trials may stay."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, plan, report, sweep
from cnnjax.config import replace
from cnnjax.errors import ConfigError, RunError
from cnnjax.launch.study_files import write_plan
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.reporting.headline import headline
from cnnjax.reporting.study_table import collect
from cnnjax.study.adaptive import SuccessiveHalving
from cnnjax.study.designs import LogUniform, Random, Uniform, Zip
from cnnjax.study.edits import differences
from cnnjax.study.records import study_record

BASE = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05),
    batch_size=8,
    epochs=1,
)
AXES = {"model.features": [2, 3], "optim.learning_rate": [0.1, 0.2]}
RECIPE = {"plain": {}, "long": {"epochs": 9}}
DRAWN = {"optim.learning_rate": LogUniform(low=1e-3, high=0.1)}
OPTIONS = Options(Hardware(devices=1))


def big(experiment):
    return experiment.model.features == 3


def large(experiment):
    return experiment.model.features > 2


large.__qualname__ = "big"


def of(**fields: Any) -> Study:
    return Study(fields.pop("base", BASE), **({"axes": AXES, "seeds": 2} | fields))


def drawn(**fields: Any) -> Study:
    return Study(BASE, design=Random(**({"axes": DRAWN, "points": 2} | fields)))


# The study that the folder holds, the one that is swept into it, and what is said.
EDITS = [
    (of(), of(axes=AXES | {"model.features": [2, 3, 4]}), ["axis model.features: value 4 is new"]),
    (of(), of(axes=AXES | {"model.features": [2]}), ["axis model.features: value 3 is gone"]),
    (
        of(),
        of(axes=AXES | {"model.features": [2, 5, 6]}),
        ["axis model.features: value 3 is gone", "axis model.features: values 5, 6 are new"],
    ),
    (of(), of(axes=AXES | {"epochs": [1, 2]}), ["axis epochs is new (1, 2)"]),
    (of(), of(axes={"model.features": [2, 3]}), ["axis optim.learning_rate is gone (0.1, 0.2)"]),
    (of(), of(seeds=(0, 4)), ["seed 1 is gone", "seed 4 is new"]),
    (of(), of(seeds=4), ["seeds 2, 3 are new"]),
    (of(), of(base=replace(BASE, {"epochs": 3})), ["base experiment: epochs = 1 there, 3 here"]),
    (
        of(),
        of(base=replace(BASE, {"optim": "adamw"})),
        ["base experiment: optim.name = sgd there, adamw here"],
    ),
    (of(), of(combine="one_at_a_time"), ["design: grid there, one_at_a_time here"]),
    (of(), of(match="macs"), ["match: none there, macs here"]),
    (
        of(match={"model.features": "macs"}),
        of(match={"optim.learning_rate": "macs"}),
        ["match: macs along model.features there, macs along optim.learning_rate here"],
    ),
    (
        of(),
        of(exclude=["model.features == 3"]),
        ["exclude: exclusion 'model.features == 3' is new"],
    ),
    (of(exclude=[big]), of(exclude=[large]), ["exclude: the code of the function big changed ("]),
    (drawn(), drawn(points=3), ["design random: points: 2 there, 3 here"]),
    (drawn(), drawn(seed=7), ["design random: seed: 0 there, 7 here"]),
    (
        drawn(),
        drawn(axes={"optim.learning_rate": Uniform(low=1e-3, high=0.1)}),
        ["axis optim.learning_rate: log_uniform(low 0.001, high 0.1) there, uniform(low 0.001, high 0.1) here"],
    ),
    (
        drawn(),
        Study(BASE, axes={"optim.learning_rate": [0.1]}),
        [
            "axis optim.learning_rate: log_uniform(low 0.001, high 0.1) there, 0.1 here",
            "design: random there, grid here",
        ],
    ),
    (
        Study(BASE, axes={"recipe": RECIPE}),
        Study(BASE, axes={"recipe": RECIPE | {"long": {"epochs": 5}}}),
        ["group recipe: choice long sets epochs=9 there, epochs=5 here"],
    ),
    (
        Study(BASE, axes={"recipe": RECIPE}),
        Study(BASE, axes={"recipe": {"plain": {}, "short": {"epochs": 2}}}),
        ["group recipe: choice long is gone", "group recipe: choice short is new"],
    ),
    (
        Study(BASE, design=Zip(axes={"model.features": [2, 3], "epochs": [1, 2]})),
        Study(BASE, design=Zip(axes={"model.features": [2, 3], "epochs": [2, 1]})),
        ["design zip: other values stand side by side"],
    ),
    (of(), of(axes={name: values[::-1] for name, values in AXES.items()}), []),
    (of(), of(), []),
]


@pytest.mark.parametrize(("there", "here", "said"), EDITS, ids=[str(said) for _, _, said in EDITS])
def test_every_kind_of_edit_is_said(there, here, said):
    found = differences(study_record(there), study_record(here, name="other"), here.experiment)
    assert len(found) == len(said), found
    for words in said:
        assert any(words in each for each in found), found


def test_a_base_of_a_class_that_is_not_defined_here_is_named():
    base = study_record(of()).base
    held = study_record(of(), name="gates").model_copy(update={"base": base | {"model": {"name": "gated"}}})
    (said,) = differences(held, study_record(of()), BASE)
    assert said == "base experiment: one with gated, a class of the file of study gates there, another here"


def finish(out, study):
    """The study's folder as a sweep of it leaves it, as far as a later one looks at it."""
    made = plan(study)
    write_plan(made, out)
    for trial in made.trials:
        folder = out / "trials" / trial.id
        folder.mkdir()
        (folder / "result.json").write_text("{}")
    return made


def planned_in(out) -> PlanRecord:
    held = PlanRecord.read(PlanRecord.at(out), remedy="")
    assert held is not None
    return held


def test_another_study_is_refused_with_what_differs(tmp_path):
    finish(tmp_path, of())
    held = StudyRecord.at(tmp_path).read_bytes()
    other = plan(of(axes=AXES | {"model.features": [2, 4]}, seeds=3))
    with pytest.raises(RunError) as caught:
        write_plan(other, tmp_path)
    for words in ("4 that are finished", "value 3 is gone", "value 4 is new", "seed 2 is new", "--extend", "--out"):
        assert words in str(caught.value)
    assert StudyRecord.at(tmp_path).read_bytes() == held


def test_an_extended_study_has_the_trials_of_both(tmp_path):
    before = finish(tmp_path, of())
    study = of(axes={"model.features": [2, 4], "model.pool": ["max", "blur"]}, seeds=3)
    merged = write_plan(plan(study), tmp_path, extend=True)
    assert merged.stay == 8
    held = planned_in(tmp_path)
    assert len(held.trials) == 8 + 12
    arms = {tuple(trial.arm.items()) for trial in held.trials}
    assert (("model.features", 3), ("optim.learning_rate", 0.2), ("model.pool", "max")) in arms
    assert (("model.features", 4), ("optim.learning_rate", 0.05), ("model.pool", "blur")) in arms
    assert {trial.id for trial in before.trials} <= {trial.id for trial in held.trials}
    record = StudyRecord.read(StudyRecord.at(tmp_path), remedy="")
    assert record is not None
    assert record.axes == {
        "model.features": [2, 3, 4],
        "optim.learning_rate": [0.1, 0.2],
        "model.pool": ["max", "blur"],
    }
    assert record.seeds == (0, 1, 2)
    assert [entry.trials for entry in record.extends] == [8]
    again = write_plan(plan(study), tmp_path)
    assert again.wider
    assert planned_in(tmp_path) == held


@pytest.mark.parametrize(
    ("there", "here", "why"),
    [
        (of(), of(base=replace(BASE, {"epochs": 3})), r"differ in what is no axis \(make it an axis: epochs=A,B\)"),
        (of(), of(match="macs"), "matched to another cost"),
        (
            Study(BASE, axes={"recipe": RECIPE}),
            Study(BASE, axes={"recipe": RECIPE | {"long": {"epochs": 5}}}),
            "a choice of recipe sets other fields: long",
        ),
        (
            Study(replace(BASE, {"epochs": 2}), axes={"recipe": RECIPE}),
            Study(replace(BASE, {"epochs": 3}), axes={"recipe": RECIPE}),
            "differ in what is no axis",
        ),
    ],
)
def test_studies_whose_trials_would_be_taken_for_each_other_are_not_put_together(tmp_path, there, here, why):
    finish(tmp_path, there)
    with pytest.raises(RunError, match=why):
        write_plan(plan(here), tmp_path, extend=True)


def test_the_bases_value_of_an_axis_may_change(tmp_path):
    finish(tmp_path, of(axes={"model.features": [2, 3, 6]}, seeds=1))
    base = replace(BASE, {"model.features": 5, "model.pool": "blur"})
    study = of(base=base, axes={"model.features": [3, 5], "model.pool": ["max", "blur"]}, seeds=1)
    write_plan(plan(study), tmp_path, extend=True)
    arms = sorted(tuple(trial.arm.values()) for trial in planned_in(tmp_path).trials)
    assert arms == [(2, "max"), (3, "blur"), (3, "max"), (5, "blur"), (5, "max"), (6, "max")]
    held = StudyRecord.read(StudyRecord.at(tmp_path), remedy="")
    assert held is not None
    assert held.axes == {"model.features": [2, 3, 5, 6], "model.pool": ["max", "blur"]}


def test_what_is_not_finished_is_dropped_and_counted(tmp_path):
    made = finish(tmp_path, of(seeds=1))
    for trial in made.trials[:3]:
        (tmp_path / "trials" / trial.id / "result.json").unlink()
    merged = write_plan(plan(of(axes=AXES | {"model.features": [4]}, seeds=1)), tmp_path, extend=True)
    assert (merged.stay, merged.dropped) == (1, 3)


def test_an_adaptive_study_is_not_extended(tmp_path):
    validated = replace(BASE, {"validation": 0.2, "epochs": 4})
    finish(tmp_path, of(base=validated))
    study = of(base=validated, axes=AXES | {"model.features": [4]}, adaptive=SuccessiveHalving(first=1))
    with pytest.raises(RunError, match="what an adaptive study trains follows from all of its arms"):
        write_plan(plan(study), tmp_path, extend=True)
    with pytest.raises(ConfigError, match="give one of them"):
        sweep(of(), tmp_path, extend=True, replace=True)


FILE = '''"""Does a wider network do better?"""
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05), batch_size=8, epochs=1)
study = Study(experiment, axes={"model.features": [2, 4], "optim.learning_rate": [0.1, 0.2]}, seeds=2)
'''


def test_the_command_line_says_what_differs(run, tmp_path):
    (tmp_path / "wider.py").write_text(FILE)
    finish(tmp_path / "study", of())
    code, _, error = run("sweep", "wider.py", "--out", tmp_path / "study", "--devices", 1)
    assert code == 1
    assert "axis model.features: value 3 is gone" in error
    assert "with --extend" in error
    code, output, _ = run("sweep", "wider.py", "--out", tmp_path / "study", "--devices", 1, "--dry-run")
    assert code == 0
    assert re.search(r"a sweep would stop: .*\n +axis model.features: value 3 is gone", output)
    line = ("sweep", "wider.py", "--out", tmp_path / "study", "--devices", 1, "--dry-run", "--extend")
    assert "4 finished trials stay beside these 8" in run(*line)[2]
    assert json.loads(run(*line, "--json")[1])["differs"][0] == "axis model.features: value 3 is gone"
    code, _, error = run("sweep", "wider.py", "--extend", "--replace", "--devices", 1)
    assert code == 1
    assert "give one of them" in error


@pytest.mark.slow
def test_an_extended_study_is_trained_and_reported(tmp_path):
    sweep(of(axes={"optim.learning_rate": [0.1, 0.2]}, seeds=1), tmp_path, options=OPTIONS)
    study = of(axes={"optim.learning_rate": [0.2, 0.3]}, seeds=1)
    outcome = sweep(study, tmp_path, options=OPTIONS, extend=True)
    assert outcome.merged is not None
    assert (len(outcome.done), len(outcome.skipped), outcome.merged.stay) == (1, 1, 1)
    table = collect(tmp_path)
    assert [arm.values["optim.learning_rate"] for arm in table.arms] == [0.1, 0.2, 0.3]
    assert headline(table)[1:3] == [
        "Design: grid of optim.learning_rate (2 values): 2 arms.",
        "1 finished trial of an earlier study (grid of optim.learning_rate (2 values)) stays beside these: axis "
        "optim.learning_rate: value 0.1 is gone; axis optim.learning_rate: value 0.3 is new.",
    ]
    assert json.loads(report(tmp_path).json)["extends"][0]["trials"] == 1
