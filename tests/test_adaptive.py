"""Adaptive designs as pure functions: against brackets worked by hand, and small simulations."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnnjax.config import Named
from cnnjax.errors import ConfigError, RunError
from cnnjax.study.adaptive import ASHA, Adaptive, OptunaSampler, SequentialSeeds, SuccessiveHalving
from cnnjax.study.adaptive.adaptive import Candidates, everything
from cnnjax.study.adaptive.confidence_sequence import EFFECT, confidence_sequence
from cnnjax.study.adaptive.observation import Observation, Proposal, scores_by_arm
from cnnjax.study.adaptive.rungs import rungs_of


def arms(count):
    return tuple(Named({"model.features": number}) for number in range(count))


def number(proposal):
    return proposal.arm["model.features"]


def candidates(count, *, seeds=1, epochs=81, **more):
    return Candidates(arms(count), tuple(range(seeds)), epochs, **more)


def run(design, of, score, *, seen=(), most=10_000):
    """All observations, where each proposal's score is what `score` says of it: a number, or why it failed."""
    seen = list(seen)
    while (proposed := design.propose(of, seen)) and len(seen) < most:
        for each in proposed:
            value = score(each)
            seen.append(Observation(each, failure=value) if isinstance(value, str) else Observation(each, value))
    return seen


def reached(seen):
    """By rung: until which epoch, and which arms, in order."""
    found = {}
    for each in seen:
        found.setdefault((each.proposal.rung, each.proposal.until), []).append(number(each.proposal))
    return found


def test_a_static_plan_proposes_once():
    of = candidates(3, seeds=2)
    proposed = everything(of, [])
    assert [(number(each), each.seed) for each in proposed] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert not everything(of, [Observation(proposed[0])])


# --- halving


def test_the_rungs_of_a_bracket():
    assert rungs_of(1, 3, 81) == (1, 3, 9, 27, None)
    assert rungs_of(2, 4, 20) == (2, 8, None)
    with pytest.raises(ConfigError, match=r"first = 20 epochs: the training has 20"):
        rungs_of(20, 3, 20)


def test_halving_is_the_bracket_of_hyperband():
    """Table 1 of Li et al. 2018, bracket s = 4: 81 arms for 1, 27 for 3, 9 for 9, 3 for 27, 1 for 81 epochs."""
    seen = reached(run(SuccessiveHalving(), candidates(81), number))
    assert {key: len(values) for key, values in seen.items()} == {
        (0, 1): 81,
        (1, 3): 27,
        (2, 9): 9,
        (3, 27): 3,
        (4, None): 1,
    }
    assert seen[1, 3] == list(range(80, 53, -1)), "the best first"
    assert seen[4, None] == [80]


def test_an_arm_is_judged_by_the_mean_of_its_seeds_and_only_at_its_rung():
    scores = {(0, 0): (9, 0), (1, 0): (5, 5), (2, 0): (4, 4), (3, 0): (1, 1), (1, 1): (1, 1), (2, 1): (2, 2)}
    design = SuccessiveHalving(first=2, factor=2)
    seen = run(
        design, candidates(4, seeds=2, epochs=6), lambda each: scores.get((number(each), each.rung), (0, 0))[each.seed]
    )
    assert reached(seen) == {(0, 2): [0, 0, 1, 1, 2, 2, 3, 3], (1, 4): [1, 1, 0, 0], (2, None): [1, 1]}


def test_one_arm_that_is_left_trains_to_its_end_at_once():
    assert list(reached(run(SuccessiveHalving(first=1, factor=9), candidates(10), number))) == [(0, 1), (1, None)]


def test_a_failed_seed_takes_its_arm_out():
    def score(each):
        return "diverged" if number(each) == 8 and each.seed == 1 else number(each)

    seen = run(SuccessiveHalving(), candidates(9, seeds=2, epochs=9), score)
    assert reached(seen)[1, 3] == [7, 7, 6, 6, 5, 5]


def test_nothing_is_proposed_while_a_rung_waits_or_when_all_of_it_failed():
    design, of = SuccessiveHalving(), candidates(4)
    first = design.propose(of, [])
    waiting = [Observation(first[0]), *(Observation(each, 1.0) for each in first[1:])]
    assert not design.propose(of, waiting)
    assert len(run(design, of, lambda _: "the loss is nan")) == 4


def test_what_halving_costs_is_what_it_takes():
    """9 arms, 3 seeds, 20 epochs: 9 to epoch 2, 3 to 6, 1 to 20: 9 * 2 + 3 * 4 + 1 * 14 = 44 epochs a seed."""
    said = SuccessiveHalving(first=2).cost(candidates(9, seeds=3, epochs=20))
    assert said == (
        "9 arms to epoch 2, then 3 arms to epoch 6, then 1 arm to the end, with 3 seeds each: at most 132 epochs of "
        "the 540 that all of them take"
    )


