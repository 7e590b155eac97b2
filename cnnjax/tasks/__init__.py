"""What networks are trained for: each task says what the target is, what the outputs are, and what is measured."""

from cnnjax.tasks.chosen import task_for
from cnnjax.tasks.classification import Binary, Classification
from cnnjax.tasks.detection import Detection
from cnnjax.tasks.found import Boxes
from cnnjax.tasks.localization import Localization
from cnnjax.tasks.masks import Masks
from cnnjax.tasks.predictions import Predictions
from cnnjax.tasks.regression import Count, MultiLabel, Regression
from cnnjax.tasks.segmentation import Segmentation
from cnnjax.tasks.task import Answered, Outputs, Task

__all__ = [
    "Answered",
    "Binary",
    "Boxes",
    "Classification",
    "Count",
    "Detection",
    "Localization",
    "Masks",
    "MultiLabel",
    "Outputs",
    "Predictions",
    "Regression",
    "Segmentation",
    "Task",
    "task_for",
]
