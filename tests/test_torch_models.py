"""Whole networks against torchvision and timm: parameters, operations, logits and gradients for the same weights."""

from __future__ import annotations

import functools
import itertools

import jax
import numpy as np
import pytest

from cnnjax import convert, models
from cnnjax.convert.state_dict import _slot
from cnnjax.errors import WeightsError
from tests.networks import NETWORKS
from tests.test_models import GOLDEN

torch = pytest.importorskip("torch")
from tests.torch_peers import cut, meta, randomized, timm, torchvision, uninitialized  # noqa: E402

pytestmark = pytest.mark.torch

# Our name -> torchvision's constructor, with its arguments. Of networks that share all their code, one.
PEERS = {
    "alexnet": ("alexnet", {}),
    "vgg11_bn": ("vgg11_bn", {}),
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "resnext50_32x4d": ("resnext50_32x4d", {}),
    "googlenet_auxiliary": ("googlenet", {"aux_logits": True, "init_weights": False}),
    "inception_v3_auxiliary": ("inception_v3", {"aux_logits": True, "init_weights": False}),
    "densenet121": ("DenseNet", {"block_config": (2, 3, 2, 2)}),
    "squeezenet1_0": ("squeezenet1_0", {}),
    "squeezenet1_1": ("squeezenet1_1", {}),
    "mobilenet_v2": (
        "mobilenet_v2",
        {
            "inverted_residual_setting": [
                (1, 16, 1, 1),
                (6, 24, 2, 2),
                *((6, width, 1, strides) for width, strides in ((32, 2), (64, 2), (96, 1), (160, 2), (320, 1))),
            ]
        },
    ),
    "mnasnet0_5": ("mnasnet0_5", {}),
    "mobilenet_v3_large": ("mobilenet_v3_large", {}),
    "mobilenet_v3_small": ("mobilenet_v3_small", {}),
    "efficientnet_b0": ("efficientnet_b0", {}),
    "efficientnet_v2_s": ("efficientnet_v2_s", {}),
    "shufflenet_v2_x1_0": ("shufflenet_v2_x1_0", {}),
    "regnet_y_400mf": ("regnet_y_400mf", {}),
    "convnext_tiny": ("convnext_tiny", {}),
}
# Deep ones are compared with a few blocks of each stage; in all their depth by their names and shapes, below.
SHORT = {"stage_sizes": (1, 2, 1, 1)}
# Blocks of one kind between which channels stay.
LEFT_OUT = {"googlenet": ("inception4b", "inception4c"), "inception_v3": ("mixed5d", "mixed6c", "mixed6d", "mixed7c")}
NARROW = {"layers.dense6.features": 64, "layers.dense7.features": 64}
FIELDS = {
    "alexnet": NARROW,
    "vgg11_bn": NARROW,
    "resnet50": SHORT,
    "resnext50_32x4d": SHORT,
    "densenet121": {"stage_sizes": (2, 3, 2, 2)},
    "mobilenet_v2": {"stage_sizes": (1, 2, 1, 1, 1, 1, 1)},
    "mnasnet0_5": {"stage_sizes": (1, 2, 1, 1, 1, 1, 1)},
    "efficientnet_b0": {"stage_sizes": (1, 2, 1, 1, 1, 1, 1)},
    "efficientnet_v2_s": {"stage_sizes": (1, 2, 1, 1, 2, 1)},
    "shufflenet_v2_x1_0": {"stage_sizes": (2, 1, 2)},
    "regnet_y_400mf": {"stage_sizes": (1, 2, 1, 1), "features": (48, 104, 208, 440)},
    "convnext_tiny": SHORT,
}
FIELDS |= {
    f"{name}{end}": {f"blocks.{block}": None for block in blocks}
    for name, blocks in LEFT_OUT.items()
    for end in ("", "_auxiliary")
}
# Where torchvision has those stages; each keeps its first blocks, and what is left keeps its names.
STAGES = {
    "resnet50": "layer{}",
    "resnext50_32x4d": "layer{}",
    "efficientnet_b0": "features.{}",
    "efficientnet_v2_s": "features.{}",
    "regnet_y_400mf": "trunk_output.block{}",
}
ODD_STAGES = {
    "mnasnet0_5": tuple(f"layers.{number}" for number in range(8, 14)),
    "shufflenet_v2_x1_0": ("stage2", "stage3", "stage4"),
    "convnext_tiny": ("features.1", "features.3", "features.5", "features.7"),
}


