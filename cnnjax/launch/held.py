"""The trials of one program that a worker holds, and those of them that train together."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cnnjax.errors import RunError
from cnnjax.events import EpochEnded, Event, Saved, Started
from cnnjax.experiment import Experiment
from cnnjax.launch.cancel import write_cancel
from cnnjax.launch.claims import Claimed, Claims
from cnnjax.launch.how import How
from cnnjax.run.directory import RunDirectory
from cnnjax.run.packing import Packing
from cnnjax.run.queue import refills
from cnnjax.run.trial import Trial


class Held:
    """The claimed trials of the program `name`, from the `first` on."""

    def __init__(self, name: str, first: Claimed, claims: Claims, how: How):
        self.claimed = [first]
        self.refills = refills(first.trial.experiment, how.options.hardware)
        self._name, self._claims, self._how = name, claims, how
        self._over: list[str] = []

    @property
    def failed(self) -> dict[str, str]:
        """Why those that are over failed, by id, if they did."""
        errors = self._claims.outcomes.errors
        return {id: errors[id] for id in self._over if id in errors}

    def claim(self, most: int) -> None:
        """Claim more trials, up to `most`."""
        while len(self.claimed) < most and self.more() is not None:
            pass

    def more(self) -> Claimed | None:
        """One more that is claimed; None where there is none."""
        found = self._claims.more(self._name, self._how.group)
        if found is not None:
            self.claimed.append(found)
        return found

    def over(self, claimed: Claimed, error: str | None = None, *, paused: bool | None = None) -> None:
        """Let go of a trial. error: why it could not be trained. paused: whether without a result it is over too."""
        paused = self._how.options.until_epoch is not None if paused is None else paused
        self._claims.trained(self._name, claimed, error, paused=paused, group=self._how.group)
        self.claimed.remove(claimed)
        self._over.append(claimed.id)

    def together(self, most: Packing) -> tuple[list[Claimed], Packing]:
        """The trials to train next, and how the program packs them: those begun continue as they were begun."""
        begun, packing = self.claimed[0].begun, self.claimed[0].begun[1]
        packing = most if packing is None or packing == most else packing
        alike = [each for each in self.claimed if self.fits(each, packing, most, begun)]
        trials = alike[: packing.width]
        if packing != most or len(trials) == most.width or any(each.begun[1] is not None for each in trials):
            return trials, packing
        return trials, Packing(len(trials), most.way)

    def fits(self, claimed: Claimed, packing: Packing, most: Packing, begun: tuple[int, Packing | None]) -> bool:
        """Whether a trial may train in a pack that has one that was begun so. Those begun are not packed otherwise."""
        if not self.refills:
            return claimed.begun == begun
        return claimed.begun[1] == packing or (claimed.begun[1] is None and packing == most)

    def fewer(self, training: Sequence[Claimed], most: Packing) -> None:
        """Have those that were training go on first, from their newest checkpoints, in packs of `most`, in which there
        may be room."""
        left = []
        for each in list(training):
            if each.lost or each.directory.finished() is not None:
                self.over(each, paused=False)
                continue
            step = each.directory.saved_step()
            each.begun = (step, most) if step else (0, None)
            left.append(each)
        self.claimed = [*left, *(each for each in self.claimed if each not in left)]

    def stop_on_failure(self) -> None:
        """Cancel the study where a trial failed, if that is asked for. Raises RunError."""
        if self._how.stops_on_failure and self.failed:
            trial, error = next(iter(self.failed.items()))
            reason, out = f"trial {trial} failed: {error}", self._how.out
            write_cancel(out, f"stopped on failure: {reason}")
            raise RunError(f"{reason}\n--stop-on-failure: all else is saved in {out}, and the same command goes on")

    @property
    def stops(self) -> bool:
        """Whether no other trial is to begin."""
        return self._how.stop.is_set() or (self._how.stops_on_failure and bool(self.failed))


class Lanes:
    """The trials that train together, a `Queue` of those that take the lanes of the ones that ended.

    training: those that are in one now. lost: set where another worker has taken one of them over. refilled: whether
    others may take a free lane.
    """

    def __init__(self, held: Held, training: list[Claimed], packing: Packing, *, refilled: bool):
        self.training, self.packing = training, packing
        self.lost = _Lost(training)
        self._held, self._refilled = held, refilled
        self._log(training)

    def next(self) -> tuple[Experiment, RunDirectory] | None:
        """Another trial of the program, in its claimed directory; None where there is none now."""
        if not self._refilled or self._held.stops:
            return None
        waiting = [each for each in self._held.claimed if each not in self.training]
        found = next(filter(self._fits, waiting), None)
        # Of those that do not fit, no more than one is held on to.
        while found is None and not waiting and (found := self._held.more()) is not None and not self._fits(found):
            waiting, found = [found], None
        if found is None:
            return None
        self.training.append(found)
        self._log([found])
        return found.trial.experiment, found.directory

    def ended(self, trial: Trial) -> None:
        """A trial left its lane."""
        claimed = next(each for each in self.training if each.id == trial.id)
        self.free(claimed, None if trial.damage is None else str(trial.damage))

    def free(self, claimed: Claimed, error: str | None = None) -> None:
        """Let go of a trial that trained here. error: why it could not."""
        self._held.over(claimed, error)
        self.training.remove(claimed)

    def tell_step(self, event: Event) -> None:
        """Tell other workers how far the trials are: a sink."""
        if isinstance(event, Started | EpochEnded | Saved):
            for each in self.training:
                if each.id == event.trial and each.directory.lease is not None:
                    each.directory.lease.step = event.step

    def _fits(self, claimed: Claimed) -> bool:
        return self._held.fits(claimed, self.packing, self.packing, (0, None))

    def _log(self, claimed: Sequence[Claimed]) -> None:
        if self.packing.gain is not None:
            for each in claimed:
                each.directory.log(str(self.packing))


class _Lost(threading.Event):
    """Set where one of the trials is another worker's."""

    def __init__(self, training: list[Claimed]):
        super().__init__()
        self._training = training

    def is_set(self) -> bool:
        return any(each.lost for each in self._training)
