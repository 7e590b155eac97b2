"""Heads that find objects at many places of a backbone's maps, one file each."""

from cnnjax.models.detectors.anchor_free import AnchorFree
from cnnjax.models.detectors.detector import Detector, Rows, places_of, rows_of
from cnnjax.models.detectors.grid import GridDetector

__all__ = ["AnchorFree", "Detector", "GridDetector", "Rows", "places_of", "rows_of"]
