"""How fast does one GPU train networks with cnnjax, with plain Flax and with PyTorch, and how fast could it?

    python benchmarks/gpu.py --out runs/gpu           # the measurement: one GPU, no data, no network, at most 8 minutes
    python benchmarks/gpu.py --small --out /tmp/gpu   # does it run? tiny batches, on any machine

Measured, in this order, each in a process of its own; what does not fit into `--minutes` is skipped and named:

- a large bfloat16 matrix product, in JAX and in PyTorch: the faster is what the GPU can do;
- ResNet-50 (batch 256), ResNet-18 for CIFAR (512), ConvNeXt-T and VGG-16 (256), ResNet-50 again (512): the training
  step of cnnjax, of plain Flax Linen in the manner of Flax's imagenet example (the ResNets), and of torchvision's
  networks under torch.compile; the sides take turns, network by network;
- cnnjax's airbench94 network in epochs of CIFAR-10's size and, where TFDS has prepared cifar10 in $TFDS_DATA_DIR, the
  test accuracy it reaches in 10 epochs (then 30) with plain SGD and the training seconds until 94%;
- ResNet-50's 1x1 convolutions and their gradients, bfloat16, batch 256: XLA's, and as matrix products;
- ResNet-50 under torch.compile's max-autotune.

Timed are blocks of steps, 0.8 s long, after a warm-up; the device is waited for at the two ends of
a block and nowhere else. A number is the median of five blocks, with the lowest and the highest. A step is everything
between two updates of the weights: normalizing uint8 images that lie on the device, forward, backward, update; on
cnnjax's side also choosing the batch on the host and gathering it, and as many steps a call as `cnnjax train` takes.
Left out: reading, decoding and copying images, augmentation (except airbench94's), evaluation and checkpoints.
Compiling is apart: the first step's seconds less a usual one's, with empty caches; making the network and its weights
is not in it.

All sides compute in bfloat16 from float32 parameters (PyTorch: autocast, channels-last), with SGD, Nesterov momentum
and weight decay of kernels (in plain Flax as L2 in the loss, as in its example). Networks must have equal numbers of
parameters, or the ratio is not printed. Peak memory is what the side's own allocator says was in use. Utilization is
three forward passes' operations (two a multiply-accumulate, by cnnjax's own analysis) a second over the matrix
product's. A side that fails is reported with its reason; where torch.compile fails PyTorch runs without, and says so.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState

from cnnjax import (
    SGD,
    TFDS,
    AlternatingFlip,
    CifarStem,
    Constant,
    Data,
    Experiment,
    FlipViews,
    Hardware,
    Model,
    OneCycle,
    RandomCrop,
    ResNet,
    SoftmaxCrossEntropy,
    Synthetic,
    models,
)
from cnnjax.analysis import analyse
from cnnjax.data.dataset import Dataset
from cnnjax.data.examples import Examples
from cnnjax.data.prepared_sets import default_data_dir, prepared
from cnnjax.metrics import summarize
from cnnjax.nn.geometry import Geometry
from cnnjax.nn.trilinear import OPERANDS, compute
from cnnjax.run.environment import commit
from cnnjax.run.program import Program
from cnnjax.run.taken import Taken

ROOT = Path(__file__).resolve().parents[1]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LEARNING_RATE, MOMENTUM, DECAY = 1e-3, 0.9, 1e-4
STEPS = 1000
"""Of a training by its config. The learning rate is constant, so it does not matter that more are taken."""

CIFAR = 50_000
TARGET = 0.94

Record = dict[str, Any]
Step = Callable[[], None]
Steps = Callable[[int], None]
"""Takes so many steps."""


@dataclass(frozen=True)
class Size:
    """How much is measured. epochs: of the accuracy runs, until one reaches the target."""

    small: bool = False
    warmup: int = 5
    block_seconds: float = 0.8
    repeats: int = 5
    matrix: int = 8192
    epochs: tuple[int, ...] = (10, 30)


FULL = Size()
SMALL = Size(small=True, warmup=1, block_seconds=0.01, repeats=2, matrix=64, epochs=(1,))


@dataclass(frozen=True)
class Workload:
    """A network in training: `batch` images of `pixels` x `pixels` a step, of `examples` on the device.

    examples: 0 for two batches. stages: blocks of each stage, of the residual networks.
    """

    network: str
    batch: int
    pixels: int = 224
    classes: int = 1000
    stages: tuple[int, ...] = ()
    examples: int = 0
    augment: tuple[Any, ...] = ()


JITTER = (AlternatingFlip(), RandomCrop(padding=2, fill="reflect"))
WORKLOADS = {
    "resnet50-256": Workload("resnet50", 256, stages=(3, 4, 6, 3)),
    "resnet18-cifar-512": Workload("resnet18-cifar", 512, 32, 10, (2, 2, 2, 2)),
    "convnext-tiny-256": Workload("convnext_tiny", 256),
    "vgg16-256": Workload("vgg16", 256),
    "resnet50-512": Workload("resnet50", 512, stages=(3, 4, 6, 3)),
    "airbench94-1024": Workload("airbench94", 1024, 32, 10, examples=CIFAR, augment=JITTER),
}
TINY = Workload("resnet18-cifar", 4, 16, 10, (1, 1, 1, 1))
"""What a small run trains in place of the ResNet for CIFAR; of the other networks it counts parameters."""


@dataclass(frozen=True)
class Job:
    """What one side is asked for, and how many seconds it takes on an H200 or a little slower."""

    what: str
    side: str
    seconds: float

    @property
    def key(self) -> str:
        return f"{self.what}:{self.side}"


JOBS = (
    Job("matmul", "cnnjax", 20),
    Job("matmul", "pytorch", 15),
    Job("resnet50-256", "cnnjax", 50),
    Job("resnet50-256", "flax", 45),
    Job("resnet50-256", "pytorch", 60),
    Job("airbench94-1024", "cnnjax", 30),
    Job("resnet18-cifar-512", "pytorch", 40),
    Job("resnet18-cifar-512", "cnnjax", 30),
    Job("resnet18-cifar-512", "flax", 30),
    Job("convnext-tiny-256", "cnnjax", 45),
    Job("convnext-tiny-256", "pytorch", 60),
    Job("vgg16-256", "pytorch", 40),
    Job("vgg16-256", "cnnjax", 40),
    Job("accuracy", "cnnjax", 40),
    Job("resnet50-512", "flax", 45),
    Job("resnet50-512", "pytorch", 60),
    Job("resnet50-512", "cnnjax", 50),
    Job("pointwise", "cnnjax", 40),
    Job("resnet50-256", "pytorch max-autotune", 90),
)
PATIENCE = 3
"""A job may take so many times its seconds before it is stopped."""


# ---- timing


def one_by_one(step: Step) -> Steps:
    """So many steps, each a call."""

    def take(count: int) -> None:
        for _ in range(count):
            step()

    return take


def clocked(take: Steps, wait: Step, steps: int) -> float:
    """Seconds a step, over so many that begin and end with an idle device."""
    wait()
    start = time.perf_counter()
    take(steps)
    wait()
    return (time.perf_counter() - start) / steps


def timed(take: Steps, wait: Step, size: Size) -> Record:
    """seconds (a step, of each block), steps (a block), compile_seconds (the first step's above the median one's)."""
    first = clocked(take, wait, 1)
    clocked(take, wait, size.warmup)
    steps = max(1, round(size.block_seconds / clocked(take, wait, size.warmup)))
    seconds = [clocked(take, wait, steps) for _ in range(size.repeats)]
    return {"seconds": seconds, "steps": steps, "compile_seconds": max(0.0, first - statistics.median(seconds))}


# ---- cnnjax


class Noise(Data, tag="noise"):
    """Uniformly random pixels, `height` x `height`, in `classes` classes; made quickly."""

    height: int
    channels: int = 3
    classes: int
    examples: int

    def read(self) -> Dataset:
        generator = np.random.default_rng(0)
        shape = (self.examples, self.height, self.height, self.channels)
        labels = generator.integers(self.classes, size=self.examples, dtype=np.int32)
        images = Examples(generator.integers(256, size=shape, dtype=np.uint8), labels)
        names = tuple(map(str, range(self.classes)))
        mean, std = MEAN[: self.channels], STD[: self.channels]
        return Dataset("noise", images, images.take(np.arange(1)), classes=names, mean=mean, std=std)


def cnnjax_model(workload: Workload) -> Model:
    """The config of a workload's network."""
    if workload.network == "resnet18-cifar":
        return ResNet(stage_sizes=workload.stages, stem=CifarStem(), num_classes=workload.classes)
    return models.config(workload.network, num_classes=workload.classes)


