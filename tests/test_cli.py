"""The command line: it does what it says, and every mistake is one clear message, exit code 1 and no traceback."""

from __future__ import annotations

import json
import logging
import re
import resource
import subprocess
import sys

import pytest

from cnnjax.cli import app

FILE = '''"""Does a wider network do better?"""
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05), batch_size=8, epochs=1)
study = Study(experiment, axes={"model.features": [2, 3]}, seeds=2)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "wider.py"
    path.write_text(FILE)
    return path


def test_train_writes_where_it_says_and_continues(run, file, tmp_path):
    code, out, _ = run("train", file, "model.features=3", "--json", "--devices", 1)
    assert code == 0
    result = json.loads(out)
    assert result["status"] == "done"
    assert result["config"]["model"]["features"] == 3
    assert (tmp_path / "runs" / "wider" / "result.json").exists()
    code, out, _ = run("train", file, "model.features=3", "--devices", 1)
    assert code == 0
    assert re.search(r"test +16 +\d+\.\d\d +\d\.\d{4} ", out), "n, accuracy in percent, loss"
    assert "one seed (0), so no spread" in out


@pytest.mark.quick
def test_sweep_plans_trains_and_reports(run, file, tmp_path):
    code, out, _ = run("sweep", file, "model.kernel_size=3,1", "--dry-run", "--json", "--devices", 1)
    assert code == 0
    assert len(json.loads(out)["trials"]) == 8
    assert not (tmp_path / "runs").exists(), "a dry run writes nothing"
    code, out, _ = run("sweep", file, "--seeds", 2, "--devices", 1)
    assert code == 0
    assert "index.html" in out
    folder = tmp_path / "runs" / "wider"
    assert json.loads((folder / "study.json").read_text())["question"] == "Does a wider network do better?"
    assert (folder / "report" / "index.html").exists()
    code, out, _ = run("report", folder, "--json")
    assert code == 0
    assert [arm["n"] for arm in json.loads(out)["arms"]] == [2, 2]
    trial = next((folder / "trials").glob("*/config.json")).parent
    code, out, _ = run("evaluate", trial, "--json")
    assert code == 0
    assert json.loads(out)["test"]["count"] == 16


def test_an_axis_that_one_value_takes_away_is_said(run, tmp_path):
    study = tmp_path / "kernels.py"
    study.write_text(
        "from cnnjax import Digits, Experiment, SmallCNN, Study\n"
        "study = Study(Experiment(model=SmallCNN(features=2), data=Digits(), batch_size=8, epochs=1),\n"
        "              axes={'model.kernel_size': [1, 3]}, seeds=1)\n"
    )
    _, out, err = run("sweep", study, "model.kernel_size=[1,3]", "--dry-run")
    assert "1 trials = 1 arms" in out
    assert "model.kernel_size is no axis any more: every arm has (1, 3)" in err
    _, out, err = run("sweep", study, "model.kernel_size=1,3", "--dry-run")
    assert "2 trials = 2 arms" in out
    assert "no axis" not in err


def test_describe_by_file_and_by_name(run, file):
    code, out, _ = run("describe", file, "model.kernel_size=5", "--json")
    assert code == 0
    described = json.loads(out)
    assert {"params", "macs", "activation_bytes", "layers", "warnings"} <= set(described)
    code, out, _ = run("describe", "lenet5", "model.layers.conv1.features=8", "--input", "28x28x1")
    assert code == 0
    assert "conv1" in out


def commands(group=app, words=()):
    """The words of every command there is."""
    for command in group.registered_commands:
        yield (*words, command.name or command.callback.__name__)
    for inner in group.registered_groups:
        yield (*words, inner.name)
        yield from commands(inner.typer_instance, (*words, inner.name))


@pytest.mark.parametrize("words", [(), *commands()], ids=" ".join)
def test_help_has_examples(run, words):
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "Example" in out


def test_the_version(run):
    assert run("--version")[1].startswith("cnnjax ")


MISTAKES = [
    (["train", "FILE", "model.featurs=3"], ["'featurs'", "Did you mean 'features'", "kernel_size"]),
    (["train", "FILE", "model.features=three"], ["model.features = 'three'", "integer"]),
    (["train", "FILE", "model.features=0"], ["model.features = 0", "greater than or equal to 1"]),
    (["train", "FILE", "model.features"], ["is not path=value"]),
    (["train", "FILE", "seed=1", "seed=2"], ["seed is given twice"]),
    (
        ["train", "FILE", "model.kernel_size=3,5"],
        ["2 values, which cnnjax sweep compares", "'model.kernel_size=[3,5]'"],
    ),
    (["describe", "FILE", "optim=sgd,adam"], ["2 values, which cnnjax sweep compares"]),
    (["train", "FILE", "model.kernel_size=9", "model.padding=valid"], ["kernel 9 does not fit its 8x8 input"]),
    (["train", "nowhere.py"], ["no experiment file nowhere.py"]),
    (["predict", "runs/nowhere", "a.png"], ["there is no such folder"]),
    (["export", "runs/nowhere", "net.onnx"], ["ONNX is not written", ".safetensors"]),
    (["train", "FILE", "optim.lr=1"], ["Did you mean 'learning_rate'?"]),
    (["train", "FILE", "features=3"], ["did you mean model.features?"]),
    (["sweep", "FILE", "optim.learning_rate=1e-3..1", "--dry-run"], ["drawn between two, as log(1e-3,1)"]),
    (["sweep", "FILE", "model.kernel_size=3:7:2", "--dry-run"], ["values are listed (3,5,7)"]),
    (["train", "FILE", "data=digts"], ["'digts' is no data set", "Did you mean 'digits'"]),
    (["train", "FILE", "data=fashion_mnst"], ["Did you mean 'fashion_mnist'", "see: cnnjax data list"]),
    (["train", "FILE", "data=mnist"], ["not prepared", "cnnjax data prepare mnist"]),
    (["train", "FILE", "batch_size=9", "--devices", "2"], ["does not divide evenly over 2 devices", "take 8"]),
    (["train", "FILE", "--devices", "99"], ["devices = 99", "has 8"]),
    (["train", "FILE", "--parallel", "magic"], ["must be jit, shard_map or pmap"]),
    (["train", "FILE", "--out", "/proc/nowhere"], ["cannot write", "--out"]),
    (["train", "FILE", "batch_size=2000"], ["there are only 36 training examples"]),
    (["train", "FILE", "loss=poisson"], ["poisson loss"]),
    (["train", "FILE", "optim.schedule.warmup=99"], ["error: optim.schedule.warmup = 99", "warm-up must be shorter"]),
    (["sweep", "FILE", "model.features=3,3"], ["repeats 3"]),
    (["sweep", "FILE", "model.kernel_size=9,11", "model.padding=valid"], ["nothing is left to train", "kernel 11"]),
    (["sweep", "FILE", "model.pool=max,avg"], ["model.pool = 'avg'"]),
    (["sweep", "FILE", "--launcher", "moon"], ["--launcher: 'moon' is no launcher. There are: local"]),
    (["report", "nowhere"], ["no such directory"]),
    (["describe", "lenet"], ["'lenet' is no model", "lenet5"]),
    (["describe", "small_cnn"], ["give the image's shape: --input HxWxC"]),
    (["describe", "lenet5", "--input", "28x28"], ["must be HEIGHTxWIDTHxCHANNELS"]),
    (["evaluate", "nowhere"], ["not a run directory"]),
    (["train", "."], [". is a folder, name one of its files: wider.py"]),
    (["train", "FILE", "initial=wider.py"], ["wider.py is a file: name a run's folder"]),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda value: " ".join(value) if len(value) > 1 else None)
def test_a_mistake_is_one_clear_message(run, file, words, said, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    code, out, err = run(*[file if word == "FILE" else word for word in words])
    assert code == 1
    assert "Traceback" not in err + out
    for part in said:
        assert part in err


BROKEN_FILES = {
    "x = 1\n": "defines no `experiment` and no `study`",
    "from cnnjax import Method\nclass Mine(Method):\n    beta = 0.1\n": "line 2: beta has no type, so it would be no "
    "field: write beta: float = 0.1",
    "from cnnjax import Loss, lane\nclass Mine(Loss):\n    beta = lane(0.1)\n": "write beta: ... = ...",
    "from cnnjax import SGD\nclass Mine(SGD):\n    momentum = 0.5\n": "write momentum: ... = ...",
    "from cnnjax import Model\nclass Mine(Model):\n    layers = []\n": "write layers: list = []",
    "import nothing_of_the_kind\n": "line 1 does not run: ModuleNotFoundError",
    "def (:\n": "line 1 does not run: SyntaxError",
    "experiment = 3\n": "must be an Experiment",
    "from cnnjax import SmallCNN\nSmallCNN(kernel=3)\n": "'kernel' is no field of SmallCNN. Did you mean 'kernel_size'",
    "1 / 0\n": "ZeroDivisionError",
    "import sys\nsys.exit(0)\n": "line 2 does not run: SystemExit",
}


@pytest.mark.parametrize("content", BROKEN_FILES)
def test_a_file_that_is_no_experiment(run, tmp_path, content):
    path = tmp_path / "broken.py"
    path.write_text(content)
    code, _, err = run("train", path)
    assert code == 1
    assert BROKEN_FILES[content] in err
    assert "Traceback" not in err


def test_a_users_own_class_that_raises(run, tmp_path):
    path = tmp_path / "raises.py"
    path.write_text(
        "from cnnjax import *\nclass Mine(Model):\n    def network(self):\n        raise KeyError('oops')\n"
        "class Lazy(Optim):\n    learning_rate: float = 0.1\n"
        "experiment = Experiment(model=SmallCNN())\n"
    )
    for word, said in (
        ("model=mine", "Mine.network() raised KeyError: 'oops'"),
        ("optim=lazy", "defines no direction"),
    ):
        code, _, err = run("train", path, word)
        assert code == 1
        assert said in err
        assert "Traceback" not in err


def test_a_whole_config_comes_before_what_is_inside_it(run, file):
    code, out, _ = run("train", file, "optim.learning_rate=0.5", "optim=adamw", "steps=1", "--json", "--devices", 1)
    assert code == 0
    assert json.loads(out)["config"]["optim"]["learning_rate"] == 0.5
    code, out, _ = run("sweep", file, "model=small_cnn,lenet5", "--dry-run", "--json", "--devices", 1)
    assert code == 0
    plan = json.loads(out)
    assert [trial["arm"]["model.features"] for trial in plan["trials"]] == [2, 2, 3, 3]
    assert len(plan["pruned"]) == 2


def test_debug_shows_the_traceback(run, monkeypatch):
    from cnnjax.errors import ConfigError

    with pytest.raises(ConfigError):
        run("train", "nowhere.py", "--debug")


def test_a_diverged_trial_shows_in_the_exit_code(run, file):
    code, _, err = run("sweep", file, "optim.learning_rate=0.05,1e30", "model.features=2", "--devices", 1)
    assert code == 1
    assert "at step" in err
    assert "of 4 trials 2 failed" in err
    code, _, err = run("train", file, "optim.learning_rate=1e30", "--devices", 1, "--out", "single")
    assert code == 1
    assert "the training loss is" in err


def test_an_experiment_that_cannot_be_trained_does_not_take_the_directory(run, file):
    assert run("train", file, "model.kernel_size=9", "model.padding=valid", "--devices", 1)[0] == 1
    assert run("train", file, "--devices", 1)[0] == 0


def test_a_study_is_no_run_and_its_runs_are_named(run, file, tmp_path):
    for name in ("b1", "a0", "begun"):
        (tmp_path / "study" / "trials" / name).mkdir(parents=True)
    for name in ("b1", "a0"):
        (tmp_path / "study" / "trials" / name / "config.json").write_text("{}")
    for words in (["evaluate", "study"], ["describe", "study"], ["train", "study"], ["train", file, "initial=study"]):
        code, _, err = run(*words)
        assert code == 1
        assert "study is a study's folder: name one of its runs, such as " in err
        assert err.endswith("study/trials/a0\n")


@pytest.mark.parametrize("words", ["evaluate", "inspect", "predict a.png", "export a.stablehlo"])
def test_a_file_is_no_run_and_the_run_of_its_name_is_offered(run, file, tmp_path, words):
    name, *more = words.split()
    code, _, err = run(name, file, *more)
    assert (code, err) == (1, f"error: {file} is a file: name a run's folder\n")
    trial = tmp_path / "runs" / "wider" / "trials" / "a0"
    trial.mkdir(parents=True)
    (trial / "config.json").write_text("{}")
    assert run(name, file, *more)[2].endswith("name a run's folder, such as runs/wider/trials/a0\n")
    (tmp_path / "runs" / "wider" / "config.json").write_text("{}")
    assert run(name, file, *more)[2].endswith("name a run's folder, such as runs/wider\n")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ("seed=0,1,2", "seeds=(0, 1, 2) in the file, or on the command line --seeds 3\n"),
        ("seed=1", "seeds=(1,) in the file, or on the command line --seeds 1, which takes the first ones, from 0"),
    ],
)
def test_seeds_are_given_by_their_option(run, file, asked, line):
    code, _, err = run("sweep", file, asked, "--dry-run")
    assert code == 1
    assert "seed is no axis of its own" in err
    assert line in err


USAGE = [
    ("train FILE --seeds 3", "for several: cnnjax sweep FILE --seeds N"),
    ("train FILE --seed 3", "No such option: --seed. Fields are written without dashes: seed=VALUE"),
    ("train FILE --batch-size=8", "Fields are written without dashes: batch_size=VALUE"),
    ("train FILE --model.pool max", "Fields are written without dashes: model.pool=VALUE"),
    ("train FILE --device 2", "--devices)"),
    ("sweep FILE --seed 3", ", --seeds)"),
    ("describe FILE --batch-size", "Option '--batch-size' requires an argument."),
    ("sweep FILE --seeds 1,1,2", "--seeds takes a number of seeds; seeds=(0, 5, 7) of a Study in the file names"),
    ("sweep FILE --seeds 2 --json --seeds=5", "--seeds is given twice: give it once"),
    ("data show digits --plot a.png --out b.png", "--plot or --out is given twice"),
    ("status FILE", "is a file: name the study's folder, such as runs/wider"),
    ("plan FILE", "No such command 'plan': `cnnjax sweep FILE --dry-run` prints the plan"),
    ("plam FILE", "No such command 'plam'."),
    ("--install-completion zsh", "for the shell that calls it, and takes no zsh"),
    ("--install-completion nosuch", "zsh -c 'cnnjax --install-completion && true'"),
    ("--show-completion fish", "fish -c 'cnnjax --show-completion && true'"),
]


@pytest.mark.parametrize(("words", "said"), USAGE, ids=[words for words, _ in USAGE])
def test_a_wrong_option_or_command_says_what_to_write(run, file, words, said):
    code, out, err = run(*[file if word == "FILE" else word for word in words.split()])
    assert (code, out) == (2, "")
    assert said in " ".join(err.replace("│", " ").split())


def test_what_may_be_given_twice(run, file):
    code, out, err = run("describe", file, "--json", "--json", "--against", "seed=1", "--against", "epochs=2")
    assert code == 0, err
    json.loads(out)


def test_a_file_of_nearly_that_name_is_offered(run, file, tmp_path):
    _, _, err = run("train", f"{str(file)[:-4]}{file.suffix}")
    assert f"Did you mean '{file}'" in err


def test_a_directory_of_another_experiment(run, file):
    run("train", file, "--devices", 1)
    code, _, err = run("train", file, "model.features=3", "--devices", 1)
    assert code == 1
    assert "model.features: 2 there, 3 here" in err


OWN = '''"""Does a user's own block work?"""
import flax.linen as nn
import numpy as np
from pydantic import Field
from cnnjax import Data, Dataset, Examples, Experiment, Model, Optim, Study
import optax

