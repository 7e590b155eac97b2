"""The result of an analysis as plain data: one `LayerRow` a row, the memory of a training step, and the totals."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class LayerRow:
    """One row: a call of a module that calls no other, or a pooling, product or flattening outside such modules.

    `path` is the module's dotted place in the parameter tree ("" is the network itself), `op` its class in snake
    case ("conv", "batch_norm") or the bare operation ("max_pool", "flatten"). Sizes are of one image: `output_shape`
    has no batch axis. `params` are the module's own, counted at its first call only.

    `activations` are the numbers the row writes; 0 for a view of numbers already counted (a reshape, dropout at
    inference). A unit at row i sees the `receptive_field[0]` pixel rows from `offset[0] + i * jump[0]`, padding
    included, hence possibly more than the image has; a unit that has no place, after a flattening or global pooling,
    has jump 0 and sees that part of the image. After upsampling neighbours differ: the size is the largest, the place
    a lower bound. `global_context`: it also depends on the image outside, through a statistic over space
    (squeeze-and-excitation, group normalization, batch statistics in training).

    `input_shape` is that of the (first) array the row reads, without batch. `kernel_size`, `strides`, `padding` (before
    and after, an axis) and `dilation` are those of a row that is one convolution or one pooling, None for any other;
    `groups` of a convolution only. `input_dilation` is above 1 for a transposed convolution: its stride.

    `least_receptive_field` is the size by the path that sees least (all the skip connections), 0 where there is no
    window. `batch_group` is whose statistics a batch normalization shares: "global", "device" or a number of examples.

    `train_activations` and `train_activation_bytes` are what the row writes in a forward pass of training, None where
    that was not traced (`cnnjax.analysis.with_training`).
    """

    path: str
    op: str
    output_shape: tuple[int, ...]
    params: int
    macs: int
    activations: int
    activation_bytes: int
    receptive_field: tuple[int, int]
    jump: tuple[int | float, int | float]
    offset: tuple[int | float, int | float]
    global_context: bool
    input_shape: tuple[int, ...] | None = None
    kernel_size: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    padding: tuple[tuple[int, int], ...] | None = None
    dilation: tuple[int, ...] | None = None
    groups: int | None = None
    input_dilation: tuple[int, ...] | None = None
    train_activations: int | None = None
    train_activation_bytes: int | None = None
    least_receptive_field: tuple[int, int] = (0, 0)
    batch_group: str | int | None = None

    @property
    def flops(self) -> int:
        """Floating-point operations: two a multiply-accumulate."""
        return 2 * self.macs


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one training step.

    `params`, `optimizer` and `state` (batch statistics, and what training methods keep, such as an average of the
    weights) are replaced in place; `batch` is the images and labels.
    `gradients` is what has the shape of a parameter (gradients, parameters copied or in another order) and is alive
    when most is, `activations` all else the step writes, gaps included. `teachers` are the variables of networks that
    this one learns from, 0 where there are none. `total` is the sum.
    """

    params: int
    gradients: int
    optimizer: int
    state: int
    batch: int
    activations: int
    total: int
    teachers: int = 0

    def to_json(self) -> dict[str, int]:
        """By name; `teachers` where there are some."""
        return {name: size for name, size in dataclasses.asdict(self).items() if size or name != "teachers"}


@dataclasses.dataclass(frozen=True, slots=True)
class GroupRow:
    """How many parameters a group of an optimizer has, by its pattern, and whether they are frozen."""

    pattern: str
    params: int
    frozen: bool


@dataclasses.dataclass(frozen=True, slots=True)
class SizeRow:
    """Images of `size` (height, width) in a training: for how many steps, in which epochs, and what each image costs.

    `epochs` are the first and the last, counted from 1. `macs` are the multiply-accumulates of a forward pass.
    """

    size: tuple[int, int]
    epochs: tuple[int, int]
    steps: int
    macs: int

    @property
    def text(self) -> str:
        """`20x20 in epochs 1 to 3 (45 steps)`."""
        first, last = self.epochs
        epochs = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        return f"{volume(self.size)} in {epochs} ({self.steps:,} steps)"


