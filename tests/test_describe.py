"""`cnnjax describe`: its tables against golden.md and by hand, every format, the picture, differences and mistakes."""

from __future__ import annotations

import json
import math
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from rich.console import Console

import cnnjax
from cnnjax import models
from cnnjax.analysis import Analysis, analyse, with_training
from cnnjax.analysis.difference import Difference
from cnnjax.analysis.layer_table import document, memory_line
from cnnjax.analysis.matrix_forms import forms
from cnnjax.analysis.picture import drawn, parted
from cnnjax.arithmetic import linear_costs
from cnnjax.documents.document import Column, Grid, Remarks
from cnnjax.documents.latex import latex
from cnnjax.documents.markdown import markdown
from cnnjax.documents.quantities import short, short_bytes
from cnnjax.documents.terminal_text import terminal
from cnnjax.errors import CnnjaxError, ConfigError, ShapeError
from cnnjax.nn import TransposedConvolution
from cnnjax.run.directory import RunDirectory
from cnnjax.study.describe import compare
from cnnjax.study.file import load

FILE = '''"""Does a wider network do better?"""
from cnnjax import SGD, Experiment, SmallCNN, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05), batch_size=8, epochs=1)
'''
UNPREPARED = """
from cnnjax import TFDS, Experiment, models
experiment = Experiment(model=models.config("resnet20"), data=TFDS(name="mnist", data_dir="nowhere"), batch_size=16)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "wider.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def shown(run):
    """What `cnnjax describe` prints, which must succeed and say nothing else."""

    def call(*words):
        code, out, err = run("describe", *words)
        assert (code, err) == (0, "")
        return out

    return call


class Net(nn.Module):
    body: object

    @nn.compact
    def __call__(self, images):
        return self.body(images)


def convolution(features, kernel, **options):
    return Net(lambda x: nn.Conv(features, kernel, **{"padding": "VALID", **options})(x))


# --- golden.md section 4

VGG = [  # layer, output, weights without biases
    ("conv1_1", (224, 224, 64), 1_728),
    ("conv1_2", (224, 224, 64), 36_864),
    ("pool1", (112, 112, 64), 0),
    ("conv2_1", (112, 112, 128), 73_728),
    ("conv2_2", (112, 112, 128), 147_456),
    ("pool2", (56, 56, 128), 0),
    ("conv3_1", (56, 56, 256), 294_912),
    ("conv3_2", (56, 56, 256), 589_824),
    ("conv3_3", (56, 56, 256), 589_824),
    ("pool3", (28, 28, 256), 0),
    ("conv4_1", (28, 28, 512), 1_179_648),
    ("conv4_2", (28, 28, 512), 2_359_296),
    ("conv4_3", (28, 28, 512), 2_359_296),
    ("pool4", (14, 14, 512), 0),
    ("conv5_1", (14, 14, 512), 2_359_296),
    ("conv5_2", (14, 14, 512), 2_359_296),
    ("conv5_3", (14, 14, 512), 2_359_296),
    ("pool5", (7, 7, 512), 0),
    ("dense6", (4096,), 102_760_448),
    ("dense7", (4096,), 16_777_216),
    ("logits", (1000,), 4_096_000),
]


def test_vgg16_row_for_row(shown):
    described = json.loads(shown("vgg16", "--json"))
    rows = [row for row in described["layers"] if row["op"] not in ("flatten", "dropout")]
    biases = [row["output_shape"][-1] if row["params"] else 0 for row in rows]
    found = [(row["path"], tuple(row["output_shape"]), row["params"] - b) for row, b in zip(rows, biases, strict=True)]
    assert found == VGG
    assert [row["activations"] for row in rows] == [math.prod(output) for _, output, _ in VGG]
    assert (described["params"], described["macs"], described["flops"]) == (138_357_544, 15_470_264_320, 30_940_528_640)
    # The true sum of the rows, image included: 15.2M floats, 61 MB, not the lecture's 24M.
    assert (described["activations"], described["activation_bytes"]) == (15_237_608, 60_950_432)
    assert described["train_activations"] == 15_237_608 + 2 * 4096
    assert sum(row["params_share"] for row in rows) == pytest.approx(100)
    assert sum(row["macs_share"] for row in rows) == pytest.approx(100)


def test_vgg16_in_markdown(shown):
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in shown("vgg16", "--format", "markdown").splitlines()
    ]
    first, total = (next(cells for cells in lines if cells and cells[0] == name) for name in ("conv1\\_1", "**total**"))
    assert first == [
        "conv1\\_1", "convolution", "224x224x64", "1,792", "\\<0.1", "86,704,128", "0.6", "173,408,256", "3,211,264",
        "12,845,056", "3,211,264", "12,845,056", "3x3", "1", "-1",
    ]  # fmt: skip
    assert total[3:12] == [
        f"**{cell}**"
        for cell in ("138,357,544", "100.0", "15,470,264,320", "100.0", "30,940,528,640", "15,237,608", "60,950,432",
                     "15,245,800", "60,983,200")
    ]  # fmt: skip


# --- golden.md section 1: the forms of a convolution


def test_the_forms_of_the_lectures_convolutions():
    edges = analyse(convolution(1, (2, 1), use_bias=False), (320, 280, 1))
    ((_, costs),) = forms(edges)
    assert costs == linear_costs((320, 280), kernel=(2, 1))
    assert costs.convolution == (2, 267_960)
    assert costs.sparse == (178_640, 267_960)
    assert costs.dense.floats == 319 * 280 * 320 * 280
    ((_, large),) = forms(analyse(convolution(1, (141, 91)), (150, 100, 1)))
    assert (large.convolution.floats, large.dense.floats) == (12_832, 1_500_100)


LINEAR = {
    "strided": (lambda x: nn.Conv(4, (3, 5), strides=(2, 3), padding="VALID")(x), (11, 14, 3)),
    "padded": (lambda x: nn.Conv(4, (3, 3))(x), (5, 4, 2)),
    "dilated": (lambda x: nn.Conv(4, (3, 3), kernel_dilation=(2, 3), use_bias=False)(x), (8, 9, 3)),
    "grouped": (lambda x: nn.Conv(8, (3, 3), feature_group_count=2, use_bias=False)(x), (6, 6, 4)),
    "depthwise": (lambda x: nn.Conv(4, (7, 7), feature_group_count=4)(x), (6, 6, 4)),
    "transposed": (lambda x: nn.ConvTranspose(5, (3, 2), strides=(2, 2), use_bias=False)(x), (6, 6, 4)),
    "ours, transposed": (lambda x: TransposedConvolution(4, (3, 2), strides=2, groups=2)(x), (5, 6, 4)),
    "even, same": (lambda x: nn.Conv(1, (4, 4), strides=2)(x), (8, 8, 1)),
    "one axis": (lambda x: nn.Conv(5, (3,))(x[:, 0]), (1, 9, 4)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_the_sparse_matrix_is_what_maps_single_pixels(name):
    body, shape = LINEAR[name]
    module, pixels = Net(body), math.prod(shape)
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, *shape)))
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), variables)
    biased = len(jax.tree.leaves(variables)) == 2
    images = np.eye(pixels, dtype=np.float32).reshape(pixels, *shape)
    matrix = np.asarray(module.apply(variables, images)).reshape(pixels, -1) - biased
    ((layer, costs),) = forms(analyse(module, shape))
    outputs = math.prod(layer.output_shape)
    entries = np.count_nonzero(matrix)
    assert costs.sparse == (entries + biased * outputs, 2 * entries - outputs * (not biased))
    assert costs.dense.floats == matrix.size + biased * outputs
    assert costs.convolution.floats == layer.params
    assert costs.convolution.operations == 2 * layer.macs - outputs * (not biased)


def test_what_is_no_single_convolution_has_no_forms():
    local = Net(lambda x: nn.ConvLocal(5, (3, 3), padding="VALID")(x))
    assert forms(analyse(local, (5, 5, 2))) == []
    assert forms(analyse(Net(lambda x: nn.Dense(3)(nn.max_pool(x, (2, 2)))), (5, 5, 2))) == []


def test_a_shared_convolution_has_its_bias_in_both_calls():
    def body(x):
        conv = nn.Conv(2, (3, 3), padding="VALID")
        return conv(conv(x))

    assert [costs.convolution.floats for _, costs in forms(analyse(Net(body), (9, 9, 2)))] == [38, 38]


def test_forms_are_shown_on_request(shown):
    assert "forms" not in json.loads(shown("lenet5", "--json"))
    (first, *_) = json.loads(shown("lenet5", "--json", "--forms"))["forms"]
    assert first == {
        "path": "conv1",
        "convolution": {"stored": 156, "operations": 235_200},
        "sparse": {"stored": 112_440, "operations": 215_472},
        "dense": {"stored": 28 * 28 * 28 * 28 * 6 + 28 * 28 * 6, "operations": 2 * 28 * 28 * 28 * 28 * 6},
    }
    assert "as a sparse and as a dense matrix" in shown("lenet5", "--forms")


# --- rows

WINDOWS = {  # body, kernel_size, strides, padding, dilation, groups
    "conv": (lambda x: nn.Conv(4, (3, 5), strides=(2, 3), padding=((1, 0), (2, 2)))(x),
             (3, 5), (2, 3), ((1, 0), (2, 2)), (1, 1), 1),
    "dilated": (lambda x: nn.Conv(8, (3, 3), kernel_dilation=(2, 3), feature_group_count=4)(x),
                (3, 3), (1, 1), ((2, 2), (3, 3)), (2, 3), 4),
    "max_pool": (lambda x: nn.max_pool(x, (3, 2), (2, 1), ((1, 1), (0, 0))),
                 (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 1), None),
    "folded pool": (lambda x: cnnjax.nn.Pooling(kind="max", window=(3, 2), strides=2, padding=1)(x),
                    (3, 2), (2, 2), ((1, 0), (1, 1)), (1, 1), None),
    "dense": (lambda x: nn.Dense(3)(x), None, None, None, None, None),
    "norm": (lambda x: nn.LayerNorm()(x), None, None, None, None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", WINDOWS)
def test_rows_tell_their_window(name):
    body, *expected = WINDOWS[name]
    (layer,) = analyse(Net(body), (12, 14, 4)).layers
    assert [getattr(layer, n) for n in ("kernel_size", "strides", "padding", "dilation", "groups")] == expected
    assert layer.input_shape == (12, 14, 4)


class Auxiliary(nn.Module):
    """A second classifier and a row twice as long, in training only."""

    @nn.compact
    def __call__(self, images, train: bool):
        x = nn.Conv(4, (3, 3), name="conv")(images)
        if train:
            nn.Dense(2, name="auxiliary")(x.reshape(len(x), -1))
        x = nn.Dropout(0.5, deterministic=not train, name="dropout")(x)
        return nn.Dense(3, name="logits")(x.mean((1, 2)))


def test_training_beside_inference():
    module = Auxiliary()
    both = with_training(analyse(module, (4, 4, 1)), module)
    rows = {layer.path or layer.op: layer for layer in both.layers}
    assert list(rows) == ["conv", "flatten", "auxiliary", "dropout", "global_avg_pool", "logits"]
    assert (rows["dropout"].activations, rows["dropout"].train_activations) == (0, 64)
    assert (rows["auxiliary"].macs, rows["auxiliary"].activations, rows["auxiliary"].train_activations) == (0, 0, 2)
    assert (both.activations, both.train_activations) == (16 + 64 + 4 + 3, 16 + 64 + 2 + 64 + 4 + 3)
    assert both.params == sum(layer.params for layer in both.layers) == 40 + 130 + 15


def test_half_precision_halves_the_activations(run, file):
    whole, half = (json.loads(run("describe", file, f"precision={p}", "--json")[1]) for p in ("float32", "bfloat16"))
    assert whole["params"] == half["params"]
    for name in ("activation_bytes", "train_activation_bytes"):
        assert half[name] < whole[name]
    assert half["layers"][0]["activation_bytes"] * 2 == whole["layers"][0]["activation_bytes"]


# --- what can be described


def test_a_users_own_module():
    analysis = cnnjax.describe(convolution(4, (3, 3)), (8, 8, 1), batch_size=4)
    assert (analysis.params, analysis.macs, analysis.train_activations) == (40, 36 * 36, 64 + 36 * 4)
    with pytest.raises(ConfigError, match="input_shape="):
        cnnjax.describe(convolution(4, (3, 3)))
    with pytest.raises(CnnjaxError, match=r"takes a flax\.linen\.Module"):
        cnnjax.describe(object(), (8, 8, 1))  # type: ignore[arg-type]


def test_a_network_has_its_published_input_size(shown):
    assert cnnjax.describe(models.config("resnet50")).input_shape == (224, 224, 3)
    assert json.loads(shown("vgg16", "--json"))["input_shape"] == [224, 224, 3]
    assert json.loads(shown("vgg16", "--json", "--input", "64x96x1"))["input_shape"] == [64, 96, 1]


def test_an_experiment_has_its_datas(shown, file):
    described = json.loads(shown(file, "model.features=4", "--json"))
    assert described["input_shape"] == [8, 8, 1]
    assert (described["layers"][0]["output_shape"], described["layers"][-1]["output_shape"]) == ([8, 8, 4], [4])
    assert json.loads(shown(file, "--json", "--input", "16x16x3"))["input_shape"] == [16, 16, 3]


def test_a_run_is_its_experiment(run, shown, file):
    assert run("train", file, "model.features=3", "steps=1", "--devices", 1, "--out", "made")[0] == 0
    expected = shown(file, "model.features=3", "steps=1")
    assert shown("made") == shown("made/config.json") == expected
    assert json.loads(shown("made", "--json", "model.features=5"))["layers"][0]["output_shape"] == [8, 8, 5]
    Path("study/trials").mkdir(parents=True)
    assert "name one of its runs" in run("describe", "study")[2]


def test_a_run_with_classes_of_its_own(run, shown, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FILE.replace("experiment =", "class Mine(SmallCNN, tag='mine_described'): pass\nexperiment =")
                    .replace("model=SmallCNN", "model=Mine"))  # fmt: skip
    assert run("train", path, "steps=1", "--devices", 1, "--out", "made")[0] == 0
    assert shown("made", "--file", path) == shown(path, "steps=1")


def test_data_that_is_not_there(run, tmp_path):
    path = tmp_path / "unprepared.py"
    path.write_text(UNPREPARED)
    code, out, err = run("describe", path, "--json")
    assert (code, json.loads(out)["input_shape"]) == (0, [32, 32, 3])
    assert err.startswith("note: the data cannot be read, so this is for images of 32x32x3: ")
    code, out, _ = run("describe", path, "--json", "--input", "28x28x1")
    assert (code, json.loads(out)["input_shape"]) == (0, [28, 28, 1])
    code, _, err = run("describe", path, "model=small_cnn")
    assert code == 1
    assert "not prepared" in err
    assert "give --input HxWxC" in err


def test_json_keeps_its_names(shown, file):
    described = json.loads(shown(file, "--json"))
    assert {"params", "macs", "activation_bytes", "layers", "warnings", "memory"} <= set(described)
    row = described["layers"][0]
    names = ["path", "op", "output_shape", "params", "macs", "activations", "activation_bytes", "receptive_field"]
    assert list(row)[:8] == names
    assert row["flops"] == 2 * row["macs"]
    assert {"jump", "offset", "params_share", "macs_share", "train_activations", "train_activation_bytes"} <= set(row)
    assert shown(file, "--format", "json") == shown(file, "--json")


# --- memory of training


def test_training_memory_where_a_batch_size_is_known(shown, file):
    described = json.loads(shown(file, "--json"))
    memory = described["memory"]
    assert described["batch_size"] == 8
    assert memory["params"] == 4 * described["params"]
    assert memory["total"] == sum(size for name, size in memory.items() if name != "total")
    assert json.loads(shown(file, "--json", "optim=adamw"))["memory"]["optimizer"] > memory["optimizer"]
    assert json.loads(shown(file, "--json", "--batch-size", 16))["memory"]["total"] > memory["total"]
    assert json.loads(shown("lenet5", "--json"))["memory"] is None
    assert json.loads(shown("lenet5", "--json", "--batch-size", 32))["memory"]["total"] > 0
    line = next(line for line in shown(file).splitlines() if line.startswith("training at batch 8: "))
    sizes = r"[\d.]+ kB at the peak \(parameters [\d.]+ k?B, .*activations [\d.]+ k?B\)"
    assert re.fullmatch(rf"training at batch 8: {sizes}", line)


def test_accumulated_parts_need_less(file):
    experiment = cnnjax.study.file.load(file).experiment
    whole, parts = (cnnjax.describe(experiment.model_copy(update={"accumulate": n})) for n in (1, 4))
    assert parts.memory.activations < whole.memory.activations
    assert memory_line(parts).startswith("training at batch 8 in 4 parts: ")


# --- formats


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (7, "7"), (999, "999"), (1000, "1.00 k"), (9994, "9.99 k"), (9996, "10.0 k"), (99_960, "100 k"),
    (999_499, "999 k"), (999_500, "1.00 M"), (86_704_128, "86.7 M"), (10**21, "1000 E"), (-1500, "-1.50 k"),
])  # fmt: skip
def test_short_numbers(number, text):
    assert short(number) == text
    assert short_bytes(number) == (f"{text}B" if " " in text else f"{text} B")


@pytest.fixture(scope="module")
def resnet() -> Analysis:
    return cnnjax.describe(models.config("resnet50"))


def printed(blocks, width):
    console = Console(width=width)
    with console.capture() as captured:
        console.print(terminal(blocks, width))
    return captured.get()


@pytest.mark.parametrize("width", [48, 60, 80, 100, 120, 160, 200])
def test_a_table_fits_the_terminal(resnet, width):
    text = printed(document(resnet, with_forms=True).blocks, width)
    assert max(map(len, text.splitlines())) <= width
    logits = next(line for line in text.splitlines() if line.startswith("logits"))
    assert "2.05 M" in logits or "2,049,000" in logits
    total = next(line for line in text.splitlines() if line.startswith("total"))
    assert "25.6 M" in total or "25,557,032" in total
    assert ("left out at" in text) == (width < 200)


def test_a_wide_table_shows_everything(resnet):
    text = printed(document(resnet).blocks, 200)
    for heading in ("parameters", "MACs", "FLOPs", "floats", "bytes", "field", "stride", "offset"):
        assert heading in text
    assert "53,120 numbers of state" in text


def test_warnings_are_a_list():
    analysis = Analysis((1, 1, 1), 0, 0, 0, 1, 4, (), warnings=("first " * 20, "second"))
    lines = printed(document(analysis).blocks, 60).splitlines()
    place = lines.index("warnings:")
    assert lines[place + 1].startswith("  - first")
    assert "  - second" in lines
    assert "- second" in markdown(document(analysis).blocks)
    assert r"  \item second" in latex(document(analysis).blocks)


def test_markdown_tables_are_whole(resnet):
    tables = [line for line in markdown(document(resnet, with_forms=True).blocks).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {16, 11}
    assert markdown([Grid("", (Column("a|b"),), [("c|d_e",)])]) == "| a\\|b |\n| :--- |\n| c\\|d\\_e |\n"


AWKWARD = r"50%_of {x} & #1 ~ ^2 \in $a$ <b> [c] → —"


def test_latex_escapes_what_it_must():
    text = latex(
        [Grid(AWKWARD, (Column(AWKWARD), Column("n", "count")), [(AWKWARD, -1)]), Remarks((AWKWARD,), AWKWARD)]
    )
    for line in text.splitlines()[2:]:
        plain = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}", "", line)
        plain = plain.replace(r"$\to$", "").replace("$-$", "").replace("{}", "")
        if "of" in plain:
            assert not re.search(r"(?<!\\)[#$%_^~]", plain)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2
    assert all(len(re.findall(r"(?<!\\)&", row)) == 1 for row in rows)
    compiles(text)


def test_latex_compiles(resnet):
    text = latex(document(resnet, with_forms=True).blocks)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") >= 4
    for row in (line for line in text.splitlines() if line.endswith(r"\\") and "&" in line):
        assert len(re.findall(r"(?<!\\)&", row)) in (14, 9)
    assert text.count("total") == 2
    compiles(text)


def compiles(text):
    """Where there is a LaTeX, it must take `text` without an error or a line that is too long."""
    if shutil.which("pdflatex") is None:
        return
    whole = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}" + "\n" + text + r"\end{document}"
    Path("described.tex").write_text(whole)
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "described.tex"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert b"Overfull" not in done.stdout or b"Package" in done.stdout


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- the picture

MAGIC = {"png": b"\x89PNG", "pdf": b"%PDF-", "svg": b"<?xml"}


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_picture_in_each_format(run, suffix):
    code, _, err = run("describe", "lenet5", "--plot", f"folder/lenet5.{suffix}")
    assert (code, err) == (0, f"picture: folder/lenet5.{suffix}\n")
    content = Path(f"folder/lenet5.{suffix}").read_bytes()
    assert content.startswith(MAGIC[suffix])
    analysis = cnnjax.describe(models.config("lenet5"))
    assert drawn(analysis, title="lenet5", form=suffix) == content


def test_layers_are_labelled_one_by_one_by_block_or_by_stage(resnet):
    assert [part.label for part in parted(analyse(models.build("lenet5"), (28, 28, 1)).layers)] == [
        "conv1", "pool2", "conv3", "pool4", "conv5", "flatten", "dense6", "logits",
    ]  # fmt: skip
    blocks = [part.label for part in parted(resnet.layers)]
    assert (blocks[0], blocks[1], blocks[-1]) == ("stem", "stage1_block1", "logits")
    assert 16 < len(blocks) < 30
    stages = [part.label for part in parted(analyse(models.build("resnet200"), (64, 64, 3)).layers)]
    assert "stage3_block1-36" in stages
    assert len(stages) < 12


def test_a_network_without_costs_can_be_drawn():
    assert drawn(analyse(Net(lambda x: x), (4, 4, 1)), title="nothing", form="png").startswith(b"\x89PNG")


# --- differences


def test_an_override_against_the_experiment(shown, file):
    found = json.loads(shown(file, "--against", "model.kernel_size=5", "--json"))
    assert found["config"] == {"model.kernel_size": [3, 5]}
    first = found["layers"][0]
    assert (first["path"], first["change"], first["params"]) == ("conv1", "changed", {"left": 20, "right": 52})
    assert first["receptive_field"] == {"left": [3, 3], "right": [5, 5]}
    assert found["totals"]["params"]["difference"] == 2 * 16 + 2 * 4 * 16
    # conv1 on 8x8, conv2 on 4x4: 9 taps become 25.
    macs = [64 * taps * 2 + 16 * taps * 2 * 4 for taps in (9, 25)]
    assert [found["totals"]["macs"][side] - 2 * 2 * 4 * 4 for side in ("left", "right")] == macs
    assert found["totals"]["receptive_field"]["left"] == 10
    text = shown(file, "--against", "model.kernel_size=5")
    assert re.search(r"model\.kernel_size +3 +5", text)
    assert re.search(r"conv1 .* changed .* 3 → 5 .* 20 → 52", text)
    assert re.search(r"receptive field .* 10 +16 +\+6 +\+60\.00", text)


def test_two_architectures(shown):
    found = json.loads(shown("resnet18", "--against", "resnet34", "--json"))
    assert found["config"] == {"stage_sizes": [[2, 2, 2, 2], [3, 4, 6, 3]]}
    changes = {row["path"]: row["change"] for row in found["layers"]}
    assert changes["stage1_block3.conv1.conv"] == "new"
    assert found["totals"]["params"] == {
        "left": 11_689_512, "right": 21_797_672, "difference": 10_108_160,
        "relative": pytest.approx(100 * 10_108_160 / 11_689_512),
    }  # fmt: skip
    back = json.loads(shown("resnet34", "--against", "resnet18", "--json"))
    assert {row["path"]: row["change"] for row in back["layers"]}["stage1_block3.conv1.conv"] == "gone"


def test_networks_of_two_kinds_and_an_override_of_the_other(shown):
    text = shown("vgg16", "--against", "resnet18", "--against", "stage_sizes=(1, 1, 1, 1)")
    assert text.startswith("vgg16 → resnet18 stage_sizes=(1, 1, 1, 1)")
    assert re.search(r"name +convnet +resnet", text)
    assert "layers.conv1_1.features" not in text
    assert "layers.conv1_1.features" in shown("vgg16", "--against", "resnet18", "--json")


def test_an_experiment_against_an_architecture(shown, file):
    found = json.loads(shown(file, "--against", "small_cnn", "--input", "16x16x1", "--json"))
    assert set(found["config"]) == {"features", "dense"}


def test_the_same_network(shown):
    text = shown("lenet5", "--against", "lenet5_relu")
    assert "no layer changes in shape, size or cost" in text
    assert re.search(r"layers\.pool2\.kind +average +max", text)


@pytest.mark.usefixtures("standard_promotion")
def test_bare_operations_and_modules_are_compared():
    def net(pool, features):
        return Net(lambda x: nn.Dense(3, name="head")(pool(nn.Conv(features, (3, 3), name="conv")(x), (2, 2), (2, 2))))

    found = compare(net(nn.max_pool, 4), net(nn.avg_pool, 4), (8, 8, 1))
    assert [(left and left.op, right and right.op) for left, right in found.layers] == [
        ("max_pool", None), (None, "avg_pool"),
    ]  # fmt: skip
    wider = compare(net(nn.max_pool, 4), net(nn.max_pool, 8), (8, 8, 1))
    assert [(left.path or left.op) for left, _ in wider.layers] == ["conv", "max_pool", "head"]


def test_a_difference_from_nothing_has_no_share():
    def described(body):
        return analyse(Net(body), (4, 4, 1))

    left, right = described(lambda x: x), described(lambda x: nn.Dense(2)(x))
    totals = {total.key: total for total in Difference(left, right).totals}
    assert (totals["params"].difference, totals["params"].relative) == (4, None)


def test_new_warnings_are_told():
    shape = (1, 1, 1)
    left, right = (Analysis(shape, 0, 0, 0, 1, 4, (), warnings=said) for said in (("a",), ("a", "b")))
    assert Difference(left, right).to_json()["warnings"] == ["b"]


# --- mistakes

MISTAKES = [
    (["vgg"], ["'vgg' is no model. Did you mean", "'vgg16'"]),
    (["small_cnn"], ["--input HxWxC"]),
    (["nowhere.py"], ["no experiment file nowhere.py"]),
    (["no/where"], ["is no experiment file (.py), no run directory and none of: "]),
    (["."], ["is not a run directory"]),
    (["lenet5", "--input", "4x4x1"], ["model.layers.conv3: kernel 5 does not fit its 2x2 input", "would be 0x0"]),
    (["lenet5", "--input", "28x28"], ["must be HEIGHTxWIDTHxCHANNELS"]),
    (["lenet5", "--input", "28x28x3", "layers.conv1.groups=2"], ["model.layers.conv1: 3 input channels do not divide"]),
    (["lenet5", "model.layers.conv1.kernel=3"], ["'kernel' is no field", "Did you mean 'kernel_size'"]),
    (["lenet5", "--format", "markdwn"], ["--format: 'markdwn' is no format. Did you mean 'markdown'"]),
    (["lenet5", "--json", "--format", "latex"], ["--json and --format latex: give one of them"]),
    (["lenet5", "--plot", "picture.gif"], ["--plot picture.gif: must end in .png, .pdf or .svg"]),
    (["lenet5", "--plot", "/proc/nowhere/picture.png"], ["--plot /proc/nowhere/picture.png: it cannot be written"]),
    (["lenet5", "--against", "lenet"], ["'lenet' is no model", "'lenet5'"]),
    (["lenet5", "--against", "layers.conv1.kernel=3"], ["'kernel' is no field"]),
    (["lenet5", "--against", "vgg11", "--against", "vgg13"], ["name one network"]),
    (["lenet5", "--against", "vgg11", "--forms"], ["leave out --forms and --plot"]),
    (["FILE", "--batch-size", "3000"], ["there are only 36 training examples"]),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda value: " ".join(value))
def test_a_mistake_is_one_clear_line(run, file, words, said):
    code, out, err = run("describe", *[file if word == "FILE" else word for word in words])
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in said:
        assert part in err


def test_a_module_that_cannot_be_traced():
    with pytest.raises(ShapeError, match=r"^Dense_0: fails on its input 0|^Net: fails on its input 8x8x1: "):
        cnnjax.describe(Net(lambda x: x @ jnp.ones((5, 5))), (8, 8, 1))
    with pytest.raises(CnnjaxError, match="no_such_thing"):
        cnnjax.describe(Net(lambda x: x.no_such_thing), (8, 8, 1))


def test_what_fails_in_training_alone_names_the_line():
    class Late(cnnjax.Model):
        def network(self):
            return Fails()

    class Fails(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(3)(x.mean((1, 2)))[:: 1 // (1 - train)]

    with pytest.raises(CnnjaxError, match=r"test_describe.py line \d+\)$"):
        cnnjax.describe(Late(), (4, 4, 1))


def test_arguments_of_a_wrong_kind():
    for shape in (28, "28x28x1"):
        with pytest.raises(ConfigError, match=r"describe takes input_shape=\(height, width, channels\)"):
            cnnjax.describe("lenet5", shape)  # type: ignore[arg-type]
    for name in (5, cnnjax.SmallCNN):
        with pytest.raises(ConfigError, match="build takes an architecture's name"):
            cnnjax.models.build(name)  # type: ignore[arg-type]


def test_memory_of_what_gives_no_logits():
    module = Net(lambda x: {"maps": nn.Conv(2, (3, 3))(x)})
    assert cnnjax.describe(module, (8, 8, 1)).memory is None
    with pytest.raises(CnnjaxError, match=r"cannot be told: the network returns \{'maps': .*leave out the batch size"):
        cnnjax.describe(module, (8, 8, 1), batch_size=2)


def test_a_network_whose_logits_must_be_found_is_described_as_it_is_trained():
    class Pair(cnnjax.Model):
        def network(self):
            return Net(lambda x: (nn.Dense(3)(x.mean((1, 2))), x))

    class Missing(Pair):
        def logits(self, outputs):
            return outputs["logits"]

    data = cnnjax.Synthetic(height=4, width=4, classes=3, examples=8, test_examples=4)
    with pytest.raises(ShapeError, match=r"^model: Pair: the network returns \(float32.* def logits\(self, outputs\)"):
        cnnjax.describe(cnnjax.Experiment(model=Pair(), data=data, batch_size=4))
    with pytest.raises(CnnjaxError, match=r"TypeError: .* \(in .*Missing.logits, .*test_describe.py line \d+\)"):
        cnnjax.describe(Missing(), (4, 4, 1), batch_size=4)


def test_the_help_has_examples(run):
    code, out, _ = run("describe", "--help")
    assert code == 0
    for word in ("Examples", "--against", "--forms", "--plot", "--batch-size", "--format", "resnet50"):
        assert word in out


# --- speed


def test_small_networks_are_analysed_at_a_hundred_a_second():
    module = models.build("lenet5")
    analyse(module, (28, 28, 1))
    seconds = []
    for _ in range(20):
        start = time.thread_time()
        analyse(module, (28, 28, 1))
        seconds.append(time.thread_time() - start)
    # Measured: 6 to 9 ms on an idle core; the rest is for machines that are slower, or whose caches others use.
    assert min(seconds) < 0.03


@pytest.mark.slow
def test_resnet152_is_described_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "cnnjax", "describe", "resnet152"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert b"60,192,808" in done.stdout
    # Measured: 2.1 s of processor time with imports and all, on an idle machine 2 s of the clock.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 6


def test_from_python_by_name(file, tmp_path, monkeypatch):
    """What `cnnjax describe` takes: an architecture, an experiment file, a run."""
    assert cnnjax.describe("lenet5").params == 61_706
    experiment = load(file).experiment
    whole = cnnjax.describe(experiment)
    RunDirectory(tmp_path / "run").begin(experiment)
    for target in (file, str(file), tmp_path / "run"):
        assert cnnjax.describe(target) == whole
    assert cnnjax.describe("lenet5", (32, 32, 1)).input_shape == (32, 32, 1)


def test_the_remedy_is_for_who_asks(file):
    for call in (
        lambda: cnnjax.describe("small_cnn"),
        lambda: cnnjax.describe(models.SmallCNN()),
        lambda: compare(models.SmallCNN(), models.SmallCNN()),
    ):
        with pytest.raises(ConfigError, match=r"give the image's shape: input_shape=\(height, width, channels\)"):
            call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cnnjax.describe("lenet"), "'lenet' is no model. Did you mean 'lenet5'"),
        (lambda: cnnjax.describe(models.SmallCNN), "not the class SmallCNN: make one, SmallCNN()"),
        (lambda: cnnjax.describe(5), "describe takes a flax.linen.Module, .* not 5"),
        (lambda: cnnjax.train("file.py", "out"), "train takes an Experiment .* not 'file.py'"),
        (lambda: cnnjax.plan("file.py"), "plan takes a Study or an Experiment .* not 'file.py'"),
        (lambda: cnnjax.sweep(models.SmallCNN(), "out"), "takes a Study or an Experiment .* not SmallCNN"),
        (lambda: cnnjax.report(5), "report takes the folder of a study or of a run, not 5"),
    ],
)
def test_a_wrong_argument_is_told_apart_at_once(call, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        call()
    assert not list(tmp_path.iterdir())


def test_an_experiment_is_a_study_without_axes(file):
    experiment = load(file).experiment
    assert cnnjax.plan(experiment) == cnnjax.plan(cnnjax.Study(experiment))


def test_the_published_number_of_classes_where_no_data_say(shown, file):
    def params(*words):
        return json.loads(shown(*words, "--json"))["params"]

    assert params("lenet5") == 61_706
    assert params("resnet20") == 269_722
    assert params("alphago_policy") == 3_882_793
    assert params("lenet5", "num_classes=100") == 61_706 + 90 * 85
    # Without a layer it is still the network for ten digits.
    assert params("lenet5", "model.layers.activation6=none") == 61_706
    changed = json.loads(shown("lenet5", "--against", "model.layers.activation6=none", "--json"))
    assert [path for path in changed["config"] if "num_classes" in str(path)] == []
    # With data it is theirs.
    assert params(file) == cnnjax.describe(models.SmallCNN(features=2, dense=0, num_classes=4), (8, 8, 1)).params
