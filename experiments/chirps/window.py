"""How long should the window of a spectrogram be, at the same cost of the network?

Hypothesis: some 32 ms, by at least 5 points over both 8 and 128 ms. The classes are glides of pitch by 30 percent,
steady or pulsed some 20 times a second, in noise. A window of 8 ms cannot tell pitches that differ by less than 125 Hz
apart, which all of a low glide is, and one of 128 ms holds two or three pulses at once.

Only the window changes: with the same hop, transform and bands every arm has images of 40 bands and 51 frames, and the
same network, step for step. 64, 256 and 1024 samples are 8, 32 and 128 ms.
"""

from cnnjax import AdamW, Chirps, Experiment, KeywordResNet, LogMel, Study

experiment = Experiment(
    model=KeywordResNet(features=19),
    data=Chirps(front=LogMel(window=256, hop=80, fft=1024)),
    optim=AdamW(learning_rate=0.01),
    epochs=6,
    batch_size=32,
)
study = Study(experiment, axes={"data.front.window": [64, 256, 1024]}, seeds=3)