class Net(nn.Module):
    config: object
    @nn.compact
    def __call__(self, images, *, train=False):
        x = nn.relu(nn.Conv(self.config.width, (3, 3))(images))
        return nn.Dense(self.config.num_classes)(x.mean((1, 2)))

class Mine(Model):
    width: int = Field(default=4, ge=1)
    def network(self):
        return Net(self)

class Stripes(Data):
    def read(self):
        labels = np.arange(40, dtype=np.int32) % 2
        images = np.zeros((40, 6, 6, 1), np.uint8)
        images[labels == 0, ::2] = 255
        images[labels == 1, :, ::2] = 255
        part = Examples(images, labels)
        return Dataset("stripes", part, part, classes=("rows", "columns"))

class Signs(Optim):
    learning_rate: float = 0.01
    def direction(self):
        return optax.scale_by_sign()

experiment = Experiment(model=Mine(), data=Stripes(), optim=Signs(), epochs=3, batch_size=8)
study = Study(experiment, axes={"model.width": [2, 4], "optim.learning_rate": [0.01, 0.02]}, seeds=1)
'''


def test_a_users_own_model_data_and_optimizer_work_everywhere(run, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    assert run("describe", path)[0] == 0
    code, out, err = run("sweep", path, "--devices", 1, "--json")
    assert code == 0, err
    assert [arm["n"] for arm in json.loads(out)["arms"]] == [1, 1, 1, 1]
    trial = next((tmp_path / "runs" / "own" / "trials").glob("*/config.json")).parent
    code, out, err = run("evaluate", trial, "--file", path)
    assert code == 0, err


@pytest.mark.slow
def test_the_help_starts_without_jax():
    def seconds(*words):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    shown = "import sys\nfrom cnnjax import cli\nsys.argv = ['cnnjax', '--help']\ntry: cli.main()\nfinally: "
    look = f"{shown}assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", look], check=True, capture_output=True)
    # Of the processor; measured: 0.5 and 1.4 s.
    assert seconds("-m", "cnnjax", "--help") < seconds("-c", "import jax, flax, optax")


def test_a_stop_is_no_success(run, file, monkeypatch):
    import cnnjax.run.train

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cnnjax.run.train, "trained", stop)
    code, _, said = run("train", file)
    assert code == 130
    assert "stopped" in said


def test_a_warning_is_a_sentence():
    code = "import warnings; from cnnjax.cli import show_warnings; show_warnings(); warnings.warn('mind the gap')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "warning: mind the gap\n"


def test_ctrl_c_while_a_config_is_checked_is_no_mistake_of_the_users(run, monkeypatch):
    monkeypatch.setattr("cnnjax.interrupts.asked", lambda: True)
    assert run("describe", "no_such_network")[0] == 130


def test_what_nobody_reads_stops_nothing(run, monkeypatch):
    run("--version")

    class Closed:
        def write(self, text):
            raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Closed())
        logging.getLogger("cnnjax").warning("said to nobody")
