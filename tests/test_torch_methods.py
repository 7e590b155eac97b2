"""Training methods against PyTorch and timm: the same weights from the same gradients."""

from __future__ import annotations

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import EMA, SAM, SGD, SWA, Constant, Experiment, Hardware, Lookahead, Model, Synthetic, nn
from cnnjax.run.program import Program
from tests.steps_of_methods import stepped
from tests.torch_peers import torch

pytestmark = pytest.mark.torch

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(12, 5)).astype(np.float32)
TARGETS = RNG.integers(0, 3, 12)
START = {"first": RNG.normal(size=(5, 4)).astype(np.float32), "second": RNG.normal(size=(4, 3)).astype(np.float32)}
OPTIM = SGD(learning_rate=0.3, momentum=0.9, nesterov=True, weight_decay=0.01, schedule=Constant())


def loss(params):
    """Of two smooth layers."""
    logits = jnp.tanh(INPUTS @ params["first"]) @ params["second"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), TARGETS[:, None], 1).mean()


def torch_loss(first, second):
    return torch.nn.functional.cross_entropy(torch.tanh(torch.tensor(INPUTS) @ first) @ second, torch.tensor(TARGETS))


def torch_parameters():
    return [torch.nn.Parameter(torch.tensor(leaf.copy())) for leaf in START.values()]


def torch_sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.01)


