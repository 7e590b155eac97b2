"""A small run for methods that learn from one: trained where a test first needs it, once for a process."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from cnnjax import SGD, Constant, Experiment, Hardware, Options, SmallCNN, Synthetic, train

TEACHER = Path(tempfile.gettempdir()) / f"cnnjax-teacher-{os.getpid()}"
DATA = Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=20)


def taught(experiment: Experiment) -> Experiment:
    """The experiment as it is, once the run is there that its methods learn from."""
    if any(method.teacher_run() is not None for method in experiment.methods):
        made()
    return experiment


@cache
def made() -> Path:
    """The folder of the run, a network without normalization on 8x8 images of four classes."""
    atexit.register(shutil.rmtree, TEACHER, ignore_errors=True)
    experiment = Experiment(
        model=SmallCNN(features=3, dense=0),
        data=DATA,
        optim=SGD(learning_rate=0.05, schedule=Constant()),
        batch_size=16,
        steps=3,
        seed=7,
    )
    train(experiment, TEACHER, options=Options(Hardware(devices=1)))
    return TEACHER
