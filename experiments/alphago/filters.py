"""How many filters does AlphaGo's policy network need to see the move that captures most?

Hypothesis: more filters find it more often, each step by less: 192 beat 128 by a point or more, 256 and 384 add less
than a point each. The lecture leaves it open ("we don't know, try"); the network that played the match had 192.

Source: Silver et al. 2016, Nature 529, Methods, neural network architecture: 48 planes of 19x19 points, a 5x5 and
eleven 3x3 convolutions of k filters, a 1x1 convolution with a bias for each point, softmax over 361; k = 128, 192, 256
and 384 were compared on positions of people's games. The positions here are synthetic (GoCaptures: random stones, the
best move known by construction), so no published accuracy applies, and nothing about strength at Go follows.

Hardware and time: one GPU; how long is unknown. 0.64, 1.40, 2.45 and 5.44 GMACs a position and 1.8, 3.9, 6.8 and 15.1
million parameters; 2,110 steps of 256 positions, so 0.2, 0.5, 0.8 and 1.8e16 operations a trial, 1.6e17 in all.
Command: `cnnjax sweep experiments/alphago/filters.py --on gpu` (the same with `--on tpu`). `filters_small.py` beside it
asks the same of a board of 9x9 on a CPU.
"""

from cnnjax import Adam, AlphaGoPolicy, Card, Claim, Cosine, Experiment, GoCaptures, Machine, Study

experiment = Experiment(
    model=AlphaGoPolicy(num_classes=None),
    data=GoCaptures(size=19, examples=20_000, test_examples=4_000),
    optim=Adam(learning_rate=5e-4, per=256, schedule=Cosine(warmup=1)),
    initialization="he_fan_in",
    precision="bfloat16",
    epochs=30,
    batch_size=256,
)
study = Study(experiment, axes={"model.features": [128, 192, 256, 384]}, seeds=5)
card = Card(
    source="Silver et al. 2016, Nature 529, Mastering the game of Go with deep neural networks and tree search",
    deviations=(
        "Synthetic positions, not 29.4 million of people's games; the label is the point that captures most stones.",
        "Of the 48 planes 14 are filled: turns since, and all that look a move ahead, are zero.",
        "Adam at 5e-4 with a cosine over 30 epochs in batches of 256, not SGD at 0.003, halved every 80 million of 340 "
        "million steps, in batches of 16; kernels start as He et al. propose.",
        "The board is not turned or mirrored at random.",
        "The computation is in bfloat16.",
    ),
    claims=(
        Claim(
            "More filters help: 192 beat 128",
            of={"model.features": 192},
            against={"model.features": 128},
            expects="more",
            margin=0.01,
        ),
        Claim(
            "More filters help: 256 beat 192",
            of={"model.features": 256},
            against={"model.features": 192},
            expects="more",
            margin=0.01,
        ),
        Claim(
            "More filters help: 384 beat 256",
            of={"model.features": 384},
            against={"model.features": 256},
            expects="more",
            margin=0.01,
        ),
    ),
    machines={
        "gpu": Machine(kind="a100", batch_size=256),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=256),
    },
    needs="accelerator",
)