def cnnjax_experiment(workload: Workload) -> Experiment:
    """A training of the workload."""
    examples = workload.examples or 2 * workload.batch
    return Experiment(
        model=cnnjax_model(workload),
        data=Noise(height=workload.pixels, classes=workload.classes, examples=examples),
        optim=SGD(learning_rate=LEARNING_RATE, momentum=MOMENTUM, weight_decay=DECAY, schedule=Constant()),
        augment=workload.augment,
        batch_size=workload.batch,
        steps=STEPS,
        precision="bfloat16",
        validation=0,
    )


class CnnjaxTraining:
    """Steps as `cnnjax train` takes them, several in a call where they are short, but for looking at their losses."""

    def __init__(self, experiment: Experiment):
        self.experiment = experiment
        self.program = Program(experiment, hardware=Hardware(devices=1))
        self.state, self.number = self.program.init([experiment]), 0
        self.taken: Taken | None = None

    def take(self, count: int) -> None:
        while count:
            at_once = min(count, self.program.chunk or 1, STEPS - self.number)
            self.state, self.taken = self.program.take(self.state, [self.experiment], self.number, at_once)
            self.number, count = (self.number + at_once) % STEPS, count - at_once

    def wait(self) -> None:
        jax.block_until_ready(self.state)

    def numbers(self) -> Record:
        assert self.taken is not None, "no step was taken"
        *_, (_, sums) = self.taken.each()
        loss = float(sums["loss"]) / float(sums["count"])
        analysis = self.program.analysis
        return {"loss": loss, "params": analysis.params, "macs": analysis.macs, "peak_bytes": jax_peak_bytes()}


