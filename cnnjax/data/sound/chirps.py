"""Seeded tones that glide up or down, steady or pulsed, in noise: sound to learn from, nothing to prepare."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax.data.dataset import Dataset
from cnnjax.data.sound.clips import Clips
from cnnjax.data.sound.front_end import FrontEnd, LogMel
from cnnjax.data.sound.sound import Sound
from cnnjax.data.sound.wav import as_int16
from cnnjax.data.source import Data

GLIDES = {
    "rise": lambda share: share,
    "fall": lambda share: 1 - share,
    "peak": lambda share: 1 - abs(2 * share - 1),
    "dip": lambda share: abs(2 * share - 1),
}
"""How far from its low to its high pitch a tone is, after a share of its duration: both in 0..1."""
CLASSES = (*GLIDES, *(f"pulsed {name}" for name in GLIDES))
LOW = (300.0, 900.0)
"""Hertz of the low pitch."""
PULSES = (16.0, 24.0)
"""Pulses a second."""


class Chirps(Data):
    """`examples` + `test_examples` clips of one tone each, in white noise, made from `seed`; eight classes.

    The pitch of a tone rises, falls, or rises and falls, or falls and rises, by the factor `interval`, on a logarithmic
    scale; the tone is steady, or pulsed 16 to 24 times a second. Its low pitch (300 to 900 Hz, evenly on that scale),
    its second harmonic, duration (half to 0.8 of the clip), place and loudness are drawn, and are the same for no
    class. So a network must see how pitch goes, for which a spectrum must be fine in frequency, and pulses, for which
    it must be fine in time. noise: its standard deviation, in amplitudes of the tone.

    seconds: of a clip. rate: samples a second. front: what makes a spectrogram of a clip.
    """

    seconds: float = Field(default=0.5, gt=0)
    rate: int = Field(default=8000, ge=4000)
    interval: float = Field(default=1.3, gt=1, le=2)
    noise: float = Field(default=0.8, ge=0)
    examples: int = Field(default=1024, ge=1)
    test_examples: int = Field(default=512, ge=1)
    seed: int = Field(default=0, ge=0)
    front: FrontEnd = LogMel()

    @model_validator(mode="after")
    def _whole_samples(self) -> Self:
        if self.samples < 2 or abs(self.samples - self.seconds * self.rate) > 1e-6 * self.samples:
            raise ValueError(f"seconds = {self.seconds:g}: must be a whole number of samples at {self.rate} Hz")
        return self

    @property
    def samples(self) -> int:
        """Of a clip."""
        return round(self.seconds * self.rate)

    def read(self) -> Dataset:
        sound = Sound(rate=self.rate, samples=self.samples, front=self.front)
        train, test = (self._part(sound, count, part) for part, count in enumerate((self.examples, self.test_examples)))
        return Dataset("chirps", train, test, classes=CLASSES)

    def _part(self, sound: Sound, count: int, part: int) -> Clips:
        labels = (np.arange(count) % len(CLASSES)).astype(np.int32)
        clips = np.empty((count, self.samples), np.int16)
        for index, label in enumerate(labels):
            # Each clip has its own randomness, so that more clips leave the first as they are.
            generator = np.random.Generator(np.random.Philox(key=[self.seed, 2 * index + part]))
            clips[index] = as_int16(self._clip(generator, CLASSES[label]))
        return Clips(clips, labels, sound=sound)

    def _clip(self, generator: np.random.Generator, name: str) -> np.ndarray:
        """float64 [samples], mostly in -1..1."""
        length = round(generator.uniform(0.5, 0.8) * self.samples)
        start = generator.integers(self.samples - length + 1)
        share = np.arange(length) / length
        low = LOW[0] * (LOW[1] / LOW[0]) ** generator.random()
        pitch = low * self.interval ** GLIDES[name.removeprefix("pulsed ")](share)
        phase = 2 * np.pi * (np.cumsum(pitch) / self.rate + generator.random())
        tone = np.sin(phase) + generator.uniform(0, 0.7) * np.sin(2 * phase)
        # It begins and ends softly, in 10 ms.
        tone *= np.clip(np.minimum(share, 1 - share) * length / (0.01 * self.rate), 0, 1)
        pulses, beginning = generator.uniform(*PULSES), generator.random()
        if name.startswith("pulsed "):
            turns = pulses * np.arange(length) / self.rate + beginning
            tone *= np.sqrt(2) * (turns % 1 < 0.5)
        clip = self.noise * generator.standard_normal(self.samples)
        clip[start : start + length] += tone
        return clip * 0.2 * 10 ** generator.uniform(-1, 0) / max(1.0, self.noise)
