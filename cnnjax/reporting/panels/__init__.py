"""The panels of a report, one file each: what a study says of one question, as a `Finding`.

A panel is a function of a `Table`; it returns None where the study gives no reason for it. To add one, write its file
and put it into `PANELS`, which has them in reading order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnjax.reporting.finding import Finding
from cnnjax.reporting.panels.arms import arms_panel
from cnnjax.reporting.panels.calibration import calibration_panel
from cnnjax.reporting.panels.comparisons import comparisons_panel
from cnnjax.reporting.panels.cost import cost_panel
from cnnjax.reporting.panels.curves import curves_panel
from cnnjax.reporting.panels.effects import effects_panel
from cnnjax.reporting.panels.flips import flips_panel
from cnnjax.reporting.panels.importance import importance_panel
from cnnjax.reporting.panels.inspected import inspected_panel
from cnnjax.reporting.panels.interactions import interactions_panel
from cnnjax.reporting.panels.networks import networks_panel
from cnnjax.reporting.panels.pairs import pairs_panel
from cnnjax.reporting.panels.parallel import parallel_panel
from cnnjax.reporting.panels.path import path_panel
from cnnjax.reporting.panels.profiles import profiles_panel
from cnnjax.reporting.panels.provenance import provenance_panel
from cnnjax.reporting.panels.recall import recall_panel
from cnnjax.reporting.panels.rejected import failed_panel, pruned_panel
from cnnjax.reporting.panels.response import response_panel
from cnnjax.reporting.panels.seeds import seeds_panel
from cnnjax.reporting.panels.selection import selection_panel
from cnnjax.reporting.panels.stability import stability_panel
from cnnjax.reporting.panels.time_to_target import time_to_target_panel
from cnnjax.reporting.panels.tornado import tornado_panel
from cnnjax.reporting.study_table import Table

PANELS: Sequence[Callable[[Table], Finding | None]] = (
    arms_panel,
    comparisons_panel,
    tornado_panel,
    pairs_panel,
    profiles_panel,
    seeds_panel,
    selection_panel,
    effects_panel,
    interactions_panel,
    path_panel,
    importance_panel,
    parallel_panel,
    response_panel,
    cost_panel,
    curves_panel,
    time_to_target_panel,
    recall_panel,
    flips_panel,
    calibration_panel,
    inspected_panel,
    networks_panel,
    stability_panel,
    pruned_panel,
    failed_panel,
    provenance_panel,
)