def jax_peak_bytes() -> int | None:
    """The most device memory in use at a time in this process; None where the device does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


# ---- plain Flax


class PlainBlock(linen.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3 and 1x1 to four times the features."""

    features: int
    strides: int
    bottleneck: bool
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        outputs = self.features * (4 if self.bottleneck else 1)
        y = x
        if self.bottleneck:
            y = linen.relu(self.norm()(self.conv(self.features, (1, 1))(y)))
        y = linen.relu(self.norm()(self.conv(self.features, (3, 3), self.strides)(y)))
        y = self.conv(outputs, (1, 1) if self.bottleneck else (3, 3))(y)
        y = self.norm(scale_init=linen.initializers.zeros)(y)
        if x.shape != y.shape:
            x = self.norm()(self.conv(outputs, (1, 1), self.strides)(x))
        return linen.relu(x + y)


class PlainResNet(linen.Module):
    """A residual network in training: images [B, H, W, 3] -> logits, float32 [B, classes]."""

    stage_sizes: tuple[int, ...]
    classes: int
    bottleneck: bool
    cifar: bool

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = partial(linen.Conv, use_bias=False, dtype=jnp.bfloat16)
        norm = partial(linen.BatchNorm, use_running_average=False, momentum=0.9, epsilon=1e-5, dtype=jnp.bfloat16)
        x = conv(64, (3, 3) if self.cifar else (7, 7), 1 if self.cifar else 2)(x)
        x = linen.relu(norm()(x))
        if not self.cifar:
            x = linen.max_pool(x, (3, 3), (2, 2), "SAME")
        for stage, blocks in enumerate(self.stage_sizes):
            for block in range(blocks):
                strides = 2 if stage > 0 and block == 0 else 1
                x = PlainBlock(64 * 2**stage, strides, self.bottleneck, conv, norm)(x)
        return linen.Dense(self.classes, dtype=jnp.bfloat16)(x.mean((1, 2))).astype(jnp.float32)


class PlainState(TrainState):
    """Flax's state with running statistics."""

    batch_stats: Any


def plain_step(state: PlainState, images: jax.Array, labels: jax.Array) -> tuple[PlainState, dict[str, jax.Array]]:
    """One step on uint8 images; the loss has the L2 norm of the kernels in it."""

    def objective(params: Any) -> Any:
        x = (images.astype(jnp.float32) / 255 - jnp.asarray(MEAN)) / jnp.asarray(STD)
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updates = state.apply_fn(variables, x.astype(jnp.bfloat16), mutable=["batch_stats"])
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        squares = sum(jnp.sum(kernel**2) for kernel in jax.tree.leaves(params) if kernel.ndim > 1)
        return loss + DECAY / 2 * squares, (loss, (logits.argmax(1) == labels).mean(), updates["batch_stats"])

    gradients, (loss, accuracy, batch_stats) = jax.grad(objective, has_aux=True)(state.params)
    return state.apply_gradients(grads=gradients, batch_stats=batch_stats), {"loss": loss, "accuracy": accuracy}


def plain_network(workload: Workload) -> PlainResNet:
    """The residual network of a workload."""
    bottleneck = workload.network == "resnet50"
    return PlainResNet(workload.stages, workload.classes, bottleneck, cifar=not bottleneck)


def plain_variables(workload: Workload) -> Any:
    """Parameters and running statistics at the beginning."""
    images = jnp.zeros((1, workload.pixels, workload.pixels, 3), jnp.bfloat16)
    return jax.jit(plain_network(workload).init)(jax.random.key(0), images)


