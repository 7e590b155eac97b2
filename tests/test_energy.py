"""The energy that the machine tells: its counters, when what they say counts, and whose it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Synthetic, energy, train
from cnnjax.energy import Counter, Lap, counters_of, working
from cnnjax.errors import Interrupted
from cnnjax.records.result_json import ResultRecord

WATTS = 50.0


def zone(folder: Path, name: str, says: int | str, wraps: int = 100_000_000) -> Path:
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{says}\n")
    (folder / "max_energy_range_uj").write_text(f"{wraps}\n")
    return folder / "energy_uj"


@pytest.fixture(autouse=True)
def no_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No machine's own: those of a folder that is not there yet, and no account of what else runs."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "powercap")
    monkeypatch.setattr(energy, "STAT", tmp_path / "stat")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    counters_of.cache_clear()
    yield
    counters_of.cache_clear()


def test_packages_and_memory_count_once_and_what_cannot_be_read_does_not(tmp_path: Path) -> None:
    powercap = tmp_path / "powercap"
    zone(powercap / "intel-rapl:0", "package-0", 1_500_000)
    zone(powercap / "intel-rapl:0:0", "core", 1_000_000)
    zone(powercap / "intel-rapl:0:1", "dram", 250_000)
    zone(powercap / "intel-rapl:1", "psys", 9_000_000)
    zone(powercap / "intel-rapl:2", "package-1", "")
    found = counters_of("cpu")
    assert [(own.name, own.read(), own.wraps) for own in found] == [
        ("intel-rapl:0 package-0", 1.5, 100.0),
        ("intel-rapl:0:1 dram", 0.25, 100.0),
    ]
    assert counters_of("tpu") == ()


def test_a_counter_that_began_again_is_followed(tmp_path: Path) -> None:
    says = zone(tmp_path / "powercap" / "intel-rapl:0", "package-0", 99_000_000)
    [counter] = counters_of("cpu")
    before = counter.read()
    says.write_text("2000000")
    assert counter.since(before) == 3.0


class Nvml:
    """Two GPUs that have taken 1 J and 20 J, as NVML answers; `broken` is what it does not tell."""

    def __init__(self, broken: str = ""):
        self.broken = broken

    def __getattr__(self, name: str):
        def call(*words):
            if name == self.broken:
                return 3
            if name == "nvmlDeviceGetCount_v2":
                words[0]._obj.value = 2
            elif name == "nvmlDeviceGetHandleByIndex_v2":
                words[1]._obj.value = words[0].value + 1
            elif name == "nvmlDeviceGetHandleByUUID":
                words[1]._obj.value = {b"GPU-a": 1, b"GPU-b": 2}[words[0]]
            elif name == "nvmlDeviceGetTotalEnergyConsumption":
                words[1]._obj.value = {1: 1_000, 2: 20_000}[words[0].value]
            return 0

        return call


@pytest.mark.parametrize(
    ("environ", "joules"),
    [
        ({}, {"gpu 0": 1, "gpu 1": 20}),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, {"gpu 1": 20, "gpu 0": 1}),
        ({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, {"gpu 1": 20}),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b"}, {"gpu GPU-b": 20}),
        # Which of the two it is depends on which is the faster.
        ({"CUDA_VISIBLE_DEVICES": "1"}, {}),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1"}, {}),
        ({"CUDA_VISIBLE_DEVICES": ""}, {}),
    ],
)
def test_gpus_are_those_that_the_process_sees(monkeypatch: pytest.MonkeyPatch, environ, joules) -> None:
    monkeypatch.setattr(energy.ctypes, "CDLL", lambda name: Nvml())
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert {own.name: own.read() for own in counters_of("gpu")} == joules


@pytest.mark.parametrize(
    "broken",
    ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetTotalEnergyConsumption"],
)
def test_of_a_gpu_that_does_not_tell_processors_alone_are_no_measurement(tmp_path: Path, monkeypatch, broken) -> None:
    zone(tmp_path / "powercap" / "intel-rapl:0", "package-0", 1)
    monkeypatch.setattr(energy.ctypes, "CDLL", lambda name: Nvml(broken))
    assert counters_of("gpu") == ()


# --- what counts


@pytest.fixture
def draining(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes WATTS all the time, and tells of the shortest lap."""
    counter = Counter("clock", lambda: WATTS * time.perf_counter())
    monkeypatch.setattr(energy, "counters_of", lambda platform: (counter,) if platform == "cpu" else ())
    monkeypatch.setattr(energy, "SHORTEST", 0.0)


