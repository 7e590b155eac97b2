"""Learning rates at every step of a training, against the sources' formulas and the schedulers of other libraries."""

from __future__ import annotations

import math
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax.errors import ConfigError
from cnnjax.optim import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    PiecewiseLinear,
    Polynomial,
    Schedule,
    Step,
    step_every,
)

PEAK = 0.4
# Sines, powers and sums of float32; the rates themselves are of order 1e-5 to 1.
CLOSE: dict[str, Any] = {"rtol": 2e-6, "atol": 1e-8}


def rates(schedule, *, steps, steps_per_epoch):
    found = schedule.build(PEAK, steps=steps, steps_per_epoch=steps_per_epoch)(jnp.arange(steps))
    assert found.dtype == jnp.float32
    return np.asarray(found)


# --- formulas, worked by hand at every step

STEPS, EPOCH = 70, 7


def restart(step, first, multiplier, decay):
    """Place in the cycle in [0, 1), and its peak; by going from restart to restart."""
    period, cycle = first, 0
    while step >= period:
        step, period, cycle = step - period, period * multiplier, cycle + 1
    return step / period, decay**cycle


def cosine(passed):
    return (1 + math.cos(math.pi * passed)) / 2


def restarts(t):
    passed, peak = restart(t, 14, 2, 0.5)
    return 0.1 + (peak - 0.1) * cosine(passed)


