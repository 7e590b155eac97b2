"""`cnnjax` and `python -m cnnjax`."""

from cnnjax.machine import use_huge_pages


def main() -> None:
    """Read the command line and do what it says."""
    use_huge_pages()
    from cnnjax import cli

    cli.main()


if __name__ == "__main__":
    main()
