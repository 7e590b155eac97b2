"""The page of a study that is still running, served to a browser on this machine. Nothing is written.

The server has two answers, both made in memory: the page at `/`, and at `/version` the number that tells whether there
is a newer one. It reads no path that it is asked for, so that nothing else can be had from it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cnnjax.documents import html
from cnnjax.documents.html import escape
from cnnjax.errors import CnnjaxError, ConfigError, RunError
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.reporting.findings import find
from cnnjax.reporting.pages import render_html
from cnnjax.reporting.study_table import collect

LOOPBACK = "127.0.0.1"
PORT = 8765
"""Where `cnnjax report --watch` serves the page, unless told otherwise."""
ANYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Page:
    """A page, and its number, from 1."""

    version: int
    content: bytes


class Watched:
    """The newest page of the study or run in `out`; `look` makes it anew where results have come.

    Raises RunError where `out` is neither.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        if not any(kind.at(out).exists() for kind in (StudyRecord, ResultRecord)):
            raise RunError(f"{out}: neither a study nor a run; give the --out of a study or of a run")
        self._seen: tuple[object, ...] | None = None
        self.page = Page(0, b"")

    def look(self) -> bool:
        """Whether there was something new, of which `page` then is."""
        seen = self._state()
        if seen == self._seen:
            return False
        version = self.page.version + 1
        self.page = Page(version, self._made(str(version)).encode())
        self._seen = seen
        return True

    def _made(self, version: str) -> str:
        try:
            return render_html(find(collect(self.out), forms=("svg",)), version=version)
        except CnnjaxError as error:
            # Nothing has finished yet, or a file is damaged: the page says so, until that is over.
            title = escape(self.out.resolve().name)
            return html.page(title, f"<header><h1>{title}</h1><p>{escape(str(error))}</p></header>", version=version)

    def _state(self) -> tuple[object, ...]:
        """When each file that a report is of was written, as far as it changes while a study runs."""
        files = [PlanRecord.at(self.out), StudyRecord.at(self.out), ResultRecord.at(self.out)]
        files += sorted((self.out / "trials").glob(f"*/{ResultRecord.filename}"))
        return tuple((path.name, path.parent.name, written) for path in files if (written := _written(path)))


def _written(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@contextmanager
def serving(watched: Watched, *, port: int = PORT, host: str = LOOPBACK) -> Iterator[str]:
    """Serves `watched.page` while the block runs; gives its address, `http://127.0.0.1:8765/`.

    port: 0 for any that is free. host: where to listen; a request must name this machine's loopback or `host` as its
    host, so that no other site's name can be made to stand for this server (DNS rebinding). Raises ConfigError where
    nothing can be served there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    class Server(ThreadingHTTPServer):
        address_family = family
        daemon_threads = True

    try:
        server = Server((host, port), _handler(watched, host))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--port {port}, --host {host}: cannot be served there ({error}); give another") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def watch(watched: Watched, *, every: float = 2.0, until: Callable[[], bool] = lambda: False) -> None:
    """Looks for new results again and again, `every` so many seconds, until told to end or interrupted."""
    while not until():
        watched.look()
        time.sleep(every)


def _handler(watched: Watched, host: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "cnnjax", ""
        timeout = 30

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            page = watched.page
            if not named(self.headers.get("Host", ""), host):
                status, kind, content = HTTPStatus.FORBIDDEN, "text/plain", b"this server goes by another name\n"
            elif self.path in ("/", "/index.html"):
                status, kind, content = HTTPStatus.OK, "text/html", page.content
            elif self.path == "/version":
                status, kind, content = HTTPStatus.OK, "text/plain", f"{page.version}\n".encode()
            else:
                status, kind, content = HTTPStatus.NOT_FOUND, "text/plain", b"there is the page at / alone\n"
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            # The terminal is for what the study does, not for who looks at it.
            pass

    return Handler


HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def named(header: str, host: str) -> bool:
    """Whether a request's Host header names this machine's loopback, or the `host` that the server was told.

    A server that listens everywhere goes by any address in numbers, and by this machine's name.
    """
    name = re.sub(r":\d*$", "", header.strip().lower()).removeprefix("[").removesuffix("]")
    if name in ("localhost", host.lower()) or (host in ANYWHERE and name == socket.gethostname().lower()):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or host in ANYWHERE
