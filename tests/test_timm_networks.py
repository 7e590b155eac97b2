"""Networks that only timm has: parameters, operations, names and shapes, and logits for the same weights."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cnnjax import analyse, convert, models
from tests.marks import slow
from tests.test_torch_models import QUICK, images, nchw, slots_of

torch = pytest.importorskip("torch")
from tests.torch_peers import cut, randomized, timm, uninitialized  # noqa: E402

pytestmark = pytest.mark.torch

# Our name -> timm's constructor, with its arguments.
PEERS = {
    "se_resnet50": ("seresnet50", {}),
    "eca_resnet50_d": ("ecaresnet50d", {}),
    "cbam_resnet50": ("resnet50", {"block_args": {"attn_layer": "cbam"}}),
    "bit_r50x1": ("resnetv2_50x1_bit", {}),
    "bit_r152x4": ("resnetv2_152x4_bit", {}),
    "repvgg_a0": ("repvgg_a0", {}),
    "repvgg_b1g4": ("repvgg_b1g4", {}),
    "convmixer_768_32": ("convmixer_768_32", {}),
    "convmixer_1024_20_ks9_p14": ("convmixer_1024_20_ks9_p14", {}),
    "convmixer_1536_20": ("convmixer_1536_20", {}),
    "nfnet_f0": ("dm_nfnet_f0", {}),
    "xception": ("legacy_xception", {}),
    "inception_v4": ("inception_v4", {}),
    "inception_resnet_v2": ("inception_resnet_v2", {}),
}


def stages_cut(model, *sizes):
    """timm's network with the first blocks of each stage alone; names stay as they are."""
    for number, size in enumerate(sizes):
        stage = model.stages[number]
        if hasattr(stage, "blocks"):
            stage.blocks = stage.blocks[:size]
        else:
            model.stages[number] = stage[:size]
    return model


def blocks_cut(model, size):
    """Likewise, of a network without stages."""
    model.blocks = model.blocks[:size]
    return model


def features_cut(model, left_out):
    """Likewise, of a network of numbered layers, without some of them: those after them move up, as ours do."""
    model.features = torch.nn.Sequential(
        *(layer for number, layer in enumerate(model.features) if number not in left_out)
    )
    return model


# Of four blocks of the first kind, seven of the second and three of the third, two each; after a stem of six layers and
# with a reduction between them.
INCEPTION_V4 = {
    f"blocks.inception_{kind}{number}": None for kind, end in (("a", 5), ("b", 8), ("c", 4)) for number in range(3, end)
}
# One of each kind: the side of small images, what makes ours short, theirs when it is made, and theirs later.
SHORT = {"stage_sizes": (1, 2, 1, 1)}
COMPUTED = {
    "se_resnet50": (32, SHORT, {"layers": (1, 2, 1, 1)}, None),
    "eca_resnet50_d": (32, SHORT, {"layers": (1, 2, 1, 1)}, None),
    "cbam_resnet50": (32, SHORT, {"layers": (1, 2, 1, 1)}, None),
    "bit_r50x1": (32, SHORT, {}, lambda model: stages_cut(model, 1, 2, 1, 1)),
    "repvgg_a0": (32, SHORT, {}, lambda model: stages_cut(model, 1, 2, 1, 1)),
    "convmixer_768_32": (28, {"depth": 2}, {}, lambda model: blocks_cut(model, 2)),
    "convmixer_1024_20_ks9_p14": (28, {"depth": 2}, {}, lambda model: blocks_cut(model, 2)),
    "nfnet_f0": (64, SHORT, {"depths": (1, 2, 1, 1)}, None),
    "xception": (75, {}, {}, None),
    "inception_v4": (75, INCEPTION_V4, {}, lambda model: features_cut(model, (8, 9, *range(13, 18), 21))),
    "inception_resnet_v2": (
        75,
        {f"stages.stage{number}.repeats": 2 for number in (1, 2, 3)},
        {},
        lambda model: cut(model, ("repeat", "repeat_1", "repeat_2"), (2, 2, 1)),
    ),
}


def multiplied(model, size):
    """Multiply-accumulates of its convolutions and dense layers for one image of `size` pixels a side."""
    total = 0

    def count(module, _, output):
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    kinds = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Linear)
    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(count)
    model(torch.zeros(1, 3, size, size, device="meta"))
    return total


DEEP = ("inception_v4", "inception_resnet_v2", "xception")


@pytest.mark.parametrize("name", [*(name for name in PEERS if name not in DEEP), *slow(*DEEP)])
def test_parameters_operations_names_and_shapes_are_timms(name):
    """Without a number in memory, so that the largest are no burden."""
    constructor, arguments = PEERS[name]
    with torch.device("meta"):
        theirs = timm.create_model(constructor, **arguments).eval()
    config = models.config(name, num_classes=1000)
    analysis = analyse(config.build(), config.input_shape)
    assert analysis.params == sum(parameter.numel() for parameter in theirs.parameters())
    assert analysis.macs == multiplied(theirs, config.input_shape[0])
    held = {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items() if "num_batches" not in key}
    assert {slot.name: slot.torch_shape for slot in slots_of(name)} == held


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPUTED)
def test_logits_equal_timm_and_weights_go_back(name):
    (constructor, arguments), (side, short, options, shorten) = PEERS[name], COMPUTED[name]
    with uninitialized():
        made = timm.create_model(constructor, **arguments, **options)
    theirs = randomized(shorten(made) if shorten else made)
    config = models.config(name, num_classes=1000, **short)
    x = images((side, side, 3), batch=1)
    with torch.no_grad():
        expected = theirs(nchw(x)).numpy()
    state = theirs.state_dict()
    variables = convert.from_torch(config, state)
    ours = jax.jit(config.build().apply).lower(variables, x).compile(compiler_options=QUICK)(variables, x)
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()
    returned = convert.to_torch(config, variables)
    assert returned.keys() == state.keys()
    assert all(np.array_equal(value, state[key].numpy()) for key, value in returned.items())


@pytest.mark.slow
def test_fused_repvgg_is_timms_and_computes_what_its_branches_did():
    theirs = randomized(stages_cut(timm.create_model("repvgg_b1g4", num_classes=10), 2, 2, 2, 1))
    config = models.config("repvgg_b1g4", stage_sizes=(2, 2, 2, 1), num_classes=10)
    fused, variables = config.fuse(convert.from_torch(config, theirs.state_dict()))
    x = images((32, 32, 3), batch=1)
    with torch.no_grad():
        expected = theirs(nchw(x)).numpy()
        for module in theirs.modules():
            if hasattr(module, "reparameterize"):
                module.reparameterize()
    state = theirs.state_dict()
    returned = convert.to_torch(fused, variables)
    assert returned.keys() == state.keys()
    for key, value in returned.items():
        # Ours is summed in float64, theirs in float32.
        np.testing.assert_allclose(value, state[key].numpy(), rtol=1e-4, atol=1e-6, err_msg=key)
    ours = jax.jit(fused.build().apply).lower(variables, x).compile(compiler_options=QUICK)(variables, x)
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()
