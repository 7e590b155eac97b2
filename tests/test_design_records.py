"""What study.json says of a design, and a report's and a dry run's sentences about it."""

from __future__ import annotations

import json

import pytest

from cnnjax import SGD, Experiment, Grid, Integers, LogUniform, Product, Random, Sobol, Study, Synthetic, Zip, plan
from cnnjax.code import code_of_function
from cnnjax.launch.study_files import write_plan
from cnnjax.models import SmallCNN
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.design_words import design_words
from cnnjax.records.study_json import StudyRecord
from cnnjax.study.adaptive import OptunaSampler
from cnnjax.study.records import study_record

BASE = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05),
    batch_size=8,
    epochs=1,
)
LIMIT = 3


def too_big(experiment):
    return experiment.model.features > LIMIT


def limited(most):
    return lambda experiment: experiment.model.features > most


AXES = {"model.features": [2, 3, 4], "model.pool": ["max", "blur"]}
RATES = {"optim.learning_rate": LogUniform(low=0.001, high=0.1), "model.features": Integers(low=2, high=9)}
SAID = [
    (
        Study(BASE, axes=AXES, exclude=["model.features == 4 requires model.pool == max", "model.pool == blur"]),
        [
            "Design: grid of model.features (3 values) and model.pool (2 values): 6 arms.",
            "Left out: 3 of 6 arms by 'model.features == 4 requires model.pool == max' (1) and 'model.pool == blur' (3",
        ],
    ),
    (
        Study(BASE, design=Random(axes=RATES, points=5, seed=3)),
        [
            "Design: random, points 5, seed 3, of optim.learning_rate from log_uniform(low 0.001, high 0.1) and "
            "model.features from integers(low 2, high 9): 5 arms."
        ],
    ),
    (
        Study(BASE, design=Sobol(axes={"model.features": [2, 3, 4], "epochs": [1, 2]}, points=4, seed=5)),
        ["Design: sobol, points 4, seed 5, of model.features (3 values) and epochs (2 values): 3 arms, for 1 point"],
    ),
    (
        Study(
            BASE,
            design=Product(
                designs=(Zip(axes={"model.features": [2, 3], "epochs": [1, 2]}), Grid(axes={"recipe": {"a": {}}}))
            ),
        ),
        ["Design: product of (zip of model.features (2 values) and epochs (2 values)), (grid of recipe (a)): 2 arms."],
    ),
    (
        Study(BASE, axes=AXES, exclude=["model.pool == blur"], adaptive=OptunaSampler(trials=4)),
        [
            "Arms are proposed from model.features (3 values) and model.pool (2 values).",
            "Left out: by 'model.pool == blur'.",
        ],
    ),
    (
        Study(BASE, design=Random(axes=RATES, points=2), adaptive=OptunaSampler(trials=4)),
        [
            "Arms are proposed from optim.learning_rate from log_uniform(low 0.001, high 0.1) and model.features from "
            "integers(low 2, high 9)."
        ],
    ),
    (Study(BASE), []),
]


@pytest.mark.parametrize(("study", "said"), SAID)
def test_a_design_in_words(study, said):
    words = design_words(study_record(study))
    assert len(words) == len(said)
    for one, expected in zip(words, said, strict=True):
        assert one.startswith(expected)
    assert study_record(study).design == json.loads(study.chosen_design.to_json())


def test_values_that_are_still_to_be_proposed_are_none():
    study = Study(BASE, design=Random(axes=RATES, points=2), adaptive=OptunaSampler(trials=4))
    assert study_record(study).axes == {"optim.learning_rate": [], "model.features": []}


def test_a_function_is_held_by_its_name_and_its_code(tmp_path):
    write_plan(plan(Study(BASE, axes=AXES, exclude=[too_big], seeds=1)), tmp_path)
    held = StudyRecord.read(StudyRecord.at(tmp_path), remedy="")
    assert held is not None
    [entry] = held.exclude
    assert entry.function == f"{__name__}.too_big"
    assert (entry.left_out, held.left_out, held.arms) == (2, 2, 4)
    assert entry.code == code_of_function(too_big).digest
    code = CodeRecord.read(CodeRecord.of_digest(str(entry.code), CodeRecord.at(tmp_path)), remedy="")
    assert code is not None
    assert {each.name for each in code.code.definitions} == {"too_big", "LIMIT"}


def test_functions_of_other_code_have_other_digests():
    digests = [code_of_function(function).digest for function in (too_big, limited(3), limited(4), plan)]
    assert len(set(digests)) == 4
    assert code_of_function(limited(3)).digest == digests[1]


def test_records_from_before_are_read_and_say_nothing():
    held = StudyRecord.parse({"axes": {"epochs": [1, 2]}, "seeds": [0]}, "study.json", remedy="")
    assert (held.design, held.exclude, held.extends, design_words(held)) == (None, (), (), [])
