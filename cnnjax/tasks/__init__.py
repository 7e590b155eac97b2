"""What networks are trained for: each task says what the target is, what the outputs are, and what is measured."""

from cnnjax.tasks.captioning import Captioning
from cnnjax.tasks.chosen import task_for
from cnnjax.tasks.classification import Binary, Classification
from cnnjax.tasks.colorization import Colorization
from cnnjax.tasks.detection import Detection
from cnnjax.tasks.found import Boxes
from cnnjax.tasks.localization import Localization
from cnnjax.tasks.masks import Masks
from cnnjax.tasks.pictures import Pictures
from cnnjax.tasks.predictions import Predictions
from cnnjax.tasks.reconstruction import Reconstruction, Variational
from cnnjax.tasks.regression import Count, MultiLabel, Regression
from cnnjax.tasks.segmentation import Segmentation
from cnnjax.tasks.sentences import Sentences
from cnnjax.tasks.super_resolution import SuperResolution
from cnnjax.tasks.task import Answered, Outputs, Task
from cnnjax.tasks.to_image import ToImage

__all__ = [
    "Answered",
    "Binary",
    "Boxes",
    "Captioning",
    "Classification",
    "Colorization",
    "Count",
    "Detection",
    "Localization",
    "Masks",
    "MultiLabel",
    "Outputs",
    "Pictures",
    "Predictions",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "Sentences",
    "SuperResolution",
    "Task",
    "ToImage",
    "Variational",
    "task_for",
]
