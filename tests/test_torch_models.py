"""Whole networks against torchvision and timm: parameters, operations, logits and gradients for the same weights."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from cnnjax import analyse, convert, models
from cnnjax.convert.state_dict import _slot
from cnnjax.errors import WeightsError
from tests.networks import NETWORKS
from tests.test_models import GOLDEN

torch = pytest.importorskip("torch")
from tests.torch_peers import meta, randomized, settled, timm, torchvision, uninitialized  # noqa: E402

pytestmark = pytest.mark.torch

# Our name -> torchvision's constructor, with its arguments.
PEERS = {
    "alexnet": ("alexnet", {}),
    "vgg11_bn": ("vgg11_bn", {}),
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "resnext50_32x4d": ("resnext50_32x4d", {}),
    "googlenet": ("googlenet", {"aux_logits": False, "init_weights": False}),
    "googlenet_auxiliary": ("googlenet", {"aux_logits": True, "init_weights": False}),
    "inception_v3": ("inception_v3", {"aux_logits": False, "init_weights": False}),
    "inception_v3_auxiliary": ("inception_v3", {"aux_logits": True, "init_weights": False}),
    "densenet121": ("densenet121", {}),
    "squeezenet1_0": ("squeezenet1_0", {}),
    "squeezenet1_1": ("squeezenet1_1", {}),
    "mobilenet_v2": ("mobilenet_v2", {}),
    "mnasnet0_5": ("mnasnet0_5", {}),
    "mobilenet_v3_large": ("mobilenet_v3_large", {}),
    "mobilenet_v3_small": ("mobilenet_v3_small", {}),
    "efficientnet_b0": ("efficientnet_b0", {}),
    "efficientnet_v2_s": ("efficientnet_v2_s", {}),
    "shufflenet_v2_x1_0": ("shufflenet_v2_x1_0", {}),
    "shufflenet_v2_x0_5": ("shufflenet_v2_x0_5", {}),
    "regnet_y_400mf": ("regnet_y_400mf", {}),
    "regnet_x_400mf": ("regnet_x_400mf", {}),
    "convnext_tiny": ("convnext_tiny", {}),
}


# Those whose layers depend on the size of images, or round it, are compared on images of the published one; the others
# pool globally, and are quicker on small images.
PUBLISHED = ("alexnet", "vgg", "googlenet", "inception", "squeezenet", "resnet18")
# Forty blocks with shortcuts, on maps of enough places for statistics; the others whatever their statistics.
SETTLED = {"efficientnet_v2_s": (128, 128, 3)}


def peer(name):
    constructor, arguments = PEERS[name]
    with uninitialized():
        made = getattr(torchvision.models, constructor)(weights=None, **arguments)
    return randomized(made)


def images(shape, batch=2):
    return np.random.default_rng(1).normal(size=(batch, *shape)).astype(np.float32)


def nchw(x):
    return torch.tensor(x.transpose(0, 3, 1, 2).copy())


# Compiled once and run once: optimizing takes longer than it saves.
QUICK = {"xla_backend_optimization_level": 0}


def logits(name, variables, x, classes=1000):
    module = models.build(name, num_classes=classes)
    return jax.jit(module.apply).lower(variables, x).compile(compiler_options=QUICK)(variables, x)


@pytest.mark.parametrize("name", PEERS)
def test_logits_equal_torchvision_and_weights_go_back(name):
    theirs = peer(name)
    published = models.config(name).input_shape if name.startswith(PUBLISHED) else (64, 64, 3)
    x = images(SETTLED.get(name, published))
    if name in SETTLED:
        settled(theirs, nchw(x))
    with torch.no_grad():
        expected = theirs(nchw(x)).numpy()
    state = theirs.state_dict()
    variables = convert.from_torch(name, state)
    assert np.abs(logits(name, variables, x) - expected).max() < 1e-4 * np.abs(expected).max()
    returned = convert.to_torch(name, variables)
    assert all(np.array_equal(value, state[key].numpy()) for key, value in returned.items())
    assert all(models.config(name).torch_ignores(key) for key in state.keys() - returned.keys())


# Larger ones of the families above, without their numbers: ours by the golden trees, theirs on the "meta" device.
LARGER = """vgg16 vgg16_bn resnet152 wide_resnet50_2
    mnasnet0_75 mnasnet1_0 mnasnet1_3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
    efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l wide_resnet101_2 resnext101_32x8d
    resnext101_64x4d convnext_large regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf
    regnet_x_32gf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf
    regnet_y_128gf"""


@pytest.mark.parametrize("name", LARGER.split())
def test_state_dicts_of_large_networks_have_torchvisions_names_and_shapes(name):
    theirs = meta(getattr(torchvision.models, name))
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items() if tensor.ndim}
    assert {slot.name: slot.torch_shape for slot in slots_of(name)} == shapes
    if not name.startswith("vgg"):  # whose rates and norms are layers of their own
        assert_rates_and_norms_are_theirs(models.config(name), list(theirs.modules()))


def assert_rates_and_norms_are_theirs(ours, modules):
    dropouts = [module.p for module in modules if isinstance(module, torch.nn.Dropout)]
    assert dropouts == [ours.dropout] * (ours.dropout > 0)
    depths = [module.p for module in modules if isinstance(module, torchvision.ops.StochasticDepth)]
    # The last block's rate is the whole one, or a block's share less.
    assert max(depths, default=0) == pytest.approx(getattr(ours, "stochastic_depth", 0), rel=0.08)
    for norm in modules:
        if isinstance(norm, torch.nn.BatchNorm2d):
            assert (norm.eps, norm.momentum) == (ours.norm.epsilon, pytest.approx(1 - ours.norm.momentum, rel=1e-9))


def slots_of(name):
    """PyTorch's names and shapes of the arrays in the golden tree of parameters."""
    leaves = [line.split() for line in (GOLDEN / f"{name}.txt").read_text().splitlines()]
    shapes = {tuple(path.split(".")): tuple(map(int, shape.split("x"))) for path, shape in leaves}
    return [_slot(models.config(name), path, shape, {}, frozenset()) for path, shape in shapes.items()]


