"""The trials of a study that varies the fold it validates on: which are a grid of folds and seeds, and the means of
folds over their seeds.

Trials are rows with `arm`, `replicate` (their fold), `seed`, `status` and what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from cnnjax.reporting.frames import Frame


def crossed(trials: Frame) -> Frame:
    """The trials of seeds that every fold of their arm has.

    A study that was extended may have others, and means over other seeds in other folds are not compared.
    """
    with_seed = trials.groupby(["arm", "seed"])["replicate"].transform("nunique")
    return trials[with_seed == trials.groupby("arm")["replicate"].transform("nunique")]


def of_whole_folds(trials: Frame) -> Frame:
    """The trials of folds of which all have finished."""
    finished = (trials["status"] == "done").groupby([trials["arm"], trials["replicate"]])
    return trials[finished.transform("all").astype(bool)]


def means_of_folds(trials: Frame, names: Sequence[str]) -> Frame:
    """A row per arm and fold: the means of `names` over its seeds, NaN where one of them is.

    `examples` of validation are those of all folds, each of which has its own.
    """
    folds = trials.groupby(["arm", "replicate"])
    means = folds[list(names)].agg(lambda values: values.mean(skipna=False))
    frame = folds[["id", "examples", "data_fingerprint"]].first().join([folds["packed"].max(), means]).reset_index()
    held_out = [sizes.get("validation", 0) for sizes in frame["examples"]]
    totals = Frame({"arm": frame["arm"], "of": held_out}).groupby("arm")["of"].transform("sum")
    frame["examples"] = [
        sizes | ({"validation": int(total)} if "validation" in sizes else {})
        for sizes, total in zip(frame["examples"], totals, strict=True)
    ]
    return frame
