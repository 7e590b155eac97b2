"""How small may images be in training, and may it begin with smaller ones?

Hypothesis: training at 10 pixels and testing at 14 costs several points; growing from 8 to 14 pixels costs less than
one, for half of the arithmetic.
"""

from clothing import experiment

from cnnjax import FixedSize, ProgressiveResizing, StagedResizing, Study

sizes = [
    None,
    FixedSize(train=10, evaluation=10),
    FixedSize(train=10),
    FixedSize(evaluation=16),
    ProgressiveResizing(start=8, final=14, end_ramp=15, multiple=2),
    StagedResizing(start=8, final=14, stages=4, multiple=2),
]
study = Study(experiment, axes={"resolution": sizes}, seeds=5)
