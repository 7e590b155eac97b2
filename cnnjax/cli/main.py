"""What the command line does around a command: its messages, its exit codes, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, NoReturn

import typer

from cnnjax import interrupts
from cnnjax.cli import completing
from cnnjax.cli.app import app, err
from cnnjax.cli.circumstances import circumstance
from cnnjax.cli.help import asked
from cnnjax.errors import CnnjaxError, ConfigError, Interrupted, surviving, users_line
from cnnjax.visible import visible


def main() -> None:
    """The `cnnjax` command: errors a user can mend are one message and exit code 1, a stop by a signal is 130."""
    if "_CNNJAX_COMPLETE" in os.environ:
        # A shell asks what may stand there; typer answers, and ends the process.
        completing.join_options()
        app(args=[])
    _show_log()
    debug = "--debug" in sys.argv
    if debug:
        sys.excepthook = _show_traceback
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    arguments = asked(arguments)
    try:
        if arguments[:1] in (["--install-completion"], ["--show-completion"]):
            _refuse_shell(arguments)
            if arguments == ["--install-completion"]:
                completing.table()  # which the first TAB would wait for
            try:
                app(args=arguments)  # typer ends the process here too
            finally:
                completing.answer_first_tab()
        _refuse_nothing(arguments)
        # Typer makes a returned 130 of Ctrl-C.
        with surviving(at_once=False):
            ended = app(args=arguments, standalone_mode=False)
        if ended == interrupts.STOPPED:
            raise KeyboardInterrupt
        # What is printed to a file or a pipe is written when there is much of it.
        sys.stdout.flush()
    except Interrupted as stop:
        _stop(f"{stop}; the same command continues")
    except KeyboardInterrupt:
        _stop(interrupts.SAID)
    except CnnjaxError as error:
        if debug:
            raise
        if isinstance(error, ConfigError) and interrupts.asked():
            # pydantic makes a refused value of a KeyboardInterrupt that comes while it checks one.
            _stop(interrupts.SAID)
        err.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except typer.Abort:
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        if interrupts.asked():
            # A library made something else of KeyboardInterrupt.
            _stop(interrupts.SAID)
        _stop_at(error)


def _refuse_nothing(arguments: list[str]) -> None:
    """Raise UsageError of a word without a letter that no option stands before: as a path it would be this folder."""
    before = ["", *arguments]
    for option, word in zip(before, arguments, strict=False):
        if not word.strip() and not option.startswith("-"):
            raise typer.BadParameter(
                "there is an argument, but it names nothing (an empty text): give one, or leave it out"
            )


def _refuse_shell(arguments: list[str]) -> None:
    """Raise UsageError of the name of a shell, which typer would not heed: it asks which shell has called."""
    option, *words = arguments
    if words:
        shell = words[0] if words[0] in ("bash", "fish") else "zsh"
        raise typer.BadParameter(
            f"{option} is for the shell that calls it, and takes no {words[0]}: start the other shell and call it "
            f"there, or in one line, such as {shell} -c 'cnnjax {option} && true'"
        )


def _show_traceback(*error: Any) -> None:
    import traceback

    sys.stderr.write(visible("".join(traceback.format_exception(*error))))


def _stop(message: str) -> NoReturn:
    if interrupts.may_say():
        err.print(message, style="yellow", markup=False, soft_wrap=True)
    sys.exit(interrupts.STOPPED)


def show_warnings() -> None:
    """Let a warning be a sentence, without the line of code that gave it; not under `python -W`.

    JAX warns of every program that it cannot keep in a folder of the user's choice: that is said once.
    """
    import warnings

    if sys.warnoptions:
        return
    of_cache: list[str] = []

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if "persistent compilation cache entry" in str(message):
            of_cache.append(str(message))
            if len(of_cache) > 1:
                return
        err.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    warnings.showwarning = show


def _show_log() -> None:
    """What the library logs goes to standard error: that reading a large set goes on, and how far it is."""
    import logging

    def say(record: logging.LogRecord) -> None:
        # A training goes on where nobody reads what it says.
        with contextlib.suppress(OSError, ValueError):
            print(visible(record.getMessage()), file=sys.stderr, flush=True)

    handler = logging.Handler()
    # A formatter of `logging` would print texts of others as they are.
    handler.emit = say
    logger = logging.getLogger("cnnjax")
    handler.name = "cnnjax"
    # One, where a process calls several commands.
    for other in [each for each in logger.handlers if each.name == handler.name]:
        logger.removeHandler(other)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Other packages give the root logger a handler, which would say all of it again.
    logger.propagate = False
    # That a home cannot be written to, so that fonts are looked for anew.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _stop_at(error: Exception) -> None:
    """What click says of a wrong command line, with its exit code; what the system refused; of anything else, what it
    was, and how to see it."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if show is None or code is None:
        said = circumstance(error)
        where = users_line(error) or "\n--debug shows where; it is in a class of your own or a defect"
        defect = f"{type(error).__name__}: {error}{where}"
        err.print(f"error: {said or defect}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    # A word of the command line may stand in it.
    said = visible(getattr(error, "message", ""))
    if advice := _advice(error):
        said = f"{said.rstrip('.')}. {advice}"
        # Options of nearly that name.
        error.possibilities = None  # pyright: ignore[reportAttributeAccessIssue]
    error.message = said  # pyright: ignore[reportAttributeAccessIssue]
    show()
    sys.exit(code)


def _advice(error: Any) -> str:
    """What to write instead of an option that there is not, or of a value that --seeds does not take; "" of others."""
    command = getattr(getattr(error, "ctx", None), "command", None)
    of = getattr(command, "name", "")
    if of == "sweep" and getattr(getattr(error, "param", None), "name", "") == "seeds":
        return "--seeds takes a number of seeds; seeds=(0, 5, 7) of a Study in the file names single ones"
    if not hasattr(error, "possibilities"):
        return ""
    if of == "train" and error.option_name == "--seeds":
        return "One training has one seed, seed=N; for several: cnnjax sweep FILE --seeds N"
    path = error.option_name.lstrip("-").replace("-", "_")
    takes_fields = any(parameter.name == "overrides" for parameter in getattr(command, "params", ()))
    if not takes_fields or (of, path) == ("sweep", "seed"):
        return ""
    from cnnjax.experiment import Experiment

    field = path.partition(".")[0] in Experiment.model_fields
    return f"Fields are written without dashes: {path}=VALUE" if field else ""