def closely(found, parameters):
    for leaf, parameter in zip(found.values(), parameters, strict=True):
        # float32 of some steps of sums of at most 12 terms, relative to weights of size one.
        assert_allclose(leaf, parameter.detach().numpy(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("adaptive", [False, True])
def test_sharpness_aware_steps(adaptive):
    """Two backward passes: at the weights, and at those that the first gradient leads up to."""
    rho = 0.4
    parameters = torch_parameters()
    optimizer = torch_sgd(parameters)
    for params, _ in stepped(SAM(rho=rho, adaptive=adaptive), OPTIM, START, loss):
        optimizer.zero_grad()
        torch_loss(*parameters).backward()
        with torch.no_grad():
            scales = [p.abs() if adaptive else torch.ones_like(p) for p in parameters]
            norm = torch.cat([(t * p.grad).flatten() for t, p in zip(scales, parameters, strict=True)]).norm()
            ups = [rho * t**2 * p.grad / norm for t, p in zip(scales, parameters, strict=True)]
            for p, up in zip(parameters, ups, strict=True):
                p.add_(up)
        optimizer.zero_grad()
        torch_loss(*parameters).backward()
        with torch.no_grad():
            for p, up in zip(parameters, ups, strict=True):
                p.sub_(up)
        optimizer.step()
        closely(params, parameters)


def test_lookahead_as_timms():
    from timm.optim.lookahead import Lookahead as TorchLookahead

    parameters = torch_parameters()
    optimizer = TorchLookahead(torch_sgd(parameters), alpha=0.3, k=2)
    torch_loss(*parameters).backward()
    # timm takes its slow weights when it first pulls back; the paper's start as the initial ones.
    optimizer.sync_lookahead()
    for params, _ in stepped(Lookahead(share=0.3, every=2), OPTIM, START, loss):
        optimizer.zero_grad()
        torch_loss(*parameters).backward()
        optimizer.step()
        closely(params, parameters)


def test_the_moving_average_of_torchvisions_references():
    """Its loop: after the first of an epoch's steps and every third, a copy up to the first averaging after warm-up."""
    from torch.optim.swa_utils import AveragedModel

    examples, batch, every, epochs, warmup, alpha = 16, 4, 3, 3, 1, 0.1
    parameters = torch_parameters()
    model, optimizer = torch.nn.ParameterList(parameters), torch_sgd(parameters)
    decay = 1 - alpha * batch * every / epochs
    averaged = AveragedModel(model, avg_fn=lambda mean, value, _: decay * mean + (1 - decay) * value)
    ema = EMA(share=1 / (alpha * examples), from_epoch=warmup, counted="epoch", every=every)
    length = {"steps": epochs * examples // batch, "steps_per_epoch": examples // batch}
    found = stepped(ema.lasting(**length), OPTIM, START, loss, steps=length["steps"])
    for step, (_, own) in enumerate(found):
        epoch, place = divmod(step, length["steps_per_epoch"])
        optimizer.zero_grad()
        torch_loss(*parameters).backward()
        optimizer.step()
        if place % every == 0:
            averaged.update_parameters(model)
            if epoch < warmup:
                averaged.n_averaged.fill_(0)
        closely(own["params"], list(averaged.module))


# --- weight averaging


class Twins(linen.Module):
    """Two convolutions with batch normalization, which keeps PyTorch's variance."""

    @linen.compact
    def __call__(self, images, train: bool):
        x = images
        for number, features in enumerate((3, 4)):
            x = linen.Conv(features, (3, 3), name=f"conv{number}")(x)
            x = nn.BatchNormalization(running_variance="unbiased", name=f"norm{number}")(x, train=train)
            x = jax.nn.relu(x)
        return linen.Dense(3, name="logits")(x.mean((1, 2)))


class TwinsModel(Model, tag="twins_of_torch"):
    def network(self):
        return Twins()


def torch_twins():
    layers = []
    for before, features in ((1, 3), (3, 4)):
        layers += [torch.nn.Conv2d(before, features, 3, padding=1), torch.nn.BatchNorm2d(features), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3))


def given(network, params):
    """The PyTorch network with these parameters."""
    with torch.no_grad():
        for place, number in ((0, 0), (3, 1)):
            conv, norm = params[f"conv{number}"], params[f"norm{number}"]
            network[place].weight.copy_(torch.tensor(np.transpose(conv["kernel"], (3, 2, 0, 1))))
            network[place].bias.copy_(torch.tensor(conv["bias"]))
            network[place + 1].weight.copy_(torch.tensor(norm["scale"]))
            network[place + 1].bias.copy_(torch.tensor(norm["bias"]))
        network[-1].weight.copy_(torch.tensor(params["logits"]["kernel"].T))
        network[-1].bias.copy_(torch.tensor(params["logits"]["bias"]))
    return network


def test_weight_averaging_with_statistics_anew():
    from torch.optim.swa_utils import AveragedModel, update_bn

    experiment = Experiment(
        model=TwinsModel(),
        data=Synthetic(height=6, width=6, channels=1, classes=3, examples=24, test_examples=8),
        optim=SGD(learning_rate=0.1, schedule=Constant()),
        methods=(SWA(start=0.2, every=2 / 3),),
        validation=0,
        batch_size=8,
        steps=6,
    )
    dataset = experiment.data.load()
    (mean,), (std,) = dataset.scale
    program = Program(experiment, hardware=Hardware(devices=1))
    state, network = program.init([experiment]), torch_twins()
    averaged, batches = AveragedModel(network), []

    def normalized(images):
        return torch.tensor(np.transpose((np.asarray(images, np.float32) / 255 - mean) / std, (0, 3, 1, 2)).copy())

    for step in range(6):
        rows = program.rows([experiment], step)
        if step < 3:
            batches.append(normalized(dataset.train.values["image"][np.asarray(rows["index"])]))
        state, _ = program.train(state, rows)
        if step + 1 in (2, 4, 6):
            averaged.update_parameters(given(network, jax.device_get(state.params)))
    update_bn(batches, averaged)
    found = jax.device_get(program.with_weights_of(program.estimated(state, [experiment]), "swa").variables)
    expected = averaged.module
    for number, place in ((0, 1), (1, 4)):
        statistics = found["batch_stats"][f"norm{number}"]
        # float32 of two convolutions.
        assert_allclose(statistics["mean"], expected[place].running_mean, rtol=1e-4, atol=1e-6)
        assert_allclose(statistics["var"], expected[place].running_var, rtol=1e-4, atol=1e-6)
    assert_allclose(found["params"]["logits"]["kernel"].T, expected[-1].weight.detach(), rtol=1e-5, atol=1e-7)
    images = dataset.test.values["image"]
    logits = Twins().apply(found, np.transpose(normalized(images).numpy(), (0, 2, 3, 1)), train=False)
    with torch.no_grad():
        assert_allclose(logits, averaged.eval()(normalized(images)), rtol=1e-4, atol=1e-5)
