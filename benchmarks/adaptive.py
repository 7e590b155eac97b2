"""What adaptive designs save on the digits, and what they miss, against the full grid.

Two full grids of 9 arms (GRIDS: one whose arms are far apart, one whose arms are not) are each trained once, with 18
seeds and 18 epochs. Designs are then
replayed on its curves with 6 disjoint triples of seeds: a trial that is paused and continued has the numbers of one
that was not, bit for bit (tests/test_adaptive_sweep.py), so that nothing has to be trained again; halving is also run
once, and its proposals must be those of the replay. The validation part alone decides. The reference is the arm with
the best mean validation accuracy over all 18 seeds; `regret` is how much lower that mean is for the arm that a design
chose. The replays share one set of trials: the spread between them is of seeds alone.

    python benchmarks/adaptive.py --out /tmp/adaptive
"""

import argparse
import statistics
import time
from pathlib import Path

from cnnjax import ASHA, SGD, Digits, Experiment, SequentialSeeds, SmallCNN, Study, SuccessiveHalving, sweep
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.metrics_jsonl import EpochRow, read_rows
from cnnjax.records.result_json import ResultRecord
from cnnjax.study.adaptive import Candidates, Observation
from cnnjax.study.candidates import candidates_of
from cnnjax.study.plan import plan, written

METRIC = "validation_accuracy"
EPOCHS, SEEDS = 18, 18
GRIDS = {
    "kernel": {"model.kernel_size": [1, 3, 5], "optim.learning_rate": [0.01, 0.05, 0.2]},
    "pool": {"model.pool": ["max", "average", "stride"], "optim.learning_rate": [0.01, 0.03, 0.1]},
}
BASE = Experiment(
    model=SmallCNN(features=8),
    data=Digits(),
    optim=SGD(learning_rate=0.05),
    batch_size=64,
    validation=0.2,
    epochs=EPOCHS,
)


class Grid:
    """The trained grid. scores: validation accuracy by arm, seed and epoch; test: by arm and seed, at the end."""

    def __init__(self, study, out):
        planned = plan(study)
        self.candidates = candidates_of(planned)
        self.scores, self.test = {}, {}
        for trial in planned.trials:
            folder, key = out / "trials" / trial.id, (trial.arm, trial.experiment.seed)
            self.scores[key] = {row.epoch: row.numbers[METRIC] for row in read_rows(EpochRow.at(folder))}
            self.test[key] = ResultRecord.read(ResultRecord.at(folder), remedy="").metrics["test_accuracy"]

    def mean(self, arm, of=None):
        """Over all seeds, at the end."""
        values = [of[arm, seed] if of else self.scores[arm, seed][EPOCHS] for seed in self.candidates.seeds]
        return statistics.fmean(values)

    @property
    def best(self):
        return max(self.candidates.arms, key=self.mean)

    def replay(self, design, seeds):
        """Every observation of a design that begins with these seeds, one worker."""
        # Seeds that sequential seeds add are the numbers from 0 that are left: of the grid, too.
        of, seen = Candidates(self.candidates.arms, seeds, EPOCHS), []
        while proposed := design.propose(of, seen):
            for each in proposed:
                seen.append(Observation(each, self.scores[each.arm, each.seed][each.until or EPOCHS]))
        return of, seen


def epochs_of(seen):
    """How many epochs were trained: each trial as far as it got."""
    reached = {}
    for each in seen:
        key = (each.proposal.arm, each.proposal.seed)
        reached[key] = max(reached.get(key, 0), each.proposal.until or EPOCHS)
    return sum(reached.values())


def winner(seen):
    """The arm with the best mean at the end."""
    ends = {}
    for each in seen:
        if each.proposal.until is None:
            ends.setdefault(each.proposal.arm, []).append(each.score)
    return max(ends, key=lambda arm: statistics.fmean(ends[arm]))


def said(values, digits=1):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} ± {spread:.{digits}f}"


