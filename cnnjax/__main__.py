"""`cnnjax` and `python -m cnnjax`."""

import faulthandler
import os
import signal
import sys

from cnnjax import interrupts


def main() -> None:
    """Read the command line and do what it says."""
    if "_CNNJAX_COMPLETE" in os.environ:
        # A shell asks what may stand there: Ctrl-C takes the question back, without a word.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.exit(_command())
    # Signals that come while the program starts itself again are for the one that is started.
    interrupts.hold()
    interrupts.follow_parent()
    from cnnjax import streams
    from cnnjax.machine import use_huge_pages

    streams.settle()
    if not faulthandler.is_enabled():
        # A crash of native code says nothing else of where it was.
        faulthandler.enable(2, all_threads=False)
    use_huge_pages()
    code = interrupts.STOPPED
    try:
        interrupts.listen()
        code = _command()
    except KeyboardInterrupt:
        if interrupts.may_say():
            print(interrupts.SAID, file=sys.stderr)
    interrupts.end(code)


def _command() -> int:
    """The exit code of what the command line asks for."""
    from cnnjax import cli

    cli.show_warnings()
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    main()