def test_a_lap_is_what_the_machine_took_meanwhile(draining: None) -> None:
    with working():
        before, lap = time.perf_counter(), Lap("cpu")
        time.sleep(0.05)
        found, passed = lap.end(), time.perf_counter() - before
    assert found is not None
    assert 0.05 * WATTS <= found.joules <= passed * WATTS
    assert found.of == ("clock",)


@pytest.mark.parametrize("when", ["before", "meanwhile", "until after"])
def test_nothing_counts_beside_other_work(draining: None, when: str) -> None:
    with working(), contextlib.ExitStack() as other:
        if when == "before":
            other.enter_context(working())
        lap = Lap("cpu")
        if when == "until after":
            other.enter_context(working())
        if when == "meanwhile":
            with working():
                pass
        assert lap.end() is None


def test_nothing_counts_outside_of_work_of_other_platforms_and_where_it_is_too_short_or_long(
    draining: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Lap("cpu").end() is None
    with working():
        assert Lap("").end() is None
        assert Lap("cpu").end() is not None
        monkeypatch.setattr(energy, "LONGEST", 0.0)
        assert Lap("cpu").end() is None
        monkeypatch.setattr(energy, "LONGEST", 9.0)
        monkeypatch.setattr(energy, "SHORTEST", 5.0)
        assert Lap("cpu").end() is None


@pytest.mark.parametrize(("ticks", "counts"), [(4, True), (200, False)])
def test_nothing_counts_where_others_had_the_processors(draining: None, ticks: int, counts: bool) -> None:
    """Ticks of 10 ms."""
    energy.STAT.write_text("cpu  100 0 50 9000 0 0 0 0 0 0\n")
    with working():
        lap = Lap("cpu")
        energy.STAT.write_text(f"cpu  {100 + ticks} 0 50 9000 0 0 0 0 0 0\n")
        assert (lap.end() is not None) is counts


# --- whose it is

EXPERIMENT = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40, test_examples=12),
    optim=SGD(learning_rate=0.05),
    batch_size=12,
    epochs=6,
)
ONE = Hardware(devices=1)


def result_of(out: Path) -> ResultRecord:
    found = ResultRecord.read(ResultRecord.at(out), remedy="")
    assert found is not None
    return found


def test_a_training_has_the_energy_of_the_steps_that_nothing_was_compiled_beside(draining: None, tmp_path) -> None:
    train(EXPERIMENT, out=tmp_path / "whole", options=Options(ONE))
    whole = result_of(tmp_path / "whole")
    assert whole.energy is not None
    assert whole.steps is not None
    assert 0 < whole.energy.steps <= whole.steps
    # By the clock of the training: its steps, and what the loop does between them.
    assert 0 < whole.energy.joules <= WATTS * (sum(whole.seconds.values()) - whole.seconds["compile"])
    assert whole.energy.of == ("clock",)


def test_a_training_that_is_continued_has_that_of_all_its_calls(draining: None, tmp_path) -> None:
    with pytest.raises(Interrupted):
        train(EXPERIMENT, out=tmp_path, options=Options(ONE, until_epoch=5))
    train(EXPERIMENT, out=tmp_path, options=Options(ONE))
    found = result_of(tmp_path)
    assert found.energy is not None
    # The last epoch alone has 4 steps at most, in which it compiles.
    assert found.energy.steps > 4


def test_where_the_machine_does_not_tell_there_is_none(tmp_path) -> None:
    train(EXPERIMENT, out=tmp_path, options=Options(ONE))
    assert result_of(tmp_path).energy is None
    assert "energy" not in result_of(tmp_path).to_json()
