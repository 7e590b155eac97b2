"""The names of a report's pictures, after the metric that arms are compared by: `loss_by_arm`, `mean_iou_vs_macs`."""

from __future__ import annotations

from cnnjax.records.specification import Specification


def title_of(metric: Specification | None) -> str:
    """The metric at the beginning of a title: `Mean IoU`."""
    words = "result" if metric is None else metric.words
    return words[:1].upper() + words[1:]


def by_arm_name(metric: Specification | None) -> str:
    """The name of the picture of all arms, and of its file: `loss_by_arm`."""
    return f"{'result' if metric is None else metric.name}_by_arm"


def against_name(metric: Specification | None, cost: str) -> str:
    """The name of the picture against a cost, and of its file: `loss_vs_params`."""
    return f"{'result' if metric is None else metric.name}_vs_{cost}"
