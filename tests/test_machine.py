"""What is asked of the machine, and starting again with huge pages."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cnnjax import machine


def test_cores_and_memory_are_those_of_the_process():
    assert 1 <= machine.cores() <= os.cpu_count()
    assert machine.physical_memory() > 1e8


GROUPS = [
    ("0::/job/step\n", "sys/fs/cgroup/job/memory.max", "1000000\n", 1_000_000),
    ("0::/\n", "sys/fs/cgroup/memory.max", "2000000\n", 2_000_000),
    ("9:memory:/docker/1\n1:cpu:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n", 3_000_000),
    ("0::/\n", "sys/fs/cgroup/memory.max", "max\n", None),
    ("9:cpu:/docker/1\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n", None),
]
"""/proc/self/cgroup, a file that says the limit of a group, and what it says."""


@pytest.mark.parametrize(("groups", "file", "said", "limit"), GROUPS)
def test_a_container_or_job_has_the_memory_that_it_is_given(groups, file, said, limit, tmp_path, monkeypatch):
    for name, text in (("proc/self/cgroup", groups), (file, said)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "Path", lambda *parts: tmp_path.joinpath(*(part.lstrip("/") for part in parts)))
    every = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.physical_memory() == (limit or every)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.arena_max=2", "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", None),
    ],
)
def test_starts_again_where_huge_pages_are_to_be_had(monkeypatch, before, after):
    started = []
    monkeypatch.setattr(machine, "_gives_huge_pages", lambda: True)
    monkeypatch.setattr(os, "execve", lambda *command: started.append(command))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "cnnjax", "train", "x y.py"])
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if before:
        monkeypatch.setenv("GLIBC_TUNABLES", before)
    machine.use_huge_pages()
    if after is None:
        assert not started
        return
    ((program, words, environ),) = started
    assert (program, words) == (sys.executable, [sys.executable, "-m", "cnnjax", "train", "x y.py"])
    assert environ["GLIBC_TUNABLES"] == after
    # Where the tunables do not reach the program that was started, it is not started for ever.
    for name in (machine.STARTED, "PATH"):
        monkeypatch.setenv(name, environ[name])
    machine.use_huge_pages()
    assert len(started) == 1


@pytest.mark.parametrize("words", [["python"], ["python", "-"], ["python", "-", "x"]])
def test_a_program_that_was_read_from_the_input_is_not_started_again(monkeypatch, words):
    monkeypatch.setattr(machine, "_gives_huge_pages", lambda: True)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(sys, "orig_argv", words)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    machine.use_huge_pages()


def test_the_command_line_runs_once_started_again():
    """Whether or not this machine gives huge pages."""
    command = [sys.executable, "-m", "cnnjax", "--help"]
    environ = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert found.stdout.count("Usage") == 1