FORMULAS = {
    "multi step": (MultiStep(milestones=(2.0, 5.5), factor=0.5), lambda t: 0.5 ** ((t >= 14) + (t >= 38))),
    "milestone in warm-up": (
        MultiStep(milestones=(1.0, 5.0), warmup=2.0),
        lambda t: (t + 1) / 15 if t < 14 else 0.1 ** (1 + (t >= 35)),
    ),
    "step every 3 epochs": (
        step_every().model_copy(update={"epochs": 3.0}),
        lambda t: 0.1 ** (t // 21),
    ),
    "efficientnet's, staircase": (Exponential(staircase=True), lambda t: 0.97 ** (5 * t // 84)),
    "efficientnet's, smooth": (Exponential(), lambda t: 0.97 ** (t / 16.8)),
    "efficientnet's by epoch": (
        Exponential(staircase=True, by_epoch=True),
        lambda t: 0.97 ** (5 * (t // 7 * 7) // 84),
    ),
    "restarts": (CosineRestarts(first=2.0, multiplier=2.0, decay=0.5, final=0.1), restarts),
    "restarts of one length": (CosineRestarts(first=2.5), lambda t: cosine(t / 18 if t < 18 else (t - 18) / 17)),
    "polynomial": (Polynomial(power=0.9, final=0.01), lambda t: 0.01 + 0.99 * (1 - t / 70) ** 0.9),
    "polynomial after warm-up": (
        Polynomial(warmup=1.0, warmup_start=0.0),
        lambda t: t / 7 if t < 7 else (1 - (t - 7) / 63) ** 2,
    ),
    "polynomial beneath warm-up": (
        Polynomial(warmup=1.0, warmup_start=0.25, curve_from="start"),
        lambda t: 0.25 + 0.75 * t / 7 if t < 7 else (1 - t / 70) ** 2,
    ),
    "constant warm-up": (
        Cosine(warmup=1.0, warmup_start=0.1, warmup_shape="constant"),
        lambda t: 0.1 if t < 7 else cosine((t - 7) / 63),
    ),
    "warm-up by epoch": (
        Constant(warmup=4.0, warmup_start=0.01, by_epoch=True),
        lambda t: min(1, 0.01 + 0.99 * (t // 7) / 4),
    ),
    "knots": (
        PiecewiseLinear(knots=((0.0, 0.2), (2.5, 1.0), (9.0, 0.1))),
        lambda t: np.interp(t / 7, [0, 2.5, 9], [0.2, 1, 0.1]),
    ),
    "linear by epoch": (Linear(by_epoch=True), lambda t: 1 - t // 7 / 10),
    "cycle in three phases": (
        OneCycle(peak_at=0.3, start=0.1, final=0.01, shape="linear", three_phase=True),
        lambda t: np.interp(t, [0, 21, 42, 70], [0.1, 1, 0.1, 0.01]),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_rates_are_those_of_the_formula(name):
    schedule, multiple = FORMULAS[name]
    if name == "restarts of one length":
        # Cycles of 17.5 steps begin at whole ones, ties to the even: 0, 18, 35, 52, 70.
        found = rates(schedule, steps=35, steps_per_epoch=EPOCH)
    else:
        found = rates(schedule, steps=STEPS, steps_per_epoch=EPOCH)
    np.testing.assert_allclose(found, [PEAK * multiple(step) for step in range(len(found))], **CLOSE)


def test_a_staircase_is_exact_over_a_long_training():
    """24 epochs of 2.4 epochs' stairs, 1251 steps an epoch (ImageNet in batches of 1024), where a stair is 3002.4."""
    exponent = np.log(rates(Exponential(staircase=True), steps=24 * 1251, steps_per_epoch=1251) / PEAK) / np.log(0.97)
    np.testing.assert_array_equal(np.rint(exponent), np.arange(24 * 1251) * 5 // 15012)


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (Polynomial(power=3.0, final=0.1), optax.polynomial_schedule(PEAK, PEAK / 10, 3.0, STEPS)),
        (Exponential(factor=0.5, epochs=2.0), optax.exponential_decay(PEAK, 14, 0.5)),
        (Exponential(factor=0.5, epochs=2.0, staircase=True), optax.exponential_decay(PEAK, 14, 0.5, staircase=True)),
        (
            Exponential(factor=0.5, warmup=1.0, warmup_start=0.1),
            optax.warmup_exponential_decay_schedule(PEAK / 10, PEAK, 7, 16.8, 0.5),  # pyright: ignore
        ),
        (Cosine(warmup=1.0, warmup_start=0.0), optax.warmup_cosine_decay_schedule(0.0, PEAK, 7, STEPS)),
        (
            CosineRestarts(first=2.0, multiplier=4.0, decay=0.5),
            optax.sgdr_schedule(
                [
                    {"init_value": peak, "peak_value": peak, "warmup_steps": 0, "decay_steps": length}
                    for peak, length in ((PEAK, 14), (PEAK / 2, 56))
                ]
            ),
        ),
    ],
    ids=["polynomial", "exponential", "staircase", "warm exponential", "warm cosine", "sgdr"],
)
def test_rates_are_those_of_optax(schedule, theirs):
    found = rates(schedule, steps=STEPS, steps_per_epoch=EPOCH)
    np.testing.assert_allclose(found, [theirs(jnp.float32(step)) for step in range(STEPS)], rtol=2e-6, atol=1e-7)


# --- PyTorch's and timm's own objects


def of_torch(make, count):
    """The rates that a scheduler of PyTorch sets, one a call."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler, found = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def after_warmup(main, warmup, start, shape="Linear"):
    """A main scheduler behind the warm-up of torchvision's reference training, both called once an epoch."""

    def make(lrs, optimizer):
        rise = (
            lrs.LinearLR(optimizer, start_factor=start, total_iters=warmup)
            if shape == "Linear"
            else lrs.ConstantLR(optimizer, factor=start, total_iters=warmup)
        )
        return lrs.SequentialLR(optimizer, [rise, main(lrs, optimizer)], milestones=[warmup])

    return make


EPOCHS = 12
BY_EPOCH = {
    "MultiStepLR": (
        MultiStep(milestones=(3.0, 7.0), factor=0.2),
        lambda lrs, optimizer: lrs.MultiStepLR(optimizer, [3, 7], 0.2),
    ),
    "StepLR": (
        Exponential(factor=0.1, epochs=5.0, staircase=True),
        lambda lrs, optimizer: lrs.StepLR(optimizer, 5, 0.1),
    ),
    "ExponentialLR": (
        Exponential(factor=0.9, epochs=1.0, by_epoch=True),
        lambda lrs, optimizer: lrs.ExponentialLR(optimizer, 0.9),
    ),
    "PolynomialLR": (
        Polynomial(power=0.9, by_epoch=True),
        lambda lrs, optimizer: lrs.PolynomialLR(optimizer, EPOCHS, 0.9),
    ),
    "CosineAnnealingLR": (
        Cosine(final=0.05, by_epoch=True),
        lambda lrs, optimizer: lrs.CosineAnnealingLR(optimizer, EPOCHS, PEAK * 0.05),
    ),
    "CosineAnnealingWarmRestarts": (
        CosineRestarts(first=2.0, multiplier=2.0, final=0.05, by_epoch=True),
        lambda lrs, optimizer: lrs.CosineAnnealingWarmRestarts(optimizer, 2, 2, PEAK * 0.05),
    ),
    "torchvision, cosine": (
        Cosine(warmup=5.0, warmup_start=0.01, by_epoch=True),
        after_warmup(lambda lrs, optimizer: lrs.CosineAnnealingLR(optimizer, EPOCHS - 5), 5, 0.01),
    ),
    "torchvision, steps": (
        Exponential(factor=0.1, epochs=3.0, staircase=True, warmup=2.0, warmup_start=0.1, by_epoch=True),
        after_warmup(lambda lrs, optimizer: lrs.StepLR(optimizer, 3, 0.1), 2, 0.1),
    ),
    "torchvision, constant warm-up": (
        Exponential(factor=0.9, epochs=1.0, warmup=2.0, warmup_start=0.1, warmup_shape="constant", by_epoch=True),
        after_warmup(lambda lrs, optimizer: lrs.ExponentialLR(optimizer, 0.9), 2, 0.1, "Constant"),
    ),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", BY_EPOCH)
def test_rates_are_those_of_pytorch_called_once_an_epoch(name):
    schedule, make = BY_EPOCH[name]
    found = rates(schedule, steps=EPOCHS * EPOCH, steps_per_epoch=EPOCH)
    np.testing.assert_allclose(found, np.repeat(of_torch(make, EPOCHS), EPOCH), rtol=2e-6, atol=1e-7)


@pytest.mark.torch
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_one_cycle_is_that_of_pytorch(shape, three_phase):
    schedule = OneCycle(
        peak_at=0.32, start=1 / 25, final=1 / 25 / 1e4, shape=shape, three_phase=three_phase, final_at="last"
    )

    def make(lrs, optimizer):
        strategy = {"cosine": "cos", "linear": "linear"}[shape]
        settings = {"total_steps": STEPS, "pct_start": 0.32, "anneal_strategy": strategy, "three_phase": three_phase}
        return lrs.OneCycleLR(optimizer, PEAK, cycle_momentum=False, **settings)

    found = rates(schedule, steps=STEPS, steps_per_epoch=EPOCH)
    np.testing.assert_allclose(found, [*of_torch(make, STEPS - 1), PEAK / 25e4], rtol=1e-5, atol=1e-7)


def of_timm(kind, count, **settings):
    """The rates of a scheduler of timm, at every time from 0."""
    from tests.torch_peers import torch

    schedulers = pytest.importorskip("timm.scheduler")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = getattr(schedulers, kind)(optimizer, **settings)
    return [scheduler._get_lr(time)[0] for time in range(count)]


WARM: dict[str, Any] = {"warmup": 3.0, "warmup_start": 0.01}
WARM_TIMM = {"warmup_t": 3, "warmup_lr_init": PEAK * 0.01}
TIMM = {
    "cosine": (
        Cosine(final=0.05, by_epoch=True, curve_from="start", **WARM),
        ("CosineLRScheduler", {"t_initial": EPOCHS, "lr_min": PEAK * 0.05, **WARM_TIMM}),
    ),
    "cosine with prefix": (
        Cosine(by_epoch=True, **WARM),
        ("CosineLRScheduler", {"t_initial": EPOCHS - 3, "warmup_prefix": True, **WARM_TIMM}),
    ),
    "cycles": (
        CosineRestarts(first=2.0, multiplier=2.0, decay=0.5, final=0.01, by_epoch=True, **WARM),
        (
            "CosineLRScheduler",
            {
                "t_initial": 2,
                "cycle_mul": 2.0,
                "cycle_decay": 0.5,
                "cycle_limit": 9,
                "lr_min": PEAK * 0.01,
                "warmup_prefix": True,
                **WARM_TIMM,
            },
        ),
    ),
    "step": (
        Exponential(factor=0.97, epochs=2.4, staircase=True, by_epoch=True, curve_from="start", **WARM),
        ("StepLRScheduler", {"decay_t": 2.4, "decay_rate": 0.97, "warmup_prefix": False, **WARM_TIMM}),
    ),
    "multi step": (
        MultiStep(milestones=(4.0, 9.0), by_epoch=True, **WARM),
        # timm's milestones come an epoch early.
        ("MultiStepLRScheduler", {"decay_t": [5, 10], "decay_rate": 0.1, "warmup_prefix": False, **WARM_TIMM}),
    ),
    "poly": (
        Polynomial(power=0.5, final=0.05, by_epoch=True, curve_from="start", **WARM),
        ("PolyLRScheduler", {"t_initial": EPOCHS, "power": 0.5, "lr_min": PEAK * 0.05, **WARM_TIMM}),
    ),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", TIMM)
def test_rates_are_those_of_timm_called_once_an_epoch(name):
    schedule, (kind, settings) = TIMM[name]
    found = rates(schedule, steps=EPOCHS * EPOCH, steps_per_epoch=EPOCH)
    np.testing.assert_allclose(found, np.repeat(of_timm(kind, EPOCHS, **settings), EPOCH), rtol=2e-6, atol=1e-7)


# --- fields and what is refused


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (MultiStep(milestones=(3.0, 10.0)), "10.0 epochs of 7 steps are 70 steps, but the training has 70; every"),
        (CosineRestarts(first=10.5), "a first cycle of 74 steps, but the training has 70 behind warm-up"),
        (Exponential(epochs=12.0, staircase=True), "falls every 84 steps, but the training has 70"),
        (Exponential(epochs=0.1, staircase=True), "falls every 0.7 steps, but the training has 70"),
        (PiecewiseLinear(knots=((0.0, 1.0), (11.0, 0.0))), "epoch 11.0 is never reached: the training has 10 epochs"),
        (PiecewiseLinear(knots=((0.0, 1.0), (9.0, 0.0))), "the rate is 0 from epoch 9.0 on, but the training has 10"),
        (
            PiecewiseLinear(knots=((0.0, 0.0), (10.5, 1.0))),
            "the peak, at epoch 10.5, is never reached: the training has",
        ),
        (OneCycle(peak_at=0.01, final_at="last"), "peak at 0.01 x 70 - 1 = -0.3, which is not between 0 and"),
        (Polynomial(warmup=10.0), "but the training has 70; warm-up must be shorter"),
    ],
)
def test_what_does_not_fit_the_length_of_a_training_is_refused(schedule, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        schedule.build(PEAK, steps=STEPS, steps_per_epoch=EPOCH)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MultiStep(milestones=(3.0, 3.0)), "must be ascending epochs"),
        (lambda: MultiStep(milestones=(0.0,)), "must be ascending epochs greater than 0"),
        (lambda: PiecewiseLinear(knots=((1.0, 1.0), (2.0, 0.0))), "must begin with 0 and ascend"),
        (lambda: PiecewiseLinear(knots=((0.0, 0.5), (2.0, 0.0))), "one must be 1, the peak"),
        (lambda: PiecewiseLinear(warmup=1.0), "has its own rise (see knots); leave warmup at 0"),
        (lambda: OneCycle(warmup_start=0.1), "warmup_start = 0.1: one_cycle has its own rise"),
        (lambda: OneCycle(three_phase=True, peak_at=0.5), "below 0.5 with three_phase"),
        (lambda: Cosine(warmup_shape="constant"), "set warmup_start"),
        (lambda: Exponential(factor=0.0), "greater than 0"),
    ],
)
def test_bad_fields_are_refused(make, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        make()


def test_a_cycle_as_long_as_the_training_is_a_cosine():
    both = (CosineRestarts(first=9.0, warmup=1.0), Cosine(warmup=1.0))
    found, expected = (rates(schedule, steps=STEPS, steps_per_epoch=EPOCH) for schedule in both)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


def test_step_every_is_typed_by_name():
    assert Schedule.from_json('"step_every"') == Exponential(factor=0.1, epochs=30.0, staircase=True)
    assert Schedule.from_json('{"name": "step_every", "epochs": 2}') == Exponential(
        factor=0.1, epochs=2.0, staircase=True
    )
    assert Step.tag == "step"