# Those whose layers depend on the size of images, or round it, are compared on images of the published one, or one
# that rounds alike; the others pool globally, and are quicker on small images.
SIDES = {
    "alexnet": 224,
    "vgg11_bn": 224,
    "googlenet_auxiliary": 112,
    "inception_v3_auxiliary": 139,
    "squeezenet1_0": 224,
    "squeezenet1_1": 224,
    "resnet18": 224,
}


def peer(name, **changes):
    constructor, arguments = PEERS[name]
    with uninitialized():
        made = getattr(torchvision.models, constructor)(**arguments, **changes)
        for block in LEFT_OUT.get(constructor, ()):
            setattr(made, block.replace("mixed", "Mixed_"), torch.nn.Identity())
        if FIELDS.get(name) is NARROW:
            narrow(made.classifier)
    sizes = FIELDS.get(name, {}).get("stage_sizes", ())
    if name in STAGES:
        cut(made, [STAGES[name].format(number) for number in range(1, len(sizes) + 1)], sizes)
    elif name in ODD_STAGES:
        cut(made, ODD_STAGES[name], sizes[-len(ODD_STAGES[name]) :])
    return randomized(made)


def narrow(classifier):
    """Its dense layers with 64 features in place of 4096: most of the network's numbers, and nothing else of it."""
    dense = [number for number, layer in enumerate(classifier) if isinstance(layer, torch.nn.Linear)]
    widths = (classifier[dense[0]].in_features, 64, 64, 1000)
    for number, (inputs, outputs) in zip(dense, itertools.pairwise(widths), strict=True):
        classifier[number] = torch.nn.Linear(inputs, outputs)


def images(shape, batch=2):
    return np.random.default_rng(1).normal(size=(batch, *shape)).astype(np.float32)


def nchw(x):
    return torch.tensor(x.transpose(0, 3, 1, 2).copy())


# Compiled once and run once: optimizing takes longer than it saves.
QUICK = {"xla_backend_optimization_level": 0}


def logits(name, variables, x, **fields):
    module = models.build(name, num_classes=1000, **fields)
    return jax.jit(module.apply).lower(variables, x).compile(compiler_options=QUICK)(variables, x)


@pytest.mark.parametrize("name", PEERS)
def test_logits_equal_torchvision_and_weights_go_back(name):
    theirs, fields = peer(name), FIELDS.get(name, {})
    x = images((SIDES.get(name, 64),) * 2 + (3,))
    with torch.no_grad():
        expected = theirs(nchw(x)).numpy()
    state, config = theirs.state_dict(), models.config(name, num_classes=1000, **fields)
    variables = convert.from_torch(config, state)
    assert np.abs(logits(name, variables, x, **fields) - expected).max() < 1e-4 * np.abs(expected).max()
    returned = convert.to_torch(config, variables)
    assert all(np.array_equal(value, state[key].numpy()) for key, value in returned.items())
    assert all(config.torch_ignores(key) for key in state.keys() - returned.keys())


# Whole and larger ones of the families above, without their numbers: ours by the golden trees, theirs on the "meta"
# device.
LARGER = """alexnet vgg11_bn vgg16 vgg16_bn resnet50 resnext50_32x4d resnet152 wide_resnet50_2 densenet121 mobilenet_v2
    mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 shufflenet_v2_x0_5 shufflenet_v2_x1_0 convnext_tiny regnet_x_400mf
    regnet_y_400mf efficientnet_b0 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
    efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l wide_resnet101_2 resnext101_32x8d
    resnext101_64x4d convnext_large regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf
    regnet_x_32gf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf
    regnet_y_128gf"""


@pytest.mark.parametrize("name", LARGER.split())
def test_state_dicts_of_large_networks_have_torchvisions_names_and_shapes(name):
    theirs = meta(getattr(torchvision.models, name))
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items() if tensor.ndim}
    assert {slot.name: slot.torch_shape for slot in slots_of(name)} == shapes
    if not name.startswith(("alexnet", "vgg")):  # whose rates and norms are layers of their own
        assert_rates_and_norms_are_theirs(models.config(name), list(theirs.modules()))


