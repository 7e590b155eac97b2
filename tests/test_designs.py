"""Designs: which arms a study has, how many there are, and what each axis sets."""

from __future__ import annotations

import itertools

import pytest

from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
from cnnjax.config import Named, read
from cnnjax.errors import ConfigError
from cnnjax.models import BatchNorm
from cnnjax.study.designs import Grid, OneAtATime

BASE = Experiment(
    model=SmallCNN(features=4, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=50, test_examples=20),
    optim=SGD(learning_rate=0.05),
    batch_size=16,
    epochs=2,
)
AXES = {"model.features": [2, 4], "model.pool": ["max", "average"], "model.norm": ["none", "batch"]}


def arms(study):
    return [dict(arm) for arm in study.arms]


def test_axes_and_combine_are_a_grid_and_a_star():
    for combine, design in (("grid", Grid(axes=AXES)), ("one_at_a_time", OneAtATime(axes=AXES))):
        study, same = Study(BASE, axes=AXES, combine=combine), Study(BASE, design=design)
        assert study.chosen_design == design
        assert study.arms == same.arms
        assert study.count == same.count == len(study.arms)
        assert study.levels == same.levels == Named({path: tuple(values) for path, values in AXES.items()})


def test_ten_million_arms_cost_nothing_until_they_are_asked_for():
    axes = {"optim.learning_rate": [n / 1000 for n in range(1, 1001)], "epochs": list(range(1, 101))}
    study = Study(BASE, axes={**axes, "model.features": list(range(1, 101))})
    assert study.count == 10_000_000
    assert [arm["model.features"] for arm in itertools.islice(study.iter_arms(), 3)] == [1, 2, 3]


def test_a_design_has_its_own_axes():
    with pytest.raises(ConfigError, match="leave axes out"):
        Study(BASE, axes=AXES, design=Grid(axes=AXES))
    with pytest.raises(ConfigError, match="leave combine out"):
        Study(BASE, combine="one_at_a_time", design=Grid(axes=AXES))


RECIPES = {"plain": {}, "strong": {"optim.learning_rate": 0.5, "epochs": 9, "model.norm": "batch"}}


def test_a_group_is_one_axis_of_several_fields():
    study = Study(BASE, axes={"model.features": [2, 4], "recipe": RECIPES})
    assert arms(study) == [
        {"model.features": features, "recipe": choice} for features in (2, 4) for choice in ("plain", "strong")
    ]
    strong = study.varied(study.arms[1])
    assert (strong.optim.learning_rate, strong.epochs, read(strong, "model.norm")) == (0.5, 9, BatchNorm())
    assert study.varied(study.arms[2]) == BASE
    assert study.base_arm == Named({"model.features": 4, "recipe": "plain"})
    assert study.paths == ("model.features", "optim.learning_rate", "epochs", "model.norm")
    assert Study.from_json(study.to_json()) == study


def test_one_at_a_time_begins_with_the_base_though_no_choice_of_a_group_is_it():
    choices = {"long": {"epochs": 9}, "short": {"epochs": 1}}
    study = Study(BASE, axes={"recipe": choices}, combine="one_at_a_time")
    assert arms(study) == [{"recipe": "base"}, {"recipe": "long"}, {"recipe": "short"}]
    assert [study.varied(arm).epochs for arm in study.arms] == [2, 9, 1]
    with pytest.raises(ConfigError, match="'shrt' is no choice of recipe. Did you mean 'short'"):
        study.varied({"recipe": "shrt"})


def test_what_a_group_sets_may_stand_inside_of_another_axis():
    recipes = {"plain": {}, "slow": {"optim.learning_rate": 0.01}}
    study = Study(BASE, axes={"optim": ["sgd", "adamw"], "recipe": recipes})
    assert [(e.optim.tag, e.optim.learning_rate) for e in map(study.varied, study.arms)] == [
        ("sgd", 0.1),
        ("sgd", 0.01),
        ("adamw", 0.001),
        ("adamw", 0.01),
    ]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"epochs": [1, 2], "recipe": RECIPES}, "epochs is changed by two axes, epochs and recipe"),
        ({"other": {"a": {"epochs": 3}}, "recipe": RECIPES}, "epochs is changed by two axes, other and recipe"),
        ({"recipe": {}}, "recipe has no choices"),
        ({"recipe": {"a": {"epochs": 3}, "b": {"epochs": 3}}}, "a and b are the same fields"),
        ({"recipe": {"base": {"epochs": 3}}}, "stands for the base experiment"),
        ({"recipe": {"a": {"epoch": 3}}}, "recipe, a: .*Did you mean 'epochs'"),
        ({"recipe": {"a": {"epochs": 0}}}, "recipe, a: epochs = 0: must be greater"),
        ({"recipe": {"a": {"seed": 3}}}, "seeds are set by"),
        ({"optim": {"a": {"epochs": 3}}}, "optim is a field of the experiment"),
        ({"my.recipe": {"a": {"epochs": 3}}}, "cannot name a group"),
        ({"model.featurs": [2]}, "Did you mean 'features'"),
    ],
)
def test_wrong_axes_are_refused_when_made(axes, words):
    with pytest.raises(ConfigError, match=words):
        Study(BASE, axes=axes)