@dataclasses.dataclass(frozen=True, slots=True)
class Analysis:
    """Totals and rows of a network for one image of `input_shape` (height, width, channels).

    `params` are all trainable parameters, `state` the numbers in other collections (running statistics), `macs` the
    multiply-accumulates of a forward pass, `activations` and `activation_bytes` those of the image and every row, and
    so for training (None where that was not traced). What has no row counts nothing: elementwise operations and
    concatenations outside leaf modules. `memory` is that of a training step at `batch_size`, where that is known, which
    `accumulate` cuts into parts that are computed one after the other. `groups` are those of its optimizer,
    `learning_rate` says how its rate follows from the batch size and the depth of a layer, where it does, `kept` the
    bytes that the optimizer and each training method keep from step to step, by name, where an experiment says. `sizes`
    are those of images in training, in order, of an experiment that says them; it evaluates them at `input_shape`.
    `squashed` is the softmax or the sigmoid that the network ends with (None for neither), so that its outputs are no
    logits.

    `receptive_field` is what a unit of the last maps sees, of all branches that end there together: of the outputs that
    are maps, else of what the head reads; (1, 1) where there is no map.
    """

    input_shape: tuple[int, int, int]
    params: int
    state: int
    macs: int
    activations: int
    activation_bytes: int
    layers: tuple[LayerRow, ...]
    warnings: tuple[str, ...] = ()
    train_activations: int | None = None
    train_activation_bytes: int | None = None
    batch_size: int | None = None
    accumulate: int = 1
    memory: Memory | None = None
    receptive_field: tuple[int, int] = (1, 1)
    groups: tuple[GroupRow, ...] = ()
    learning_rate: str | None = None
    kept: tuple[tuple[str, int], ...] = ()
    sizes: tuple[SizeRow, ...] = ()
    squashed: str | None = None

    @property
    def training_macs(self) -> int:
        """Multiply-accumulates of the forward pass of an image in training: the mean over its steps."""
        if not self.sizes:
            return self.macs
        return round(sum(row.macs * row.steps for row in self.sizes) / sum(row.steps for row in self.sizes))

    @property
    def flops(self) -> int:
        """Floating-point operations: two a multiply-accumulate."""
        return 2 * self.macs

    def to_json(self) -> dict[str, Any]:
        """Totals, `"layers": [{"path", "op", ...}]`, `"memory"` (bytes, None without a batch size) and `"warnings"`.

        A layer has all fields of `LayerRow`, its flops, and its shares of the network's parameters and MACs in percent.
        `"groups"` is there where the optimizer has some, `"learning_rate"` where it follows from batch size or depth,
        `"kept"` (bytes by name) of an experiment; `"sizes"` and `"training_macs"` where training has others.
        """
        return {
            "input_shape": list(self.input_shape),
            "params": self.params,
            "state": self.state,
            "macs": self.macs,
            "flops": self.flops,
            "activations": self.activations,
            "activation_bytes": self.activation_bytes,
            "receptive_field": list(self.receptive_field),
            "train_activations": self.train_activations,
            "train_activation_bytes": self.train_activation_bytes,
            "batch_size": self.batch_size,
            "memory": None if self.memory is None else self.memory.to_json(),
            **({"groups": [dataclasses.asdict(group) for group in self.groups]} if self.groups else {}),
            **({"learning_rate": self.learning_rate} if self.learning_rate else {}),
            **({"kept": dict(self.kept)} if self.kept else {}),
            **self._sizes(),
            "layers": [self._layer(layer) for layer in self.layers],
            "warnings": list(self.warnings),
        }

    def _sizes(self) -> dict[str, Any]:
        if not self.sizes:
            return {}
        return {"sizes": [dataclasses.asdict(row) for row in self.sizes], "training_macs": self.training_macs}

    def _layer(self, layer: LayerRow) -> dict[str, Any]:
        entries = {field.name: _lists(getattr(layer, field.name)) for field in dataclasses.fields(layer)}
        shares = {"params_share": share(layer.params, self.params), "macs_share": share(layer.macs, self.macs)}
        return {**entries, "flops": layer.flops, **shares}


def share(part: int, whole: int) -> float:
    """`part` of `whole` in percent; 0 of nothing."""
    return 100 * part / whole if whole else 0.0


def volume(shape: tuple[int, ...]) -> str:
    """A shape as text: (224, 224, 64) -> "224x224x64"."""
    return "x".join(map(str, shape)) or "1"


def _lists(value: Any) -> Any:
    return [_lists(entry) for entry in value] if isinstance(value, tuple) else value
