"""`cnnjax report --watch`: a page that follows a study, for browsers of this machine, and nothing but the page."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cnnjax.errors import ConfigError, RunError
from cnnjax.reporting.watching import Watched, named, serving, watch
from tests.test_reporting import make_study, study_path


def ask(address: str, path: str = "/", *, host: str | None = None, method: str = "GET") -> tuple[int, str]:
    """The status and the text of an answer; `host`: what the request calls the server."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_page_follows_the_study_and_nothing_is_written(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]}, seeds=(0,))
    last = study_path(tmp_path, trials[1], "result.json")
    later = last.read_bytes()
    files = sorted(tmp_path.rglob("*"))
    last.unlink()
    watched = Watched(tmp_path)
    assert watched.look()
    assert not watched.look()
    with serving(watched, port=0) as address:
        assert address.startswith("http://127.0.0.1:")
        assert ask(address, "/version") == (200, "1\n")
        status, text = ask(address)
        assert status == 200
        assert "1 of 2 planned trials finished" in text
        assert "connect-src 'self'" in text
        assert ' data-version="1"' in text
        assert ask(address, method="HEAD") == (200, "")
        last.write_bytes(later)
        assert watched.look()
        assert ask(address, "/version") == (200, "2\n")
        assert "2 of 2 planned trials finished" in ask(address, "/index.html")[1]
    assert sorted(tmp_path.rglob("*")) == files, "a watched study is not written into"


@pytest.fixture
def address(tmp_path: Path):
    make_study(tmp_path, axes={}, chosen=[{}], seeds=(0,))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "out").symlink_to("/etc")
    with serving(Watched(tmp_path), port=0) as address:
        yield address


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/etc/passwd",
        "/report/out/passwd",
        "/out/passwd",
        "/study.json",
        "/trials/",
        "/arms.csv",
        "/version/..",
        "/?x",
        "http://example.org/",
    ],
)
def test_nothing_but_the_page_is_served(address: str, path: str) -> None:
    assert ask(address, path, host="127.0.0.1") == (404, "there is the page at / alone\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_page_is_only_read(address: str, method: str) -> None:
    assert ask(address, method=method)[0] == 501


@pytest.mark.parametrize("host", ["example.org", "example.org:8765", "127.0.0.1.example.org", "192.168.0.7", "", "["])
def test_another_name_is_refused(address: str, host: str) -> None:
    for path in ("/", "/version"):
        assert ask(address, path, host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "LOCALHOST:1", "[::1]:99"])
def test_loopback_is_served(address: str, host: str) -> None:
    assert ask(address, host=host)[0] == 200


def test_a_host_that_was_given_is_a_name_of_the_server() -> None:
    assert named("gpu7:8765", "gpu7")
    assert not named("gpu8:8765", "gpu7")
    assert not named("192.168.0.7", "gpu7")
    assert named("192.168.0.7:8765", "0.0.0.0")
    assert not named("example.org", "0.0.0.0")


def test_before_anything_has_finished_the_page_says_so(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={}, chosen=[{}], seeds=(0,))
    study_path(tmp_path, trials[0], "result.json").unlink()
    watched = Watched(tmp_path)
    assert watched.look()
    assert b"none of 1 planned trials has finished" in watched.page.content


def test_what_cannot_be_watched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither a study nor a run"):
        Watched(tmp_path)
    make_study(tmp_path, axes={}, chosen=[{}], seeds=(0,))
    watched = Watched(tmp_path)
    with serving(watched, port=0) as address:
        port = urlsplit(address).port or 0
        with pytest.raises(ConfigError, match=f"--port {port}"), serving(watched, port=port):
            pass
    with serving(watched, port=port) as again:
        assert urlsplit(again).port == port, "the port is free again"


def test_watching_looks_until_it_is_told_to_end(tmp_path: Path) -> None:
    make_study(tmp_path, axes={}, chosen=[{}], seeds=(0,))
    watched, end = Watched(tmp_path), threading.Event()
    thread = threading.Thread(target=watch, args=(watched,), kwargs={"every": 0.01, "until": end.is_set})
    thread.start()
    end.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    make_study(tmp_path, axes={}, chosen=[{}], seeds=(0,))
    command = [sys.executable, "-m", "cnnjax", "report", str(tmp_path), "--watch", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:")
        assert "planned trials finished" in ask(line.split()[0])[1]
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == "ended\n"
    assert said == ""


def test_options_of_watching_are_refused_without_it(tmp_path: Path) -> None:
    for words, said in ((["--port", "1"], "--watch: give it too"), (["--watch", "--json"], "give one of them")):
        command = [sys.executable, "-m", "cnnjax", "report", str(tmp_path), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode != 0
        assert said in done.stderr
