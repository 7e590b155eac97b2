"""The recipes of airbench, narrow and on a few images, step by step against PyTorch put together as the source does.

Whole trainings of ten steps, from the same weights and batches: momenta after one step, then parameters, running
statistics and slow weights after all, against the source in float64. Where two numbers of a pooling's window are all
but equal, float32 may send the gradient to the other one, ours as theirs (in one training of two or so, and 1e-3 of the
gradient of the tensors before that pooling): so most tensors must agree in the first step, and none is asked for more
than 1e-2, nor is the last step.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from cnnjax import Hardware, Synthetic
from cnnjax.config import replace
from cnnjax.experiment import functions_of
from cnnjax.run.program import Program
from cnnjax.study.file import load
from cnnjax.training.state import step_key
from cnnjax.training.step import train_step
from tests.marks import slow

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

pytestmark = pytest.mark.torch

RECIPES = Path(__file__).parents[1] / "experiments" / "cifar10"
BATCH, STEPS, STEPS_PER_EPOCH, SEED = 16, 10, 2, 1
WIDTHS = (8, 12, 12)


def shrunk(name):
    """The recipe's experiment with few filters, ten steps of 16 images, two steps an epoch."""
    experiment = load(RECIPES / f"{name}.py").experiment
    convolutions = ("conv{}_1", "residual{}.layers.conv2", "residual{}.layers.conv3")
    places = convolutions if name == "airbench96" else ("conv{}_1", "conv{}_2")
    narrow = {
        f"model.layers.{place.format(group)}.features": width
        for group, width in enumerate(WIDTHS, start=1)
        for place in places
    }
    data = Synthetic(height=32, width=32, channels=3, classes=10, examples=32, test_examples=16)
    changes = {"data": data, "steps": STEPS, "batch_size": BATCH, "seed": SEED, **narrow}
    if experiment.optim.tag == "sgd":
        schedule: Any = experiment.optim.schedule
        start, (peak, _), (end, final) = schedule.knots
        warm = round(STEPS * peak / end)
        changes["optim.schedule.knots"] = (start, (warm / STEPS_PER_EPOCH, 1.0), (STEPS / STEPS_PER_EPOCH, final))
    else:
        changes["optim.rest_rate"] = 0.053 * BATCH / 0.24
    return replace(experiment, changes)


class Group(nn.Module):
    def __init__(self, inputs, features, convolutions, momentum):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(features if i else inputs, features, 3, padding=1, bias=False) for i in range(convolutions)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(features, eps=1e-12, momentum=1 - momentum) for _ in range(convolutions)
        )
        for norm in self.norms:
            norm.get_parameter("weight").requires_grad_(False)

    def forward(self, x):
        x = nn.functional.gelu(self.norms[0](nn.functional.max_pool2d(self.convolutions[0](x), 2)))
        y = self.norms[1](self.convolutions[1](x))
        if len(self.norms) == 3:
            y = x + self.norms[2](self.convolutions[2](nn.functional.gelu(y)))
        return nn.functional.gelu(y)


class Net(nn.Module):
    def __init__(self, convolutions, momentum, factor):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad = False
        self.groups = nn.ModuleList(
            Group(i, o, convolutions, momentum) for i, o in zip((24, *WIDTHS), WIDTHS, strict=False)
        )
        self.head, self.factor = nn.Linear(WIDTHS[-1], 10, bias=False), factor

    def forward(self, x):
        x = nn.functional.gelu(self.whiten(x))
        for group in self.groups:
            x = group(x)
        return self.head(nn.functional.max_pool2d(x, 3).flatten(1)) * self.factor


def pairs(net, convolutions):
    """Their tensors by the paths of ours: "params ..." and "batch_stats ..."."""
    found = {"params whiten.kernel": net.whiten.weight, "params whiten.bias": net.whiten.bias}
    found["params logits.kernel"] = net.head.weight
    for number, group in enumerate(net.groups, start=1):
        for i, (convolution, norm) in enumerate(zip(group.convolutions, group.norms, strict=True), start=1):
            inner = f"residual{number}_" if convolutions == 3 and i > 1 else ""
            suffix = f"{i}" if inner else f"{number}_{i}"
            found[f"params {inner}conv{suffix}.kernel"] = convolution.weight
            found[f"params {inner}norm{suffix}.bias"] = norm.bias
            found[f"batch_stats {inner}norm{suffix}.mean"] = norm.running_mean
            found[f"batch_stats {inner}norm{suffix}.var"] = norm.running_var
    return found


