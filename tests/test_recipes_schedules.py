"""What recipes do over the whole of their trainings, step by step, as their sources' schedulers do it."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

from cnnjax.experiment.length import Length
from cnnjax.training.state import TrainState
from tests.recipe_steps import IMAGENET, length, recipe
from tests.torch_peers import timm, torch, torchvision

pytestmark = pytest.mark.torch

timm_scheduler = importlib.import_module(f"{timm.__name__}.scheduler")
timm_data = importlib.import_module(f"{timm.__name__}.data")
schedulers = torch.optim.lr_scheduler


def ours(name: str) -> np.ndarray:
    """The learning rate of each step of the recipe's epochs, which are of whole batches in the sources: float64."""
    experiment = recipe(name)
    batch = experiment.batch_size
    whole = {"steps": experiment.epochs * (IMAGENET // batch), "steps_per_epoch": IMAGENET // batch}
    optim = experiment.optim.for_batch(batch)
    rate = jax.jit(lambda step: optim.learning_rate_at(step, **whole))
    return np.asarray(rate(jnp.arange(whole["steps"])), np.float64)


def by_epoch(name: str, scheduler, optimizer, step) -> np.ndarray:
    """The rate of each step where `step(scheduler, epochs that have passed)` is called after each epoch."""
    experiment, rates = recipe(name), []
    for epoch in range(experiment.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        step(scheduler, epoch + 1)
    return np.repeat(rates, IMAGENET // experiment.batch_size)


def sgd(rate: float):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def torchvision_v1() -> np.ndarray:
    optimizer = sgd(0.1)
    scheduler = schedulers.StepLR(optimizer, step_size=30, gamma=0.1)
    return by_epoch("torchvision_resnet50_v1", scheduler, optimizer, lambda made, _: made.step())


def torchvision_v2() -> np.ndarray:
    optimizer = sgd(0.5)
    phases = [
        schedulers.LinearLR(optimizer, start_factor=0.01, total_iters=5),
        schedulers.CosineAnnealingLR(optimizer, T_max=600 - 5, eta_min=0.0),
    ]
    scheduler = schedulers.SequentialLR(optimizer, phases, milestones=[5])
    return by_epoch("torchvision_resnet50_v2", scheduler, optimizer, lambda made, _: made.step())


def rsb(procedure: str, rate: float, epochs: int) -> np.ndarray:
    optimizer = sgd(rate)
    arguments = {"t_initial": epochs, "lr_min": 1e-6, "warmup_t": 5, "warmup_lr_init": 1e-4}
    scheduler = timm_scheduler.CosineLRScheduler(optimizer, **arguments)
    return by_epoch(f"rsb_resnet50_{procedure}", scheduler, optimizer, lambda made, epoch: made.step(epoch))


def ffcv() -> np.ndarray:
    """Between the ends of each epoch a line, and the ends on lines from 1e-4 of 0.5 to 0.5 at epoch 2 and to 0."""
    ends, steps = np.interp(np.arange(17), [0, 2, 16], [1e-4 * 0.5, 0.5, 0]), IMAGENET // 1024
    lines = [np.interp(np.arange(steps), [0, steps], ends[epoch : epoch + 2]) for epoch in range(16)]
    return np.concatenate(lines)


def flax() -> np.ndarray:
    peak, epoch = 0.1 * 1024 / 256, IMAGENET // 1024
    curve = optax.join_schedules(
        [optax.linear_schedule(0.0, peak, 5 * epoch), optax.cosine_decay_schedule(peak, 95 * epoch)], [5 * epoch]
    )
    return np.asarray(jax.jit(curve)(jnp.arange(100 * epoch, dtype=jnp.float32)), np.float64)


SOURCES = {
    "torchvision_resnet50_v1": torchvision_v1,
    "torchvision_resnet50_v2": torchvision_v2,
    "rsb_resnet50_a1": lambda: rsb("a1", 5e-3, 600),
    "rsb_resnet50_a2": lambda: rsb("a2", 5e-3, 300),
    "rsb_resnet50_a3": lambda: rsb("a3", 8e-3, 100),
    "ffcv_resnet18": ffcv,
    "flax_resnet50": flax,
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_step_has_the_sources_learning_rate(name):
    wanted = SOURCES[name]()
    # A cosine of float32 that is nearly -1 has an error of the last place of 1.
    assert_allclose(ours(name), wanted, rtol=1e-6, atol=2e-7 * wanted.max())


LENGTHS = {
    "torchvision_resnet50_v1": (90, 450_411),
    "torchvision_resnet50_v2": (600, 750_684),
    "rsb_resnet50_a2": (300, 187_671),
    "ffcv_resnet18": (16, 20_019),
    "flax_resnet50": (100, 125_114),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_trainings_are_as_long_as_said(name):
    """Epochs as in the sources; their last batches are whole here, so that there are as many steps or a few more."""
    experiment = recipe(name)
    assert (experiment.epochs, length(experiment).steps) == LENGTHS[name]
    assert 0 <= length(experiment).steps - experiment.epochs * (IMAGENET // experiment.batch_size) < 400


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_evaluation_is_at_torchvisions_sizes(version):
    data = recipe(f"torchvision_resnet50_{version.lower()}").data
    expected = torchvision.models.ResNet50_Weights[f"IMAGENET1K_{version}"].transforms()
    assert data.size == 224
    assert [data.size] == expected.crop_size
    assert [round(data.size / data.fit.share)] == expected.resize_size
    assert (list(data.mean), list(data.std)) == (list(expected.mean), list(expected.std))


@pytest.mark.parametrize("procedure", ["a1", "a2", "a3"])
def test_evaluation_is_at_timms_sizes(procedure):
    """Its shorter side is 224 / 0.95, rounded down."""
    data = recipe(f"rsb_resnet50_{procedure}").data
    peer = timm_data.create_transform(224, is_training=False, crop_pct=0.95)
    assert round(data.size / data.fit.share) == peer.transforms[0].size
    assert (data.size,) * 2 == tuple(peer.transforms[1].size)


# Epochs, and those of the sizes' ramp, in ffcv-imagenet's rn18_configs and rn50_configs.
FFCV_RAMPS = [(16, 11, 13), (24, 17, 20), (32, 23, 27), (40, 29, 34), (56, 41, 48), (88, 65, 76)]


@pytest.mark.parametrize(("epochs", "start", "end"), FFCV_RAMPS)
def test_sizes_are_ffcvs_in_every_epoch(epochs, start, end):
    whole = Length(IMAGENET, 1024, -(-epochs * IMAGENET // 1024))
    wanted = []
    for epoch in range(epochs):
        on_the_line = np.interp(epoch, [start, end], [160, 192])
        wanted.append(160 if epoch <= start else 192 if epoch >= end else int(np.round(on_the_line / 32)) * 32)
    for name in ("ffcv_resnet18", "ffcv_resnet50"):
        resolution = recipe(name).resolution
        assert resolution is not None
        begins = resolution.begins(steps=whole.steps, epochs=whole.epochs)
        assert [size for _, size in begins] == wanted
        assert [step for step, _ in begins] == list(whole.epochs)


def test_the_average_of_v2_is_updated_as_torchvisions():
    """Of every step in and after warm-up: what the newest weights count in the average."""
    experiment = recipe("torchvision_resnet50_v2")
    whole = length(experiment)
    length_of = {"steps": whole.steps, "steps_per_epoch": whole.steps_per_epoch}
    [ema] = (method.lasting(**length_of) for method in experiment.methods)
    params = {"w": jnp.ones(())}

    def share(step):
        state = TrainState(step, params, {}, (), {})
        own, _ = ema.after({"params": {"w": jnp.zeros(())}}, state, state)
        return own["params"]["w"]

    epochs = 8
    found = jax.jit(jax.vmap(share))(jnp.arange(1, epochs * whole.steps_per_epoch + 1))
    # references/classification/train.py: --model-ema-steps 32, --model-ema-decay 0.99998.
    alpha = (1 - 0.99998) * 1024 * 32 / 600
    epoch, place = np.divmod(np.arange(epochs * whole.steps_per_epoch), whole.steps_per_epoch)
    copied = (epoch < 5) | ((epoch == 5) & (place == 0))
    wanted = np.where(place % 32 == 0, np.where(copied, 1.0, alpha), 0.0)
    # Steps are 84 more than torchvision's 600 x 1,251.
    assert_allclose(found, wanted, rtol=2e-4)
