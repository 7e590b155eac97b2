"""Every shipped experiment loads, says what it must, and plans at its own size (deep networks with one block a stage).
Small forms of some, which use all that any uses, train two steps.

Data sets that are not there are noise in their form (`stand_ins`).
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from cnnjax import TFDS, Hardware, MaskFolder, Options, Voc, WavFolder, plan, train
from cnnjax.config import Named, replace
from cnnjax.config.node import Node, children
from cnnjax.data.voc import SIDES
from cnnjax.run import compiling
from cnnjax.run.program import Program
from cnnjax.study.file import load
from tests.marks import slow
from tests.shrinking import BATCH, share, shrunk
from tests.stand_ins import FORMS, put_in

pytestmark = pytest.mark.usefixtures("unkept")
ROOT = Path(__file__).parents[1] / "experiments"
FILES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}
# Those that stand for what is published elsewhere, or for a lecture's claim.
RECIPES = [
    name
    for name in FILES
    if name.split("/")[0] in ("alphago", "cifar10", "cifar100", "fashion_mnist", "imagenet", "mnist")
]
# One of each folder.
QUICK = list({name.rpartition("/")[0]: name for name in reversed(FILES)}.values())

# What an experiment starts from or learns from: the folder that it names, and the experiment whose run belongs there.
RUNS = {
    "digits/generation.py": ("runs/judge", "digits/baseline.py"),
    "methods/distillation.py": ("runs/teacher", "methods/teacher.py"),
    "methods/fine_tuning.py": ("runs/pretraining", "methods/pretraining.py"),
}
HARDWARE = Hardware(devices=1)
ELSEWHERE = Hardware(devices=1, memory=10**15)
"""Of a machine that has room for any: most are written for others than this."""
TRAINED = """alphago/filters_small blood_cells/detection chirps/window cifar10/airbench94_muon
    cifar10/airbench94_narrow cifar10/airbench96 cifar10/colorization cifar10/resnet110 cifar10/resnet18
    cifar100/resnet18 cifar100/wide_resnet28_10_dropout digits/colorization digits/denoising digits/folds
    digits/generation digits/pooling digits/vae fashion_mnist/dense fashion_mnist/depth figures/pose imagenet/alexnet
    imagenet/bit_resnet50 imagenet/convnext_tiny imagenet/efficientnet_b0 imagenet/ffcv_resnet18
    imagenet/flax_resnet50 imagenet/googlenet imagenet/mobilenet_v2 imagenet/mobilenet_v3_large
    imagenet/mosaicml_resnet50_medium imagenet/regnet_y_400mf imagenet/resnet152 imagenet/rsb_resnet50_a1
    imagenet/rsb_resnet50_a3 imagenet/torchvision_resnet50_v2 imagenet/vgg16 imagenet/vgg16_bn imagenet/zfnet
    membranes/unet methods/fine_tuning mnist/lenet5_1998 scenes/captions shapes/localization shapes/masks
    shapes/mosaic shapes/segmentation shapes/super_resolution shapes/two_stage spoken_digits/speakers tissue/bands"""
"""Whose small forms together use all that those of all experiments use."""


def each_file(names=FILES):
    return [*(name for name in names if name in QUICK), *slow(*(name for name in names if name not in QUICK))]


@pytest.fixture(autouse=True)
def folder(tmp_path_factory, monkeypatch):
    """An empty folder, and one of data sets in which none is, so that noise stands for all."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("sets")))
    put_in(monkeypatch)
    # Each program takes two steps, so that compiling it is most of what it costs.
    monkeypatch.setitem(compiling.XLA_CPU, "xla_cpu_use_fusion_emitters", False)


MANY = 1024
"""Examples that take long to make."""


def loaded(name):
    """The file's experiment and study; noise stands for a folder of masks or of sounds, and at most `MANY` examples are
    made."""
    file = load(FILES[name])
    data = file.experiment.data
    changes = {}
    if isinstance(data, WavFolder):
        changes["data.root"] = str(hiss(Path("noise")))
    if isinstance(data, MaskFolder):
        changes["data.root"] = str(noise(Path("noise"), data.pixel_values))
    if isinstance(data, Voc):
        changes["data.root"] = str(boxed_noise(Path("noise"), data.classes))
    for count in ("examples", "test_examples"):
        if getattr(data, count, 0) > MANY:
            changes[f"data.{count}"] = MANY
    if not changes:
        return file.experiment, file.study
    experiment = replace(file.experiment, changes)
    return experiment, replace(file.study, {"experiment": experiment})


