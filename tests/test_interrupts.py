"""Ctrl-C and SIGTERM: the first is never lost, wherever it finds the process; the second ends it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from cnnjax.interrupts import SAID
from tests.marks import slow

SWALLOWED = {
    "an import": "import swallows",
    "a library's callback": """
class Noisy:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(0.5)
Noisy()
""",
    "held while the program starts itself again": """
signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
print("ready", flush=True)
time.sleep(0.5)
interrupts.listen()
""",
}

PROGRAM = """
import signal, sys, time
from cnnjax import interrupts
interrupts.listen()
try:
{body}
    for _ in range(100):
        time.sleep(0.1)
    print("went on")
except KeyboardInterrupt:
    sys.exit(130)
"""


def started(tmp_path, body: str, *, listening: bool = True) -> subprocess.Popen:
    (tmp_path / "swallows.py").write_text(
        "import time\nprint('ready', flush=True)\ntry:\n    time.sleep(0.5)\nexcept KeyboardInterrupt:\n    pass\n"
    )
    program = PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines()))
    program = program if listening else program.replace("interrupts.listen()", "")
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, *slow(signal.SIGTERM)], ids=lambda number: number.name)
@pytest.mark.parametrize("where", SWALLOWED)
def test_a_stop_is_not_swallowed_by(where, number, tmp_path):
    process = started(tmp_path, SWALLOWED[where])
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "")


def test_the_first_is_left_to_who_looks_at_the_event_and_asked_before_is_asked(tmp_path):
    body = """
with interrupts.stopping() as stop:
    print("ready", flush=True)
    print(stop.wait(10), interrupts.asked(), flush=True)
    time.sleep(0.3)
print("saved", flush=True)
with interrupts.stopping():
    print("begun")
"""
    process = started(tmp_path, body)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "True True\nsaved\n", "")


LONG = {
    # OpenSSL lets other threads run, and Python's handler is not called before it is done.
    "one call of a library": """
import hashlib
with interrupts.stopping():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
""",
    "cleaning up": """
try:
    print("ready", flush=True)
    time.sleep(10)
finally:
    while True:
        try:
            time.sleep(10)
        except KeyboardInterrupt:
            pass
""",
}


@pytest.mark.parametrize("what", LONG)
def test_the_second_ends_it_whatever_it_does(tmp_path, what):
    process = started(tmp_path, LONG[what])
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    assert process.returncode == 130
    assert time.monotonic() - began < 60, "a second, where no one else works"


CUT_OFF = """
import os, signal, sys, threading, time
from cnnjax import interrupts

def print_from_a_thread(text):
    # As TensorStore has Python print what it cannot raise.
    error = RuntimeError(text)
    thread = threading.Thread(target=lambda: sys.excepthook(type(error), error, None))
    thread.start()
    thread.join()

interrupts.listen()
print_from_a_thread("before")
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    print_from_a_thread("after")
    interrupts.end(130)
"""


def test_what_a_stop_cuts_off_in_other_threads_is_not_printed():
    done = subprocess.run([sys.executable, "-c", CUT_OFF], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == "RuntimeError: before\n"


def test_what_lasts_is_not_waited_for(tmp_path):
    """A long import, as on a busy machine, while nothing is being trained."""
    (tmp_path / "lasts.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(300)\n")
    process = started(tmp_path, "import lasts")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (130, "stopped; the same command continues from the last checkpoint\n")
    assert time.monotonic() - began < 60, "two seconds, where no one else works"


def test_without_listening_an_event_is_set_and_the_second_interrupts():
    """As in a user's own program, whose handlers come back."""
    from cnnjax.interrupts import stopping

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stopping() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with stopping() as stop:
        assert not stop.is_set()


ENDS = """
import atexit
from cnnjax.interrupts import end, may_say, SAID
def last():
    print("ready", flush=True)
    for _ in range(20):
        time.sleep(0.01)
    print("closed", flush=True)
atexit.register(last)
try:
    if {stopped}:
        os.kill(os.getpid(), signal.SIGINT)
    end(0)
except KeyboardInterrupt:
    if may_say():
        print(SAID, file=sys.stderr)
    end(130)
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, *slow(signal.SIGTERM, signal.SIGHUP)], ids=lambda number: number.name
)
@pytest.mark.parametrize("times", [1, *slow(5)])
@pytest.mark.parametrize(("stopped", "code", "said"), [(False, 0, ""), (True, 130, f"{SAID}\n")])
def test_a_signal_while_the_process_ends_changes_nothing(tmp_path, number, times, stopped, code, said):
    process = started(tmp_path, "import os\n" + ENDS.format(stopped=stopped))
    for _ in range(times):
        process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (code, "closed\n", said)


def test_many_in_a_row_end_it_with_one_sentence(tmp_path):
    """Each finds the process where it handles the one before; and then it hangs."""
    body = """