@pytest.mark.parametrize("name", LEFT_OUT)
def test_state_dicts_of_inceptions_have_torchvisions_names_and_shapes(name):
    theirs = meta(getattr(torchvision.models, name), aux_logits=True, init_weights=False).state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.items() if tensor.ndim}
    assert {slot.name: slot.torch_shape for slot in slots_of(f"{name}_auxiliary")} == shapes


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
    leaves = [line.partition(" ") for line in (GOLDEN / f"{name}.txt").read_text().splitlines()]
    shapes = {tuple(path.split(".")): tuple(map(int, shape.split("x"))) if shape else () for path, _, shape in leaves}
    return [_slot(models.config(name), path, shape, {}, frozenset()) for path, shape in shapes.items()]


# Our name -> timm's, of those below which its names are not torchvision's.
LARGER_TIMM = {
    "resnet50": "resnet50",
    "resnet50_v2": "resnetv2_50",
    "resnet50_d": "resnet50d",
    "mnasnet0_5": "mnasnet_050",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "efficientnet_b0": "efficientnet_b0",
    "regnet_x_400mf": "regnetx_004_tv",
    "regnet_y_400mf": "regnety_004",
    "convnext_tiny": "convnext_tiny",
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
    ("name", "side", "ours", "theirs"),
    [
        ("googlenet_auxiliary", 112, {"dropout": 0.0, "auxiliary_dropout": 0.0}, {"dropout": 0.0, "dropout_aux": 0.0}),
        ("inception_v3_auxiliary", 299, {"dropout": 0.0}, {"dropout": 0.0}),
    ],
)
def test_auxiliary_logits_equal_torchvision_in_training(name, side, ours, theirs):
    model, ours = peer(name, **theirs), FIELDS[name] | ours
    variables = convert.from_torch(models.config(name, **ours), model.state_dict())
    x = images((side, side, 3), batch=4)
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
    x = images((64, 64, 3))
    transformers = pytest.importorskip("transformers")
    short = transformers.ResNetConfig(num_labels=1000, depths=list(SHORT["stage_sizes"]))
    with uninitialized():
        hugging_face = transformers.ResNetForImageClassification(short)
        timms = timm.create_model("resnet50", layers=SHORT["stage_sizes"])
    config = models.config("resnet50", num_classes=1000, **SHORT)
    run = jax.jit(config.build().apply)
    for theirs in (timms, hugging_face):
        randomized(theirs)
        with torch.no_grad():
            output = theirs(nchw(x))
        expected = getattr(output, "logits", output).numpy()
        ours = run(convert.from_torch(config, theirs.state_dict()), x)
        assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_weights_of_auxiliary_heads_are_accepted_without_the_heads(name):
    """With them the network says what torchvision's does, whose state without heads is what goes back."""
    theirs, x = peer(f"{name}_auxiliary"), images((SIDES[f"{name}_auxiliary"],) * 2 + (3,))
    with torch.no_grad():
        expected = theirs(nchw(x)).numpy()
    state, config = theirs.state_dict(), models.config(name, num_classes=1000, **FIELDS[name])
    without = convert.from_torch(config, state)
    with_heads = convert.from_torch(models.config(f"{name}_auxiliary", **FIELDS[name]), state)
    assert len(jax.tree.leaves(without)) < len(jax.tree.leaves(with_heads))
    assert np.abs(logits(name, without, x, **FIELDS[name]) - expected).max() < 1e-4 * np.abs(expected).max()
    returned = convert.to_torch(config, without)
    assert all(np.array_equal(value, state[key].numpy()) for key, value in returned.items())
    whole = meta(getattr(torchvision.models, name), aux_logits=False, init_weights=False).state_dict()
    assert returned.keys() == {key for key in whole.keys() & state.keys() if not config.torch_ignores(key)}
    for weights in (returned, {key: state[key] for key in whole.keys() & state.keys()}):
        jax.tree.map(np.testing.assert_array_equal, convert.from_torch(config, weights), without)


