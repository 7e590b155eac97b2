"""Metrics: of one answer an image, and of one a pixel."""

from cnnjax.metrics.classification import BINS, SPECIFICATIONS, TOP, by_class, measure, specifications, summarize

__all__ = ["BINS", "SPECIFICATIONS", "TOP", "by_class", "measure", "specifications", "summarize"]
