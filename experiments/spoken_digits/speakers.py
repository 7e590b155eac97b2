"""How much harder are spoken digits of speakers never heard than takes never heard, and does SpecAugment help there?

Hypothesis: of speakers who were heard in training, over 95 percent of other takes are understood; of two speakers who
were not, 10 to 30 points fewer, for pitch and accent are theirs. Hiding bands and stretches of time helps with new
speakers more than with new takes, by at least 2 points.

The data are the 3,000 recordings of the Free Spoken Digit Dataset (8 kHz; 6 speakers, 10 digits, 50 takes of each) as
`<digit>_speaker<number>_<take>.wav`, in a folder or an uncompressed tar; give its place as `data.root=PATH`. Both
splits train on about as many clips: two speakers of six are held out, 1,000 clips, or 16 takes of 50, 960 clips. Clips
have 640 ms, in the middle of which a recording is put, or of a longer one the middle is taken. The network is
res8-narrow, whatever the split: every arm costs the same.
"""

from cnnjax import (
    AdamW,
    Experiment,
    Grid,
    KeywordResNet,
    LogMel,
    Product,
    SpecAugment,
    Study,
    TimeShift,
    WavFolder,
    Zip,
)

SPEAKERS = ("speaker1", "speaker4")
TAKES = tuple(map(str, range(16)))
SHIFT = TimeShift(frames=8)

experiment = Experiment(
    model=KeywordResNet(features=19),
    data=WavFolder(
        root="fsdd",
        pattern="{label}_{speaker}_{take}",
        split_by="speaker",
        held_out=SPEAKERS,
        seconds=0.64,
        front=LogMel(window=256, hop=80, bands=40),
    ),
    augment=(SHIFT,),
    optim=AdamW(learning_rate=0.01),
    steps=200,
    batch_size=32,
)
study = Study(
    experiment,
    design=Product(
        designs=(
            Zip(axes={"data.split_by": ["speaker", "take"], "data.held_out": [SPEAKERS, TAKES]}),
            Grid(axes={"augment": [(SHIFT,), (SHIFT, SpecAugment(frequency=8, time=12))]}),
        )
    ),
    seeds=3,
)
