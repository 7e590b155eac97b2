"""Exported networks say what the run's own do, in a fresh process that has not imported cnnjax too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import traverse_util
from safetensors import safe_open
from safetensors.numpy import load_file

import cnnjax
from cnnjax import (
    FCN,
    Data,
    Experiment,
    FlipViews,
    Hardware,
    Model,
    Options,
    ResNet,
    Segmentation,
    Shapes,
    SmallCNN,
    SquaredError,
    Synthetic,
    train,
)
from cnnjax.errors import CnnjaxError, ConfigError, RunError
from cnnjax.records.exported import Exported
from cnnjax.run.weights import import_torch

DATA = Synthetic(height=6, width=8, channels=3, classes=3, examples=16, test_examples=4)
ONE = Options(Hardware(devices=1))
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)


def run_of(folder: Path, model: Model, data: Data = DATA, **fields) -> Path:
    experiment = Experiment(model=model, data=data, steps=2, batch_size=4, validation=0, **fields)
    train(experiment, folder, options=ONE)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    model = SmallCNN(features=2, blocks=1, norm="batch")
    return run_of(tmp_path_factory.mktemp("small") / "run", model, test_time=FlipViews())


def test_a_program_is_loaded_in_a_fresh_process_without_cnnjax(small, tmp_path, run):
    code, out, err = run("export", small, tmp_path / "net.stablehlo", "--json")
    assert code == 0, err
    assert json.loads(out) == json.loads((tmp_path / "net.stablehlo.json").read_text())
    np.save(tmp_path / "images.npy", IMAGES)
    script = (
        "import sys, numpy as np; from jax import export\n"
        "program = export.deserialize(bytearray(open('net.stablehlo', 'rb').read()))\n"
        "assert 'cnnjax' not in sys.modules and program.platforms == ('cpu', 'cuda', 'tpu')\n"
        "images = np.load('images.npy')\n"
        "np.save('said.npy', np.concatenate([program.call(images[:2]), program.call(images[2:])]))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    expected = cnnjax.load(small).predict(IMAGES).probabilities
    np.testing.assert_allclose(np.load(tmp_path / "said.npy"), expected, rtol=1e-5)


def test_a_program_is_for_any_processor(small, tmp_path):
    """No branch by platform, and nothing of the ways in which convolutions are computed on this one."""
    cnnjax.export(cnnjax.load(small), tmp_path / "net.stablehlo")
    program = jax.export.deserialize(bytearray((tmp_path / "net.stablehlo").read_bytes()))
    text = program.mlir_module()
    assert "stablehlo.convolution" in text
    assert "optimization_barrier" not in text
    assert not program.disabled_safety_checks
    assert [aval.str_short() for aval in program.in_avals] == ["uint8[b,6,8,3]"]


def test_a_program_of_numbers_for_one_batch_on_one_platform(tmp_path):
    folder = run_of(tmp_path / "run", SmallCNN(features=2, blocks=1), loss=SquaredError())
    made = cnnjax.export(cnnjax.load(folder), tmp_path / "net.stablehlo", platforms=["cpu"], batch_size=5)
    assert (made.output, made.input_shape, made.platforms) == ("outputs", (5, 6, 8, 3), ("cpu",))
    program = jax.export.deserialize(bytearray((tmp_path / "net.stablehlo").read_bytes()))
    # Sums that nearly cancel are off by the rounding of their terms.
    np.testing.assert_allclose(program.call(IMAGES), cnnjax.load(folder).predict(IMAGES).outputs, rtol=1e-5, atol=1e-6)


def test_safetensors_hold_every_array_and_what_it_is_of(small, tmp_path):
    net = cnnjax.load(small)
    made = cnnjax.export(net, tmp_path / "net.safetensors")
    held = load_file(tmp_path / "net.safetensors")
    flat = traverse_util.flatten_dict(net.variables, sep=".")
    assert held.keys() == flat.keys()
    assert {"params.logits.kernel"} < held.keys()
    for name, array in flat.items():
        np.testing.assert_array_equal(held[name], array)
    with safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        said = Exported.parse(json.loads(file.metadata()["cnnjax"]), "metadata", remedy="")
    assert said == made == Exported.read(tmp_path / "net.safetensors.json", remedy="")
    assert said.resolved == net.resolved
    assert Experiment.model_validate(said.experiment) == net.experiment


@pytest.mark.torch
def test_a_state_dict_of_pytorch_comes_back_as_it_was_imported_and_computes_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    from tests.torch_peers import randomized, torchvision

    twin = randomized(torchvision.models.squeezenet1_1(num_classes=3))
    torch.save(twin.state_dict(), tmp_path / "given.pth")
    data = {"data": "synthetic"} | {f"data.{name}": str(getattr(DATA, name)) for name in ("classes", "examples")}
    import_torch(
        "squeezenet1_1", tmp_path / "given.pth", tmp_path / "run", data | {"data.height": "40", "data.width": "40"}
    )
    net = cnnjax.load(tmp_path / "run")
    assert (net.step, net.is_finished) == (0, True)
    cnnjax.export(net, tmp_path / "net.pth")
    held = torch.load(tmp_path / "net.pth", weights_only=True)
    assert held.keys() == twin.state_dict().keys()
    assert all(torch.equal(held[name], tensor) for name, tensor in twin.state_dict().items())
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    mean, std = (np.array(values, np.float32) for values in (net.resolved.mean, net.resolved.std))
    with torch.no_grad():
        logits = twin(torch.tensor(((images / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(net.predict(images).logits, logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())


# --- what cannot be exported


@pytest.mark.torch
@pytest.mark.brief
def test_a_state_dict_of_a_backbone_under_a_head_is_refused_in_one_sentence(tmp_path):
    pytest.importorskip("torch")
    data = Shapes(size=16, radius=(4.0, 6.0), examples=8, test_examples=4)
    folder = run_of(tmp_path / "run", ResNet(stage_sizes=(1, 1), features=4), data, task=Segmentation(head=FCN()))
    with pytest.raises(ConfigError, match="resnet under a head that task = 'segmentation' puts on it.*safetensors"):
        cnnjax.export(cnnjax.load(folder), tmp_path / "net.pth")
    assert not list(tmp_path.glob("net*"))


class WholeBatch(Model, tag="whole_batch"):
    """A network that must know how many images there are."""

    def network(self) -> nn.Module:
        class Net(nn.Module):
            classes: int

            @nn.compact
            def __call__(self, images):
                flat = [image.reshape(-1) for image in images]
                return nn.Dense(self.classes, name="logits")(jax.numpy.stack(flat))

        return Net(self.num_classes)


def test_a_network_that_needs_the_size_of_its_batch_is_exported_for_one(tmp_path):
    net = cnnjax.load(run_of(tmp_path / "run", WholeBatch()))
    with pytest.raises(ConfigError, match="needs to know how many images a batch has .*--batch-size N"):
        cnnjax.export(net, tmp_path / "net.stablehlo")
    assert not list(tmp_path.glob("net*"))
    cnnjax.export(net, tmp_path / "net.stablehlo", batch_size=5, platforms=["cpu"])
    program = jax.export.deserialize(bytearray((tmp_path / "net.stablehlo").read_bytes()))
    np.testing.assert_allclose(program.call(IMAGES), net.predict(IMAGES).probabilities, rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net.h5"], "its suffix says no format; end it in .stablehlo, .safetensors, .pt, .pth"),
        (["net.onnx"], "ONNX is not written. A whole program is .stablehlo"),
        (["net.pth", "--format", "safetensors"], "would be taken for torch"),
        (["net", "--format", "onnx"], "'onnx' is no format"),
        (["net.stablehlo", "--platforms", "cpu, gpu"], "platform = 'gpu': it is cuda or rocm"),
        (["net.stablehlo", "--platforms", "cup"], "'cup' is no platform. Did you mean 'cpu'"),
        (["net.safetensors", "--platforms", "cpu"], "safetensors holds weights"),
        (["net.safetensors", "--batch-size", "4"], "safetensors holds weights"),
        (["there.safetensors"], "there.safetensors exists: choose another name"),
        (["."], "is a folder; name a file in it"),
        (["folder.safetensors"], "is a folder; name a file in it"),
        (["net.safetensors", "--step", "1"], "no checkpoint of step 1"),
        (["net.pth"], "small_cnn has no counterpart in torchvision whose names are known here; .safetensors holds"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(small, tmp_path, run, words, message):
    (tmp_path / "there.safetensors").write_text("mine")
    (tmp_path / "folder.safetensors").mkdir()
    before = sorted(tmp_path.iterdir())
    if "net.pth" in words:
        pytest.importorskip("torch")
    code, _, err = run("export", small, *words)
    assert code == 1
    assert message in " ".join(err.split())
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.safetensors").read_text() == "mine"


def test_a_package_that_is_missing_is_named_with_its_command(small, tmp_path, monkeypatch):
    net = cnnjax.load(small)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, command in [("net.pth", "pip install 'cnnjax[torch]'"), ("net.stablehlo", "pip install flatbuffers")]:
        with pytest.raises(CnnjaxError, match="needs") as raised:
            cnnjax.export(net, tmp_path / name)
        assert command in str(raised.value)


def test_what_is_there_is_replaced_only_where_that_is_asked_for(small, tmp_path):
    net = cnnjax.load(small)
    (tmp_path / "net.safetensors.json").write_text("mine")
    with pytest.raises(RunError, match="net.safetensors.json exists"):
        cnnjax.export(net, tmp_path / "net.safetensors")
    cnnjax.export(net, tmp_path / "net.safetensors", replace=True)
    assert Exported.read(tmp_path / "net.safetensors.json", remedy="")


def test_the_documented_code_runs(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = cnnjax.load(small)
    for name in ("pets.stablehlo", "pets.safetensors"):
        cnnjax.export(net, name)
    text = (Path(__file__).parents[1] / "docs" / "trained.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    namespace = {"images": IMAGES}
    for block in blocks:
        if "torch" not in block:
            exec(block.replace('"runs/pets"', repr(str(small))).replace("224, 224, 3", "6, 8, 3"), namespace)
    assert namespace["logits"].shape == (5, 3)
    assert namespace["probabilities"].shape == (4, 3)
    assert namespace["classes"] == list(net.classes)
    np.testing.assert_array_equal(namespace["kernel"], net.params["logits"]["kernel"])
