"""A value that nothing reads is told of before it is trained."""

from __future__ import annotations

import flax.linen as nn
import pytest

from cnnjax import SGD, Augmentation, Experiment, Hardware, Model, SmallCNN, Study, Synthetic, lane, plan
from cnnjax.study.plan_table import warnings_of


class Net(nn.Module):
    classes: int
    rate: float

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dropout(self.rate, deterministic=not train)(x)
        return nn.Dense(self.classes, name="logits")(x.mean((1, 2)))


class Forgetful(Model):
    width: int = 3
    rate: float = 0.5

    def network(self):
        return Net(self.num_classes, self.rate)


class Brighter(Augmentation, tag="brighter_or_not"):
    by: float = lane(0.1)
    unread: float = lane(0.1)

    def apply(self, image, key):
        return image + self.by


BASE = Experiment(
    model=Forgetful(),
    data=Synthetic(height=8, width=8, channels=1, classes=3, examples=24, test_examples=8),
    optim=SGD(learning_rate=0.1),
    augment=(Brighter(),),
    batch_size=8,
    steps=2,
)
TOLD = "it makes no difference"


def told(experiment, axes):
    planned = plan(Study(experiment, axes=axes, seeds=1), hardware=Hardware(devices=1))
    return [warning for trial in planned.trials for warning in trial.warnings if TOLD in warning]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("model.width", [3, 4]),
        ("augment.0.unread", [0.1, 0.2]),
    ],
)
def test_a_value_that_nothing_reads_is_told_of(path, values):
    (warning,) = told(BASE, {path: values})
    assert warning.startswith(f"{path} = {values[1]} or {values[0]}")


@pytest.mark.parametrize(("steps", "said"), [(2, "epochs = 1, 2: steps = 2 says how long a training is"), (None, "")])
def test_epochs_beside_steps(steps, said):
    planned = plan(Study(BASE, axes={"epochs": [1, 2], "steps": [steps]}, seeds=1), hardware=Hardware(devices=1))
    warnings = [line for line in warnings_of(planned) if "epochs" in line]
    assert "".join(warnings).startswith(f"warning: {said}" if said else "")
    assert len(warnings) == bool(said)


def test_networks_of_equal_layers_are_told_apart_by_what_they_do():
    experiment = BASE.model_copy(update={"model": SmallCNN(features=2, dense=0, kernel_size=3)})
    assert not told(experiment, {"model.pool": ["max", "average"], "model.activation": ["relu", "tanh"]})


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("model.rate", [0.5, 0.25]),
        ("augment.0.by", [0.1, 0.2]),
        ("optim.learning_rate", [0.1, 0.2]),
        ("optim.nesterov", [True, False]),
        ("augment", [[], ["flip"]]),
        ("batch_size", [8, 16]),
        ("steps", [2, 3]),
    ],
)
def test_a_value_that_is_used_is_not(path, values):
    assert not told(BASE, {path: values})
