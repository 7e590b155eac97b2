"""Designs on the command line: the study that the options make is the one that Python makes."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
from cnnjax.errors import ConfigError
from cnnjax.study.designed import Asked, designed
from cnnjax.study.designs import (
    FractionalFactorial,
    Grid,
    Integers,
    LatinHypercube,
    Listed,
    LogIntegers,
    LogUniform,
    OneAtATime,
    Product,
    Random,
    Sobol,
    Uniform,
    Zip,
)

BASE = Experiment(
    model=SmallCNN(features=4, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05),
    batch_size=8,
    epochs=2,
)
STUDY = Study(BASE, axes={"model.features": [2, 3]}, seeds=2)
OWN = Study(BASE, design=Random(axes={"model.features": Integers(low=2, high=9)}, points=3))
RATE = {"optim.learning_rate": "log(1e-3,1e-1)"}
FEATURES = {"model.features": (2, 3)}
DRAWN = FEATURES | {"optim.learning_rate": LogUniform(low=1e-3, high=1e-1)}
RECIPE = {"plain": {}, "strong": {"epochs": 9, "model.norm": "batch"}}


@pytest.mark.parametrize(
    ("study", "overrides", "asked", "same"),
    [
        (STUDY, {"epochs": "2,4"}, Asked("grid"), {"axes": FEATURES | {"epochs": (2, 4)}}),
        (STUDY, {"epochs": "2,4"}, Asked("one_at_a_time"), {"design": OneAtATime(axes=FEATURES | {"epochs": (2, 4)})}),
        (STUDY, {"epochs": "2,4"}, Asked("zip"), {"design": Zip(axes=FEATURES | {"epochs": (2, 4)})}),
        (STUDY, RATE, Asked("random", points=5, seed=3), {"design": Random(axes=DRAWN, points=5, seed=3)}),
        (STUDY, RATE, Asked("sobol", points=8), {"design": Sobol(axes=DRAWN, points=8)}),
        (STUDY, RATE, Asked("latin_hypercube", points=6), {"design": LatinHypercube(axes=DRAWN, points=6)}),
        (
            STUDY,
            {"epochs": "1,2", "model.pool": "max,blur"},
            Asked("fractional_factorial", generators=["epochs=model.features,model.pool"]),
            {
                "design": FractionalFactorial(
                    axes=FEATURES | {"epochs": (1, 2), "model.pool": ("max", "blur")},
                    generators={"epochs": ["model.features", "model.pool"]},
                )
            },
        ),
        (
            STUDY,
            {"model.features": "2,2,3", "epochs": "1,2,1", "model.pool": "max,blur"},
            Asked(zips=["model.features,epochs"]),
            {
                "design": Product(
                    designs=(
                        Zip(axes={"model.features": [2, 2, 3], "epochs": [1, 2, 1]}),
                        Grid(axes={"model.pool": ["max", "blur"]}),
                    )
                )
            },
        ),
        (
            Study(BASE, seeds=2),
            {},
            Asked(arms=["", "epochs=5 model.pool=blur", 'mixing={"name": "mixup", "alpha": 0.5}']),
            {
                "design": Listed(
                    chosen=({}, {"epochs": 5, "model.pool": "blur"}, {"mixing": {"name": "mixup", "alpha": 0.5}})
                )
            },
        ),
        (
            STUDY,
            {},
            Asked(
                groups=["recipe=plain; strong: epochs=9 model.norm=batch"], exclude=["recipe=strong model.features=2"]
            ),
            {"axes": FEATURES | {"recipe": RECIPE}, "exclude": ["recipe == strong and model.features == 2"]},
        ),
        (
            OWN,
            {"epochs": "7"},
            Asked(points=2, seed=1),
            {"design": Random(axes={"model.features": Integers(low=2, high=9)}, points=2, seed=1)},
        ),
        (
            OWN,
            {"epochs": "1,2", "model.features": "8,9"},
            Asked("grid"),
            {"axes": {"model.features": (8, 9), "epochs": (1, 2)}},
        ),
    ],
)
def test_options_make_the_study_that_python_makes(study, overrides, asked, same):
    made, expected = designed(study, overrides, asked), Study(BASE, **same)
    assert [dict(arm) for arm in made.arms] == [dict(arm) for arm in expected.arms]
    assert made.chosen_design.tag == expected.chosen_design.tag


@pytest.mark.parametrize(
    ("written", "distribution"),
    [
        ("log(1e-3,1e-1)", LogUniform(low=1e-3, high=1e-1)),
        ("log_uniform( low=0.001, high=0.1 )", LogUniform(low=1e-3, high=1e-1)),
        ("uniform(0,0.5)", Uniform(low=0.0, high=0.5)),
        ("integers(2,9)", Integers(low=2, high=9)),
        ("log_integers(high=64,low=2)", LogIntegers(low=2, high=64)),
        ("choice(max,blur)", ("max", "blur")),
    ],
)
def test_distributions_as_text(written, distribution):
    path = {"i": "model.features", "l": "model.features", "c": "model.pool", "u": "model.dropout"}[written[0]]
    path = "optim.learning_rate" if "log(" in written or "log_u" in written else path
    made = designed(Study(BASE), {path: written}, Asked("random", points=2))
    assert dict(made.all_axes) == {path: distribution}


def test_an_adaptive_sampler_draws_from_distributions_itself():
    assert designed(STUDY, RATE, proposed=5).design == Random(axes=DRAWN, points=5)
    assert designed(STUDY, {"epochs": "1,2"}, proposed=5).design is None


def test_the_files_exclusions_can_be_let_go():
    study = Study(BASE, axes={"model.features": [2, 3, 4]}, exclude=["model.features == 4"])
    assert len(designed(study, {}, Asked(exclude=["model.features == 3"])).arms) == 1
    assert len(designed(study, {"model.features": "2,3"}, Asked(exclude=["none", "model.features == 3"])).arms) == 1


WRONG = [
    ({"optim.learning_rate": "log(1e-1,1e-3)"}, Asked("random", points=3), "low = 0.1 is not below high = 0.001"),
    ({"optim.learning_rate": "log(0,1)"}, Asked("random", points=3), "low = 0: must be greater than 0"),
    ({"optim.learning_rate": "lgo(1e-3,1)"}, Asked("random", points=3), "'lgo' is no distribution. Did you mean 'log'"),
    ({"optim.learning_rate": "log(1e-3)"}, Asked("random", points=3), "high is missing: it takes low and high"),
    ({"optim.learning_rate": "log(1,2,3)"}, Asked("random", points=3), "it takes low and high, once each"),
    ({"optim.learning_rate": "log(lo=1,high=3)"}, Asked("random", points=3), "low is missing|'lo' is no field"),
    ({"optim.learning_rate": "log(1,2),3"}, Asked("random", points=3), "a distribution stands alone"),
    ({"model.features": "uniform(2,9)"}, Asked("random", points=3), "has 2.0 in it: model.features = 2.0: must be"),
    ({"model.features": "integers(2.5,9)"}, Asked("random", points=3), "low = 2.5: must be"),
    (
        {"model.dropout": "uniform(0,1.5)"},
        Asked("random", points=3),
        "has 1.5 in it: model.dropout = 1.5: must be less",
    ),
    ({"optim.learning_rat": "log(1e-3,1)"}, Asked("random", points=3), "Did you mean 'learning_rate'"),
    (RATE, Asked(), "is drawn from: list its values, or take a design that draws"),
    (RATE, Asked("grid"), "is drawn from: list its values"),
    ({"model.pool": "choice()"}, Asked(), "there is no value in it"),
    ({"model.pool": "max,"}, Asked(), "a value is missing beside a comma"),
    ({}, Asked("rndom", points=3), "'rndom' is no design. Did you mean 'random'"),
    ({}, Asked("product"), "put together in Python"),
    ({}, Asked("random"), "--design random needs --points N"),
    ({}, Asked("zip", points=3), "--points is no setting of --design zip; it is one of --design random, sobol"),
    ({}, Asked("random", points=1, resolution=4), "--resolution is no setting of --design random"),
    ({}, Asked(points=3), "--points: of which design"),
    ({}, Asked("grid", zips=["a,b"]), "--design and --zip: a study has one design"),
    ({"epochs": "1,2,3"}, Asked("zip"), "equally many values, and have: model.features 2, epochs 3"),
    ({"epochs": "1,2"}, Asked(zips=["model.features,epoch"]), "'epoch' is no axis. Did you mean 'epochs'"),
    ({"epochs": "1,2"}, Asked(zips=["epochs"]), "--zip epochs: give two axes or more"),
    (
        {"epochs": "1,2"},
        Asked(zips=["model.features,epochs", "epochs,model.pool"]),
        "names epochs twice|'model.pool' is",
    ),
    ({"epochs": "1,2"}, Asked(zips=["model.features,epochs"], points=3), "--zip has no settings: leave out --points"),
    ({}, Asked(groups=["recipe"]), "'recipe' is no group: write NAME=CHOICE"),
    ({}, Asked(groups=["recipe=plain; epochs=9"]), "is no choice of a group"),
    ({}, Asked(groups=["recipe=plain; plain: epochs=9"]), "names the choice plain twice"),
    ({}, Asked(groups=["recipe=plain; long: epoch=9"]), "Did you mean 'epochs'"),
    ({}, Asked(groups=["recipe=plain; long: epochs"]), "'epochs' is not path=value"),
    ({}, Asked(groups=["recipe=plain", "recipe=long: epochs=9"]), "recipe is given twice"),
    ({}, Asked(arms=["epochs=9"]), "--arm writes out all arms: leave out model.features"),
    ({}, Asked("fractional_factorial", generators=["epochs"]), "must be as in --generator"),
    ({}, Asked("fractional_factorial", resolution=3, generators=["a=b,c"]), "and not both"),
]


@pytest.mark.parametrize(
    ("overrides", "asked", "words"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_cannot_be_is_refused(overrides, asked, words):
    with pytest.raises(ConfigError, match=words):
        designed(STUDY, overrides, asked)


def test_axes_beside_a_files_own_design_are_refused():
    with pytest.raises(ConfigError, match="the study's design .random. has axes of its own"):
        designed(OWN, {"epochs": "1,2"})
    with pytest.raises(ConfigError, match="--resolution is no setting of the study's design, random"):
        designed(OWN, {}, Asked(resolution=3))
    grouped = Study(BASE, axes={"recipe": RECIPE})
    with pytest.raises(ConfigError, match="epochs: the study's axis recipe sets it"):
        designed(grouped, {"epochs": "3"}, Asked("one_at_a_time"))


FILE = '''"""Does a wider network do better?"""
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05), batch_size=8, epochs=1)
study = Study(experiment, axes={"model.features": [2, 3]}, seeds=1)
'''
LINES = [
    ("'optim.learning_rate=log(1e-3,1e-1)' --design random --points 3 --design-seed 1", 3),
    ("--group 'recipe=plain; slow: optim.learning_rate=0.01' --exclude 'recipe=slow and model.features=3'", 3),
    ("model.features=2,2 optim.learning_rate=0.1,0.2 --zip model.features,optim.learning_rate", 2),
]


@pytest.mark.parametrize(("line", "arms"), LINES)
def test_a_dry_run_of_each(run, tmp_path, line, arms):
    (tmp_path / "wider.py").write_text(FILE)
    code, out, err = run("sweep", "wider.py", *shlex.split(line), "--dry-run", "--json", "--devices", 1)
    assert code == 0, err
    assert len(json.loads(out)["trials"]) == arms
    code, out, _ = run("sweep", "wider.py", *shlex.split(line), "--dry-run", "--devices", 1)
    assert code == 0
    assert re.search(rf"{arms} trials = {arms} arms x 1 seeds", out)
