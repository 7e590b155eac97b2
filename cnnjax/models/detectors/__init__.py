"""Heads that find objects at many places of a backbone's maps, one file each."""

from cnnjax.models.detectors.anchor_free import AnchorFree
from cnnjax.models.detectors.center_net import CenterNet
from cnnjax.models.detectors.detector import ABSENT, Costs, Detector, Limits
from cnnjax.models.detectors.grid import GridDetector
from cnnjax.models.detectors.mask_rcnn import MaskRCNN
from cnnjax.models.detectors.one_stage import OneStage, Rows, places_of, rows_of
from cnnjax.models.detectors.two_stage import FasterRCNN

__all__ = [
    "ABSENT",
    "AnchorFree",
    "CenterNet",
    "Costs",
    "Detector",
    "FasterRCNN",
    "GridDetector",
    "Limits",
    "MaskRCNN",
    "OneStage",
    "Rows",
    "places_of",
    "rows_of",
]
