"""The first steps of the published trainings, written in PyTorch after their sources: see each function."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnjax.convert import to_torch
from tests.recipe_steps import CLASSES, IMAGENET, SIDE, Steps, kept
from tests.torch_peers import timm, torch, torchvision

timm_loss, timm_optim = (importlib.import_module(f"{timm.__name__}.{name}") for name in ("loss", "optim"))
nn = torch.nn
BLOCKS = {"basic": torchvision.models.resnet.BasicBlock, "bottleneck": torchvision.models.resnet.Bottleneck}
MOMENTUM = {"trace": "momentum_buffer"}
WIDTH = 8


class ResNet(nn.Module):
    """torchvision's, narrow and of two stages with a block each; its tensors have torchvision's names."""

    def __init__(self, block: str):
        super().__init__()
        made = BLOCKS[block]
        wide = WIDTH * made.expansion
        self.conv1, self.bn1 = nn.Conv2d(3, WIDTH, 7, 2, 3, bias=False), nn.BatchNorm2d(WIDTH)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(made(WIDTH, WIDTH, 1, _projection(WIDTH, wide, 1)))
        self.layer2 = nn.Sequential(made(wide, 2 * WIDTH, 2, _projection(wide, 2 * wide, 2)))
        self.fc = nn.Linear(2 * wide, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(self.layer2(x).mean((2, 3)))


def _projection(inputs: int, outputs: int, stride: int) -> Any:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


@dataclass(frozen=True)
class Training:
    """What one of the sources trains with: its optimizer for a network, the learning rate of a step, its loss of logits
    and distributions, and its changes of the network.

    buffers: the names of what the optimizer keeps, optax's to PyTorch's.
    """

    block: str
    optimizer: Callable[[Any], Any]
    rate: Callable[[int], float]
    loss: Callable[[Any, Any], Any]
    buffers: dict[str, str]
    changed: Callable[[Any], Any] = lambda network: network


def torchvision_v1() -> Training:
    """references/classification/train.py with its defaults: --lr 0.1 --momentum 0.9 --wd 1e-4, at a batch of 256."""
    return Training(
        block="bottleneck",
        optimizer=lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
        rate=lambda step: 0.1,
        loss=nn.CrossEntropyLoss(),
        buffers=MOMENTUM,
    )


def torchvision_v2() -> Training:
    """The same with the command of ResNet50_Weights.IMAGENET1K_V2, in its first epoch: a hundredth of --lr 0.5."""

    def optimizer(net: Any) -> Any:
        norms = [p for module in net.modules() if isinstance(module, nn.BatchNorm2d) for p in module.parameters()]
        others = [p for p in net.parameters() if not any(p is norm for norm in norms)]
        groups = [{"params": others, "weight_decay": 2e-5}, {"params": norms, "weight_decay": 0.0}]
        return torch.optim.SGD(groups, lr=0.5, momentum=0.9)

    return Training(
        block="bottleneck",
        optimizer=optimizer,
        rate=lambda step: 0.5 * 0.01,
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        buffers=MOMENTUM,
    )


def rsb_a2() -> Training:
    """timm's train.py with the hyper-parameters of "ResNet strikes back" A2: LAMB, binary cross-entropy of targets that
    are 1 for each class mixed with a share above 0.2, and in the first epoch the rate that warm-up starts at."""

    def optimizer(net: Any) -> Any:
        groups = timm_optim.param_groups_weight_decay(net, 0.02)
        return timm_optim.Lamb(groups, lr=5e-3)

    return Training(
        block="bottleneck",
        optimizer=optimizer,
        rate=lambda step: 1e-4,
        loss=timm_loss.BinaryCrossEntropy(smoothing=0.0, target_threshold=0.2),
        buffers={"mu": "exp_avg", "nu": "exp_avg_sq"},
    )


def ffcv_resnet18() -> Training:
    """ffcv-imagenet's train_imagenet.py with its rn18_configs: 0.5 at a batch of 1,024 images, from 1e-4 of it on; a
    blur before convolutions that stride; decay of all that has no "bn" in its name."""

    def optimizer(net: Any) -> Any:
        named = list(net.named_parameters())
        groups = [
            {"params": [p for name, p in named if "bn" in name], "weight_decay": 0.0},
            {"params": [p for name, p in named if "bn" not in name], "weight_decay": 5e-5},
        ]
        return torch.optim.SGD(groups, lr=1, momentum=0.9)

    def rate(step: int) -> float:
        epoch_length = IMAGENET // 1024
        ends = np.interp([0, 1], [0, 2, 16], [1e-4 * 0.5, 0.5, 0])
        return float(np.interp(step, [0, epoch_length], ends))

    return Training("basic", optimizer, rate, nn.CrossEntropyLoss(label_smoothing=0.1), MOMENTUM, changed=_blurred)


def flax_resnet50() -> Training:
    """google/flax, examples/imagenet: learning rate from 0 to 0.1 per 256 images in 5 epochs, Nesterov momentum, L2 of
    arrays with several axes, "SAME" padding but for the first convolution, biased running variances."""

    def optimizer(net: Any) -> Any:
        groups = [
            {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": 1e-4},
            {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=1, momentum=0.9, nesterov=True)

    def rate(step: int) -> float:
        return 0.1 * 1024 / 256 * step / (5 * (IMAGENET // 1024))

    return Training("bottleneck", optimizer, rate, nn.CrossEntropyLoss(), MOMENTUM, changed=_as_in_flax)


class _Biased(nn.BatchNorm2d):
    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            self.running_mean.lerp_(x.mean((0, 2, 3)), 0.1)
            self.running_var.lerp_(x.var((0, 2, 3), correction=0), 0.1)
        return nn.functional.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


def _as_in_flax(network: Any) -> Any:
    """At a stride of 2, even sizes are padded by one at the end alone, and the max pooling likewise."""
    end = (0, 1, 0, 1)
    network.maxpool = nn.Sequential(nn.ConstantPad2d(end, -torch.inf), nn.MaxPool2d(3, 2))
    block = network.layer2[0]
    block.conv2.padding = (0, 0)
    block.conv2.register_forward_pre_hook(lambda conv, inputs: nn.functional.pad(inputs[0], end))
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                biased = _Biased(child.num_features)
                biased.load_state_dict(child.state_dict())
                setattr(module, name, biased)
    return network


class _Blurred(nn.Module):
    def __init__(self, conv: Any):
        super().__init__()
        self.conv = conv
        line = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", (line[:, None] * line)[None, None].repeat(conv.in_channels, 1, 1, 1), False)

    def forward(self, x: Any) -> Any:
        return self.conv(nn.functional.conv2d(x, self.kernel, padding=1, groups=self.conv.in_channels))


def _blurred(network: Any) -> Any:
    """A blur before each convolution that strides, but for that of the images' three channels."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and child.stride[0] > 1 and child.in_channels > 3:
                setattr(module, name, _Blurred(child))
    return network