class FlaxTraining:
    """Steps in plain Flax on two batches in turn."""

    def __init__(self, workload: Workload):
        network, variables = plain_network(workload), plain_variables(workload)
        optimizer = optax.sgd(LEARNING_RATE, MOMENTUM, nesterov=True)
        params, batch_stats = variables["params"], variables["batch_stats"]
        self.state = PlainState.create(apply_fn=network.apply, params=params, tx=optimizer, batch_stats=batch_stats)
        self.batches = [tuple(map(jnp.asarray, batch)) for batch in noise_batches(workload)]
        self.params = optax.tree.size(params)
        self.compiled, self.metrics, self.number = jax.jit(plain_step, donate_argnums=0), {}, 0

    def take(self, count: int) -> None:
        one_by_one(self._step)(count)

    def _step(self) -> None:
        self.state, self.metrics = self.compiled(self.state, *self.batches[self.number % 2])
        self.number += 1

    def wait(self) -> None:
        jax.block_until_ready(self.state)

    def numbers(self) -> Record:
        return {"loss": float(self.metrics["loss"]), "params": self.params, "peak_bytes": jax_peak_bytes()}


def noise_batches(workload: Workload) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two batches of random images, uint8 NHWC, and labels."""
    generator = np.random.default_rng(0)
    shape = (workload.batch, workload.pixels, workload.pixels, 3)
    return [
        (generator.integers(256, size=shape, dtype=np.uint8), generator.integers(workload.classes, size=workload.batch))
        for _ in range(2)
    ]


# ---- PyTorch

DECLARED: list[Any] = []
"""Operators that torchvision's own library would bring; they last as long as this does."""


def import_torchvision() -> Any:
    """torchvision, also beside a PyTorch that it was not built for: its networks need none of what is then missing."""
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        DECLARED.append(torch.library.Library("torchvision", "FRAGMENT"))
        for operator in ("nms", "qnms"):
            DECLARED[0].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision


def torch_network(workload: Workload) -> Any:
    """torchvision's network of a workload."""
    import torch

    families = import_torchvision().models
    if workload.network != "resnet18-cifar":
        return getattr(families, workload.network)(num_classes=workload.classes)
    block, stages = families.resnet.BasicBlock, list(workload.stages)
    network = families.resnet.ResNet(block, stages, num_classes=workload.classes)
    network.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = torch.nn.Identity()
    return network


def torch_loss(network: Any, device: Any) -> Callable[[Any, Any], Any]:
    """(uint8 images, labels) -> the loss, the network in bfloat16."""
    import torch

    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))

    def loss_of(images: Any, labels: Any) -> Any:
        x = (images.float() / 255 - mean) / std
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = network(x)
        return torch.nn.functional.cross_entropy(logits.float(), labels)

    return loss_of


class TorchTraining:
    """Steps of torchvision's network on two batches in turn. mode: torch.compile's; None runs without."""

    def __init__(self, workload: Workload, mode: str | None):
        import torch

        self.torch, self.cuda = torch, torch.cuda.is_available()
        device = torch.device("cuda" if self.cuda else "cpu")
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        self.network = torch_network(workload).to(device, memory_format=torch.channels_last).train()
        parameters = list(self.network.parameters())
        self.params = sum(parameter.numel() for parameter in parameters)
        groups = [
            {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": DECAY},
            {"params": [parameter for parameter in parameters if parameter.ndim <= 1]},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True)
        # NHWC in memory, NCHW by its strides: what PyTorch calls channels-last.
        self.batches = [
            (torch.from_numpy(images).to(device).permute(0, 3, 1, 2), torch.from_numpy(labels).to(device))
            for images, labels in noise_batches(workload)
        ]
        loss_of = torch_loss(self.network, device)
        self.loss_of = loss_of if mode is None else torch.compile(loss_of, mode=mode)
        self.loss, self.number = torch.tensor(math.nan), 0

    def take(self, count: int) -> None:
        one_by_one(self._step)(count)

    def _step(self) -> None:
        self.optimizer.zero_grad()
        self.loss = self.loss_of(*self.batches[self.number % 2])
        self.loss.backward()
        self.optimizer.step()
        self.number += 1

    def wait(self) -> None:
        if self.cuda:
            self.torch.cuda.synchronize()

    def numbers(self) -> Record:
        peak = self.torch.cuda.max_memory_allocated() if self.cuda else None
        return {"loss": float(self.loss.detach()), "params": self.params, "peak_bytes": peak}


def trained_by_torch(workload: Workload, size: Size, mode: str) -> Record:
    """The numbers under torch.compile, or without where that fails."""
    note = "not compiled in a small run"
    if not size.small:
        try:
            return trained(TorchTraining(workload, mode), size)
        except Exception as error:
            note = f"without torch.compile, which failed: {reason_of(error)}"
    return trained(TorchTraining(workload, None), size) | {"note": note}


# ---- jobs: each yields what it measured as it goes


def trained(training: Any, size: Size) -> Record:
    """The numbers of a training's steps. Its loss must be finite: a GPU takes other time for other numbers."""
    record = timed(training.take, training.wait, size) | training.numbers()
    if not math.isfinite(record["loss"]):
        raise FloatingPointError(f"the loss is {record['loss']}")
    return record


def train_workload(job: Job, size: Size) -> Iterator[Record]:
    """The numbers of a side's steps; in a small run those of `TINY`, or how many parameters the network has."""
    workload, (side, _, mode) = WORKLOADS[job.what], job.side.partition(" ")
    if size.small and workload.network != TINY.network:
        yield {"params": parameters(workload, side)}
        return
    workload = TINY if size.small else workload
    if side == "cnnjax":
        record = trained(CnnjaxTraining(cnnjax_experiment(workload)), size)
    elif side == "flax":
        record = trained(FlaxTraining(workload), size)
    else:
        record = trained_by_torch(workload, size, mode or "default")
    yield record | {"batch": workload.batch, "pixels": workload.pixels}


def parameters(workload: Workload, side: str) -> int:
    """Of a network that is never made."""
    if side == "cnnjax":
        return analyse(cnnjax_model(workload).build(), (workload.pixels, workload.pixels, 3)).params
    if side == "flax":
        return optax.tree.size(jax.eval_shape(partial(plain_variables, workload))["params"])
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in torch_network(workload).parameters())