try:
    print("ready", flush=True)
    time.sleep(10)
finally:
    time.sleep(10)
"""
    process = started(tmp_path, body)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, f"{SAID}\n")


@pytest.mark.parametrize("listening", [True, False])
def test_a_signal_that_comes_while_the_event_is_locked_is_heard(tmp_path, listening):
    """As it is in its `wait`, and while the signal before is handled."""
    body = """
with interrupts.stopping() as stop:
    with stop._cond:
        print("ready", flush=True)
        time.sleep(0.3)
    print(stop.wait(10), flush=True)
sys.exit(0)
"""
    process = started(tmp_path, body, listening=listening)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "True\n")


@pytest.mark.parametrize(("nohup", "code", "out"), [(True, 0, "went on\n"), (False, 130, "")])
def test_a_closed_terminal_asks_it_to_stop_but_under_nohup(tmp_path, nohup, code, out):
    # One that is asked to stop has time for it on a busy machine.
    turns = 5 if nohup else 100
    program = PROGRAM.format(body="    print('ready', flush=True)").replace("range(100)", f"range({turns})")
    command = [sys.executable, "-c", f"import signal\nif {nohup}: signal.signal(1, signal.SIG_IGN)\n{program}"]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        assert (process.communicate(timeout=10)[0], process.returncode) == (out, code)


PRINTS = """
import sys
from cnnjax import interrupts, streams
streams.settle()
interrupts.listen()
number = 0
try:
    while True:
        number += 1
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
except KeyboardInterrupt:
    print("ended", flush=True)
"""


@pytest.mark.parametrize("seconds", [0.01, *slow(0.02, 0.03, 0.05, 0.08)])
def test_what_was_written_is_not_written_again(seconds):
    """A signal that comes when bytes were written, and the buffer above does not know it yet."""
    for _ in range(4):
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-c", PRINTS], stdout=subprocess.PIPE, text=True, env=environ
        ) as process:
            assert process.stdout is not None
            first = [process.stdout.readline()]
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            out = first + process.stdout.read().splitlines(keepends=True)
        assert out[-1] == "ended\n"
        assert out[:-1] == [f"{number}\n" for number in range(1, len(out))]


FILE = """
from cnnjax import Experiment, SmallCNN, Synthetic
experiment = Experiment(model=SmallCNN(features=2, dense=0), data=Synthetic(height=8, width=8, channels=1, classes=4,
    examples=50, test_examples=20), batch_size=16, epochs=100000)
"""


@pytest.mark.parametrize("seconds", [0.5, *slow(0.15, 1.2)])
def test_a_training_that_has_just_begun_is_stopped(tmp_path, seconds):
    """While Python starts, while JAX is imported, while it is set up."""
    (tmp_path / "long.py").write_text(FILE)
    command = [sys.executable, "-m", "cnnjax", "train", "long.py"]
    environ = os.environ | {"XLA_FLAGS": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environ) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    if process.returncode == 130:
        assert "the same command continues" in err
    else:
        # Before a line of ours was run, in Python's own words.
        assert process.returncode in (1, -signal.SIGINT)
        assert "KeyboardInterrupt" in err


def test_what_clusters_send_asks_and_never_ends_it(tmp_path):
    """SIGUSR2 before a job's end, twice, and then SIGTERM, while it saves."""
    body = """
with interrupts.stopping() as stop:
    print("ready", flush=True)
    stop.wait(10)
    print("saving", flush=True)
    time.sleep(1.5)
print("saved", flush=True)
sys.exit(0)
"""
    process = started(tmp_path, body)
    assert process.stdout is not None
    process.send_signal(signal.SIGUSR2)
    assert process.stdout.readline() == "saving\n"
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM):
        process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "saved\n", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells a process of its parent's end")
def test_a_process_stops_with_the_one_that_it_follows(tmp_path):
    child = """
import os, time
from cnnjax import interrupts
interrupts.hold()
interrupts.follow_parent()
interrupts.listen()
try:
    print("ready", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    open("stopped", "w").close()
"""
    parent = f"""
import os, subprocess, sys
from cnnjax import interrupts
environ = os.environ | {{interrupts.PARENT: str(os.getpid())}}
subprocess.Popen([sys.executable, "-c", {child!r}], env=environ).wait()
"""
    command = [sys.executable, "-c", parent]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    until = time.monotonic() + 10
    while not (tmp_path / "stopped").exists():
        assert time.monotonic() < until, "it outlived its parent"
        time.sleep(0.05)
