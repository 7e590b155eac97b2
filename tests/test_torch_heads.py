"""Heads against PyTorch: torchvision's networks whole, and FCN's arithmetic."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import convert, models
from cnnjax.config import replace
from cnnjax.convert.state_dict import _slots
from cnnjax.errors import WeightsError
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.heads import FCN, SimpleBaseline

torch = pytest.importorskip("torch")
from tests.networks import MAPS  # noqa: E402
from tests.torch_peers import cut, meta, randomized, torchvision, uninitialized  # noqa: E402

pytestmark = pytest.mark.torch
QUICK: Any = {"xla_backend_optimization_level": 0}
# Parameters and 10^9 operations at 520x520, the auxiliary head's among them: torchvision's table.
PEERS = {
    "fcn_resnet50": (35_322_218, 152.717),
    "fcn_resnet101": (54_314_346, 232.738),
    "deeplabv3_resnet50": (42_004_074, 178.722),
    "deeplabv3_resnet101": (60_996_202, 258.743),
}
# The last two stages are dilated, their first blocks less than the others.
SHORT: Any = {"backbone.stage_sizes": (1, 1, 2, 2)}


def peer(name, **arguments):
    """torchvision's, with the first blocks of each stage alone."""
    with uninitialized():
        made = getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None, **arguments)
    return randomized(cut(made, [f"backbone.layer{number}" for number in (1, 2, 3, 4)], SHORT["backbone.stage_sizes"]))


def images(shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def nchw(x):
    return torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy())


def nhwc(x):
    return x.detach().numpy().transpose(0, 2, 3, 1)


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile(compiler_options=QUICK)(*arguments)


@pytest.mark.parametrize("name", PEERS)
def test_sizes_are_torchvisions(name):
    """Ours are those of the row, with which `test_parameters_and_operations_are_as_published` compares them."""
    network = MAPS[name]
    params, gmacs = PEERS[name]
    assert network.params == params
    # On maps of 65x65 with 1024 features: what only training runs.
    auxiliary = 65 * 65 * (9 * 1024 * 256 + 256 * 21)
    assert network.config.input_shape == (520, 520, 3)
    assert network.gmacs + auxiliary / 1e9 == pytest.approx(gmacs, rel=0.001)


def test_the_state_dict_of_a_whole_network_has_torchvisions_names_and_shapes():
    name = "deeplabv3_resnet50"
    theirs = meta(getattr(torchvision.models.segmentation, name), aux_loss=True, weights_backbone=None).state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.items() if tensor.ndim}
    assert {slot.name: slot.torch_shape for slot in _slots(models.config(name, num_classes=21), None)} == shapes


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_maps_equal_torchvision_and_weights_go_back(name):
    theirs, config = peer(name, num_classes=5, aux_loss=True), models.config(name, num_classes=5, **SHORT)
    x = images((2, 64, 80, 3))
    with torch.no_grad():
        expected = nhwc(theirs(nchw(x))["out"])
    state = theirs.state_dict()
    variables = convert.from_torch(config, state)
    maps = compiled(config.build().apply, variables, x)
    assert maps.shape == (2, 64, 80, 5)
    assert np.abs(maps - expected).max() < 1e-4 * np.abs(expected).max()
    returned = convert.to_torch(config, variables)
    assert returned.keys() == state.keys()
    assert all(np.array_equal(value, state[key].numpy()) for key, value in returned.items())


def test_the_auxiliary_map_equals_torchvisions_in_training():
    theirs = peer("fcn_resnet50", num_classes=3, aux_loss=True)
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    config = models.config("fcn_resnet50", num_classes=3, **SHORT, **{"head.dropout": 0.0})
    variables, module = convert.from_torch(config, theirs.state_dict()), config.build()
    x = images((4, 64, 64, 3))
    with torch.no_grad():
        expected = {key: nhwc(value) for key, value in theirs.train()(nchw(x)).items()}

    def trained(variables, x) -> Any:
        return module.apply(variables, x, train=True, mutable=["batch_stats", "auxiliary"])

    maps, left = compiled(trained, variables, x)
    auxiliary, weight = left["auxiliary"]["head"]["stage3_logits"]
    assert weight == 0.5
    # Normalized by the statistics of four images, rounding errors grow.
    assert np.abs(maps - expected["out"]).max() < 1e-3 * np.abs(expected["out"]).max()
    assert np.abs(auxiliary - expected["aux"]).max() < 1e-3 * np.abs(expected["aux"]).max()


