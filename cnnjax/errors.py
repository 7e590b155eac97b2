"""Errors a user can mend. The command line prints their message without a traceback."""

from __future__ import annotations

import contextlib
import difflib
import dis
import sys
import traceback
from collections.abc import Iterable, Iterator

from cnnjax.exits import EndsAtOnce, raised


class CnnjaxError(Exception):
    """A mistake or a circumstance the user can mend; the message says how."""


class ConfigError(CnnjaxError, ValueError):
    """A configuration is wrong: the message names the path, the value and the rule.

    path: the dotted path that the message is about, where the error knows it; else "".
    """

    def __init__(self, message: str = "", *, path: str = ""):
        super().__init__(message)
        self.path = path


class ShapeError(ConfigError):
    """A layer does not fit its input: the message gives the layer and the arithmetic."""


class DataError(CnnjaxError):
    """A data set is missing, damaged or not what the experiment expects."""


class WeightsError(CnnjaxError):
    """Weights cannot be read, or do not fit their network; every tensor that does not is listed."""


class RunError(CnnjaxError):
    """A run directory cannot be used, or a run cannot go on."""


class NewerVersion(RunError):
    """A file was written by a newer cnnjax than this one, which does not know what it means."""


class DiskFull(RunError):
    """There is no room to write: a study stops, since every other trial would fail too."""


class HostLost(RunError):
    """Another process that trained together with this one is gone: no trial can go on, and none is at fault."""


class OutputError(CnnjaxError):
    """Standard output is closed, full, or its reader is gone."""


class EndsProcess(RuntimeError):
    """A user's code did what would end the process: the message says what. The exception is the cause."""


class Interrupted(CnnjaxError):
    """The user asked to stop; everything is saved."""


def expect(value: object, kinds: tuple[type, ...], *, call: str, takes: str) -> None:
    """Raise ConfigError unless `value` is of one of `kinds`: `takes` says in words what `call` takes."""
    if not isinstance(value, kinds):
        made = f"the class {value.__name__}: make one, {value.__name__}()" if isinstance(value, type) else f"{value!r}"
        raise ConfigError(f"{call} takes {takes}, not {made if len(made) <= 80 else type(value).__name__}")


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A message that `name` is no `what`, with the near misses first and then all that is known."""
    known = list(known)
    return f"{name!r} is no {what}.{did_you_mean(name, known)} There are: {', '.join(known)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'resnet18' or 'resnet34'?`, to end a sentence of a message with; "" where nothing is near."""
    known = list(known)
    meant = [other for other in ELSEWHERE.get(name, ()) if other in known]
    near = meant or difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


ELSEWHERE = {
    "lr": ("learning_rate",),
    "eta": ("learning_rate",),
    "wd": ("weight_decay",),
    "l2": ("weight_decay",),
    "bs": ("batch_size",),
    "max_epochs": ("epochs",),
    "max_steps": ("steps",),
    "network": ("model",),
    "net": ("model",),
    "dataset": ("data",),
    "criterion": ("loss",),
    "optimizer": ("optim",),
    "transforms": ("augment",),
    "augmentation": ("augment",),
    "filters": ("features",),
    "channels": ("features",),
    "width": ("features",),
    "out_channels": ("features",),
    "stride": ("strides",),
    "beta1": ("b1",),
    "beta2": ("b2",),
    "pooling": ("pool",),
    "n_classes": ("num_classes",),
    "classes": ("num_classes",),
    "act": ("activation",),
}
"""What other libraries call fields, with their names here: for messages alone."""

_NOT_THE_USERS = {
    "cnnjax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "chex",
    "numpy",
    "einops",
    "orbax",
    "pydantic",
    "click",
    "typer",
}


def users_line(error: BaseException | None) -> str:
    """` (in Mine.__call__, file.py line 12)`: where an error comes from in code that is neither a library's nor ours.

    Empty where no such code had a part in it.
    """
    if error is None:
        return ""
    if isinstance(error, EndsProcess):
        return users_line(error.__cause__)
    own = [at for at in traceback.walk_tb(error.__traceback__) if _is_users(at[0].f_globals)]
    if not own:
        return users_line(error.__cause__)
    code, line = own[-1][0].f_code, own[-1][1]
    return f" (in {code.co_qualname.replace('<locals>.', '')}, {code.co_filename} line {line})"


@contextlib.contextmanager
def surviving(*, at_once: bool = True) -> Iterator[None]:
    """Make an error, EndsProcess, of what a user's code raises in the context to end the process, or what no `except
    Exception` sees: SystemExit, KeyboardInterrupt, BaseException of its own. Ctrl-C goes through.

    at_once: also of `os._exit` and `os.abort`. (While a training runs, these end the process.)
    """
    try:
        with raised() if at_once else contextlib.nullcontext():
            yield
    except Exception:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not _is_raised_by_users(error):
            raise
        does = f"raises {error!r}"
        if isinstance(error, SystemExit | EndsAtOnce):
            does = f"calls {error if isinstance(error, EndsAtOnce) else f'exit({error.code})'}"
        raise EndsProcess(does) from error


def _is_raised_by_users(error: KeyboardInterrupt) -> bool:
    """Whether a user's code raises it itself: Ctrl-C comes between two instructions, or from a function of ours."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not _is_users(last.tb_frame.f_globals):
        return False
    return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"


def _is_users(names: dict) -> bool:
    package = str(names.get("__name__", "")).partition(".")[0]
    return package not in _NOT_THE_USERS and package not in sys.stdlib_module_names
