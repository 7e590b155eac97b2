"""Arms whose trials gave the same numbers are told of as one training."""

from __future__ import annotations

import logging

import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, sweep
from cnnjax.reporting.same_training import same_training, same_training_sentences
from cnnjax.reporting.study_table import collect

ONE = Options(Hardware(devices=1))
BASE = Experiment(
    model=SmallCNN(features=2, pool="none", dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=3, examples=24, test_examples=8),
    optim=SGD(learning_rate=0.1),
    steps=2,
    batch_size=8,
    validation=8,
)


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("axes", "groups", "said"),
    [
        ({"epochs": [1, 2]}, ((1, 2),), "The numbers of arms 1 and 2 (epochs) are the same to the last digit, seed by"),
        (
            {"model.pool_window": [2, 3], "optim.learning_rate": [0.1, 0.2]},
            ((1, 3), (2, 4)),
            "The numbers of arms 1 and 3 (pool_window); of arms 2 and 4 (pool_window) are the same",
        ),
        ({"optim.learning_rate": [0.1, 0.2]}, (), ""),
    ],
)
def test_arms_that_differ_in_nothing_that_is_read(axes, groups, said, tmp_path):
    sweep(Study(BASE, axes=axes, seeds=2), tmp_path, name="study", options=ONE)
    table = collect(tmp_path)
    assert same_training(table) == groups
    sentences = same_training_sentences(table)
    assert len(sentences) == bool(groups)
    assert "".join(sentences).startswith(said)


@pytest.mark.compiled
def test_what_a_plan_warns_of_is_said_where_it_trains(tmp_path, caplog):
    said = "model.pool_window = 3: pool is none, so it changes nothing"
    with caplog.at_level(logging.WARNING, "cnnjax"):
        sweep(Study(BASE, axes={"model.pool_window": [2, 3]}, seeds=1), tmp_path, name="study", options=ONE)
    assert [line for line in caplog.messages if line.startswith(f"warning (1 of 2 arms): {said}")]