def test_weights_with_an_auxiliary_head_fit_a_network_without():
    state = peer("fcn_resnet50", num_classes=2, aux_loss=True).state_dict()
    whole = models.config("fcn_resnet50", num_classes=2, **SHORT)
    plain = replace(whole, {"head.auxiliary": None})
    params = convert.from_torch(plain, state)["params"]
    assert params["head"].keys() == {"conv", "logits"}
    with pytest.raises(WeightsError, match=r"missing: aux_classifier.0.weight \(params.head.auxiliary.conv.conv"):
        convert.from_torch(whole, {key: value for key, value in state.items() if "aux" not in key})


# --- FCN

ENDPOINTS = (Endpoint("stage1", (2, 2), 3), Endpoint("stage2", (4, 4), 5), Endpoint("stage3", (8, 8), 6))


@pytest.mark.parametrize("by", ["transposed", "resize"])
@pytest.mark.parametrize("size", [(16, 24), (19, 26)], ids=["whole", "windows that do not fit are dropped"])
def test_fcn_equals_its_parts_in_pytorch(by, size):
    """Scores of three maps, added from the coarsest on."""
    head = FCN(stride=2, features=7, kernel_size=3, upsampling=by, final=by, zero_scores=False, dropout=0.0)
    module = head.network(ENDPOINTS, 4)
    maps = {e.name: images((2, size[0] // e.strides[0], size[1] // e.strides[0], e.features)) for e in ENDPOINTS}
    variables: Any = module.init(jax.random.key(0), maps, size=size, train=False)
    # Steps that are learned, away from where they begin.
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), variables["params"]
    )
    y: Any = module.apply({"params": params}, maps, size=size, train=False)

    def convolved(x, held):
        kernel = torch.tensor(np.asarray(held["kernel"]).transpose(3, 2, 0, 1).copy())
        return torch.nn.functional.conv2d(x, kernel, torch.tensor(np.asarray(held["bias"])), padding="same")

    def enlarged(x, factor, size, name):
        if by == "resize":
            return torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)
        kernel = torch.tensor(np.asarray(params[name]["kernel"]).transpose(2, 3, 0, 1).copy())
        x = torch.nn.functional.conv_transpose2d(x, kernel, stride=factor, padding=factor // 2)
        lacks = [max(0, wanted - held) for wanted, held in zip(size, x.shape[2:], strict=True)]
        x = torch.nn.functional.pad(x, (0, lacks[1], 0, lacks[0]), mode="replicate")
        return x[:, :, : size[0], : size[1]]

    x = convolved(nchw(maps["stage3"]), params["conv6"]["conv"]).relu()
    x = convolved(convolved(x, params["conv7"]["conv"]).relu(), params["logits"])
    for name in ("stage2", "stage1"):
        scores = convolved(nchw(maps[name]), params[f"{name}_scores"])
        x = scores + enlarged(x, 2, tuple(scores.shape[2:]), f"{name}_upsample")
    expected = nhwc(enlarged(x, 2, size, "upsample"))
    assert y.shape == (2, *size, 4)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert jnp.isfinite(y).all()


def test_simple_baseline_is_torchs_transposed_convolutions():
    """Transposed convolutions with padding 1, as published, normalizations and a 1x1 convolution, in evaluation."""
    head = SimpleBaseline(layers=2, features=6).network((Endpoint("stage1", (8, 8), 5),), 3)
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)
    maps = {"stage1": jnp.asarray(x)}
    variables = head.init(jax.random.key(0), maps, size=(32, 24), train=False)
    keys = iter(jax.random.split(jax.random.key(1), 100))
    variables = jax.tree.map(lambda leaf: jnp.abs(jax.random.normal(next(keys), leaf.shape)), variables)
    ours = np.asarray(head.apply(variables, maps, size=(32, 24), train=False))
    params, stats = variables["params"], variables["batch_stats"]
    layers = []
    for number, channels in ((1, 5), (2, 6)):
        one = torch.nn.ConvTranspose2d(channels, 6, 4, stride=2, padding=1, bias=False)
        kernel = np.asarray(params[f"upsample{number}"]["kernel"])
        one.weight.data = torch.from_numpy(kernel.transpose(2, 3, 0, 1).copy())
        norm = torch.nn.BatchNorm2d(6).eval()
        own, kept = params[f"norm{number}"], stats[f"norm{number}"]
        values = (own["scale"], own["bias"], kept["mean"], kept["var"])
        held = (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var)
        for there, value in zip(held, values, strict=True):
            there.copy_(torch.from_numpy(np.asarray(value).copy()))
        layers += [one, norm, torch.nn.ReLU()]
    last = torch.nn.Conv2d(6, 3, 1)
    last.weight.data = torch.from_numpy(np.asarray(params["logits"]["kernel"]).transpose(3, 2, 0, 1).copy())
    last.bias.data = torch.from_numpy(np.asarray(params["logits"]["bias"]).copy())
    with torch.no_grad():
        theirs = torch.nn.Sequential(*layers, last)(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    assert ours.shape == (2, 16, 12, 3)
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
