"""A trained network by its run's folder, with the experiment file that defines its classes."""

from __future__ import annotations

from pathlib import Path

from cnnjax.run.trained import Trained, load_run
from cnnjax.study import file as experiment_file


def load(
    run: Path | str,
    *,
    step: int | None = None,
    file: Path | str | None = None,
    stale: str = "stop",
    weights: str | None = None,
) -> Trained:
    """The trained network of a run, ready to predict; the data it was trained on are not needed.

    run: its folder; of a study, trials/<id>. step: of a checkpoint that is kept; by default the newest, which for a
    training that is not over is not the last. file: the experiment file, where it defines classes of the run. stale:
    "keep" takes the code of now where the user's own code was other when it trained; "stop" refuses. weights:
    of a training method ("ema"), or "raw", those that the optimizer trained; by default those that the results without
    a method's name are of.

    Raises RunError where there is no checkpoint or it is damaged, where the code changed, and where the training
    diverged and no step is given; ConfigError for a file that does not run, and weights that the run does not have.
    """
    if file is not None:
        experiment_file.load(file)
    return load_run(run, step=step, stale=stale, weights=weights)
