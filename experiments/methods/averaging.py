"""What do averaged weights, slow weights and flat minima give?

Hypothesis: with a rate that falls to 0, averages of the weights give less than half a point; sharpness-aware steps,
which cost two passes, give about one.
"""

from few_digits import experiment

from cnnjax import EMA, SAM, SWA, Lookahead, Study

methods = [
    (),
    EMA(decay=0.95, evaluate="instead"),
    EMA(decay=0.98, evaluate="instead"),
    SWA(start=0.5),
    SWA(start=0.75),
    Lookahead(),
    SAM(rho=0.05),
    SAM(rho=0.1),
    SAM(rho=0.5, adaptive=True),
]
study = Study(experiment, axes={"methods": [m if m == () else (m,) for m in methods]}, seeds=6)