def matmul(job: Job, size: Size) -> Iterator[Record]:
    """A matrix product's operations a second, on random numbers (zeros draw less power, and so are faster)."""
    multiply, wait, versions = (jax_matmul if job.side == "cnnjax" else torch_matmul)(size.matrix)
    record = timed(one_by_one(multiply), wait, size)
    flops = 2 * size.matrix**3 / statistics.median(record["seconds"])
    yield record | {"size": size.matrix, "flops": flops, "environment": versions}


def jax_matmul(size: int) -> tuple[Step, Step, Record]:
    a, b = (jax.random.normal(jax.random.key(seed), (size, size), jnp.bfloat16) for seed in (0, 1))
    multiply, held = jax.jit(jnp.matmul), [a]

    def step() -> None:
        held[0] = multiply(a, b)

    def wait() -> None:
        held[0].block_until_ready()

    device = jax.local_devices()[0]
    about = {"platform": device.platform, "device": device.device_kind}
    about["client"] = getattr(device.client, "platform_version", None)
    return step, wait, about | {"memory": (device.memory_stats() or {}).get("bytes_limit")}


def torch_matmul(size: int) -> tuple[Step, Step, Record]:
    import torch

    cuda = torch.cuda.is_available()
    a, b = (torch.randn(size, size, device="cuda" if cuda else "cpu", dtype=torch.bfloat16) for _ in range(2))

    def step() -> None:
        torch.matmul(a, b)

    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    versions["device"] = torch.cuda.get_device_name() if cuda else "cpu"
    return step, torch.cuda.synchronize if cuda else lambda: None, versions


POINTWISE = ((56, 64, 256), (56, 256, 64), (28, 512, 128), (14, 256, 1024), (7, 2048, 512))
"""Map, channels and features of 1x1 convolutions."""