def ours_of(tree, collection):
    """The leaves by path, kernels in PyTorch's order of axes."""
    leaves = {
        f"{collection} {jax.tree_util.keystr(path, simple=True, separator='.')}": np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    return {name: np.moveaxis(x, (-1, -2), (0, 1)) if x.ndim > 1 else x for name, x in leaves.items()}


def in_torch(experiment, first, batches, dtype, *, source):
    """After every step: the source's tensors, momenta and slow tensors by our paths, as float64."""
    layers = experiment.model.layers
    convolutions = 3 if "residual1" in layers else 2
    net = Net(convolutions, layers["norm1_1"].norm.momentum, layers["scale"].factor).to(dtype)
    theirs = pairs(net, convolutions)
    with torch.no_grad():
        for name, tensor in theirs.items():
            tensor.copy_(torch.tensor(first[name]))
    slow = {name: tensor.detach().clone() for name, tensor in theirs.items()}
    step_of = source(net, theirs)
    found = []
    for step, (images, labels) in enumerate(batches):
        outputs = net.train()(torch.tensor(images.transpose(0, 3, 1, 2).copy()).to(dtype))
        loss = nn.functional.cross_entropy(outputs, torch.tensor(labels).long(), label_smoothing=0.2, reduction="sum")
        net.zero_grad(set_to_none=True)
        loss.backward()
        momenta = step_of(step)
        if experiment.methods:
            follow(slow, theirs, step + 1)
        kept = {"now": theirs, "momenta": momenta, "slow": slow}
        found.append(
            {kind: {n: x.detach().double().numpy().copy() for n, x in of.items()} for kind, of in kept.items()}
        )
    return found


def arrays(tensor):
    return tensor.detach().double().numpy().copy()


def follow(slow, theirs, done):
    """The source's Lookahead: after every fifth step, and back to the slow tensors after the last."""
    with torch.no_grad():
        if done % 5 == 0:
            decay = 0.95**5 * (done / STEPS) ** 3
            for name, tensor in theirs.items():
                slow[name].lerp_(tensor, 1 - decay)
        if done % 5 == 0 or done == STEPS:
            for name, tensor in theirs.items():
                tensor.copy_(slow[name])


def legacy(lr, weight_decay, warm_share, final, net, theirs):
    """legacy/airbench94.py to airbench96.py: SGD of the sum over a batch, a rate for biases of normalization."""
    kilostep = 1024 * (1 + 1 / (1 - 0.85))
    rate, decay = lr / kilostep, weight_decay * BATCH / kilostep
    biases = [tensor for name, tensor in theirs.items() if name.startswith("params") and "norm" in name]
    others = [net.head.weight, net.whiten.bias, *(c.weight for group in net.groups for c in group.convolutions)]
    optimizer = torch.optim.SGD(
        [
            {"params": biases, "lr": 64 * rate, "weight_decay": decay / (64 * rate)},
            {"params": others, "lr": rate, "weight_decay": decay / rate},
        ],
        momentum=0.85,
        nesterov=True,
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    warm = round(STEPS * warm_share)

    def step_of(step):
        down = (step - warm) / (STEPS - warm)
        share = 0.2 + 0.8 * step / warm if step < warm else 1 - down + final * down
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * share
        if step >= 3 * STEPS_PER_EPOCH:
            net.whiten.bias.grad = None
        optimizer.step()
        return momenta_of(optimizer, theirs)

    return step_of


def momenta_of(optimizer, theirs):
    """The buffers, of gradients of the mean."""
    names = {id(tensor): name for name, tensor in theirs.items()}
    return {names[id(p)]: held["momentum_buffer"] / BATCH for p, held in optimizer.state.items()}


def muon(net, theirs):
    """airbench94_muon.py, in the precision of the network."""
    kernels = [c.weight for group in net.groups for c in group.convolutions]
    biases = [tensor for name, tensor in theirs.items() if name.startswith("params") and "norm" in name]
    decay = 2e-6 * BATCH
    listed = [([net.whiten.bias], 0.053), (biases, 0.053), ([net.head.weight], 0.67)]
    optimizer = torch.optim.SGD(
        [{"params": params, "lr": rate, "weight_decay": decay / rate} for params, rate in listed],
        momentum=0.85,
        nesterov=True,
    )
    buffers = [torch.zeros_like(kernel) for kernel in kernels]

    def step_of(step):
        for group, (_, rate), steps in zip(optimizer.param_groups, listed, (6, STEPS, STEPS), strict=True):
            group["lr"] = rate * (1 - step / steps)
        if step >= 3 * STEPS_PER_EPOCH:
            net.whiten.bias.grad = None
        optimizer.step()
        with torch.no_grad():
            for kernel, buffer in zip(kernels, buffers, strict=True):
                buffer.mul_(0.6).add_(kernel.grad)
                x = (kernel.grad + 0.6 * buffer).reshape(len(kernel), -1)
                x = x / (x.norm() + 1e-7)
                for _ in range(3):
                    square = x @ x.T
                    x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                kernel.sub_(0.24 * (1 - step / STEPS) * x.reshape(kernel.shape))
        names = {id(tensor): name for name, tensor in theirs.items()}
        of_kernels = {names[id(k)]: b / BATCH for k, b in zip(kernels, buffers, strict=True)}
        return momenta_of(optimizer, theirs) | of_kernels

    return step_of


SOURCES = {
    "airbench94": partial(legacy, 11.5, 0.0153, 109 / 476, 0.07),
    "airbench96": partial(legacy, 9.0, 0.012, 177 / 1776, 0.0),
    "airbench94_muon": muon,
}


def in_cnnjax(experiment):
    """The first tensors, the batches as the network sees them, and what there is after every step."""
    program = Program(experiment, hardware=Hardware(devices=1))
    state = jax.device_get(program.init([experiment]))
    functions = functions_of(experiment, program.length)
    step_fn = jax.jit(partial(train_step, functions))
    inputs = jax.jit(functions.inputs)
    first = ours_of(state.params, "params") | ours_of(state.batch_stats, "batch_stats")
    batches, found = [], []
    for step in range(STEPS):
        batch = program.fetch(program.feed.data, program.rows([experiment], step))
        images, ((labels, _),), _ = inputs(batch, step_key(SEED, step), step)
        batches.append((np.asarray(images), np.asarray(labels)))
        state, _ = step_fn(state, batch)
        now = ours_of(state.params, "params") | ours_of(state.batch_stats, "batch_stats")
        slow = {}
        if experiment.methods:
            own = state.methods["lookahead"]
            slow = ours_of(own["params"], "params") | ours_of(own["batch_stats"], "batch_stats")
        found.append({"now": now, "slow": slow, "momenta": momenta(state.opt_state)})
    program.close()
    return first, batches, found


def momenta(opt_state):
    """The traces of the optimizer by path."""
    traces = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(opt_state):
        keys = [str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey)]
        if keys and np.ndim(leaf):
            x = np.asarray(leaf)
            traces["params " + ".".join(keys)] = np.moveaxis(x, (-1, -2), (0, 1)) if x.ndim > 1 else x
    return traces


def errors(ours, theirs, scale):
    """The norm of the difference of each tensor as a share of that of `scale`."""
    return {name: np.linalg.norm(ours[name] - theirs[name]) / np.linalg.norm(scale[name]) for name in theirs}


@pytest.mark.parametrize("name", slow(*SOURCES))
def test_steps_are_those_of_the_source(name):
    experiment = shrunk(name)
    first, batches, ours = in_cnnjax(experiment)
    theirs = in_torch(experiment, first, batches, torch.float64, source=SOURCES[name])

    # After one step the momenta are gradients with decay, which no rounding of a parameter hides.
    once = errors(ours[0]["momenta"], theirs[0]["momenta"], theirs[0]["momenta"])
    assert np.median(list(once.values())) < 5e-6
    assert max(once.values()) < 1e-2
    moved = {path for path in first if np.any(theirs[0]["now"][path] != first[path])}
    assert moved == {path for path in first if np.any(ours[0]["now"][path] != first[path])}
    assert moved == first.keys() - {"params whiten.kernel"}

    # As shares of the way that each tensor has come.
    way = {path: theirs[-1]["now"][path] - first[path] for path in moved}
    for kind in ("now", "slow") if experiment.methods else ("now",):
        last = {path: theirs[-1][kind][path] for path in moved}
        assert max(errors(ours[-1][kind], last, way).values()) < 1e-2
    assert np.array_equal(ours[-1]["now"]["params whiten.kernel"], first["params whiten.kernel"])
    if not experiment.methods:  # three epochs are six steps
        assert np.array_equal(ours[-1]["now"]["params whiten.bias"], ours[5]["now"]["params whiten.bias"])
