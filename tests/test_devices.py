"""A plan is for the devices that trials will run on, which need not be there."""

import json

import pytest

from cnnjax import Experiment, Hardware, SmallCNN, Study, plan
from cnnjax.errors import ConfigError
from cnnjax.run.devices import GB, Devices, declared, here

BASE = Experiment(model=SmallCNN(features=2, dense=0), batch_size=48)


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ((4, "h100", None), Devices(4, "h100", 80 * GB)),
        ((None, "TPU-v4", None), Devices(1, "tpu-v4", 32 * GB)),
        ((2, "new", "1.5GiB"), Devices(2, "new", 3 * 2**29)),
        ((1, "h100", "16GB"), Devices(1, "h100", 16 * 10**9)),
        ((16, None, None), Devices(16, "", None)),
        ((1, None, "200 MiB"), Devices(1, "", 200 * 2**20)),
    ],
)
def test_devices_are_declared(given, devices):
    assert declared(*given) == devices


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((1, "h1000", None), "'h1000' is no kind of device. Did you mean 'h100'.*--device-memory"),
        ((1, None, "big"), "--device-memory big: must be a size"),
        ((1, None, "0GB"), "must be a size"),
    ],
)
def test_what_is_no_device_is_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        declared(*given)


def test_a_plan_is_for_more_devices_than_there_are():
    # 48 images go on 16 devices and not on 32; this process has eight.
    study = Study(BASE, axes={"batch_size": [48, 40]}, seeds=1)
    found = plan(study, hardware=Devices(16))
    assert [trial.experiment.batch_size for trial in found.trials] == [48]
    assert "batch_size = 40: does not divide evenly over 16 devices" in found.pruned[0].reason
    with pytest.raises(ConfigError, match="this process has 8"):
        plan(study, hardware=Hardware(devices=16))
    assert here(Hardware(devices=2)).count == 2


def test_what_has_no_room_is_pruned_with_the_arithmetic():
    # Parameters and SGD's momentum are 4 bytes each; 40 images of 8x8 are 2,560 numbers and 40 labels.
    study = Study(BASE, axes={"model.features": [2, 256]}, seeds=1)
    [small], [large] = (found := plan(study, hardware=Devices(1, memory=2 * 2**20))).trials, found.pruned
    assert small.experiment.model.features == 2
    assert "2.10 MB" in large.reason
    assert "the parameters " in large.reason
    # The smallest step fits certainly not by its state, but by an estimate: that is a warning.
    [tight] = plan(Study(BASE, seeds=1), hardware=Devices(1, memory=60_000)).trials
    assert any("takes an estimated" in text for text in tight.warnings)
    assert not any("takes an estimated" in text for text in small.warnings)


def test_a_dry_run_says_what_it_is_for(run, tmp_path):
    file = tmp_path / "file.py"
    file.write_text("from cnnjax import Experiment, SmallCNN\nexperiment = Experiment(model=SmallCNN(features=2))\n")
    words = ("sweep", file, "model.kernel_size=1,3", "--seeds", "1", "--dry-run", "--device-kind", "h100")
    code, out, _ = run(*words, "--devices", "64", "--json")
    assert code == 0
    assert json.loads(out)["devices"] == {"count": 64, "kind": "h100", "memory": 80 * GB}
    assert "each trial on 64 x h100 with 80.0 GB each" in " ".join(run(*words, "--devices", "64")[1].split())
    code, _, err = run("sweep", file, "--device-kind", "h100")
    assert code == 1
    assert "give --dry-run" in err