# --- ASHA


def test_asha_follows_its_algorithm():
    """Algorithm 2 of Li et al. 2020 by hand, factor 2, arms in the order 0, 1, 2, 3, a worse one each time.

    0 and 1 reach rung 0 and 0, the best half of two, goes on to rung 1; 2 and 3 begin, and 1, now second of four, goes
    on; of two at rung 1, 0 goes on to the end.
    """
    design = ASHA(first=1, factor=2, shuffle=IN_ORDER)
    seen = run(design, candidates(4, epochs=4), lambda each: -number(each))
    assert [(number(each.proposal), each.proposal.until) for each in seen] == [
        (0, 1),
        (1, 1),
        (0, 2),
        (2, 1),
        (3, 1),
        (1, 2),
        (0, None),
    ]


IN_ORDER = next(seed for seed in range(1000) if list(np.random.default_rng(seed).permutation(4)) == [0, 1, 2, 3])


def test_asha_gives_every_worker_another_job():
    design, of, seen = ASHA(factor=2), candidates(4, seeds=2, epochs=4), []
    for _ in range(4):
        job = design.propose(of, seen)
        assert len({each.arm for each in job}) == 1
        assert [each.seed for each in job] == [0, 1]
        seen += map(Observation, job)
    assert len({each.proposal.arm for each in seen}) == 4
    assert not design.propose(of, seen), "all begun, none has a result: it waits"
    seen[0] = Observation(seen[0].proposal, 1.0)
    assert not design.propose(of, seen), "an arm counts once all of its seeds have a result"


def test_asha_ends_with_a_trained_arm():
    """Four arms and factor 3: one goes on to the second rung, and no third of one to the last: the best still does."""
    seen = run(ASHA(), candidates(4, epochs=27), number)
    assert [(number(each.proposal), each.proposal.until) for each in seen[-2:]] == [(3, 3), (3, None)]
    failing = run(ASHA(), candidates(4, epochs=27), lambda each: "x" if each.until is None else float(number(each)))
    assert [number(each.proposal) for each in failing if each.proposal.until is None] == [3, 2, 1, 0]
    assert len(run(ASHA(), candidates(4), lambda _: "x")) == 4


def test_asha_with_one_worker_finds_what_halving_finds():
    for shuffle in range(5):
        seen = run(ASHA(shuffle=shuffle), candidates(27, epochs=27), number)
        assert {number(each.proposal) for each in seen if each.proposal.until is None} >= {26}
        assert sum(each.proposal.until is None for each in seen) <= 9


# --- sequential seeds


def likelihood(values, mean, *, effect):
    """E(mean) by sums alone: how much likelier the values are where their mean is `effect` * normal * sd from `mean`
    than where it is `mean`, each averaged over all sd with the prior 1 / sd."""
    sd = np.geomspace(0.02, 100, 500)[:, None, None]
    shift = np.linspace(-6 * effect, 6 * effect, 801)[:, None]

    def averaged(density):  # the prior 1 / sd is even in log(sd)
        return np.trapezoid(density, np.log(sd[:, 0, 0]))

    far = stats.norm.pdf(values, mean + shift * sd, sd).prod(axis=-1) * stats.norm.pdf(shift[:, 0], 0, effect)
    near = stats.norm.pdf(values, mean, sd[:, 0]).prod(axis=-1)
    return averaged(np.trapezoid(far, shift[:, 0], axis=-1)) / averaged(near)


def test_the_confidence_sequence_is_where_the_likelihood_ratio_is_below_its_bound():
    values = np.array([1.0, 2.5, 1.7, 0.9, 2.2])
    low, high = confidence_sequence(list(values), error=0.05)
    assert (low + high) / 2 == pytest.approx(values.mean())
    for edge in (low, high):
        assert likelihood(values, edge, effect=EFFECT) == pytest.approx(1 / 0.05, rel=1e-3)


def test_it_is_everything_where_nothing_is_known():
    for values in ([], [1.0], [0.5] * 5, [0.1 + 0.2, 0.3, 0.3]):
        assert confidence_sequence(values, error=0.05) == (-math.inf, math.inf)


def looked_at(values, interval):
    """Whether any look, from 3 values on, excludes the true mean 0."""
    return any(not low <= 0 <= high for low, high in (interval(values[:n]) for n in range(3, len(values) + 1)))


