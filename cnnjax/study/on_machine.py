"""An experiment file on one of the machines that its card names: `--on NAME`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace as with_parts

from cnnjax.cards import Machine
from cnnjax.config import replace
from cnnjax.errors import ConfigError, unknown
from cnnjax.run.devices import MEMORY, Devices, declared
from cnnjax.study.file import ExperimentFile
from cnnjax.study.study import with_fields


def machine_of(loaded: ExperimentFile, name: str) -> Machine:
    """The machine of that name on the file's card. Raises ConfigError where there is no card, or none of that name."""
    if loaded.card is None:
        raise ConfigError(
            f"--on {name}: {loaded.path} has no card, and so names no machines; give batch_size=... and --devices"
        )
    if not loaded.card.machines:
        raise ConfigError(
            f"--on {name}: the card of {loaded.path} names no machines; give batch_size=... and --devices"
        )
    if name not in loaded.card.machines:
        raise ConfigError(f"--on: {unknown('machine of this card', name, loaded.card.machines)}")
    return loaded.card.machines[name]


def on_machine(loaded: ExperimentFile, name: str, *, overrides: Iterable[str] = ()) -> ExperimentFile:
    """The file with the machine's batch size in its experiment and its study; nothing else follows the machine.

    overrides: the fields that are set beside it. Raises ConfigError where one of them, or an axis, is the batch size
    too: two numbers for one thing.
    """
    machine = machine_of(loaded, name)
    if machine.batch_size is None:
        return loaded
    taken = f"--on {name} sets batch_size={machine.batch_size}"
    if "batch_size" in overrides:
        raise ConfigError(f"{taken}: leave out batch_size=..., or give it and --devices without --on")
    if "batch_size" in loaded.study.paths:
        raise ConfigError(f"{taken}, and the study varies it: give --devices={machine.devices} without --on")
    changed = {"batch_size": machine.batch_size}
    study = with_fields(loaded.study, experiment=replace(loaded.study.experiment, changed))
    return with_parts(loaded, experiment=replace(loaded.experiment, changed), study=study)


def devices_of(machine: Machine) -> Devices:
    """The machine's devices for a plan; of a kind whose memory is not known, the plan does not check memory."""
    kind = machine.kind.lower()
    return declared(machine.devices, kind, None) if kind in MEMORY else Devices(machine.devices, kind)
