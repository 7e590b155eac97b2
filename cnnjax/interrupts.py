"""Ctrl-C and SIGTERM: the first asks the process to stop and is never lost, the second ends it.

So do the signals by which clusters say that a job's time is over (SIGUSR1, SIGUSR2), and a terminal that it is closed
(SIGHUP, but under nohup), but never end it: SIGTERM follows the former, the latter comes from the shell and the system
both, and what is being saved then is to be saved whole.

However it ends, one sentence is said and the exit code is 130; once it is known what a command did (`end`), no signal
changes that.

Python raises KeyboardInterrupt wherever the main thread happens to be, also where its caller lets nothing
through: in a callback of a library written in C, in a garbage collection, in an import. There it is swallowed, or
becomes an ImportError, and the work goes on. And while one call of such a library lasts, as compiling does, it is not
raised at all. So the command line listens (`listen`): signals are counted by a thread, which does not wait for the main
one, and KeyboardInterrupt is raised at once but in an import, and again where it was swallowed. Where it cannot be
raised and nothing is being trained, the thread ends the process.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals of which the second ends the process."""

SIGNALS = (*ENDING, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""Signals that ask it to stop."""

STOPPED = 130
"""Exit code of a process that was stopped."""

PARENT = "CNNJAX_PARENT"
"""Environment variable: the number of the process that this one shall not outlive."""

SAID = "stopped; the same command continues from the last checkpoint"

SECONDS_TO_END = 1.0
"""After the second signal the process may clean up this long."""

SECONDS_TO_HEAR = 2.0
"""An import or a call of a library that lasts longer than this after the first signal is not waited for."""

_SECONDS_BETWEEN_TRIES = 0.05
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class _Asked(threading.Event):
    """An event that a handler of signals may set (`come`), wherever it finds the main thread.

    That may hold an event's own lock, in `wait` or in the handler of the signal before.
    """

    _came = False

    def is_set(self) -> bool:
        return self._came or super().is_set()

    def come(self) -> None:
        """Set it, in a handler."""
        if not self._came:
            self._came = True
            # Those that wait hear of it from another thread. There may be no more threads.
            with contextlib.suppress(RuntimeError):
                _thread.start_new_thread(self.set, ())


class _Listener:
    def __init__(self) -> None:
        self.asked = _Asked()
        self.left_to_event = False  # the work looks at `asked` itself
        self.code: int | None = None  # with which the process ends, once that is known
        self.raised = False
        self.saying = threading.Lock()
        self.count = self.own = 0  # of the ENDING signals that came; those of them that this process sent to itself
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def start(self) -> None:
        self._hook, sys.unraisablehook = sys.unraisablehook, self._swallowed
        self._printed, sys.excepthook = sys.excepthook, self._uncaught
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in SIGNALS:
            # One that it shall outlive its terminal: nohup.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)
        threading.Thread(target=self._watch, daemon=True, name="interrupts").start()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between two of its instructions."""
        self.asked.come()
        waits = self.left_to_event and self.count < 2
        if self.code is None and not (waits or self.raised or _in_import(frame)):
            self.raised = True
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """In a thread of its own: C code writes the number of each signal into the pipe when it comes."""
        unheard = 0.0
        while True:
            waits = self.asked.is_set() and not (self.raised or self.left_to_event or self.code is not None)
            unheard = (unheard or time.monotonic()) if waits else 0.0
            if waits and time.monotonic() - unheard > SECONDS_TO_HEAR:
                # Nothing is being trained.
                self._exit()
            ready, _, _ = select.select([self._reader], [], [], _SECONDS_BETWEEN_TRIES if waits else None)
            if ready:
                self._take(os.read(self._reader, 512))
            elif waits:
                self._call_main()

    def _take(self, numbers: bytes) -> None:
        self.count += sum(number in ENDING for number in numbers) - self.own
        self.own = 0
        if any(number in SIGNALS for number in numbers):
            self.asked.set()
        if self.count >= 2 or self.code == STOPPED or (self.code is not None and self.asked.is_set()):
            self._end()

    def _call_main(self) -> None:
        """Have `_handle` called again; the pipe gets the signal too."""
        self.own += 1
        _thread.interrupt_main(signal.SIGINT)

    def end_with(self, code: int) -> None:
        """Let nothing more be raised; where a stop was asked for, have the process ended soon."""
        self.code = code
        self._wake()

    def _end(self) -> None:
        if self.code is None:
            _thread.interrupt_main(signal.SIGINT)
        threading.Event().wait(SECONDS_TO_END)
        self._exit()

    def _exit(self) -> None:
        with contextlib.suppress(OSError):
            if self.code in (None, STOPPED) and may_say():
                os.write(2, f"{SAID}\n".encode())
            if os.isatty(2):
                # A progress bar hides the cursor.
                os.write(2, b"\x1b[?25h\n")
        os._exit(STOPPED if self.code is None else self.code)

    def _swallowed(self, unraisable: Any) -> None:
        """What could not be raised: of KeyboardInterrupt nothing is said, as it is raised again."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self.raised = False
            self._wake()
        else:
            self._hook(unraisable)

    def _uncaught(self, *error: Any) -> None:
        """What native code has printed of an exception in a thread of its own: of work that a stop cut off, nothing."""
        if not self.asked.is_set() or threading.current_thread() is threading.main_thread():
            self._printed(*error)

    def _wake(self) -> None:
        """Have `_watch` look again."""
        with contextlib.suppress(OSError):
            os.write(self._writer, b"\0")


_listener: _Listener | None = None


def hold() -> None:
    """Hold signals back until `listen`, which may be called by a program that this process becomes (exec)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def listen() -> None:
    """Take the signals of this process, from now on to its end. In the main thread, before anything large is imported.

    What `hold` held back comes now.
    """
    global _listener
    if _listener is None:
        _listener = _Listener()
        _listener.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def follow_parent() -> None:
    """Have this process asked to stop when the one of PARENT ends, which started it. Where Linux is not, do nothing."""
    parent = os.environ.pop(PARENT, "")
    if not parent or not sys.platform.startswith("linux"):
        return
    import ctypes  # here, as signals are not listened to while this file is imported

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != int(parent):
        # It ended before it could be followed.
        os.kill(os.getpid(), signal.SIGTERM)


def may_say() -> bool:
    """Whether nothing was said yet of why the process stops. Who asks shall say it."""
    return _listener is None or _listener.saying.acquire(blocking=False)


def end(code: int) -> NoReturn:
    """End the process with that code, whatever signals come now.

    Python itself would end by a signal that comes in its last moments, and say nothing. Where the process was stopped,
    nothing is waited for long: libraries whose work was cut off may hang at their end.
    """
    from cnnjax import streams  # here, as signals are not held back while this file is imported

    if _listener is not None:
        _listener.end_with(code)
    streams.flush()
    if code != STOPPED:
        threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    streams.flush()
    os._exit(code)


def asked() -> bool:
    """Whether the process was asked to stop."""
    return _listener is not None and _listener.asked.is_set()


def _in_import(frame: FrameType | None) -> bool:
    """Whether a module is being imported. (Experiment files are run, not imported.)"""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


class AnyOf(threading.Event):
    """An event that counts as set where it, or one of `others`, is; to set it sets none of those."""

    def __init__(self, *others: threading.Event):
        super().__init__()
        self._others = others

    def is_set(self) -> bool:
        return super().is_set() or any(other.is_set() for other in self._others)


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that the first of SIGNALS sets; the second of ENDING interrupts at once. For the main thread.

    Raises KeyboardInterrupt where the process was asked to stop before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
    elif _listener is None:
        with _handled() as stop:
            yield stop
    else:
        _listener.left_to_event = True
        try:
            if asked():
                raise KeyboardInterrupt
            yield _listener.asked
        finally:
            # Who had the event has heard.
            _listener.raised, _listener.left_to_event = asked(), False


@contextlib.contextmanager
def _handled() -> Iterator[threading.Event]:
    stop = _Asked()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number in ENDING:
            raise KeyboardInterrupt
        stop.come()

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