def test_it_errs_at_most_as_often_as_it_says_however_often_one_looks():
    """400 series of 30 values around 0, looked at after each: at most 5% (here 20 of 400) exclude 0; the t interval,
    which is for one look, excludes it in far more of them."""
    series = np.random.default_rng(0).normal(size=(400, 30))

    def student(values):
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
        return values.mean() - half, values.mean() + half

    wrong = sum(looked_at(values, lambda seen: confidence_sequence(list(seen), error=0.05)) for values in series)
    naive = sum(looked_at(values, student) for values in series)
    assert wrong <= 20
    assert naive > 60


def simulated(design, means, rng, *, counted=None):
    """A study of arms whose accuracies are binomial of 1,000 images around their means, that share each seed's luck."""
    luck = rng.normal(0, 0.01, 64)

    def score(each):
        share = np.clip(means[number(each)] + luck[each.seed] + rng.normal(0, 0.004), 0, 1)
        return float(rng.binomial(1000, share) / 1000)

    return run(design, candidates(len(means), seeds=3), score)


def test_equal_arms_are_told_apart_no_more_often_than_is_said():
    """100 studies of 4 equal arms, up to 12 seeds: in at most 5% is any arm said to be worse."""
    rng, design = np.random.default_rng(1), SequentialSeeds(most_seeds=12)
    wrong = 0
    for _ in range(100):
        seen = simulated(design, [0.9] * 4, rng)
        wrong += any(finding.verdict == "worse" for finding in design.findings(candidates(4, seeds=3), seen))
    assert wrong <= 5


def test_seeds_go_to_the_arms_that_are_not_told_apart():
    rng, design, of = np.random.default_rng(2), SequentialSeeds(most_seeds=16), candidates(4, seeds=3)
    seen = simulated(design, [0.90, 0.895, 0.7, 0.6], rng)
    seeds = [sum(number(each.proposal) == arm for each in seen) for arm in range(4)]
    assert seeds[0] == seeds[1] == 16, "5 of 1,000 images are not told apart in 16 seeds"
    assert 3 <= max(seeds[2:]) < 10
    verdicts = {number_of(finding.arm): finding.verdict for finding in design.findings(of, seen)}
    assert sorted(verdicts) in ([0, 2, 3], [1, 2, 3]), "all but the best"
    assert verdicts[2] == verdicts[3] == "worse"
    assert set(verdicts.values()) == {"worse", "not told apart"}


def number_of(arm):
    return arm["model.features"]


def test_by_hand_two_arms_one_far_better():
    """Differences 10, 11, 9: mean 10, deviation 1; at 3 seeds the interval reaches 6.2 to either side (error 5%)."""
    table = {0: [20.0, 21.0, 19.0], 1: [10.0, 10.0, 10.0]}
    of, design = candidates(2, seeds=3), SequentialSeeds()
    assert len(run(design, of, lambda each: table[number(each)][each.seed])) == 6
    near = {0: [20.0, 21.0, 19.0, 20.0], 1: [15.0, 15.0, 15.0, 15.0]}
    seen = run(design, of, lambda each: near[number(each)][each.seed], most=8)
    assert [(number(each.proposal), each.proposal.seed) for each in seen[6:]] == [(0, 3), (1, 3)]


def test_it_stops_at_its_precision_and_its_budgets():
    rng, of = np.random.default_rng(3), candidates(3, seeds=3)
    wide = simulated(SequentialSeeds(precision=0.05), [0.9] * 3, rng)
    assert len(wide) < 3 * 8
    verdicts = {finding.verdict for finding in SequentialSeeds(precision=0.05).findings(of, wide)}
    assert verdicts == {"within the precision"}
    assert len(simulated(SequentialSeeds(trials=15, step=2), [0.9] * 3, rng)) == 15
    assert len(simulated(SequentialSeeds(most_seeds=5), [0.9] * 3, rng)) == 15


def test_an_arm_of_which_a_seed_failed_gets_no_more():
    seen = run(
        SequentialSeeds(most_seeds=5),
        candidates(3, seeds=3),
        lambda each: "diverged" if (number(each), each.seed) == (1, 0) else float((number(each) + each.seed**2) % 3),
    )
    assert sum(number(each.proposal) == 1 for each in seen) == 3
    assert len(seen) == 13


