"""torchvision and timm beside a CPU-only PyTorch, and models with random weights and statistics."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch")

# torchvision's wheel is built for PyTorch with CUDA: declared, its two missing operators are never called.
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for _operator in ("nms", "qnms") if torch.version.cuda is None else ():
    _LIBRARY.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")


@contextmanager
def uninitialized():
    """Models made within hold whatever was in memory in place of random weights, for `randomized` to write over."""
    names = ("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "uniform_", "normal_", "trunc_normal_")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
        yield


def randomized(model, seed=0):
    """The model with every parameter and running statistic away from its initial value, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, mean, spread):
        return mean + spread * torch.randn(tensor.shape, generator=generator)

    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(normal(tensor, 1.0, 0.2).abs() + 0.1)
            elif name.endswith("running_mean"):
                tensor.copy_(normal(tensor, 0.0, 0.1))
            elif name.endswith("layer_scale"):
                tensor.copy_(normal(tensor, 0.5, 0.2))
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.copy_(normal(tensor, 1.0 if name.endswith("weight") else 0.0, 0.1))
            elif tensor.is_floating_point() and tensor.ndim > 1:
                fan_in = tensor[0].numel()
                tensor.copy_(normal(tensor, 0.0, (2 / fan_in) ** 0.5))
    return model.eval()


def cut(model, stages, sizes):
    """The model with so many blocks of each stage; the names of what is left stay as they are."""
    for name, size in zip(stages, sizes, strict=True):
        blocks = model.get_submodule(name)._modules
        for key in list(blocks)[size:]:
            del blocks[key]
    return model


def meta(constructor, **arguments):
    """The model without numbers, on the "meta" device."""
    with torch.device("meta"), _block_sizes_in_numbers():
        return constructor(**arguments)


@contextmanager
def _block_sizes_in_numbers():
    """torchvision's RegNet finds the sizes of its blocks by tensors, and has to read them."""
    params = torchvision.models.regnet.BlockParams
    original = params.__dict__["from_init_params"]

    def counted(*arguments, **fields):
        with torch.device("cpu"):
            return original.__func__(params, *arguments, **fields)

    params.from_init_params = counted
    try:
        yield
    finally:
        params.from_init_params = original
