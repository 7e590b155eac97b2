"""`--on`: the batch size and the devices of a machine that a card names, and nothing else."""

from __future__ import annotations

import json

import pytest

FILE = '''"""Does it run anywhere?"""
from cnnjax import SGD, Card, Experiment, Machine, SmallCNN, Study, Synthetic

experiment = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05, per=8), batch_size=8, steps=1)
study = Study(experiment, axes={"model.features": [2, 3]}, seeds=2)
machines = {
    "gpu": Machine(kind="a100", devices=4, batch_size=16),
    "tpu": Machine(kind="tpu-v3", devices=32, batch_size=32),
    "laptop": Machine(kind="cpu", batch_size=4),
    "same": Machine(kind="cpu"),
}
card = Card(source="nobody", deviations=(), machines=machines)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "asked.py"
    path.write_text(FILE)
    return path


def test_a_training_has_the_machines_batch_and_devices(run, file):
    code, out, _ = run("train", file, "--on", "gpu", "--json")
    assert code == 0
    config = json.loads(out)["config"]
    assert config["batch_size"] == 16
    assert config["optim"]["learning_rate"] == 0.05, "the rate is stated per a number of examples, and follows"


def test_a_plan_is_for_the_machines_devices(run, file):
    for name, batch, devices in [
        ("gpu", 16, {"count": 4, "kind": "a100", "memory": 40 * 10**9}),
        ("tpu", 32, {"count": 32, "kind": "tpu-v3", "memory": 16 * 10**9}),
        ("laptop", 4, {"count": 1, "kind": "cpu", "memory": None}),
        ("same", 8, {"count": 1, "kind": "cpu", "memory": None}),
    ]:
        code, out, err = run("sweep", file, "--on", name, "--dry-run", "--json")
        assert code == 0, err
        planned = json.loads(out)
        assert planned["devices"] == devices
        assert {trial["learning_rate"] for trial in planned["trials"]} == {0.05 * batch / 8}


MISTAKES = [
    (["--on", "gpus"], ["'gpus' is no machine of this card. Did you mean 'gpu'?", "tpu, laptop, same"]),
    (["--on", "gpu", "--devices", "2"], ["--on gpu takes 4 devices: leave out --devices"]),
    (["--on", "gpu", "batch_size=8"], ["--on gpu sets batch_size=16: leave out batch_size=..."]),
    (["--on", "tpu"], ["trains on 32 x tpu-v3, and this process has 8", "--dry-run"]),
]


@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda value: " ".join(value) if len(value) > 1 else None)
def test_what_cannot_be_is_refused(run, file, command, words, said):
    code, _, err = run(command, file, *words)
    assert code == 1
    for part in said:
        assert part in " ".join(err.split())


def test_a_kind_beside_a_machine_and_an_axis_of_batches_are_refused(run, file):
    code, _, err = run("sweep", file, "--on", "gpu", "--dry-run", "--device-kind", "h100")
    assert code == 1
    assert "--on names a kind of device already" in err
    code, _, err = run("sweep", file, "--on", "gpu", "batch_size=4,8")
    assert code == 1
    assert "--on gpu sets batch_size=16" in err


def test_a_file_without_machines_has_none(run, file):
    file.write_text(FILE.replace("machines=machines", "machines={}"))
    assert "names no machines" in run("train", file, "--on", "gpu")[2]
    file.write_text(FILE.partition("card =")[0])
    assert "has no card, and so names no machines" in run("train", file, "--on", "gpu")[2]