@pytest.mark.parametrize(
    ("design", "of", "said"),
    [
        (SequentialSeeds(most_seeds=3), candidates(2, seeds=3), "begins with 3 seeds already"),
        (SequentialSeeds(trials=6), candidates(2, seeds=3), "are 6 trials already"),
        (SequentialSeeds(), candidates(1, seeds=3), "1 arm to tell apart"),
        (SuccessiveHalving(first=9), candidates(4, epochs=9), "the training has 9"),
        (ASHA(first=9), candidates(4, epochs=9), "the training has 9"),
        (SuccessiveHalving(), candidates(1), "1 arm to choose among"),
        (OptunaSampler(), candidates(0), "no axes to sample"),
    ],
)
def test_what_cannot_be_is_refused(design, of, said):
    with pytest.raises(ConfigError, match=said):
        design.check(of)


# --- Optuna

AXES = {"optim.learning_rate": (0.001, 0.01, 0.1), "recipe": Named({"plain": Named(), "long": Named({"epochs": 9})})}
SAMPLED = candidates(0, seeds=2, axes=AXES)


def score_of(each):
    return (
        -abs(math.log10(each.arm["optim.learning_rate"]) + 2) + 0.1 * (each.arm["recipe"] == "long") + 0.01 * each.seed
    )


def test_optuna_is_asked_and_told():
    """The same proposals as Optuna's own loop makes, which asks and tells one after the other."""
    optuna = pytest.importorskip("optuna")
    seen = run(OptunaSampler(trials=20, seed=4), SAMPLED, score_of)
    proposed = [each.proposal.arm for each in seen[::2]]
    own = []

    def objective(trial):
        rate = AXES["optim.learning_rate"][trial.suggest_categorical("optim.learning_rate", [0, 1, 2])]
        recipe = trial.suggest_categorical("recipe", ["plain", "long"])
        own.append(Named({"optim.learning_rate": rate, "recipe": recipe}))
        both = [score_of(Proposal(own[-1], seed)) for seed in (0, 1)]
        return float(f"{sum(both) / 2:.12g}")

    sampler = optuna.samplers.TPESampler(seed=4)
    optuna.create_study(direction="maximize", sampler=sampler).optimize(objective, n_trials=20)
    assert len(own) == 20
    assert proposed == own


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii"])
@pytest.mark.parametrize("together", [1, 3])
def test_a_search_that_is_interrupted_goes_on_as_it_would_have(sampler, together):
    pytest.importorskip("optuna")
    design = OptunaSampler(sampler=sampler, trials=10, together=together)
    whole = run(design, SAMPLED, score_of)
    for begun in (0, 1, 3):
        seen = [each for each in whole if each.proposal.rung < begun]
        assert run(design, SAMPLED, score_of, seen=seen) == whole
    pending = [*whole[:-1], Observation(whole[-1].proposal)]
    assert not design.propose(SAMPLED, pending)


def test_optuna_hears_of_failures_and_of_strangers():
    pytest.importorskip("optuna")
    design = OptunaSampler(trials=4)
    assert {each.proposal.rung for each in run(design, SAMPLED, lambda _: "out of memory")} == {0, 1, 2, 3}
    strange = Proposal(Named({"optim.learning_rate": 7.0, "recipe": "plain"}), 0)
    with pytest.raises(RunError, match="does not propose again"):
        design.propose(SAMPLED, [Observation(strange, 1.0)])


def test_designs_by_name():
    assert Adaptive.model_validate("halving") == SuccessiveHalving()
    assert Adaptive.model_validate({"adaptive": "asha", "first": 2}) == ASHA(first=2)


def test_the_mean_of_an_arm_does_not_hang_on_the_order_of_its_seeds():
    values = [0.1, 0.2, 0.3, 0.7, 0.11]
    one, other = (
        scores_by_arm([Observation(Proposal(arms(1)[0], seed), value) for seed, value in enumerate(order)])
        for order in (values, values[::-1])
    )
    assert one == other


def test_the_examples_of_the_docs():
    page = (Path(__file__).parents[1] / "docs" / "adaptive.md").read_text()
    code, own = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    made = {"__name__": __name__}
    exec(code + own, made)
    seen = run(made["Race"](), candidates(4, seeds=2), number)
    assert reached(seen) == {(0, 2): [0, 0, 1, 1, 2, 2, 3, 3], (1, None): [3]}
    kinds = {"halving": SuccessiveHalving, "asha": ASHA, "seeds": SequentialSeeds, "search": OptunaSampler}
    assert {name: type(made[name].adaptive) for name in kinds} == kinds
    assert "reaches 6.2 standard deviations to either side at 3\nseeds and 1.4 at 10" in page
    for count, said in ((3, 6.2), (10, 1.4)):
        values = stats.norm.ppf((np.arange(count) + 0.5) / count)
        low, high = confidence_sequence(list(values / values.std(ddof=1)), error=0.05)
        assert (high - low) / 2 == pytest.approx(said, abs=0.05)