# Our name -> timm's, of those below which its names are not torchvision's.
LARGER_TIMM = {
    "mnasnet0_75": "mnasnet_075",
    "mnasnet1_0": "mnasnet_100",
    "efficientnet_b4": "efficientnet_b4",
    "efficientnet_b5": "efficientnet_b5",
    "efficientnet_b6": "efficientnet_b6",
    "efficientnet_b7": "efficientnet_b7",
    "efficientnet_v2_s": "efficientnetv2_s",
    "efficientnet_v2_m": "efficientnetv2_m",
    "efficientnet_v2_l": "efficientnetv2_l",
    "regnet_x_800mf": "regnetx_008",
    "regnet_x_1_6gf": "regnetx_016",
    "regnet_x_3_2gf": "regnetx_032",
    "regnet_x_8gf": "regnetx_080",
    "regnet_x_16gf": "regnetx_160",
    "regnet_x_32gf": "regnetx_320",
    "regnet_y_800mf": "regnety_008_tv",
    "regnet_y_1_6gf": "regnety_016",
    "regnet_y_3_2gf": "regnety_032",
    "regnet_y_8gf": "regnety_080_tv",
    "regnet_y_16gf": "regnety_160",
    "regnet_y_32gf": "regnety_320",
    "regnet_y_128gf": "regnety_1280",
    "convnext_large": "convnext_large",
    "wide_resnet101_2": "wide_resnet101_2",
    "resnext101_32x8d": "resnext101_32x8d",
    "resnext101_64x4d": "resnext101_64x4d",
}


@pytest.mark.parametrize("name", LARGER_TIMM)
def test_state_dicts_of_large_networks_have_timms_names_and_shapes(name):
    theirs = meta(functools.partial(timm.create_model, LARGER_TIMM[name]))
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items() if tensor.ndim}
    slots = slots_of(name)
    assert sorted(slot.timm_name for slot in slots) == sorted(shapes)
    assert [slot.timm_name for slot in slots if not slot.fits(shapes[slot.timm_name])] == []
    assert (models.config(name).timm_differs() is None) == same_epsilon(name, theirs)


