"""Networks of other people's making: how they are called, what they draw, keep and return; what cannot be is refused."""

from __future__ import annotations

import random
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import SGD, Experiment, Hardware, Model, Options, SmallCNN, Study, Synthetic, plan, train
from cnnjax.calling import apply, init
from cnnjax.config import replace
from cnnjax.data import Augmentation
from cnnjax.errors import ConfigError, RunError
from cnnjax.losses import Loss
from cnnjax.optim import Optim
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.evaluate import evaluate
from cnnjax.run.program import Program
from cnnjax.training.state import TrainState

DATA = Synthetic(height=4, width=4, channels=1, classes=3, examples=20, test_examples=8)
IMAGES = jnp.ones((2, 4, 4, 1))
KEY = jax.random.key(0)
ONE = Options(Hardware(devices=1))

Module = nn.Module | type[nn.Module]


class Own(Model, tag="own_network"):
    """A network by its name in MODULES."""

    module: str

    def network(self):
        made = MODULES[self.module]
        return made() if isinstance(made, type) else made


class First(Own, tag="own_first"):
    """The same, of whose outputs the first are the logits."""

    def logits(self, outputs):
        return outputs[0]


MODULES: dict[str, Any] = {}


def registered(made):
    MODULES[made.__name__] = made
    return made


def experiment(module, *, model=Own, **changes):
    base = Experiment(
        model=model(module=module), data=DATA, optim=SGD(learning_rate=0.1), batch_size=8, steps=2, validation=0
    )
    return base.model_copy(update=changes)


def trained(chosen, **hardware):
    """(state after two steps, on the host; loss of the last; sums of the test part)."""
    program = Program(chosen, hardware=Hardware(**{"devices": 1, **hardware}))
    state, sums = program.init([chosen]), {}
    for step in range(2):
        state, sums = program.train(state, program.rows([chosen], step))
    return jax.device_get(state), float(sums["loss"]), program.evaluate(state, "test")


# --- how it is called


def dropped(self, x, train):
    return nn.Dense(3, name="logits")(nn.Dropout(0.5, deterministic=not train)(x.reshape(len(x), -1)))


@registered
class Train(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return dropped(self, x, train)


@registered
class KeywordTrain(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        return dropped(self, x, train)


@registered
class Training(nn.Module):
    @nn.compact
    def __call__(self, x, training=False):
        return dropped(self, x, training)


@registered
class IsTraining(nn.Module):
    @nn.compact
    def __call__(self, x, other=None, is_training=True):
        return dropped(self, x, is_training)


@registered
class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=True):
        return dropped(self, x, not deterministic)


@registered
class Several(nn.Module):
    @nn.compact
    def __call__(self, x, train, deterministic, **others):
        assert train != deterministic
        return dropped(self, x, train)


@registered
class Field(nn.Module):
    train: bool = False

    @nn.compact
    def __call__(self, x):
        return dropped(self, x, self.train)


@registered
class Merged(nn.Module):
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x, deterministic=None):
        return dropped(self, x, not nn.merge_param("deterministic", self.deterministic, deterministic))


MODULES["MergedField"] = Merged(deterministic=True)
MODULES["Jitted"] = nn.jit(KeywordTrain, static_argnames=("train",))()
MODULES["Sequential"] = nn.Sequential([Train(), nn.relu])
TOLD = [name for name in MODULES]


@registered
class Untold(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.Dense(4)(x.reshape(len(x), -1)))


@pytest.mark.parametrize("name", TOLD)
def test_a_module_is_told_that_it_is_trained_by_whatever_name_it_has_for_it(name):
    module = Own(module=name).network()
    variables = init(module, KEY, IMAGES)
    one, other = (
        apply(module, variables, IMAGES, train=True, streams=lambda name, k=k: k)[0] for k in jax.random.split(KEY)
    )
    assert (one != other).any(), "dropout"
    outputs, left = apply(module, variables, IMAGES)
    assert left == {}
    np.testing.assert_array_equal(outputs, apply(module, variables, IMAGES)[0])


@pytest.mark.parametrize("name", ["Train", "Deterministic"])
def test_such_a_module_is_trained_evaluated_and_started_from(name, tmp_path):
    chosen = experiment(name)
    result = train(chosen, tmp_path / "run", options=ONE)
    assert result["status"] == "done"
    assert evaluate(tmp_path / "run", hardware=ONE.hardware)["test"]["loss"] == pytest.approx(
        result["metrics"]["test_loss"]
    )
    again = replace(chosen, {"initial": str(tmp_path / "run"), "seed": 1})
    started = Program(again, hardware=ONE.hardware).init([again]).params
    chex.assert_trees_all_equal(jax.device_get(started), trained(chosen)[0].params)


class Unset(nn.Module):
    @nn.compact
    def __call__(self, x, is_train=False):
        return nn.Dense(3)(x.reshape(len(x), -1))


class PassesOn(nn.Module):
    @nn.compact
    def __call__(self, x, **arguments):
        return Train()(x, **{"train": False, **arguments})


class ByPosition(nn.Module):
    @nn.compact
    def __call__(self, x, train, /):
        return dropped(self, x, train)


class AsksMore(nn.Module):
    @nn.compact
    def __call__(self, x, temperature):
        return nn.Dense(3)(x.reshape(len(x), -1))


class Silent(nn.Module):
    pass


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Unset, r"Unset.__call__ \(.*test_own_networks.py line \d+\) has is_train = False, which nothing would set"),
        (PassesOn, r"PassesOn.__call__ \(.* line \d+\) takes \*\*arguments"),
        (ByPosition, r"ByPosition.__call__ \(.* line \d+\) asks for train"),
        (AsksMore, r"AsksMore.__call__ \(.* line \d+\) asks for temperature"),
        (Silent, r"Silent has no __call__"),
        (nn.Sequential([nn.relu, Training()]), r"nn.Sequential cannot pass training to layers\[1\], Training.__call__"),
        (nn.remat(Train, static_argnums=(2,))(), r"CheckpointTrain: fails on its input 1: .*static_argnums"),
        (lambda: 3, r"Own.network\(\) returns 3; it must return a module of flax.linen"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_line(made, words, monkeypatch):
    monkeypatch.setitem(MODULES, "refused", made)
    if not isinstance(made, type | nn.Module):
        monkeypatch.setattr(Own, "network", lambda self: made())
    with pytest.raises(ConfigError, match=words):
        experiment("refused").check()
