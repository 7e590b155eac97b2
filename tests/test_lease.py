"""Leases: one of several takers has a folder; a dead one's is taken over; who lost it writes no more."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cnnjax.errors import DiskFull, RunError
from cnnjax.lease import Lease, Lost, Taken, holding, server_time
from cnnjax.records.lease_json import LeaseRecord
from cnnjax.run.directory import RunDirectory

HOLD = """
import pathlib, sys, time
from cnnjax.lease import Lease
lease = Lease.take(pathlib.Path(sys.argv[1]), seconds=float(sys.argv[2]))
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture(autouse=True)
def _not_renewed_after(monkeypatch):
    """Leases that a test leaves are not renewed while others run, which would be told that they are lost."""
    made, begin = [], Lease.__init__

    def begun(self, *words):
        made.append(self)
        begin(self, *words)

    monkeypatch.setattr(Lease, "__init__", begun)
    yield
    for lease in made:
        lease._released.set()


@pytest.fixture
def other(tmp_path):
    """Starts another process that holds the folder."""
    started = []

    def start(seconds=60.0):
        words = [sys.executable, "-c", HOLD, str(tmp_path), str(seconds)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def leases(folder):
    return sorted(name for name in os.listdir(folder) if LeaseRecord.number_of(name) is not None)


def foreign(folder, **changed):
    """The folder's lease as that of a process of another machine, which this one cannot ask about."""
    held = holding(folder)
    assert held is not None
    assert held.record is not None
    record = held.record.model_copy(update={"host": "elsewhere", "process": "", **changed})
    held.path.write_text(json.dumps(record.to_json()))
    return held.path


def age(path, seconds):
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_folder_is_taken_once_and_given_back(tmp_path):
    lease = Lease.take(tmp_path / "new", worker="one")
    with pytest.raises(Taken, match=rf"another process is working on this: worker one, process {os.getpid()} on "):
        Lease.take(tmp_path / "new")
    lease.release()
    lease.release()
    assert os.listdir(tmp_path / "new") == []
    Lease.take(tmp_path / "new").release()


def test_of_many_takers_one_wins(tmp_path):
    won, gate = [], threading.Barrier(8)

    def take():
        gate.wait()
        with contextlib.suppress(Taken):
            won.append(Lease.take(tmp_path))

    for _ in range(20):
        threads = [threading.Thread(target=take) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        [lease] = won
        assert not lease.lost.is_set()
        won.clear()
        lease.release()


def test_of_many_takers_of_a_lease_that_ran_out_one_wins(tmp_path):
    for _ in range(4):
        old = Lease.take(tmp_path)
        foreign(tmp_path)
        age(old.path, 100)
        won, gate = [], threading.Barrier(6)

        def take(won=won, gate=gate):
            gate.wait()
            with contextlib.suppress(Taken):
                won.append(Lease.take(tmp_path))

        threads = [threading.Thread(target=take) for _ in range(6)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        [lease] = won
        old.renew()
        assert old.lost.is_set()
        assert leases(tmp_path) == [lease.path.name]
        old.release()
        lease.renew()
        assert not lease.lost.is_set()
        lease.release()


def test_a_killed_process_of_this_machine_is_not_waited_for(tmp_path, other):
    process = other()
    with pytest.raises(Taken):
        Lease.take(tmp_path)
    process.kill()  # and nobody has asked what became of it
    time.sleep(0.1)
    lease = Lease.take(tmp_path)
    assert lease.record.deaths == 1
    lease.release()


def test_a_process_of_another_machine_is_waited_for(tmp_path, other):
    other().kill()
    path = foreign(tmp_path)
    with pytest.raises(Taken, match="should it be lost, its place is free 60 s after that"):
        Lease.take(tmp_path)
    age(path, 61)
    Lease.take(tmp_path).release()


def test_clocks_an_hour_apart_do_no_harm(tmp_path, other, monkeypatch):
    other().kill()
    hour = timedelta(hours=1)
    path = foreign(tmp_path, since=(datetime.now(UTC) - hour).isoformat(timespec="seconds"))
    real = time.time
    for apart in (3600, -3600):
        monkeypatch.setattr(time, "time", lambda apart=apart: real() + apart)
        with pytest.raises(Taken):
            Lease.take(tmp_path)
    # The file server's clock is another one than both.
    age(path, 61)
    Lease.take(tmp_path).release()


TAKE = """
import os, pathlib, sys
from cnnjax.lease import Lease, Taken
try:
    lease = Lease.take(pathlib.Path(sys.argv[1]))
    print(os.getpid(), "took it")
except Taken as taken:
    print(os.getpid(), taken.holding.record.pid, taken.holding.lives)
"""


@pytest.mark.parametrize("proc", ["own", "of the machine"])
def test_a_container_takes_nothing_of_a_process_of_another_that_has_its_number(tmp_path, proc):
    """On one machine, of the same name, their processes all having number 1; with a /proc of their own or not."""
    container = ["unshare", "--pid", "--fork", *(["--mount-proc"] if proc == "own" else []), sys.executable, "-c"]
    if subprocess.run([*container, "pass"], capture_output=True).returncode:
        pytest.skip("needs the right to make containers")
    words = [*container, HOLD, str(tmp_path), "60"]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        other = subprocess.run([*container, TAKE, str(tmp_path)], capture_output=True, text=True, check=True)
        assert other.stdout == "1 1 False\n"
        with pytest.raises(Taken):
            Lease.take(tmp_path)
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
    held = holding(tmp_path)
    assert held is not None
    assert not held.over
    age(held.path, 61)
    other = subprocess.run([*container, TAKE, str(tmp_path)], capture_output=True, text=True, check=True)
    assert other.stdout == "1 took it\n"


def test_a_machine_of_the_same_name_takes_nothing(tmp_path):
    """Its processes have the same numbers, too, and that of this one's is not there."""
    lease = Lease.take(tmp_path)
    lease.lost.set()
    boot, namespace, started = lease.record.process.split("/")
    there = lease.record.model_copy(update={"pid": 2**22 + 1, "process": f"{boot[::-1]}/{namespace}/{started}"})
    lease.path.write_text(json.dumps(there.to_json()))
    with pytest.raises(Taken):
        Lease.take(tmp_path)
    lease.path.write_text(json.dumps(there.model_copy(update={"process": lease.record.process}).to_json()))
    Lease.take(tmp_path).release()


def test_a_process_that_the_system_hides_is_not_taken_for_gone(tmp_path, other, monkeypatch):
    """As /proc does with those of other users where it is mounted with hidepid."""
    process = other()
    shown, there = Path.read_text, os.path.exists

    def hiding(path, *args, **words):
        if f"/{process.pid}/" in str(path):
            raise FileNotFoundError(path)
        return shown(path, *args, **words)

    monkeypatch.setattr(Path, "read_text", hiding)
    monkeypatch.setattr(os.path, "exists", lambda path: f"/{process.pid}/" not in str(path) and there(path))
    with pytest.raises(Taken):
        Lease.take(tmp_path)
    process.kill()
    process.wait()
    Lease.take(tmp_path).release()


def test_a_holder_that_may_be_gone_is_waited_for_as_long_as_it_is_not_heard_of(tmp_path, other):
    told = []
    other().kill()
    path = foreign(tmp_path)
    age(path, 59.5)
    lease = Lease.awaited(tmp_path, told.append)
    [held] = told
    assert held.path == path
    assert 0 < held.left <= 0.5
    lease.release()

    other().kill()
    path = foreign(tmp_path)
    age(path, 50)
    threading.Timer(0.5, os.utime, [path]).start()
    began = time.monotonic()
    with pytest.raises(Taken, match="another process is working on this"):
        Lease.awaited(tmp_path, told.append)
    assert time.monotonic() - began < 30, "not the minute after which it would be lost"


def test_a_holder_of_this_machine_is_not_waited_for(tmp_path, other):
    other()
    with pytest.raises(Taken):
        Lease.awaited(tmp_path, lambda held: pytest.fail(str(held)))


def test_a_holder_that_wakes_up_after_another_took_over_stops(tmp_path):
    lease = Lease.take(tmp_path, seconds=60)
    foreign(tmp_path)
    age(lease.path, 100)
    new = Lease.take(tmp_path)
    lease._renewed -= 100  # as after a suspension of that length
    with pytest.raises(Lost, match="another one has taken its work over"):
        lease.check()
    assert lease.lost.is_set()
    lease.release()
    new.check()
    assert leases(tmp_path) == ["lease.2.json"]
    new.release()


def test_it_is_renewed_while_it_is_held(tmp_path):
    lease = Lease.take(tmp_path, seconds=0.5)
    lease.step = 7
    time.sleep(1.0)
    held = holding(tmp_path)
    assert held is not None
    assert held.silent < 0.5
    assert held.record is not None
    assert held.record.step == 7
    lease.release()


def test_a_lease_that_was_not_written_whole_runs_out_too(tmp_path):
    path = LeaseRecord.numbered(tmp_path, 3)
    path.write_text("")
    with pytest.raises(Taken, match="somebody"):
        Lease.take(tmp_path)
    age(path, 61)
    lease = Lease.take(tmp_path)
    assert lease.path.name == "lease.4.json"
    lease.release()


def test_deaths_count_while_there_is_no_newer_checkpoint(tmp_path):
    for begun, deaths in [(0, 0), (0, 1), (0, 2), (10, 0), (10, 1)]:
        lease = Lease.take(tmp_path, begun=begun)
        assert lease.record.deaths == deaths
        foreign(tmp_path)
        age(lease.path, 100)


# --- what clients of network file systems do


def test_a_name_that_another_took_is_taken_whatever_the_client_says(tmp_path, monkeypatch):
    """SFTP has no word for it: sshfs says that it is not permitted."""
    real = os.open

    def refusing(path, flags, *mode):
        if flags & os.O_EXCL and "lease." in str(path) and os.path.exists(there):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(path, flags, *mode)

    lease = Lease.take(tmp_path)
    there = lease.path
    monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr("cnnjax.lease._numbers", lambda _: set())  # of a list of names that is old
    with pytest.raises(Taken, match="another process has just begun"):
        Lease.take(tmp_path)
    there = tmp_path  # and where it is really not permitted
    lease.release()
    with pytest.raises(RunError, match="cannot write .*not permitted") as refused:
        Lease.take(tmp_path)
    assert not isinstance(refused.value, Taken)


def test_a_client_that_sets_times_by_its_own_clock_does_no_harm(tmp_path, monkeypatch):
    """An hour behind, as sshfs does where a file's time is set to now."""
    real = os.utime
    monkeypatch.setattr(os, "utime", lambda path: real(path, (time.time() - 3600,) * 2))
    lease = Lease.take(tmp_path)
    lease.renew()
    held = holding(tmp_path)
    assert held is not None
    assert abs(held.silent) < 5
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert abs(server_time(tmp_path) - datetime.now().timestamp()) < 5
    lease.release()


@pytest.mark.parametrize("errno_of_client", [0, errno.ESTALE, errno.EFAULT])
def test_a_lease_that_was_deleted_and_made_again_by_another_is_lost(tmp_path, monkeypatch, errno_of_client):
    """Of some clients the deleted file can be written and looks the same; others say one thing or another."""
    old = Lease.take(tmp_path)
    old.path.unlink()
    new = Lease.take(tmp_path)
    assert new.path == old.path
    monkeypatch.setattr(os.path, "samestat", lambda *_: True)
    write = os.pwrite

    def writing(descriptor, content, place):
        if errno_of_client and descriptor == old._descriptor:
            raise OSError(errno_of_client, os.strerror(errno_of_client))
        return write(descriptor, content, place)

    monkeypatch.setattr(os, "pwrite", writing)
    old.renew()
    new.renew()
    assert (old.lost.is_set(), new.lost.is_set()) == (True, False)
    old.release()
    assert leases(tmp_path) == [new.path.name]
    new.release()


def test_a_server_that_is_away_for_a_while_takes_no_lease(tmp_path, monkeypatch):
    lease = Lease.take(tmp_path)

    def away(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", away)
        with pytest.raises(OSError, match="Input/output"):
            lease.renew()
    lease.renew()
    assert not lease.lost.is_set()
    lease.release()


def test_clocks_that_the_file_system_goes_by_are_told_of(tmp_path, caplog):
    lease = Lease.take(tmp_path)
    foreign(tmp_path)
    age(lease.path, -3600)  # as a machine whose clock is an hour ahead does
    with pytest.raises(Taken, match="heard of 3[56].. s in the future: the machines' clocks are apart.*NTP"):
        Lease.take(tmp_path)
    age(lease.path, 7200)
    new = Lease.take(tmp_path)
    assert not caplog.records
    lease.renew()
    with pytest.raises(Lost, match="0 s after it was renewed, though it lasts 60 s.*clocks are apart"):
        lease.check()
    assert "clocks are apart" in caplog.text
    new.release()
    lease.release()


def test_who_takes_a_run_sees_the_newest_checkpoint(tmp_path, monkeypatch):
    """Clients remember what is in a folder, up to a minute with NFS, unless they make a file in it."""
    remembered, names, create = {}, os.listdir, os.open

    def listed(folder):
        return remembered.setdefault(os.fspath(folder), names(folder))

    def created(path, flags, *mode):
        if flags & os.O_CREAT:
            remembered.pop(os.path.dirname(path), None)
        return create(path, flags, *mode)

    directory = RunDirectory(tmp_path)
    (directory.checkpoints / "4").mkdir(parents=True)
    monkeypatch.setattr(os, "listdir", listed)
    monkeypatch.setattr(os, "open", created)
    assert directory.saved_step() == 4
    (directory.checkpoints / "8").mkdir()
    assert directory.saved_step() == 4
    with directory.leased():
        assert directory.saved_step() == 8
    assert sorted(names(directory.checkpoints)) == ["4", "8"]


def test_a_full_disk_leaves_no_lease(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFull, match="make room and run the same command again"):
        Lease.take(tmp_path)
    assert os.listdir(tmp_path) == []


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lease.1.json").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError):
        Lease.take(tmp_path / "run")
    assert (tmp_path / "precious").read_text() == "mine"
