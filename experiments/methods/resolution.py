"""How small may images be in training, and may it begin with smaller ones?

Hypothesis: training at 6 pixels and testing at 8 costs several points; growing from 4 to 8 pixels costs less than one,
for half of the arithmetic.
"""

from few_digits import experiment

from cnnjax import FixedSize, ProgressiveResizing, StagedResizing, Study

sizes = [
    None,
    FixedSize(train=6, evaluation=6),
    FixedSize(train=6),
    FixedSize(evaluation=10),
    ProgressiveResizing(start=4, final=8, end_ramp=38, multiple=2),
    StagedResizing(start=4, final=8, stages=3, multiple=2),
]
study = Study(experiment, axes={"resolution": sizes}, seeds=6)