# Our name -> timm's, where torchvision has the network not at all, or under other names, and its arguments.
TIMM = {
    "resnet50_v2": ("resnetv2_50", {"layers": SHORT["stage_sizes"]}),
    "resnet50_d": ("resnet50d", {"layers": SHORT["stage_sizes"]}),
    "efficientnet_b0": ("efficientnet_b0", {}),
    "mnasnet0_5": ("mnasnet_050", {}),
    "mobilenet_v1": ("mobilenetv1_100", {}),
    "mobilenet_v2": ("mobilenetv2_100", {}),
    "mobilenet_v3_small": ("mobilenetv3_small_100", {}),
    "regnet_x_400mf": ("regnetx_004_tv", {}),
    "convnext_tiny": ("convnext_tiny", {"depths": SHORT["stage_sizes"]}),
    "vgg11_bn": ("vgg11_bn", {}),
}
# Those short in depth, and where timm's network computes otherwise.
TIMM_FIELDS = FIELDS | {
    "resnet50_v2": SHORT,
    "resnet50_d": SHORT,
    "mobilenet_v1": {"stage_sizes": (1, 2, 1, 1, 1)},
    "mobilenet_v3_small": {"norm.epsilon": 1e-5},
    "regnet_x_400mf": {"stage_sizes": (1, 2, 1, 1), "features": (32, 64, 160, 400)},
}
# timm's number of the first of our stages, where they are cut here.
TIMM_STAGES = {
    "efficientnet_b0": ("blocks.{}", 0),
    "mnasnet0_5": ("blocks.{}", 0),
    "mobilenet_v1": ("blocks.{}", 0),
    "mobilenet_v2": ("blocks.{}", 0),
    "regnet_x_400mf": ("s{}", 1),
}
# Others pool globally, and are quicker on small images.
TIMM_SIDES = {"vgg11_bn": 224}


def timms(name):
    constructor, arguments = TIMM[name]
    with uninitialized():
        made = timm.create_model(constructor, **arguments)
        if TIMM_FIELDS.get(name) is NARROW:
            made.pre_logits.fc1, made.pre_logits.fc2 = torch.nn.Conv2d(512, 64, 7), torch.nn.Conv2d(64, 64, 1)
            made.head.fc = torch.nn.Linear(64, 1000)
    if name in TIMM_STAGES:
        (stage, first), sizes = TIMM_STAGES[name], TIMM_FIELDS[name]["stage_sizes"]
        cut(made, [stage.format(first + number) for number in range(len(sizes))], sizes)
    return randomized(made)


@pytest.mark.parametrize("name", TIMM)
def test_logits_of_timms_own_forms(name):
    theirs = timms(name)
    network = models.config(name, num_classes=1000, **TIMM_FIELDS.get(name, {}))
    module, x = network.build(), images((TIMM_SIDES.get(name, 64),) * 2 + (3,))
    with torch.no_grad():
        expected = theirs(nchw(x)).numpy()
    variables = convert.from_torch(network, theirs.state_dict())
    ours = jax.jit(module.apply).lower(variables, x).compile(compiler_options=QUICK)(variables, x)
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["resnet50_v2", "resnet200", "resnet50_d"])
def test_parameters_are_timms(name):
    """Ours are those of the row, with which `test_parameters_operations_and_logits_are_as_published` compares them."""
    model = meta(functools.partial(timm.create_model, LARGER_TIMM.get(name, name)))
    assert NETWORKS[name].params == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet50_v2", "resnet50_d", "mobilenet_v1"])
def test_weights_of_what_only_timm_has_go_back_to_it(name):
    theirs, network = timms(name), models.config(name, num_classes=1000, **TIMM_FIELDS[name])
    returned = convert.to_torch(network, convert.from_torch(network, theirs.state_dict()))
    theirs.load_state_dict({key: torch.tensor(value) for key, value in returned.items()})


def test_timms_mobilenet_v3_is_refused_where_the_epsilon_is_torchvisions():
    state = timms("mobilenet_v3_small").state_dict()
    with pytest.raises(WeightsError, match=r"timm's mobilenet_v3, and it adds 1e-05 .* give model.norm.epsilon=1e-05"):
        convert.from_torch("mobilenet_v3_small", state)


def test_operations_are_torchvisions():
    """Its table gives multiply-accumulates to three decimals of 10^9, of networks without auxiliary heads; those of the
    rows, with which `test_parameters_operations_and_logits_are_as_published` compares ours, are the same.
    """
    # Those of regnet_y_128gf are for larger images.
    whole = {name for name in PEERS if not name.endswith("_auxiliary")} | {"googlenet", "inception_v3"}
    for name in (whole | {*LARGER.split()}) - {"regnet_y_128gf"}:
        weights = torchvision.models.get_model_weights(name).DEFAULT
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
