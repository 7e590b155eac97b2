"""A field that refines another which is off is told of: it would be an axis of the same training twice."""

from __future__ import annotations

import pytest

from cnnjax import SGD, Cosine, Experiment, Model, Muon, ResNet, SmallCNN, Synthetic
from cnnjax.config import replace
from cnnjax.experiment.check import analysis_of
from cnnjax.experiment.idle_fields import idle_fields

DATA = Synthetic(height=8, width=8, channels=1, classes=3, examples=24, test_examples=8)


def experiment(*, model: Model | None = None, **optim) -> Experiment:
    return Experiment(
        model=model or SmallCNN(features=2), data=DATA, optim=SGD(learning_rate=0.1, **optim), epochs=2, batch_size=8
    )


@pytest.mark.parametrize(
    ("idle", "at_work", "names"),
    [
        ({"layer_decay_by": "stage"}, {"layer_decay": 0.5}, ["optim.layer_decay_by = 'stage': layer_decay is none"]),
        (
            {"adaptive_clip_skips": ("conv1.*",)},
            {"adaptive_clip": 0.1},
            ["optim.adaptive_clip_skips = ('conv1.*',): adaptive_clip is none"],
        ),
        (
            {"schedule": Cosine(warmup_start=0.1, warmup_shape="constant", curve_from="start")},
            {"schedule": Cosine(warmup=1, warmup_start=0.1, warmup_shape="constant", curve_from="start")},
            [
                "optim.schedule.warmup_start = 0.1: warmup is 0",
                "optim.schedule.warmup_shape = 'constant': warmup is 0",
                "optim.schedule.curve_from = 'start': warmup is 0",
            ],
        ),
        (
            {"groups": {"logits.*": {"weight_decay": 0.5}}},
            {"weight_decay": 0.1},
            ["optim.groups: 'logits.*' multiplies weight_decay by 0.5, and optim.weight_decay is 0"],
        ),
    ],
)
def test_a_field_of_the_optimizer_that_changes_nothing(idle, at_work, names):
    warnings = idle_fields(experiment(**idle))
    assert [warning.startswith(name) for warning, name in zip(warnings, names, strict=True)] == [True] * len(names)
    assert idle_fields(experiment(**(idle | at_work))) == ()


def test_fields_of_the_optimizer_that_does_not_train_the_rest_of_muon():
    beside = {"adamw": Muon(rest_momentum=0.5), "sgd": Muon(rest_by="sgd", b1=0.5)}
    made = {by: idle_fields(replace(experiment(), {"optim": optim})) for by, optim in beside.items()}
    assert made["adamw"][0].startswith("optim.rest_momentum = 0.5: optim.rest_by is 'adamw', so it changes nothing")
    assert made["sgd"][0].startswith("optim.b1 = 0.5: optim.rest_by is 'sgd'")
    swapped = [Muon(b1=0.5), Muon(rest_by="sgd", rest_momentum=0.5)]
    assert [idle_fields(replace(experiment(), {"optim": optim})) for optim in swapped] == [(), ()]


def test_a_field_of_the_model_that_changes_nothing():
    narrow = ResNet(block="basic", stage_sizes=(1,), features=2, drop_block_size=3)
    [warning] = idle_fields(experiment(model=narrow))
    assert warning.startswith("model.drop_block_size = 3: drop_block is 0, so it changes nothing; set model.drop_block")
    assert idle_fields(experiment(model=narrow.model_copy(update={"drop_block": 0.1}))) == ()


def test_pooling_that_is_off():
    model = SmallCNN(features=2, pool="none", pool_window=3, pool_strides=2)
    window, strides = idle_fields(experiment(model=model))
    assert window.startswith("model.pool_window = 3: pool is none, so it changes nothing; set model.pool too")
    assert strides.startswith("model.pool_strides = 2: pool is none")
    assert idle_fields(experiment(model=model.model_copy(update={"pool": "max"}))) == ()


def test_dropout_of_a_network_that_runs_as_at_inference():
    model = SmallCNN(features=2, dropout=0.5)
    [warning] = idle_fields(experiment(model=model, groups="linear_probe"))
    assert warning.startswith("model.dropout = 0.5: optim.groups runs the network as at inference")
    assert idle_fields(experiment(model=model)) == ()
    assert idle_fields(experiment(groups="linear_probe")) == ()
    of_a_part = {"conv1.*": {"frozen": True, "inference": True}}
    assert idle_fields(experiment(model=model, groups=of_a_part)) == ()


def test_a_check_says_it():
    warnings = analysis_of(experiment(layer_decay_by="stage")).warnings
    assert any("layer_decay_by = 'stage'" in warning for warning in warnings)
    assert not any("changes nothing" in warning for warning in analysis_of(experiment()).warnings)
