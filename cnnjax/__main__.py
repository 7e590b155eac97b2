"""`cnnjax` and `python -m cnnjax`."""

import sys

from cnnjax import interrupts


def main() -> None:
    """Read the command line and do what it says."""
    # Signals that come while the program starts itself again are for the one that is started.
    interrupts.hold()
    interrupts.follow_parent()
    from cnnjax.machine import use_huge_pages

    use_huge_pages()
    try:
        interrupts.listen()
        from cnnjax import cli

        cli.show_warnings()
        cli.main()
    except KeyboardInterrupt:
        print(interrupts.SAID, file=sys.stderr)
        interrupts.leave()
    except SystemExit as end:
        if end.code == interrupts.STOPPED:
            interrupts.leave()
        raise


if __name__ == "__main__":
    main()
