"""What networks are trained for: each task says what the target is, what the outputs are, and what is measured."""

from cnnjax.tasks.captioning import Captioning
from cnnjax.tasks.chosen import task_for
from cnnjax.tasks.classification import Binary, Classification
from cnnjax.tasks.colorization import Colorization
from cnnjax.tasks.detection import Detection
from cnnjax.tasks.found import Boxes
from cnnjax.tasks.generation import Generation
from cnnjax.tasks.localization import Localization
from cnnjax.tasks.masks import Masks
from cnnjax.tasks.pictures import Pictures
from cnnjax.tasks.pose import Pose
from cnnjax.tasks.poses import Poses
from cnnjax.tasks.predictions import Predictions
from cnnjax.tasks.reconstruction import Reconstruction, Variational
from cnnjax.tasks.regression import Count, MultiLabel, Regression
from cnnjax.tasks.scores import Scores
from cnnjax.tasks.segmentation import Segmentation
from cnnjax.tasks.sentences import Sentences
from cnnjax.tasks.super_resolution import SuperResolution
from cnnjax.tasks.task import JUDGE, Answered, Judge, Outputs, Task
from cnnjax.tasks.to_image import ToImage

__all__ = [
    "JUDGE",
    "Answered",
    "Binary",
    "Boxes",
    "Captioning",
    "Classification",
    "Colorization",
    "Count",
    "Detection",
    "Generation",
    "Judge",
    "Localization",
    "Masks",
    "MultiLabel",
    "Outputs",
    "Pictures",
    "Pose",
    "Poses",
    "Predictions",
    "Reconstruction",
    "Regression",
    "Scores",
    "Segmentation",
    "Sentences",
    "SuperResolution",
    "Task",
    "ToImage",
    "Variational",
    "task_for",
]
