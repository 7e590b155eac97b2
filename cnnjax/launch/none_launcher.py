"""Trains nothing: the study's folder is written, for workers that the user starts (`cnnjax work DIR`)."""

from __future__ import annotations

import shlex

from cnnjax.launch.launcher import Detached, Launch


def launch(launched: Launch) -> Detached:
    """Say which commands follow."""
    where = shlex.quote(str(launched.study.out))
    side = "" if launched.workers is None else f" --side-by-side {launched.workers}"
    return Detached(
        "none",
        (),
        f"{where} is planned, and nobody trains it yet\n"
        f"  cnnjax work {where}{side}     on any machine that sees the folder, as often as you like\n"
        f"  cnnjax status {where}   how far it is\n"
        f"  cnnjax report {where}   once it is done, or before",
    )
