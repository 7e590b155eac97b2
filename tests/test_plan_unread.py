"""Plans of a data set that is not here: as many examples as a card says, none of them read."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cnnjax import TFDS, Experiment, RandomFit, SmallCNN, Study, WholeSet, plan
from cnnjax.cli.main import app
from cnnjax.data.unread import planned_as
from cnnjax.errors import ConfigError, DataError

RECIPE = '''"""Does it plan?"""
from cnnjax import TFDS, Card, Experiment, RandomFit, SmallCNN, WholeSet

experiment = Experiment(
    model=SmallCNN(features=2),
    data=TFDS(
        name="imagenet2012", data_dir=r"{folder}", size=16, train_fit=RandomFit(),
        mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2),
    ),
    epochs=2,
    batch_size=360,
    validation=0.1,
)
card = Card(source="none", deviations=(), whole=WholeSet(train=10_000, test=50, classes=7))
'''


def absent(folder, **fields):
    scale = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    fields = {"size": 16, "train_fit": RandomFit(), **scale, **fields}
    return TFDS(name="imagenet2012", data_dir=str(folder), **fields)


def test_a_plan_is_of_the_whole_set_where_none_is_there(tmp_path):
    experiment = Experiment(model=SmallCNN(features=2), data=absent(tmp_path), epochs=2, batch_size=360)
    whole = WholeSet(train=10_000, test=50, classes=7)
    planned = plan(Study(experiment, axes={"data.size": [16, 8]}, seeds=2), whole=whole)
    # A tenth is carved off for validation: 9,000 images, 25 steps an epoch.
    assert [trial.steps for trial in planned.trials] == [50] * 4
    assert planned.trials[0].macs > planned.trials[-1].macs
    with pytest.raises(DataError, match="not prepared"):
        plan(experiment)
    with (
        planned_as(experiment.data, WholeSet(train=10_000, test=50, classes=7)),
        pytest.raises(DataError, match="not read"),
    ):
        experiment.data.load().train.example(0)


def test_what_cannot_be_planned_for_unread_says_so(tmp_path):
    whole = WholeSet(train=100, test=50, classes=7)
    with pytest.raises(ConfigError, match="read to be planned"):
        plan(Experiment(model=SmallCNN()), whole=whole)
    with pytest.raises(DataError, match=r"data\.size"):
        plan(Experiment(model=SmallCNN(), data=absent(tmp_path, size=None, train_fit=None), batch_size=16), whole=whole)


def test_a_dry_run_plans_for_the_card_s_set_but_for_other_data(tmp_path):
    file = tmp_path / "recipe.py"
    file.write_text(RECIPE.format(folder=tmp_path))

    def run(*arguments):
        return CliRunner().invoke(app, ["sweep", str(file), "--out", str(tmp_path / "out"), "--dry-run", *arguments])

    outcome = run()
    assert outcome.exit_code == 0, outcome.output
    assert " 50 " in outcome.output
    assert "10,000 images to train on" in outcome.output
    assert json.loads(run("--json").output)["trials"][0]["steps"] == 50
    other = run("data=digits", "batch_size=64")
    assert other.exit_code == 0, other.output
    assert "planned for the whole set" not in other.output
