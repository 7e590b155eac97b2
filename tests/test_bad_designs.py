"""Designs that cannot be meant: each is refused early, in Python and on the command line, with the same words."""

from __future__ import annotations

import re
import shlex
import time

import pytest

from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic, plan
from cnnjax.errors import ConfigError
from cnnjax.study.designs import FractionalFactorial, Grid, Listed, Product, Random, Zip

FILE = '''"""Which?"""
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05), batch_size=8, epochs=1)
study = Study(experiment, seeds=1)
'''
BASE = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05),
    batch_size=8,
    epochs=1,
)
KERNELS = {"model.kernel_size": [3, 5, 7], "model.strides": [1, 2]}
KERNEL_WORDS = "model.kernel_size=3,5,7 model.strides=1,2"
MILLIONS = {
    "optim.learning_rate": [n / 1000 for n in range(1, 1001)],
    "epochs": [*range(1, 101)],
    "batch_size": [*range(1, 101)],
}
MILLION_WORDS = " ".join(f"{path}={','.join(map(str, values))}" for path, values in MILLIONS.items())


def zipped(**axes):
    return Study(BASE, design=Zip(axes=axes))


def excluding(*exclude):
    return plan(Study(BASE, axes=KERNELS, exclude=exclude, seeds=1))


SLOW = {"name": "sgd", "learning_rate": 0.01}
SLOW_WORD = '\'optim=adamw,{"name":"sgd","learning_rate":0.01}\''
# What is wrong, how Python says it, how the command line says it, what the message says.
ROWS = [
    (
        "two designs with one axis",
        lambda: Study(BASE, design=Product(designs=(Grid(axes={"epochs": [1, 2]}), Zip(axes={"epochs": [2]})))),
        "epochs=1,2 model.features=2,3 --zip epochs,model.features --zip epochs,model.pool",
        "epochs is an axis of two of its designs|--zip names epochs twice",
    ),
    (
        "a path of an axis and of a group",
        lambda: Study(BASE, axes={"epochs": [1, 2], "recipe": {"plain": {}, "long": {"epochs": 9}}}),
        "epochs=1,2 --group 'recipe=plain; long: epochs=9'",
        "epochs is changed by two axes, epochs and recipe",
    ),
    (
        "a path of two groups",
        lambda: Study(BASE, axes={"a": {"x": {"epochs": 2}}, "b": {"y": {"epochs": 3}, "z": {}}}),
        "--group 'a=x: epochs=2' --group 'b=y: epochs=3; z'",
        "epochs is changed by two axes, a and b",
    ),
    (
        "a sub-object and a field of it",
        lambda: Study(BASE, axes={"optim": ["adamw", SLOW], "optim.learning_rate": [0.1, 0.2]}),
        f"{SLOW_WORD} optim.learning_rate=0.1,0.2",
        r"optim.learning_rate is changed by two axes, optim.learning_rate and optim, whose value "
        r"sgd\(learning_rate=0.01\) sets it too",
    ),
    (
        "a config and a field of it, through a group",
        lambda: Study(
            BASE,
            axes={"optim": ["adamw", SGD(learning_rate=0.01)], "recipe": {"a": {}, "b": {"optim.learning_rate": 1}}},
        ),
        f"{SLOW_WORD} --group 'recipe=a; b: optim.learning_rate=1'",
        "optim.learning_rate is changed by two axes, recipe and optim",
    ),
    ("an empty axis", lambda: Study(BASE, axes={"epochs": []}), "'epochs=choice()'", "has no values|there is no value"),
    (
        "a missing value",
        lambda: plan(Study(BASE, axes={"epochs": [1, ""]})),
        "epochs=1,",
        "epochs = ''|missing",
    ),
    (
        "an empty group",
        lambda: Study(BASE, axes={"recipe": {}}),
        "--group recipe=",
        "recipe has no choices|is no choice of a group",
    ),
    ("no axes to draw from", lambda: Random(axes={}, points=3), "--design random --points 3", "at least 1|no axes"),
    (
        "no axes of a fraction",
        lambda: FractionalFactorial(axes={}, resolution=3),
        "--design fractional_factorial --resolution 3",
        "give axes|has no axes",
    ),
    (
        "unequal zips",
        lambda: Zip(axes={"epochs": [1, 2, 3], "model.features": [2, 3]}),
        "epochs=1,2,3 model.features=2,3 --design zip",
        "axes need equally many values, and have: epochs 3, model.features 2",
    ),
    (
        "everything is excluded",
        lambda: excluding("model.strides = 1", "model.strides = 2"),
        f"{KERNEL_WORDS} --exclude 'model.strides = 1' --exclude 'model.strides = 2'",
        "exclude: nothing is left of the 6 arms: model.strides = 1; model.strides = 2",
    ),
    (
        "nothing is excluded",
        lambda: excluding("model.kernel_size == 3 and model.kernel_size == 7"),
        f"{KERNEL_WORDS} --exclude 'model.kernel_size == 3 and model.kernel_size == 7'",
        "leaves out none of the 6 arms",
    ),
    (
        "a value that is never taken",
        lambda: excluding("model.kernel_size == 9"),
        f"{KERNEL_WORDS} --exclude model.kernel_size=9",
        "model.kernel_size is never 9: it takes 3, 5, 7",
    ),
    (
        "a value that is never taken, in what is required",
        lambda: excluding("model.kernel_size == 7 requires model.strides == 3"),
        f"{KERNEL_WORDS} --exclude 'model.kernel_size=7 requires model.strides=3'",
        "model.strides is never 3: it takes 1, 2",
    ),
    (
        "an order that never holds",
        lambda: excluding("model.kernel_size > 7"),
        f"{KERNEL_WORDS} --exclude 'model.kernel_size > 7'",
        "model.kernel_size is never > 7: it takes 3, 5, 7",
    ),
    (
        "a field that no axis changes, at another value",
        lambda: excluding("model.pool == blur"),
        f"{KERNEL_WORDS} --exclude model.pool=blur",
        "model.pool is never blur: it takes max",
    ),
    (
        "a path that is not of this study",
        lambda: excluding("model.kernl_size == 7"),
        f"{KERNEL_WORDS} --exclude model.kernl_size=7",
        "Did you mean 'kernel_size'",
    ),
    (
        "a choice that a group does not have",
        lambda: Study(BASE, axes={"recipe": {"plain": {}, "strong": {"epochs": 9}}}, exclude=["recipe == strnog"]),
        "--group 'recipe=plain; strong: epochs=9' --exclude recipe=strnog",
        "recipe is never strnog: it takes plain, strong. Did you mean 'strong'",
    ),
    (
        "one of the seeds",
        lambda: excluding("seed == 1"),
        f"{KERNEL_WORDS} --exclude seed=1",
        "arms are left out with all their seeds",
    ),
    (
        "ten million trials",
        lambda: plan(Study(BASE, axes=MILLIONS, seeds=1)),
        MILLION_WORDS,
        "the study has 10,000,000 arms x 1 seeds = 10,000,000 trials, and a plan at most 100,000",
    ),
    ("a value twice", lambda: Study(BASE, axes={"epochs": [1, 2, 1]}), "epochs=1,2,1", "epochs repeats 1"),
    (
        "an arm twice",
        lambda: Listed(chosen=({"epochs": 2}, {}, {"epochs": 2})),
        "--arm epochs=2 --arm '' --arm epochs=2",
        "arms 0 and 2 are the same: epochs = 2",
    ),
    (
        "an arm of a zip twice",
        lambda: Zip(axes={"epochs": [1, 2, 1], "model.features": [2, 3, 2]}),
        "epochs=1,2,1 model.features=2,3,2 --design zip",
        "arms 0 and 2 are the same: epochs = 1, model.features = 2",
    ),
    (
        "more points than there are",
        lambda: Random(axes={"epochs": [1, 2]}, points=3),
        "epochs=1,2 --design random --points 3",
        "there are only 2 combinations of values, fewer than 3 points",
    ),
]


@pytest.mark.parametrize(("python", "line", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_design_that_cannot_be_meant_is_refused(run, tmp_path, python, line, words):
    (tmp_path / "which.py").write_text(FILE)
    begun = time.thread_time()
    with pytest.raises(ConfigError, match=words):
        python()
    code, out, err = run("sweep", "which.py", *shlex.split(line), "--dry-run", "--devices", 1)
    assert code == 1
    assert re.search(words, err), err
    assert "Traceback" not in err + out
    assert time.thread_time() - begun < 10


def test_what_a_value_has_by_default_or_by_its_name_may_be_an_axis_too():
    for optims in (["adamw", "sgd"], ["adamw", SGD()], [{"name": "sgd", "momentum": 0.5}, "adamw"]):
        assert Study(BASE, axes={"optim": optims, "optim.learning_rate": [0.1, 0.2]}).count == 4
    zeros = Study(BASE, axes={"optim": [SGD(learning_rate=0.3), "adamw"], "optim.learning_rate": [0.3]})
    assert zeros.count == 2
