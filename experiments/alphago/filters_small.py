"""How many filters does a small policy network need to see, on a board of 9x9, the move that captures most?

Hypothesis: more filters find it more often, each doubling by less: 8 beat 4, and 16 beat 8, by five points or more, 32
beat 16 by one or more. A move that captures something, chosen blindly, is the best one in 35% of positions.

Source: Silver et al. 2016, Nature 529, Methods (AlphaGo's policy network, which was compared with 128, 192, 256 and 384
filters), and the lecture's "number of filters: we don't know, try". The positions are synthetic (GoCaptures: random
stones, the best move known by construction), so nothing about strength at Go follows.

Hardware and time: two CPU cores, about five minutes for all 20 trials. Command:
`cnnjax sweep experiments/alphago/filters_small.py`
"""

from cnnjax import Adam, AlphaGoPolicy, Card, Claim, Cosine, Experiment, GoCaptures, Machine, Study

experiment = Experiment(
    model=AlphaGoPolicy(num_classes=None, features=16, depth=5),
    data=GoCaptures(size=9, examples=6000, test_examples=2000),
    optim=Adam(learning_rate=3e-3, schedule=Cosine(warmup=1)),
    initialization="he_fan_in",
    epochs=8,
    batch_size=64,
)
study = Study(experiment, axes={"model.features": [4, 8, 16, 32]}, seeds=5)
card = Card(
    source="Silver et al. 2016, Nature 529, Mastering the game of Go with deep neural networks and tree search",
    deviations=(
        "A board of 9x9, five convolutions rather than twelve, and 4 to 32 filters rather than 128 to 384.",
        "Synthetic positions, not people's games; the label is the point that captures most stones.",
        "Of the 48 planes 14 are filled: turns since, and all that look a move ahead, are zero.",
        "Adam at 3e-3 with a cosine over 8 epochs in batches of 64, not SGD at 0.003 in batches of 16; kernels start "
        "as He et al. propose.",
        "The board is not turned or mirrored at random.",
    ),
    claims=(
        Claim(
            "More filters help: 8 beat 4",
            of={"model.features": 8},
            against={"model.features": 4},
            expects="more",
            margin=0.01,
        ),
        Claim(
            "More filters help: 16 beat 8",
            of={"model.features": 16},
            against={"model.features": 8},
            expects="more",
            margin=0.01,
        ),
        Claim(
            "More filters help: 32 beat 16",
            of={"model.features": 32},
            against={"model.features": 16},
            expects="more",
            margin=0.01,
        ),
    ),
    machines={"cpu": Machine(kind="cpu")},
    needs="cpu",
)
