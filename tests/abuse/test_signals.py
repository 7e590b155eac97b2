"""Signals at random moments of commands: they end at once, with one sentence and exit code 130, or are done.

`CNNJAX_SIGNALS=300 python -m pytest tests/abuse/test_signals.py -k random` stops as many processes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnjax.interrupts import STOPPED
from tests.forking import shared
from tests.marks import slow

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")

# Of each command and of each number of signals one.
PROCESSES = int(os.environ.get("CNNJAX_SIGNALS", "3"))
SEED = 20261128
MOST_SECONDS = 30
"""That a process takes to end, on a busy machine; after a second signal one, where no one else works."""

FILE = """
from cnnjax import Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(model=SmallCNN(features=2, dense=0), data=Synthetic(height=8, width=8, channels=1, classes=4,
    examples=50, test_examples=20), batch_size=16, epochs=4)
study = Study(experiment, axes={"optim.learning_rate": [0.05, 0.1]}, seeds=1)
"""

ONE_DEVICE = {"PYTHONFAULTHANDLER": "1", "XLA_FLAGS": ""}

COMMANDS = {
    "train": "train exp.py --out OUT",
    "sweep": "sweep exp.py --out OUT",
    "work": "work OUT",
    "describe": "describe exp.py",
    "report": "report study --out OUT",
    "evaluate": "evaluate run",
    "inspect": "inspect run --out OUT",
}


def start(place: Path, words: str) -> subprocess.Popen[str]:
    environ = os.environ | ONE_DEVICE | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "cnnjax", *words.split()]
    return subprocess.Popen(
        command,
        cwd=place,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # These tests may run under nohup themselves.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, float]]:
    """A run, a study and one that is planned; the seconds that each command took, with compiling."""
    folder, seconds = tmp_path_factory.mktemp("signals"), {}
    (folder / "exp.py").write_text(FILE)
    began = time.monotonic()
    with start(folder, "train exp.py --out run") as process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    seconds["train"] = imported = time.monotonic() - began
    for words in ("sweep exp.py --out study", "sweep exp.py --out planned --launcher none"):
        began = time.monotonic()
        assert shared().start(*words.split(), cwd=folder, said=folder / "said", environ=ONE_DEVICE).wait() == 0
        # As long as a process of its own takes at least, which imports too.
        seconds.setdefault("sweep", max(imported, time.monotonic() - began))
    return folder, seconds


@pytest.fixture(scope="module")
def place(made) -> Path:
    return made[0]


def wait_until_held(pid: int) -> None:
    """Until the process has run its first lines, which hold signals back; Python itself answers those before."""
    for _ in range(10_000):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        masks = dict(line.split(":\t") for line in lines if line.startswith("Sig"))
        # Held back, or taken already: nothing else in it has a handler of SIGTERM.
        if int(masks["SigBlk"], 16) & (1 << signal.SIGINT - 1) or int(masks["SigCgt"], 16) & (1 << signal.SIGTERM - 1):
            return
        time.sleep(0.001)
    raise AssertionError("signals are not held back")


def words_of(command: str, place: Path, out: str) -> str:
    if command == "work":
        shutil.copytree(place / "planned", place / out)
    return COMMANDS[command].replace("OUT", out)


def stopped(place: Path, command: str, out: str, seconds: float, numbers: list[tuple[float, int]]) -> tuple[int, str]:
    """The exit code and standard error of a command that gets each of the signals, the first after `seconds`.

    numbers: (seconds before it, the signal).
    """
    with start(place, words_of(command, place, out)) as process:
        wait_until_held(process.pid)
        time.sleep(seconds)
        for before, number in numbers:
            time.sleep(before)
            process.send_signal(number)
        try:
            _, err = process.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            # It says where it hangs (PYTHONFAULTHANDLER).
            process.send_signal(signal.SIGABRT)
            _, err = process.communicate()
    return process.returncode, err


def fault(code: int, err: str) -> str:
    """What is wrong with the end of a process; empty where nothing is."""
    if "Traceback" in err or "Fatal" in err:
        return "a traceback"
    said = sum("the same command continues" in line for line in err.splitlines())
    return "" if (code, said) in ((STOPPED, 1), (0, 0)) else f"exit code {code}, said {said} times"


@pytest.mark.slow
def test_at_random_moments_nothing_is_lost(made):
    """Of `train` and `sweep`, from their first line to their end: once, twice, and five times in a row."""
    draw, faults, ends = random.Random(SEED), [], {STOPPED: 0, 0: 0}
    commands = ("train", "sweep")
    place, whole = made
    for number in range(PROCESSES):
        command, times = commands[number % 2], (1, 2, 5)[number % 3]
        # What was compiled for the first of them, the others find.
        seconds = draw.random() * whole[command] * 0.7
        gaps = [0.0, *(draw.choice((0.0, 0.01, 0.1, 0.4)) for _ in range(times - 1))]
        code, err = stopped(place, command, f"{number}", seconds, [(gap, signal.SIGINT) for gap in gaps])
        ends[code] = ends.get(code, 0) + 1
        if wrong := fault(code, err):
            faults.append(f"{command}, {times} signals after {seconds:.2f} s, gaps {gaps}: {wrong}\n{err}")
    print(f"{PROCESSES} processes, {len(faults)} faults, exit codes {ends}")
    assert not faults, f"{len(faults)} of {PROCESSES}:\n" + "\n".join(faults)
    assert ends[STOPPED] >= PROCESSES / 4, "else the signals came too late to say anything"


CASES = [
    *[(command, "SIGINT", 0.05) for command in COMMANDS if command not in ("train", "sweep")],
    ("train", "SIGTERM", 0.3),
    ("sweep", "SIGTERM", 0.6),
    ("train", "SIGHUP", 0.0),
    ("train", "SIGHUP SIGHUP", 0.6),
    ("sweep", "SIGINT SIGTERM", 0.5),
    ("work", "SIGTERM SIGTERM", 0.5),
    ("report", "SIGINT SIGINT SIGINT", 0.2),
]
"""(command, signals, seconds after its first line), where all is imported already."""


@pytest.mark.parametrize(("command", "names", "seconds"), slow(*CASES))
def test_every_command_stops_with_one_sentence(place, command, names, seconds, tmp_path):
    words = words_of(command, place, tmp_path.name)
    process = shared().start(*words.split(), cwd=place, said=tmp_path / "said", environ=ONE_DEVICE)
    wait_until_held(process.pid)
    time.sleep(seconds)
    for name in names.split():
        process.send_signal(signal.Signals[name])
    code = process.wait(MOST_SECONDS)
    assert fault(code, process.err.read_text()) == "", process.err.read_text()
    assert code == STOPPED or seconds > 0.5, "it was done"


@pytest.mark.slow
def test_a_broken_pipe_elsewhere_is_no_reason_to_stop(place, tmp_path):
    words = words_of("train", place, tmp_path.name)
    process = shared().start(*words.split(), cwd=place, said=tmp_path / "said", environ=ONE_DEVICE)
    wait_until_held(process.pid)
    for _ in range(5):
        time.sleep(0.1)
        process.send_signal(signal.SIGPIPE)
    assert process.wait() == 0, process.err.read_text()


@pytest.mark.slow
def test_what_was_stopped_goes_on_to_the_same_numbers(place, tmp_path):
    """By SIGHUP while it trains; then the same command."""
    out = "continued"

    def trains(name):
        words = f"train exp.py epochs=200 --out {name}".split()
        return shared().start(*words, cwd=place, said=tmp_path / "said", environ=ONE_DEVICE)

    process, until = trains(out), time.monotonic() + 60
    while not (place / out / "metrics.jsonl").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait(MOST_SECONDS) == STOPPED
    assert fault(STOPPED, process.err.read_text()) == "", process.err.read_text()
    assert list((place / out / "checkpoints").iterdir()), "all is saved"
    for name in (out, "at-once"):
        process = trains(name)
        assert process.wait() == 0, process.err.read_text()
    one, other = ((place / name / "metrics.jsonl").read_bytes() for name in (out, "at-once"))
    assert one == other