def noise(folder: Path, values: tuple[int, ...], count: int = 10, size: int = 32) -> Path:
    """Grey images and masks of `values`, numbered."""
    generator = np.random.default_rng(0)
    for part, choices in (("image", range(256)), ("label", values)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            pixels = generator.choice(np.array(choices, np.uint8), (size, size))
            Image.fromarray(pixels).save(folder / part / f"{number}.png")
    return folder


def hiss(folder: Path) -> Path:
    """Clips of noise by the speakers and in the takes that experiments name, as `<digit>_<speaker>_<take>.wav`."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for digit, speaker, take in itertools.product(range(2), ("speaker1", "speaker2", "speaker4"), range(40)):
        samples = generator.integers(-99, 99, 200).astype(np.int16)
        wavfile.write(folder / f"{digit}_{speaker}_{take}.wav", 8000, samples)
    return folder


def boxed_noise(folder: Path, classes: tuple[str, ...], count: int = 30) -> Path:
    """Images with one box each, whose classes take turns, in the XML of VOC."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    corners = "".join(f"<{side}>{value}</{side}>" for side, value in zip(SIDES, (3, 5, 20, 28), strict=True))
    for number in range(count):
        pixels = generator.integers(0, 256, (32, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        found = f"<object><name>{classes[number % len(classes)]}</name><bndbox>{corners}</bndbox></object>"
        size = "<size><width>40</width><height>32</height></size>"
        (folder / f"{number}.xml").write_text(f"<annotation>{size}{found}</annotation>")
    return folder


def with_runs(name, *, made=lambda experiment: experiment):
    """Make the run that the experiment names, where it names one; of what is made of the other experiment."""
    if name in RUNS:
        folder, other = RUNS[name]
        brief = replace(made(loaded(other)[0]), {"steps": 2, "batch_size": BATCH})
        train(brief, folder, options=Options(HARDWARE))


@pytest.mark.parametrize("name", FILES)
def test_it_asks_a_question_has_a_hypothesis_and_is_in_the_table(name):
    file = load(FILES[name])
    assert "?" in file.question
    assert "Hypothesis:" in file.question
    assert name in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_a_card_and_batches_for_its_machines(name):
    file = load(FILES[name])
    assert file.card is not None
    for machine in file.card.machines.values():
        batch = machine.batch_size or file.experiment.batch_size
        assert batch % (machine.devices * file.experiment.accumulate) == 0, machine
    assert "cnnjax train" in file.question or "cnnjax sweep" in file.question, "the docstring names the command"
    if file.card.needs == "accelerator":
        assert file.card.machines, "the card says for which machine it is written"
        assert "Hardware and time:" in file.question, "the docstring says on what, and how long, or that it is unknown"


def shallow(study):
    """The study with one block in each stage of its network, the later ones being alike: what is traced is a fraction
    of it. As it is, where depth is what it studies."""
    model = study.experiment.model
    sizes = getattr(model, "stage_sizes", ())
    if not sizes or any("stage_sizes" in str(axis) for axis in study.axes):
        return study
    return replace(study, {"experiment.model.stage_sizes": tuple(min(size, 1) for size in sizes)})


@pytest.mark.parametrize("name", each_file())
def test_every_arm_can_be_trained(name):
    _, study = loaded(name)
    with_runs(name)
    planned = plan(shallow(study), hardware=ELSEWHERE)
    assert planned.trials
    assert not planned.pruned, "a shipped study prunes nothing"


def uses(value, path="") -> set[tuple[str, Any]]:
    """What a config says, by path without the names of entries: classes, choices, and which numbers are set."""
    if not isinstance(value, Node | Named | tuple):
        return {(path, value if isinstance(value, bool | str) else value is not None)}
    found = {(path, type(value).__name__)}
    for name, inside in children(value).items():
        place = f"{path}.{name if isinstance(value, Node) else '*'}"
        default = isinstance(value, Node) and name in type(value).model_fields and _is_default(value, name)
        found |= {(place, "default")} if default else uses(inside, place)
    return found


def _is_default(config, name) -> bool:
    return getattr(config, name) == type(config).model_fields[name].default


def test_what_trains_uses_all_that_experiments_use():
    """Where this fails, `TRAINED` lacks an experiment that uses something new."""
    used = {name: uses(shrunk(load(path).experiment)) for name, path in FILES.items()}
    trained = set().union(*(used[f"{name}.py"] for name in TRAINED.split()))
    assert {name: some - trained for name, some in used.items() if some - trained} == {}


@pytest.mark.parametrize("name", each_file([f"{name}.py" for name in TRAINED.split()]))
def test_it_trains(name, monkeypatch):
    experiment, _ = loaded(name)
    if isinstance(experiment.data, TFDS):
        train_count = share(experiment, FORMS[experiment.data.name].train)
        put_in(monkeypatch, train=train_count, test=BATCH)
    small = shrunk(experiment)
    with_runs(name, made=shrunk)
    program = Program(small, hardware=HARDWARE)
    try:
        state = program.init([small])
        # The first step, and the last, which may see images of another size.
        for step in (0, program.steps - 1):
            state = state.replace(step=jax.numpy.full_like(state.step, step))
            state, sums = program.train(state, program.rows([small], step), program.size_at(step))
            assert math.isfinite(sums["loss"])
        assert program.evaluate(state, "test")["count"] > 0
    finally:
        program.close()