# --- its steps


@dataclass(frozen=True)
class After:
    """The parameters, running statistics and optimizer's buffers after a step, by PyTorch's names."""

    params: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    buffers: dict[str, dict[str, np.ndarray]]


def trained(training: Training, start: Mapping[str, np.ndarray], seen: Steps, dtype: Any) -> list[After]:
    """The source's steps from the tensors `start` on what was `seen`, computed in `dtype`."""
    network = _network(training, start).to(dtype).train()
    optimizer, made = training.optimizer(network), []
    for step, (images, targets) in enumerate(zip(seen.images, seen.targets, strict=True)):
        for group in optimizer.param_groups:
            group["lr"] = training.rate(step)
        optimizer.zero_grad()
        logits = network(torch.tensor(images.transpose(0, 3, 1, 2).copy()).to(dtype))
        training.loss(logits, torch.tensor(targets).to(dtype)).backward()
        optimizer.step()
        made.append(_after(network, optimizer, training.buffers))
    return made


def decayed(training: Training, start: Mapping[str, np.ndarray], rate: float) -> dict[str, np.ndarray]:
    """What the source's step adds to each parameter at a gradient of 0 and that learning rate."""
    network = _network(training, start)
    optimizer = training.optimizer(network)
    for group in optimizer.param_groups:
        group["lr"] = rate
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = _plain(network.named_parameters())
    return {name: array - start[name] for name, array in moved.items()}


def _network(training: Training, start: Mapping[str, np.ndarray]) -> Any:
    network = ResNet(training.block)
    network.load_state_dict({name: torch.tensor(array) for name, array in start.items()})
    return training.changed(network)


def _plain(tensors: Any) -> dict[str, np.ndarray]:
    """Named tensors as arrays, under torchvision's names."""
    return {name.replace(".conv.", "."): tensor.detach().numpy().copy() for name, tensor in tensors}


def _after(network: Any, optimizer: Any, buffers: Mapping[str, str]) -> After:
    parameters = list(network.named_parameters())
    return After(
        params=_plain(parameters),
        statistics=_plain((name, tensor) for name, tensor in network.named_buffers() if "running" in name),
        buffers={
            ours: _plain((name, optimizer.state[parameter][theirs]) for name, parameter in parameters)
            for ours, theirs in buffers.items()
        },
    )


def tensors(model: Any, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Our variables under PyTorch's names."""
    model = model.model_copy(update={"num_classes": CLASSES})
    return to_torch(model, variables, input_shape=(SIDE, SIDE, 3))


def as_torch(model: Any, state: Any, buffers: Iterable[str]) -> After:
    """One of our states under PyTorch's names."""
    found = tensors(model, state.variables)
    params = {name for name in found if "running" not in name and "num_batches" not in name}

    def of(collection: Any) -> dict[str, np.ndarray]:
        every = tensors(model, {"params": collection, "batch_stats": state.batch_stats})
        return {name: array for name, array in every.items() if name in params}

    return After(
        params=of(state.params),
        statistics={name: array for name, array in found.items() if "running" in name},
        buffers={name: of(kept(state, name)) for name in buffers},
    )
