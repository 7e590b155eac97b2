"""Weights from elsewhere: state dicts, imported runs, and trainings that start from a run."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import shutil
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from cnnjax import CentreFit, Experiment, Hardware, SmallCNN, Study, Synthetic, convert, models, plan, train
from cnnjax.cli import app
from cnnjax.config import replace
from cnnjax.convert.tensor_names import is_average
from cnnjax.errors import ConfigError, RunError, WeightsError
from cnnjax.run.evaluate import evaluate
from cnnjax.run.program import Program
from cnnjax.run.weights import _imagenet, import_torch, initial_weights
from cnnjax.study.file import load

IMAGE = (32, 32, 3)
NARROW = {"stage_sizes": (1, 1), "features": (4, 8), "num_classes": 6}
NET = models.config("resnet18", **NARROW)
DATA = Synthetic(height=32, width=32, channels=3, classes=6, examples=40, test_examples=12)


def variables_of(config, shape=IMAGE, seed=0):
    return jax.device_get(jax.jit(config.build().init)(jax.random.key(seed), jnp.zeros((1, *shape))))


@pytest.fixture(scope="module")
def state_dict():
    return convert.to_torch(NET, variables_of(NET), input_shape=IMAGE)


@pytest.fixture
def imported(tmp_path, state_dict):
    save_file(state_dict, tmp_path / "weights.safetensors")
    fields = {f"model.{path}": json.dumps(value) for path, value in NARROW.items() if path != "num_classes"}
    overrides = {**fields, **{f"data.{name}": str(getattr(DATA, name)) for name in type(DATA).model_fields}}
    import_torch("resnet18", tmp_path / "weights.safetensors", tmp_path / "run", {"data": "synthetic", **overrides})
    return tmp_path / "run"


def test_there_and_back(state_dict):
    before = variables_of(NET)
    after = convert.from_torch(NET, state_dict, input_shape=IMAGE)
    jax.tree.map(np.testing.assert_array_equal, after, before)
    assert state_dict["conv1.weight"].shape == (4, 3, 7, 7)
    assert state_dict["bn1.num_batches_tracked"].dtype == np.int64


def test_the_inputs_of_a_dense_layer_after_a_flattening_are_reordered():
    net = models.ConvNet(
        layers={"conv": models.Conv(features=2), "flatten": models.Flatten(), "logits": models.Dense()}, num_classes=3
    )
    shape = (2, 3, 1)
    kernel = np.arange(12 * 3, dtype=np.float32).reshape(2, 3, 2, 3)  # height, width, channels, classes
    tensors = {
        "features.0.weight": np.zeros((2, 1, 3, 3), np.float32),
        "features.0.bias": np.zeros(2, np.float32),
        "classifier.0.weight": kernel.transpose(3, 2, 0, 1).reshape(3, 12),
        "classifier.0.bias": np.zeros(3, np.float32),
    }
    variables = convert.from_torch(net, tensors, input_shape=shape)
    np.testing.assert_array_equal(variables["params"]["logits"]["kernel"], kernel.reshape(12, 3))


def test_every_tensor_that_does_not_fit_is_listed_by_both_names(state_dict):
    wrong = dict(state_dict)
    del wrong["bn1.bias"]
    wrong["fc.weight"] = wrong["fc.weight"][:, :5]
    wrong["more"] = np.zeros(3)
    wrong["conv1.weight"] = np.full_like(wrong["conv1.weight"], np.nan)
    with pytest.raises(WeightsError) as raised:
        convert.from_torch(NET, wrong, input_shape=IMAGE)
    text = str(raised.value)
    assert "(4 tensors)" in text
    assert "missing: bn1.bias (params.stem.conv1.norm.bias), 4" in text
    assert "fc.weight (params.logits.kernel) is 6x5, the network needs 6x8" in text
    assert "left over: more, 3" in text
    assert "conv1.weight (params.stem.conv1.conv.kernel) holds NaN" in text


def test_the_number_of_classes_comes_from_the_weights_unless_given(state_dict):
    without = replace(NET, {"num_classes": None})
    assert convert.from_torch(without, state_dict, input_shape=IMAGE)["params"]["logits"]["bias"].shape == (6,)
    with pytest.raises(WeightsError, match="fc.bias .* is 6, the network needs 7"):
        convert.from_torch(replace(NET, {"num_classes": 7}), state_dict, input_shape=IMAGE)
    with pytest.raises(WeightsError, match="no tensor 'fc.weight'"):
        convert.from_torch(without, {}, input_shape=IMAGE)
    with pytest.raises(ConfigError, match="give input_shape"):
        convert.from_torch(models.SmallCNN(num_classes=2), {})
    with pytest.raises(ConfigError, match="no counterpart"):
        convert.from_torch(models.SmallCNN(num_classes=2), {}, input_shape=IMAGE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {**t, "fc.weight": np.zeros((), np.float32)}, "no kernel of a layer of logits"),
        (lambda t: {**t, "fc.weight": np.zeros((0, 8), np.float32)}, "no kernel of a layer of logits"),
        (lambda t: {**t, "conv1.weight": t["conv1.weight"] + 1j}, "not real numbers: conv1.weight .* is complex"),
        (
            lambda t: {**t, "conv1.weight": t["conv1.weight"].astype(np.int8)},
            "not real numbers: conv1.weight .* is int8",
        ),
        (lambda t: {**t, "bn1.running_var": -t["bn1.running_var"]}, "negative: bn1.running_var .* variance below 0"),
        (lambda t: {**t, "bn1.bias": 3}, "a state dict maps names to tensors"),
        (lambda t: None, "a state dict maps names to tensors"),
    ],
)
def test_values_that_are_no_weights(state_dict, change, words):
    with pytest.raises(WeightsError, match=words):
        convert.from_torch(replace(NET, {"num_classes": None}), change(state_dict), input_shape=IMAGE)


@pytest.mark.parametrize("variables", [{}, None, {"params": {}}])
def test_variables_of_another_kind(variables):
    with pytest.raises(WeightsError, match=r"no params.logits.kernel"):
        convert.to_torch(replace(NET, {"num_classes": None}), variables, input_shape=IMAGE)


def test_an_imported_run_is_evaluated_and_the_import_repeats(imported, tmp_path, capsys):
    parts = evaluate(imported)
    assert parts["test"]["count"] == 12
    before = (imported / "config.json").read_bytes()
    weights = tmp_path / "weights.safetensors"
    source = json.loads((imported / "source.json").read_text())
    assert source["classes"] == 6
    assert import_again(imported, weights) == source
    assert (imported / "config.json").read_bytes() == before
    changed = {name: np.add(tensor, 1, dtype=tensor.dtype) for name, tensor in convert.read_weights(weights).items()}
    changed = {name: np.asarray(tensor) for name, tensor in changed.items()}
    save_file(changed, weights)
    with pytest.raises(RunError, match="holds other weights"):
        import_again(imported, weights)


def test_an_import_says_which_weights_it_took_and_earlier_ones_count_as_the_same(tmp_path, state_dict, capsys):
    averages = {f"ema.{name}": np.asarray(t * 2, t.dtype) for name, t in state_dict.items()}
    save_file({f"raw.{name}": t for name, t in state_dict.items()} | averages, tmp_path / "two.safetensors")
    fields = [f"model.{path}={json.dumps(value)}" for path, value in NARROW.items() if path != "num_classes"]
    command = ["import-torch", "resnet18", str(tmp_path / "two.safetensors"), str(tmp_path / "run"), "data=synthetic"]
    result = CliRunner().invoke(app, [*command, *fields, "--key", "ema"])
    assert result.exit_code == 0, result.output
    assert "two.safetensors, its ema" in result.output
    source = json.loads((tmp_path / "run" / "source.json").read_text())
    assert (source["key"], source["fresh_head"]) == ("ema", False)
    kept = {field: source[field] for field in ("architecture", "file", "sha256", "image_shape", "classes")}
    (tmp_path / "run" / "source.json").write_text(json.dumps(kept))
    assert CliRunner().invoke(app, [*command, *fields, "--key", "ema"]).exit_code == 0


def test_evaluating_on_images_with_other_channels_says_which_weights_do_not_fit(imported):
    with pytest.raises(
        RunError, match=r"number of channels[\s\S]*stem.conv1.conv.kernel: 7x7x3x4 there, 7x7x1x4 needed"
    ):
        evaluate(imported, data=replace(DATA, {"channels": 1}))


def import_again(run, weights, held=None):
    held = held or json.loads((run / "config.json").read_text())
    fields = {f"model.{path}": json.dumps(value) for path, value in NARROW.items() if path != "num_classes"}
    data = {f"data.{name}": str(value) for name, value in held["data"].items() if name != "name"}
    return import_torch("resnet18", weights, run, {"data": "synthetic", **fields, **data})


def test_import_asks_for_data_where_the_classes_are_not_imagenets(tmp_path, state_dict):
    save_file(state_dict, tmp_path / "weights.safetensors")
    fields = {f"model.{path}": json.dumps(value) for path, value in NARROW.items() if path != "num_classes"}
    with pytest.raises(ConfigError, match="6 classes, so it is not for ImageNet: say which data"):
        import_torch("resnet18", tmp_path / "weights.safetensors", tmp_path / "run", fields)
    assert not (tmp_path / "run").exists()


def test_an_import_is_evaluated_as_torchvision_evaluates_it():
    data = _imagenet(models.config("inception_v3"))
    assert (data.name, data.size, data.fit, data.mean) == (
        "imagenet2012",
        (299, 299),
        CentreFit(share=0.875),
        (0.5,) * 3,
    )
    assert _imagenet(models.config("resnet50")).std == (0.229, 0.224, 0.225)


def test_files_that_are_no_state_dict(tmp_path):
    with pytest.raises(WeightsError, match="there is no such file"):
        convert.read_weights(tmp_path / "none.pth")
    (tmp_path / "junk.safetensors").write_bytes(b"\xff\x00junk")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        convert.read_weights(tmp_path / "junk.safetensors")
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(WeightsError, match="it is empty"):
        convert.read_weights(tmp_path / "empty.safetensors")


def zipped(**files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n"
NOT_WEIGHTS = {
    "Git LFS pointer": (POINTER, "a pointer of Git LFS.*git lfs pull"),
    "web page": (b"\n<!DOCTYPE html>\n<html><head><title>Sign in", "a web page .*direct link"),
    "web page without a doctype": (b"<html lang=en>" + bytes("é", "utf-8") * 400, "a web page"),
    "XML of a bucket": (b"<?xml version='1.0'?><Error><Code>AccessDenied", "a web page"),
    "message": (b"Entry not found", "text, which begins 'Entry not found'"),
    "message in JSON": (b'{"error": "Repository not found"}', "text, which begins"),
    "index of parts": (b'{"metadata": {}, "weight_map": {"fc.weight": "model-1.safetensors"}}', "several files"),
    "empty": (b"", "empty.*again"),
    "gzip": (gzip.compress(b"weights"), "compressed by gzip.*gunzip"),
    "bzip2": (bz2.compress(b"weights"), "compressed by bzip2"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "zip": (zipped(**{"resnet/weights.pth": "x"}), "a zip archive that torch.save did not write .*resnet/weights.pth"),
    "TorchScript": (zipped(**{"m/data.pkl": "x", "m/constants.pkl": "x"}), "a TorchScript program"),
    "cut zip": (zipped(**{"m/data.pkl": "x" * 99})[:60], "not a whole file of torch.save's"),
}


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("name", NOT_WEIGHTS)
def test_what_is_no_file_of_weights_is_called_what_it_is(tmp_path, name, suffix):
    """Whatever it is named, and without PyTorch; nothing of it is called unsafe but a program."""
    content, words = NOT_WEIGHTS[name]
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words) as raised:
        convert.read_weights(path)
    assert ("run code" in str(raised.value)) == (name == "TorchScript")


def test_safetensors_under_another_name_are_read(tmp_path, state_dict):
    save_file(state_dict, tmp_path / "weights.pth")
    assert convert.read_weights(tmp_path / "weights.pth").keys() == state_dict.keys()


def wrapped(state_dict, prefix):
    return {prefix + name: tensor for name, tensor in state_dict.items()}


PREFIXES = ["module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.module.", "_orig_mod.module.model."]
PREFIXES += ["module._orig_mod.", "model.backbone._orig_mod.", "anything.at.all."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_whatever_wrapped_a_network_is_taken_off_its_names(state_dict, prefix):
    expected = convert.from_torch(NET, state_dict, input_shape=IMAGE)
    given = wrapped(state_dict, prefix) | {"n_averaged": np.asarray(3)}
    read = convert.from_torch(replace(NET, {"num_classes": None}), given, input_shape=IMAGE)
    jax.tree.map(np.testing.assert_array_equal, read, expected)


def test_wrappers_within_a_network_and_a_head_beside_it(state_dict):
    expected = convert.from_torch(NET, state_dict, input_shape=IMAGE)
    within = {name.replace("layer1.0.", "layer1._orig_mod.0.module."): t for name, t in state_dict.items()}
    beside = {name if name.startswith("fc") else f"model.backbone.{name}": t for name, t in state_dict.items()}
    higher = {f"model.{name}" if name.startswith("fc") else f"model.backbone.{name}": t for name, t in beside.items()}
    higher = {name.replace("model.backbone.model.backbone.", "model.backbone."): t for name, t in higher.items()}
    for given in (within, beside, higher):
        read = convert.from_torch(NET, given, input_shape=IMAGE)
        jax.tree.map(np.testing.assert_array_equal, read, expected)


def test_of_two_copies_the_weights_are_taken_and_the_averages_named(state_dict):
    expected = convert.from_torch(NET, state_dict, input_shape=IMAGE)
    averages = {name: np.asarray(t * 2, t.dtype) for name, t in state_dict.items()}
    for raw in ("", "model.", "student."):
        given = wrapped(averages, "ema_model.module.") | wrapped(state_dict, raw)
        with pytest.warns(UserWarning, match=f"taken: the weights '{raw}'; .* averages, 'ema_model.'"):
            read = convert.from_torch(NET, given, input_shape=IMAGE)
        jax.tree.map(np.testing.assert_array_equal, read, expected)


@pytest.mark.parametrize(
    ("name", "average"),
    [
        ("model_ema", True),
        ("state_dict_ema", True),
        ("EMA.module.", True),
        ("averaged_model.", True),
        ("swa_model.", True),
        ("teacher.", True),
        ("demand.", False),
        ("swap.schema.", False),
        ("", False),
    ],
)
def test_what_counts_as_an_average(name, average):
    assert is_average(name) == average


def test_of_two_networks_neither_is_guessed(tmp_path, state_dict):
    given = wrapped(state_dict, "encoder_q.") | wrapped(state_dict, "encoder_k.")
    with pytest.raises(WeightsError, match="2 times, under .*'encoder_q.', 'encoder_k.'.*key='encoder_q'"):
        convert.from_torch(NET, given, input_shape=IMAGE)
    save_file(wrapped(given, "module."), tmp_path / "pair.safetensors")
    chosen = convert.read_weights(tmp_path / "pair.safetensors", key="encoder_k")
    assert chosen.keys() == {name for name in state_dict if not name.endswith("num_batches")}
    with pytest.raises(WeightsError, match="encoder_z.*encoder_q"):
        convert.read_weights(tmp_path / "pair.safetensors", key="encoder_z")


def test_names_that_would_be_one_are_refused(state_dict):
    with pytest.raises(WeightsError, match=r"'(.+)' and '_orig_mod.\1' are both '\1'"):
        convert.from_torch(NET, state_dict | wrapped(state_dict, "_orig_mod."), input_shape=IMAGE)


@pytest.mark.parametrize("beside", ["criterion.weight", "train_accuracy.total", "mean"])
def test_tensors_beside_a_network_are_left_out_by_its_key(tmp_path, state_dict, beside):
    save_file(wrapped(state_dict, "model.") | {beside: np.ones(3, np.float32)}, tmp_path / "more.safetensors")
    with pytest.raises(WeightsError, match=rf"left over: {beside}[\s\S]*not under 'model.': key='model' \(--key model"):
        convert.from_torch(NET, convert.read_weights(tmp_path / "more.safetensors"), input_shape=IMAGE)
    read = convert.from_torch(NET, convert.read_weights(tmp_path / "more.safetensors", key="model"), input_shape=IMAGE)
    jax.tree.map(np.testing.assert_array_equal, read, convert.from_torch(NET, state_dict, input_shape=IMAGE))


def test_a_key_is_not_proposed_where_it_mends_nothing(state_dict):
    other = wrapped(state_dict | {"conv1.weight": np.ones((4, 1, 7, 7), np.float32)}, "model.")
    with pytest.raises(WeightsError, match="shape: conv1.weight") as error:
        convert.from_torch(NET, other, input_shape=IMAGE)
    assert "key=" not in str(error.value)


def test_weights_of_another_architecture_are_not_said_to_lack_a_head():
    given = {"features.0.weight": np.ones((4, 3, 3, 3), np.float32)}
    with pytest.raises(WeightsError, match="only 0 of its .* tensors: are the weights another arch") as error:
        convert.from_torch(replace(NET, {"num_classes": None}), given, input_shape=IMAGE)
    assert "fresh" not in str(error.value)


@pytest.mark.slow
def test_a_file_without_a_head(tmp_path, state_dict):
    body = {name: tensor for name, tensor in state_dict.items() if not name.startswith("fc.")}
    with pytest.raises(WeightsError, match=r"it has no head: no tensor 'fc.weight'[\s\S]*--fresh-head"):
        convert.from_torch(replace(NET, {"num_classes": None}), body, input_shape=IMAGE)
    with pytest.raises(WeightsError, match=r"missing: fc.bias[\s\S]*the head is missing; .*--fresh-head"):
        convert.from_torch(NET, body, input_shape=IMAGE)
    with pytest.raises(ConfigError, match="set num_classes"):
        convert.from_torch(replace(NET, {"num_classes": None}), body, input_shape=IMAGE, fresh_head=True)
    expected = convert.from_torch(NET, state_dict, input_shape=IMAGE)
    narrow = replace(NET, {"num_classes": 4})
    for given in (body, state_dict):
        read = convert.from_torch(narrow, given, input_shape=IMAGE, fresh_head=True)
        head = read["params"].pop("logits")
        assert head["kernel"].shape == (8, 4)
        assert head["kernel"].std() > 0
        rest = {**expected["params"]}
        del rest["logits"]
        jax.tree.map(np.testing.assert_array_equal, read["params"], rest)
    save_file(body, tmp_path / "body.safetensors")
    fields = {f"model.{path}": json.dumps(value) for path, value in NARROW.items()}
    source = import_torch(
        "resnet18", tmp_path / "body.safetensors", tmp_path / "run", {"data": "synthetic", **fields}, fresh_head=True
    )
    assert source["fresh_head"]
    assert source["classes"] == 6


# --- starting from a run


def fine_tuning(run, **changes):
    data = replace(DATA, {"classes": 3})
    experiment = load(run).experiment
    return replace(experiment, {"data": data, "epochs": 1, "batch_size": 16, **changes})


def test_a_training_starts_from_a_run_with_another_number_of_classes(imported, tmp_path, state_dict):
    experiment = fine_tuning(imported)
    assert experiment.initial == str(imported)
    params = Program(experiment).init([experiment]).params
    np.testing.assert_array_equal(
        params["stem"]["conv1"]["conv"]["kernel"], state_dict["conv1.weight"].transpose(2, 3, 1, 0)
    )
    assert params["logits"]["kernel"].shape == (8, 3)
    result = train(experiment, tmp_path / "tuned")
    assert result["status"] == "done"
    assert result["initial"]["path"] == str(imported)
    assert experiment.id != replace(experiment, {"initial": None}).id


def test_a_run_that_was_trained_here_can_be_started_from(tmp_path):
    experiment = Experiment(model=replace(NET, {"num_classes": None}), data=DATA, epochs=1, batch_size=16)
    train(experiment, tmp_path / "first")
    again = replace(experiment, {"initial": str(tmp_path / "first"), "seed": 1})
    trained = Program(again).init([again])
    fresh = Program(experiment).init([experiment])
    assert (trained.params["logits"]["kernel"] != fresh.params["logits"]["kernel"]).any()
    assert int(trained.step) == 0


def test_weights_are_those_that_the_run_has_now(tmp_path):
    experiment = Experiment(model=SmallCNN(features=2, dense=0), data=DATA, steps=1, batch_size=8, validation=0)
    checksums = []
    for seed in (0, 1):
        train(replace(experiment, {"seed": seed}), tmp_path / "first")
        checksums.append(initial_weights(str(tmp_path / "first")).checksum)
        shutil.rmtree(tmp_path / "first")
    assert checksums[0] != checksums[1]


def test_a_run_of_another_network_is_refused_before_training(imported):
    wider = fine_tuning(imported, **{"model.features": (4, 16)})
    with pytest.raises(RunError, match=r"do not fit this network[\s\S]*stage2_block1.conv1.conv.kernel: 3x3x4x8 there"):
        train(wider, imported.parent / "tuned")
    # In a study the arm is pruned, and the others are not.
    study = Study(fine_tuning(imported), axes={"model.features": [(4, 8), (4, 16)]}, seeds=1)
    planned = plan(study, hardware=Hardware(devices=1))
    assert len(planned.trials) == 1
    assert "do not fit this network" in planned.pruned[0].reason
    with pytest.raises(ConfigError, match="initial = .*nowhere"):
        plan(Study(replace(wider, {"initial": "nowhere"}), seeds=1))


def test_a_result_from_other_weights_is_not_taken_for_this_one(imported, tmp_path):
    experiment = fine_tuning(imported)
    train(experiment, tmp_path / "tuned")
    assert train(experiment, tmp_path / "tuned")["status"] == "done"
    weights = {
        name: np.asarray(t * 2, t.dtype) for name, t in convert.read_weights(tmp_path / "weights.safetensors").items()
    }
    save_file(weights, tmp_path / "weights.safetensors")
    shutil.rmtree(imported)
    import_again(imported, tmp_path / "weights.safetensors", json.loads(experiment.to_json()))
    with pytest.raises(RunError, match="started from other weights"):
        train(experiment, tmp_path / "tuned")


def test_an_import_spares_other_folders(imported, tmp_path):
    weights = tmp_path / "weights.safetensors"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    held = json.loads((imported / "config.json").read_text())
    for name, words in (("mine", r"holds something else \(notes.txt\)"), ("file", "is a file")):
        with pytest.raises(RunError, match=words):
            import_again(tmp_path / name, weights, held)
    train(fine_tuning(imported), tmp_path / "trained")
    with pytest.raises(RunError, match="holds something else"):
        import_again(tmp_path / "trained", weights, held)
