"""Progress with an ETA: of commands, and of trainings and studies that are started from Python."""

from cnnjax.progress.showing import Pace, Show, Work, cost_of, hours, progress
from cnnjax.progress.sinks import StudyProgress, TrainingProgress, show_progress

__all__ = [
    "Pace",
    "Show",
    "StudyProgress",
    "TrainingProgress",
    "Work",
    "cost_of",
    "hours",
    "progress",
    "show_progress",
]