def compare(name, grid, design, triples):
    """Print a design's row: epochs, trials, how often the reference was chosen, regret."""
    epochs, trials, regrets, hits = [], [], [], 0
    for seeds in triples:
        if design is None:
            ends = {
                arm: statistics.fmean(grid.scores[arm, seed][EPOCHS] for seed in seeds) for arm in grid.candidates.arms
            }
            arm, count = max(ends, key=lambda arm: ends[arm]), len(ends) * len(seeds)
            epochs.append(count * EPOCHS)
        else:
            _, seen = grid.replay(design, seeds)
            arm, count = winner(seen), len({(each.proposal.arm, each.proposal.seed) for each in seen})
            epochs.append(epochs_of(seen))
        trials.append(count)
        regrets.append(100 * (grid.mean(grid.best) - grid.mean(arm)))
        hits += arm == grid.best
    chosen = f"{hits} of {len(triples)}"
    print(f"| {name} | {said(epochs, 0)} | {said(trials, 0)} | {chosen} | {said(regrets, 2)} ({max(regrets):.2f}) |")


def told_apart(grid, design, triples):
    """Print how many arms sequential seeds told apart from the best, and how many are truly as far as all seeds say."""
    worse = []
    for seeds in triples:
        of, seen = grid.replay(design, seeds)
        worse.append(sum(finding.verdict == "worse" for finding in design.findings(of, seen)))
    print(f"sequential seeds told {said(worse)} of {len(grid.candidates.arms) - 1} arms apart from the best")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    out = arguments.parse_args().out
    for name, axes in GRIDS.items():
        print(f"\n## {name}: {axes}")
        measure(Study(BASE, axes=axes, seeds=SEEDS), out / name)


def measure(study, out):
    """Train a grid, and print what each design makes of it."""
    started = time.perf_counter()
    assert sweep(study, out / "grid").complete
    print(f"{time.perf_counter() - started:.0f} s for the grid (0: it was there)")
    grid = Grid(study, out / "grid")
    triples = [tuple(range(start, start + 3)) for start in range(0, SEEDS, 3)]
    print(f"arm, mean validation and test accuracy, sd of the validation (n = {SEEDS} seeds)")
    for arm in sorted(grid.candidates.arms, key=grid.mean, reverse=True):
        own = [grid.scores[arm, seed][EPOCHS] for seed in grid.candidates.seeds]
        print(f"  {written(arm)}: {grid.mean(arm):.4f} {grid.mean(arm, grid.test):.4f} sd {statistics.stdev(own):.4f}")
    print("| design | epochs | trials | chose the reference | regret in points, mean ± sd (largest) |")
    print("|---|---|---|---|---|")
    compare("full grid, 3 seeds", grid, None, triples)
    compare("halving, first=2, factor=3", grid, SuccessiveHalving(first=2, factor=3), triples)
    compare("ASHA, first=2, factor=3, one worker", grid, ASHA(first=2, factor=3), triples)
    compare(f"full grid, {SEEDS} seeds", grid, None, [grid.candidates.seeds])
    for precision in (None, 0.02):
        design = SequentialSeeds(most_seeds=SEEDS, precision=precision)
        compare(f"sequential seeds, to {SEEDS}, precision {precision}", grid, design, triples)
        told_apart(grid, design, triples)
    halving = Study(BASE, axes=study.axes, seeds=3, adaptive=SuccessiveHalving(first=2, factor=3))
    started = time.perf_counter()
    sweep(halving, out / "halving")
    made = AdaptiveRecord.read(AdaptiveRecord.at(out / "halving"), remedy="").proposals
    _, seen = grid.replay(halving.adaptive, (0, 1, 2))
    same = [(dict(each.proposal.arm), each.proposal.seed, each.proposal.until) for each in seen]
    assert [(entry.arm, entry.seed, entry.until) for entry in made] == same, "the replay is not the run"
    print(f"halving, run in {time.perf_counter() - started:.0f} s: the same proposals as replayed")


if __name__ == "__main__":
    main()