def same_epsilon(name, theirs):
    norms = (torch.nn.BatchNorm2d, torch.nn.LayerNorm)
    return {module.eps for module in theirs.modules() if isinstance(module, norms)} == {
        models.config(name).norm.epsilon
    }


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("googlenet_auxiliary", {"dropout": 0.0, "auxiliary_dropout": 0.0}, {"dropout": 0.0, "dropout_aux": 0.0}),
        ("inception_v3_auxiliary", {"dropout": 0.0}, {"dropout": 0.0}),
    ],
)
def test_auxiliary_logits_equal_torchvision_in_training(name, ours, theirs):
    constructor, arguments = PEERS[name]
    model = randomized(getattr(torchvision.models, constructor)(weights=None, **arguments, **theirs))
    variables = convert.from_torch(name, model.state_dict())
    x = images(models.config(name).input_shape, batch=4)
    with torch.no_grad():
        _, *expected = model.train()(nchw(x))
    module = models.build(name, num_classes=1000, **ours)

    def auxiliary(variables, x):
        return module.apply(variables, x, train=True, mutable=["batch_stats", "auxiliary"])[1]["auxiliary"]

    held = jax.jit(auxiliary).lower(variables, x).compile(compiler_options=QUICK)(variables, x)
    # The last head first, as in torchvision's tuple.
    for (values, _), wanted in zip(reversed(list(held.values())), expected, strict=True):
        # Normalized by the statistics of four images, rounding errors grow to some 1e-5.
        assert np.abs(values - wanted.numpy()).max() < 1e-3 * np.abs(wanted.numpy()).max()


def test_gradients_equal_torchvision():
    """Of a loss on the logits, with respect to every parameter, in evaluation mode."""
    theirs, x = peer("resnet18"), images((64, 64, 3))
    torch.nn.functional.cross_entropy(theirs(nchw(x)), torch.tensor([3, 5])).backward()
    expected = convert.from_torch("resnet18", {**theirs.state_dict(), **gradients_of(theirs)})["params"]
    variables, module = convert.from_torch("resnet18", theirs.state_dict()), models.build("resnet18")

    def loss(params):
        logits = module.apply({**variables, "params": params}, x)
        return -jax.nn.log_softmax(logits)[np.arange(2), np.array([3, 5])].mean()

    ours = jax.jit(jax.grad(loss))(variables["params"])
    for path, gradient in jax.tree_util.tree_leaves_with_path(ours):
        peer_gradient = functools.reduce(lambda tree, key: tree[key.key], path, expected)
        # A float32 sum of some thousand terms in another order.
        tolerance = 1e-3 * np.abs(peer_gradient).max()
        np.testing.assert_allclose(gradient, peer_gradient, atol=tolerance, err_msg=jax.tree_util.keystr(path))


def gradients_of(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_resnet50_of_timm_and_hugging_face():
    x = images((224, 224, 3))
    transformers = pytest.importorskip("transformers")
    hugging_face = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000))
    for theirs in (timm.create_model("resnet50"), hugging_face):
        randomized(theirs)
        with torch.no_grad():
            output = theirs(nchw(x))
        expected = getattr(output, "logits", output).numpy()
        ours = logits("resnet50", convert.from_torch("resnet50", theirs.state_dict()), x)
        assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_weights_of_auxiliary_heads_are_accepted_without_the_heads(name):
    state, x = peer(f"{name}_auxiliary").state_dict(), images(models.config(name).input_shape, batch=1)
    with_heads, without = convert.from_torch(f"{name}_auxiliary", state), convert.from_torch(name, state)
    assert len(jax.tree.leaves(without)) < len(jax.tree.leaves(with_heads))
    np.testing.assert_array_equal(logits(name, without, x), logits(f"{name}_auxiliary", with_heads, x))


