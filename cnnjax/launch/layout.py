"""How a worker lays out the trials of a study: on which devices, how many programs side by side, how many together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment
from cnnjax.hosts import processes
from cnnjax.launch.device_groups import device_groups
from cnnjax.launch.packing import packing_of, small
from cnnjax.machine import cores
from cnnjax.run.hardware import Hardware
from cnnjax.run.measured_packing import MeasuredPacking
from cnnjax.study.candidates import plan_of_candidates
from cnnjax.study.plan import Plan, PlannedTrial
from cnnjax.study.study import Study

MOST_THREADS = 4


@dataclass(frozen=True)
class Layout:
    """groups: of devices, each of which trains trials beside the others. programs: how many train side by side, on all
    groups. sharing: how many groups, those of other workers too, divide the trials of a program among themselves.
    """

    groups: tuple[Hardware, ...]
    programs: int
    sharing: int


def layout(
    hardware: Hardware, firsts: Sequence[PlannedTrial], trials: int, *, programs: int | None = None, workers: int = 1
) -> Layout:
    """The layout of so many trials. firsts: one of each program; programs: how many side by side, None for what is
    fastest; workers: how many share the study."""
    groups = device_groups(hardware, firsts, trials)
    count = programs or side_by_side(firsts) * len(groups)
    groups = groups[:count]
    return Layout(tuple(groups), count, -(-len(groups) * workers // max(1, len(firsts))))


def side_by_side(firsts: Sequence[PlannedTrial]) -> int:
    """How many programs train side by side: a small one keeps one core busy, a large one all of them.

    firsts: the first trial of each.
    """
    if jax.default_backend() != "cpu" or not all(map(small, firsts)):
        return 1
    return max(1, min(cores(), MOST_THREADS, len(firsts)))


def layout_of(planned: Plan, hardware: Hardware, *, programs: int | None = None, workers: int = 1) -> Layout:
    """The layout of all trials of a plan."""
    return layout(hardware, _firsts(planned), len(planned.trials), programs=programs, workers=workers)


def plan_here(study: Study | Experiment, hardware: Hardware) -> Plan:
    """The plan of a study on the devices that each of its trials will have here (`plan_of_candidates`).

    Where each trial has a device of its own, its batch need not divide over all of them. An adaptive study may have
    fewer trials than devices at a time, so its batches have to.
    """
    adaptive = isinstance(study, Study) and study.adaptive is not None
    if not adaptive and hardware.devices is None and processes() == 1 and jax.local_device_count() > 1:
        try:
            alone = plan_of_candidates(study, hardware=replace(hardware, devices=1))
        except ConfigError:
            alone = None  # On all devices there may be something left to train, or other reasons why not.
        if alone is not None and not alone.pruned and len(layout_of(alone, hardware).groups) > 1:
            return alone
    return plan_of_candidates(study, hardware=hardware)


def layout_json(planned: Plan, hardware: Hardware, pack: int | None) -> dict[str, Any]:
    """The layout as plain data; empty of an adaptive study, whose rounds have layouts of their own.

    device_groups: how many train beside each other. packing: by program, how many `trials` train together and in which
    `way`; both null where that is measured once training begins, or was measured here before (`remembered`).
    """
    if planned.study.adaptive is not None:
        return {}
    laid, packings = layout_of(planned, hardware), dict[str, Any]()
    for name, trials in planned.programs.items():
        shared = math.ceil(len(trials) / laid.sharing)
        found = packing_of(trials[0], shared, pack, laid.groups[0])
        if found is None:
            known = MeasuredPacking(trials[0].experiment, laid.groups[0], {}).known
            packings[name] = {"trials": None, "way": None, "remembered": known}
        else:
            packings[name] = {"trials": min(found.width, shared), "way": found.way}
    return {"device_groups": len(laid.groups), "packing": packings}


def layout_texts(found: dict[str, Any], devices: int) -> list[str]:
    """What `layout_json` gives, in sentences; none where each trial trains alone on all devices.

    devices: of each group.
    """
    texts, counts = [], dict[str, int]()
    if (groups := found.get("device_groups", 1)) > 1:
        each = "devices" if devices == 1 else f"groups of {devices} devices"
        texts.append(f"trials are spread over {groups} {each}, each of which trains its own")
    for packing in found.get("packing", {}).values():
        said = _said(packing)
        counts[said] = counts.get(said, 0) + 1
    if counts.keys() - {ALONE}:
        texts += [f"{count} program{'s' * (count > 1)}: {said}" for said, count in counts.items()]
    return texts


ALONE = "one trial at a time"


def _said(packing: dict[str, Any]) -> str:
    if packing["trials"] is None:
        when = "as was measured here before" if packing["remembered"] else "measured once training begins"
        return f"as many trials together as is fastest, {when}"
    by = " by batched products" if packing["way"] == "products" else ""
    return ALONE if packing["trials"] == 1 else f"{packing['trials']} trials together{by}"


def _firsts(planned: Plan) -> list[PlannedTrial]:
    return [trials[0] for trials in planned.programs.values()]
