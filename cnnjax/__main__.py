"""`python -m cnnjax`."""

from cnnjax.cli import main

main()