# Our name -> timm's, where torchvision has the network not at all, or under other names.
TIMM = {
    "resnet50_v2": "resnetv2_50",
    "resnet50_d": "resnet50d",
    "efficientnet_b0": "efficientnet_b0",
    "mnasnet0_5": "mnasnet_050",
    "mobilenet_v1": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "regnet_y_400mf": "regnety_004",
    "regnet_x_400mf": "regnetx_004_tv",
    "convnext_tiny": "convnext_tiny",
    "vgg11_bn": "vgg11_bn",
}
# Where timm's network computes otherwise.
TIMM_FIELDS = {name: {"norm.epsilon": 1e-5} for name in ("mobilenet_v3_large", "mobilenet_v3_small")}
# Others pool globally, and are quicker on small images.
TIMM_SIDES = {"vgg11_bn": 224}


@pytest.mark.parametrize("name", TIMM)
def test_logits_of_timms_own_forms(name):
    with uninitialized():
        theirs = timm.create_model(TIMM[name])
    network = models.config(name, num_classes=1000, **TIMM_FIELDS.get(name, {}))
    shape = (TIMM_SIDES.get(name, 64),) * 2 + (3,)
    module = network.build()
    randomized(theirs)
    x = images(shape)
    with torch.no_grad():
        expected = theirs(nchw(x)).numpy()
    variables = convert.from_torch(network, theirs.state_dict())
    ours = jax.jit(module.apply).lower(variables, x).compile(compiler_options=QUICK)(variables, x)
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["resnet50_v2", "resnet200", "resnet50_d"])
def test_parameters_are_timms(name):
    model = meta(functools.partial(timm.create_model, TIMM.get(name, name)))
    theirs = sum(parameter.numel() for parameter in model.parameters())
    assert analyse(models.build(name), (224, 224, 3)).params == theirs


@pytest.mark.parametrize("name", ["resnet50_v2", "resnet50_d", "mobilenet_v1"])
def test_weights_of_what_only_timm_has_go_back_to_it(name):
    with uninitialized():
        theirs = randomized(timm.create_model(TIMM[name]))
    returned = convert.to_torch(name, convert.from_torch(name, theirs.state_dict()))
    theirs.load_state_dict({key: torch.tensor(value) for key, value in returned.items()})


def test_timms_mobilenet_v3_is_refused_where_the_epsilon_is_torchvisions():
    state = timm.create_model("mobilenetv3_small_100").state_dict()
    with pytest.raises(WeightsError, match=r"timm's mobilenet_v3, and it adds 1e-05 .* give model.norm.epsilon=1e-05"):
        convert.from_torch("mobilenet_v3_small", state)


def test_operations_are_torchvisions():
    """Its table gives multiply-accumulates to three decimals of 10^9, of networks without auxiliary heads; those of the
    rows, with which `test_parameters_operations_and_logits_are_as_published` compares ours, are the same.
    """
    for name in {*PEERS, *LARGER.split()} - {"regnet_y_128gf"}:  # whose weights are for larger images
        constructor, _ = PEERS.get(name, (name, {}))
        weights = torchvision.models.get_model_weights(constructor).DEFAULT
        if not name.endswith("_auxiliary"):
            assert NETWORKS[name].gmacs == pytest.approx(weights.meta["_ops"], abs=0.0006), name