def pointwise(job: Job, size: Size) -> Iterator[Record]:
    """Seconds of 1x1 convolutions and of their gradients, each alone, as XLA's convolution and as a matrix product."""
    batch = 1 if size.small else 256
    size = dataclasses.replace(size, block_seconds=size.block_seconds / 8)
    for pixels, channels, features in POINTWISE[-1:] if size.small else POINTWISE:
        g = Geometry((pixels, pixels), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
        shapes = {
            "input": (batch, pixels, pixels, channels),
            "kernel": (1, 1, channels, features),
            "output": (batch, pixels, pixels, features),
        }
        arrays = {name: jax.random.normal(jax.random.key(0), shape, jnp.bfloat16) for name, shape in shapes.items()}
        for wanted, names in OPERANDS.items():
            for way, lowering in (("convolution", "xla"), ("matrix product", "patches")):
                step, wait = repeated(
                    jax.jit(partial(compute, wanted, g=g, lowering=lowering)), *map(arrays.get, names)
                )
                place = f"{pixels}x{pixels}x{channels} to {features}"
                yield {"place": place, "wanted": wanted, "way": way, **timed(one_by_one(step), wait, size)}


def repeated(function: Callable[..., jax.Array], *operands: Any) -> tuple[Step, Step]:
    """(a call, waiting for the last one)."""
    held: list[Any] = [None]

    def step() -> None:
        held[0] = function(*operands)

    return step, lambda: jax.block_until_ready(held[0])


def accuracy(job: Job, size: Size) -> Iterator[Record]:
    """airbench94's network trained on CIFAR-10, in as many epochs as it takes to the target."""
    data: Data = Synthetic(examples=32, test_examples=8) if size.small else TFDS(name="cifar10")
    if not size.small and not any(found.is_readable for found in prepared(default_data_dir(), "cifar10")):
        yield {"skipped": f"TFDS has not prepared cifar10 in {default_data_dir()} (set TFDS_DATA_DIR)"}
        return
    for epochs in size.epochs:
        curve = list(epoch_by_epoch(airbench(data, epochs, batch=16 if size.small else 1024)))
        reached = [point["seconds"] for point in curve if point["accuracy"] >= TARGET]
        end = {"data": data.load().name, "seconds_to_target": reached[0] if reached else None}
        yield {"epochs": epochs, "curve": curve, **curve[-1], **end}
        if reached:
            return


def airbench(data: Data, epochs: int, *, batch: int) -> Experiment:
    """Settings near Jordan's (2024), as far as plain SGD has them; his are for a loss that is summed."""
    return Experiment(
        model=models.config("airbench94"),
        data=data,
        optim=SGD(
            learning_rate=1.5,
            momentum=0.85,
            weight_decay=1.3e-3,
            schedule=OneCycle(peak_at=0.2, start=0.2, final=0.07, shape="linear"),
        ),
        loss=SoftmaxCrossEntropy(label_smoothing=0.2),
        augment=JITTER,
        test_time=FlipViews(),
        epochs=epochs,
        batch_size=batch,
        precision="bfloat16",
        validation=0,
    )


def epoch_by_epoch(experiment: Experiment) -> Iterator[Record]:
    """Test accuracy after each epoch, and the seconds trained until then; compiling and testing are not in them."""
    program = Program(experiment, hardware=Hardware(devices=1))
    state = program.advance(program.init([experiment]), [experiment], 0, 1)
    program.evaluate(state, "test")
    state, step, seconds = program.init([experiment]), 0, 0.0
    for epoch in range(1, experiment.epochs + 1):
        start = time.perf_counter()
        end = program.length.end_of_epoch(epoch)
        state, step = program.advance(state, [experiment], step, end), end
        jax.block_until_ready(state)
        seconds += time.perf_counter() - start
        found = summarize(program.evaluate(state, "test"))["accuracy"]
        yield {"epoch": epoch, "seconds": seconds, "accuracy": found}


def measure(job: Job, size: Size) -> Iterator[Record]:
    """What a job measures, record by record."""
    jobs = {"matmul": matmul, "pointwise": pointwise, "accuracy": accuracy}
    return jobs.get(job.what, train_workload)(job, size)


def reason_of(error: BaseException) -> str:
    """An error's type and the beginning of what it says."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:300]


def work(keys: list[str], size: Size, out: Path) -> None:
    """In a process of its own: write each job's records to `out`, a line each, as they are made."""
    by_key = {job.key: job for job in JOBS}
    with out.open("a") as sink:
        for key in keys:
            job = by_key[key]
            try:
                for record in measure(job, size):
                    write_line(sink, job, record)
                write_line(sink, job, {"finished": True})
            except Exception as error:
                traceback.print_exc()
                write_line(sink, job, {"failed": reason_of(error)})


def write_line(sink: Any, job: Job, record: Record) -> None:
    sink.write(json.dumps({"what": job.what, "side": job.side, **record}) + "\n")
    sink.flush()


# ---- the run: processes, one at a time


@dataclass
class Run:
    """Jobs one after the other, within so many minutes; what they wrote, and what became of the rest."""

    size: Size
    minutes: float
    out: Path
    records: list[Record] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds."""
        return 60 * self.minutes - (time.monotonic() - self.start)

    def take(self, jobs: list[Job], position: str) -> None:
        """Run the jobs in one process, or note why not."""
        names = ", ".join(job.key for job in jobs)
        reason = self._refused(jobs)
        if reason is None:
            print(f"[{position}] {names} ...", flush=True)
            self._spawn(jobs)
        else:
            self.records += [{"what": job.what, "side": job.side, "skipped": reason} for job in jobs]
        for job in jobs:
            print(
                f"    {job.key}: {'; '.join(self._said(job)) or 'nothing'} ({self.left() / 60:.1f} min left)",
                flush=True,
            )
        self.save()

    def _refused(self, jobs: list[Job]) -> str | None:
        if jobs[0].side.startswith("pytorch"):
            missing = [name for name in ("torch", "torchvision") if find_spec(name) is None]
            if missing:
                return f"not installed: {', '.join(missing)}"
        needed = 0 if self.size.small else jobs[0].seconds
        return None if self.left() > needed else f"{max(0, self.left()):.0f} s left, it takes some {needed:.0f}"

    def _spawn(self, jobs: list[Job]) -> None:
        lines, log = self.out / "records.jsonl", self.out / "log.txt"
        lines.unlink(missing_ok=True)
        small = ["--small"] if self.size.small else []
        command = [sys.executable, __file__, "--out", str(lines), *small, "--work", *(job.key for job in jobs)]
        limit = min(self.left(), PATIENCE * sum(job.seconds for job in jobs))
        with log.open("a") as sink, tempfile.TemporaryDirectory() as cache:
            try:
                done = subprocess.run(
                    command, env=self._environment(cache), stdout=sink, stderr=sink, timeout=limit, cwd=ROOT
                )
                ended = f"its process ended with status {done.returncode}, see {log}"
            except subprocess.TimeoutExpired:
                ended = f"stopped after {limit:.0f} s"
        found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
        lines.unlink(missing_ok=True)
        over = {(record["what"], record["side"]) for record in found if record.keys() & {"finished", "failed"}}
        self.records += [record for record in found if "finished" not in record]
        for job in jobs:
            if (job.what, job.side) not in over:
                self.records.append({"what": job.what, "side": job.side, "failed": ended})

    def _environment(self, cache: str) -> dict[str, str]:
        """Compiling starts with empty caches; a small run may have its own."""
        inherited = dict(os.environ)
        if not self.size.small:
            inherited.pop("JAX_COMPILATION_CACHE_DIR", None)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        caches = {"TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor", "TRITON_CACHE_DIR": f"{cache}/triton"}
        return inherited | caches | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "2"}

    def _said(self, job: Job) -> Iterator[str]:
        for record in self.records:
            if (record["what"], record["side"]) == (job.what, job.side):
                yield in_words(record)

    def platform(self) -> str | None:
        """Of JAX's device, once it is known."""
        found = [record["environment"].get("platform") for record in self.records if "environment" in record]
        return next(filter(None, found), None)

    def save(self) -> None:
        """Write gpu.json and gpu.md; what was measured so far is kept if the run is killed."""
        report = {**about(), "size": asdict(self.size), "records": self.records}
        (self.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n")
        (self.out / "gpu.md").write_text(markdown(report))


def about() -> Record:
    """With what the run was made, as far as it can be said without touching the GPU."""
    distributions = {found.metadata["Name"]: found.version for found in metadata.distributions()}
    wanted = ("jax", "nvidia-", "torch", "triton", "flax", "optax", "numpy", "cnnjax")
    chosen = {name: version for name, version in sorted(distributions.items()) if name and name.startswith(wanted)}
    command = " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]])
    return {
        "command": command,
        "commit": commit(ROOT),
        "packages": chosen,
        "gpu": gpu(),
        "date": time.strftime("%F"),
        "load_average": os.getloadavg(),
    }


def gpu() -> str | None:
    """Name, driver, memory and power limit, as nvidia-smi says them; None without one."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


# ---- what was found, in words and tables


def in_words(record: Record) -> str:
    for word in ("failed", "skipped"):
        if word in record:
            return f"{word}: {record[word]}"
    if "flops" in record:
        return f"{record['flops'] / 1e12:.3g} TFLOP/s"
    if "curve" in record:
        return f"test accuracy {record['accuracy']:.4f} after {record['epochs']} epochs, {record['seconds']:.2f} s"
    if "seconds" not in record:
        return f"{record['params']:,} parameters"
    if "place" in record:
        return (
            f"{record['place']} {record['wanted']} {record['way']} {1e3 * statistics.median(record['seconds']):.3g} ms"
        )
    return f"{rate(record):.4g} images/s, {spread(record)} ms, compiling {record['compile_seconds']:.1f} s"


def rate(record: Record) -> float:
    """Images a second."""
    return record["batch"] / statistics.median(record["seconds"])


def spread(record: Record, *, per: int = 1) -> str:
    """Median milliseconds a step with the lowest and highest block."""
    median, *ends = (1e3 / per * f(record["seconds"]) for f in (statistics.median, min, max))
    return f"{median:.4g} [{ends[0]:.4g}, {ends[1]:.4g}]"


def table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def markdown(report: Record) -> str:
    """What benchmarks/RESULTS.md is given."""
    packages, records = report["packages"], report["records"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("jax", "jaxlib", "flax", "torch") if name in packages)
    made = f"`{report['command']}`, commit {report['commit'] or 'unknown'}"
    parts = [f"{report['gpu'] or 'no GPU'}; {versions}; {report['date']}. {made}.\n"]
    parts += [products(records), training_table(records), pointwise_table(records)]
    parts.append(airbench_lines(records))
    other = [record for record in records if record.keys() & {"failed", "skipped", "note"}]
    parts.append("".join(f"- {record['what']}, {record['side']}: {why(record)}\n" for record in other))
    return "\n".join(filter(None, parts))


def why(record: Record) -> str:
    return record["note"] if "note" in record else in_words(record)


def products(records: list[Record]) -> str:
    found = [(record["side"], record["size"], record["flops"] / 1e12) for record in records if "flops" in record]
    said = [f"{flops:.3g} TFLOP/s ({'jax' if side == 'cnnjax' else side})" for side, _, flops in found]
    return f"bfloat16 matrix product, {found[0][1]} squared: {', '.join(said)}.\n" if found else ""


def training_table(records: list[Record]) -> str:
    """Each network's sides, with their speed over cnnjax's and the share of the matrix product's they make use of."""
    head = ["network, batch", "side", "images/s", "ms a step [lowest, highest]", "speed, cnnjax = 1", "utilization"]
    peak = max((record["flops"] for record in records if "flops" in record), default=None)
    runs = [record for record in records if "batch" in record]
    ours = {record["what"]: record for record in runs if record["side"] == "cnnjax"}
    rows = []
    for what in WORKLOADS:
        for record in (record for record in runs if record["what"] == what):
            used = utilization(record, ours.get(what), peak)
            cells = [what, record["side"], f"{rate(record):.0f}", spread(record), ratio(record, ours.get(what)), used]
            rows.append([*cells, gigabytes(record["peak_bytes"]), f"{record['compile_seconds']:.1f}"])
    return table([*head, "peak, GB", "compiling, s"], rows) if rows else ""


def ratio(record: Record, ours: Record | None) -> str:
    """Speed over cnnjax's, of a network that is the same."""
    if ours is None:
        return "n/a"
    same = record["params"] == ours["params"]
    return f"{rate(record) / rate(ours):.3f}" if same else f"{record['params']} parameters, not {ours['params']}"


def utilization(record: Record, ours: Record | None, peak: float | None) -> str:
    if ours is None or peak is None:
        return "n/a"
    return f"{100 * 3 * 2 * ours['macs'] * rate(record) / peak:.1f}%"


def gigabytes(count: int | None) -> str:
    return "n/a" if count is None else f"{count / 1e9:.2f}"


def pointwise_table(records: list[Record]) -> str:
    """Milliseconds of 1x1 convolutions in both ways."""
    runs = {(run["place"], run["wanted"], run["way"]): run for run in records if "place" in run}
    ways = list(dict.fromkeys(way for _, _, way in runs))
    rows = []
    for place, wanted in dict.fromkeys(key[:2] for key in runs):
        found = [runs.get((place, wanted, way)) for way in ways]
        rows.append([place, wanted, *("n/a" if run is None else spread(run) for run in found)])
    return table(["1x1 convolution", "wanted", *(f"{way}, ms" for way in ways)], rows) if rows else ""


def airbench_lines(records: list[Record]) -> str:
    lines = []
    for record in records:
        if "batch" in record and record["what"].startswith("airbench94"):
            pace = CIFAR / rate(record)
            lines.append(f"airbench94: {1 / pace:.2f} epochs/s of {CIFAR} images; 10 epochs in {10 * pace:.1f} s.\n")
        if "curve" in record:
            seconds = record["seconds_to_target"]
            end = "not reached" if seconds is None else f"after {seconds:.2f} s"
            lines.append(f"airbench94 on {record['data']}: {in_words(record)} of training; {TARGET:.0%} {end}.\n")
    return "".join(lines)


def batches_of(jobs: list[Job], size: Size) -> list[list[Job]]:
    """The jobs of each process: one, or in a small run all of a side, each network once."""
    if not size.small:
        return [[job] for job in jobs]
    sides: dict[str, dict[str, Job]] = {}
    for job in jobs:
        network = WORKLOADS[job.what].network if job.what in WORKLOADS else job.what
        sides.setdefault(job.side.partition(" ")[0], {}).setdefault(network, job)
    return [list(chosen.values()) for chosen in sides.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu"), metavar="FOLDER", help="for gpu.json, gpu.md, log.txt"
    )
    parser.add_argument("--minutes", type=float, default=8, help="what does not fit is skipped (default 8)")
    parser.add_argument("--small", action="store_true", help="tiny networks, on any machine: does it run at all?")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="jobs with one of these in their name: vgg16, :flax"
    )
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = SMALL if args.small else FULL
    if args.work:
        work(args.work, size, args.out)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "log.txt").unlink(missing_ok=True)
    run = Run(size, args.minutes, args.out.resolve())
    jobs = [job for job in JOBS if job.what == "matmul" or any(text in job.key for text in args.only)]
    batches = batches_of(jobs, size)
    for number, batch in enumerate(batches, start=1):
        run.take(batch, f"{number}/{len(batches)}")
        if run.platform() == "cpu" and not size.small:
            sys.exit("JAX sees no GPU: install jax[cuda13] or jax[cuda12], or try --small")
    print(f"\n{(run.out / 'gpu.md').read_text()}\n{run.out / 'gpu.json'}")


if __name__ == "__main__":
    main()
