"""Metrics: of one answer an image, of one a pixel, and of boxes."""

from cnnjax.metrics.classification import BINS, SPECIFICATIONS, TOP, by_class, measure, specifications, summarize
from cnnjax.metrics.detection import detection_specifications, summarize_detections
from cnnjax.metrics.localization import (
    localization_specifications,
    measure_localization,
    summarize_localization,
)
from cnnjax.metrics.segmentation import map_scores, map_specifications, measure_maps, summarize_maps

__all__ = [
    "BINS",
    "SPECIFICATIONS",
    "TOP",
    "by_class",
    "detection_specifications",
    "localization_specifications",
    "map_scores",
    "map_specifications",
    "measure",
    "measure_localization",
    "measure_maps",
    "specifications",
    "summarize",
    "summarize_detections",
    "summarize_localization",
    "summarize_maps",
]