RAW, AVERAGE = {"fc.weight": torch.zeros(2), "fc.bias": torch.zeros(3)}, {"fc.weight": torch.ones(2)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
# What is in a file -> what is taken by itself, and what else there is.
CHECKPOINTS = {
    "Lightning": ({"state_dict": RAW, "epoch": 3, "optimizer_states": [OPTIMIZER], "loops": {}}, "state_dict", ()),
    "PyTorch's tutorial": (
        {"model_state_dict": RAW, "optimizer_state_dict": {"w": torch.ones(1)}},
        "model_state_dict",
        (),
    ),
    "torchvision": ({"model_ema": AVERAGE, "model": RAW, "optimizer": OPTIMIZER}, "model", ("model_ema",)),
    "timm": ({"arch": "x", "state_dict_ema": AVERAGE, "state_dict": RAW}, "state_dict", ("state_dict_ema",)),
    "net": ({"net": RAW, "acc": 93.1}, "net", ()),
    "within": ({"checkpoint": {"model": RAW, "ema": AVERAGE}}, "checkpoint.model", ("checkpoint.ema",)),
    "averages alone": ({"model_ema": RAW, "step": 3}, "model_ema", ()),
    "one of another name": ({"weights of mine": RAW, "note": "x"}, "weights of mine", ()),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_state_dict_in_a_checkpoint_is_found_and_what_was_taken_is_said(tmp_path, name):
    held, key, others = CHECKPOINTS[name]
    torch.save(held, tmp_path / "file.pth")
    file = convert.read_file(tmp_path / "file.pth")
    assert (file.key, file.others) == (key, others)
    assert file.tensors.keys() == RAW.keys()
    assert not any(tensor.any() for tensor in file.tensors.values())
    if others:
        with pytest.warns(UserWarning, match=f"taken: the weights under '{key}'.*key=.*: '{others[0]}'"):
            convert.read_weights(tmp_path / "file.pth")
        (chosen,) = convert.read_weights(tmp_path / "file.pth", key=others[0]).values()
        assert chosen.all()


def test_of_several_networks_in_a_checkpoint_none_is_guessed(tmp_path):
    torch.save({"generator": RAW, "discriminator": AVERAGE}, tmp_path / "gan.pth")
    with pytest.raises(WeightsError, match=r"several weights; choose with key= \(--key\): generator, discriminator"):
        convert.read_weights(tmp_path / "gan.pth")
    assert convert.read_weights(tmp_path / "gan.pth", key="generator").keys() == RAW.keys()
    with pytest.raises(WeightsError, match="'generato'.*Did you mean 'generator'"):
        convert.read_weights(tmp_path / "gan.pth", key="generato")


def test_an_averaged_compiled_and_parallel_model_is_read():
    """As torch.optim.swa_utils saves it: a counter, and its wrapper before the names of the others."""
    theirs = torchvision.models.resnet18(num_classes=3)
    averaged = torch.optim.swa_utils.AveragedModel(torch.compile(torch.nn.DataParallel(theirs)))
    state = averaged.state_dict()
    assert {"n_averaged", "module._orig_mod.module.conv1.weight"} <= state.keys()
    read, plain = (convert.from_torch("resnet18", tensors) for tensors in (state, theirs.state_dict()))
    jax.tree.map(np.testing.assert_array_equal, read, plain)


def test_a_file_of_torch_save_is_read_and_one_with_objects_refused(tmp_path):
    theirs = peer("resnet18")
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    torch.save({"epoch": 3, "state_dict": theirs.state_dict()}, tmp_path / "wrapped.pth")
    for name in ("weights.pth", "wrapped.pth"):
        read = convert.read_weights(tmp_path / name)
        assert all(np.array_equal(read[key], tensor.numpy()) for key, tensor in theirs.state_dict().items())
    (tmp_path / "weights.pth").rename(tmp_path / "weights.safetensors")
    assert convert.read_weights(tmp_path / "weights.safetensors").keys() == theirs.state_dict().keys()
    (tmp_path / "weights.safetensors").rename(tmp_path / "weights.pth")
    torch.save(theirs, tmp_path / "object.pth")
    with pytest.raises(WeightsError, match=r"refused: it holds objects .*ResNet"):
        convert.read_weights(tmp_path / "object.pth")
    torch.save({"fc.weight": torch.zeros(3), "note": "x"}, tmp_path / "mixed.pth")
    with pytest.raises(WeightsError, match="note is no tensor"):
        convert.read_weights(tmp_path / "mixed.pth")
    torch.save({"fc.weight": torch.zeros(2, 3, dtype=torch.bfloat16)}, tmp_path / "half.pth")
    assert convert.read_weights(tmp_path / "half.pth")["fc.weight"].dtype == np.float32
    whole = (tmp_path / "weights.pth").read_bytes()
    torch.save(theirs.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    old = (tmp_path / "old.pth").read_bytes()
    assert convert.read_weights(tmp_path / "old.pth").keys() == read.keys()
    for content in (whole[: len(whole) // 2], old[: len(old) // 2], old[:100], b"\x80\x02junk"):
        (tmp_path / "damaged.pth").write_bytes(content)
        with pytest.raises(WeightsError, match="not a whole file"):
            convert.read_weights(tmp_path / "damaged.pth")
