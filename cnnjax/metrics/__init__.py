"""Metrics: of one answer an image, and of one a pixel."""

from cnnjax.metrics.classification import BINS, SPECIFICATIONS, TOP, by_class, measure, specifications, summarize
from cnnjax.metrics.segmentation import map_scores, map_specifications, measure_maps, summarize_maps

__all__ = [
    "BINS",
    "SPECIFICATIONS",
    "TOP",
    "by_class",
    "map_scores",
    "map_specifications",
    "measure",
    "measure_maps",
    "specifications",
    "summarize",
    "summarize_maps",
]
