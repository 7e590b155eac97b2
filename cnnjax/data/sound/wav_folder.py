"""Clips of sound in WAV files: in folders or an uncompressed tar, with labels by folder or by file name."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax.data.dataset import Dataset
from cnnjax.data.layout import alike, by_folders
from cnnjax.data.partition import Wanted
from cnnjax.data.sound.clips import Clips
from cnnjax.data.sound.front_end import FrontEnd, LogMel
from cnnjax.data.sound.names import places, said_by
from cnnjax.data.sound.sound import Place, Sound, Stereo
from cnnjax.data.sound.wav import read_wav
from cnnjax.data.source import Data
from cnnjax.data.spelling import in_order, listed
from cnnjax.data.splits import split_off
from cnnjax.data.store import SOUNDS, Store, open_store
from cnnjax.errors import DataError
from cnnjax.machine import physical_memory

BROKEN = "mend or delete it, or leave such files out with on_broken='skip'"


@dataclass(frozen=True)
class _Files:
    """Files by name within the store, with class ids. test: the names of the test part; None where all are one part."""

    train: tuple[str, ...]
    labels: Mapping[str, int]
    classes: tuple[str, ...]
    test: tuple[str, ...] | None
    remarks: tuple[str, ...]
    notes: tuple[str, ...] = ()


class WavFolder(Data):
    """WAV files under `root`, a folder or an uncompressed tar: PCM of 8 to 32 bits, or floating point.

    Without `pattern` as folders of images: `train/<class>/<file>` and `test/` or `val/` alike, or `<class>/<file>`.
    With it labels are in the files' names: "{label}_{speaker}_{take}" fits `7_theo_12.wav`,
    "{label}/{speaker}_nohash_{take}" `yes/0a7c_nohash_0.wav`; what it does not fit is not used, and said. split_by: the
    place in the pattern by which the test part is held out, such as "speaker", so that none has clips in both parts;
    held_out: what stands there in the test part's names, by default the share `test` of all that does. Without, the
    share `test` of the clips is held out, stratified. All splits are the same for every seed. classes: their names in
    the order of their ids.

    seconds: of every clip; place: where a longer one is cut and a shorter one gets silence (`Sound`). rate: in hertz,
    by default the first file's; another one is an error, or resampled with `resample`. stereo: what becomes of two
    channels. front: what makes images of clips. on_broken: whether a file that cannot be decoded is an error, or left
    out and counted. All clips are held in memory, as 16 bits.

    train_split, test_split: names of the folders of the parts; without `test_split` the usual names are looked for.
    """

    root: str
    pattern: str | None = None
    split_by: str | None = None
    held_out: tuple[str, ...] = ()
    train_split: str = "train"
    test_split: str | None = None
    test: float = Field(default=0.2, gt=0, lt=1)
    classes: tuple[str, ...] = ()
    seconds: float = Field(default=1.0, gt=0)
    rate: int | None = Field(default=None, ge=1)
    resample: bool = False
    stereo: Stereo = "error"
    place: Place = "centre"
    front: FrontEnd = LogMel()
    on_broken: Literal["error", "skip"] = "error"

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        known = () if self.pattern is None else places(self.pattern)
        if self.pattern is not None and "label" not in known:
            raise ValueError(f"pattern = {self.pattern!r}: it has no {{label}}")
        if self.split_by is not None and self.split_by not in known:
            named = f"the pattern has {', '.join(known)}" if known else "set pattern"
            raise ValueError(f"split_by = {self.split_by!r}: {named}")
        if self.held_out and self.split_by is None:
            raise ValueError("held_out: say of which place in the pattern, with split_by")
        if self.resample and self.rate is None:
            raise ValueError("resample: set the rate that all shall have")
        return self

    def read(self) -> Dataset:
        store = open_store(Path(self.root).expanduser())
        names = tuple(filter(SOUNDS.includes, store.names))
        if not names:
            raise DataError(f"{store.shown('')} has no {SOUNDS.many} in it ({', '.join(SOUNDS.suffixes)})")
        found = self._by_folders(store) if self.pattern is None else self._by_names(store, names)
        for remark in found.remarks:
            warnings.warn(remark, stacklevel=2)
        sound = self._sound(store, found.train)
        train, lost = self._part(store, found, found.train, sound)
        test, lost_test = (None, ()) if found.test is None else self._part(store, found, found.test, sound)
        reasons = [*lost, *lost_test]
        if reasons:
            counted = f"{len(reasons)} of {len(found.labels)}"
            warnings.warn(f"{counted} sounds cannot be decoded and are left out; {reasons[0]}", stacklevel=2)
        if test is None:
            train, test = split_off(train, self.test)
        return Dataset(
            Path(self.root).stem,
            train,
            test,
            classes=found.classes,
            skipped={part: len(why) for part, why in (("train", lost), ("test", lost_test)) if why},
            remarks=(*found.remarks, *found.notes),
            read_from=store.listed,
        )

    def _by_folders(self, store: Store) -> _Files:
        found = by_folders(store, Wanted(self.train_split, self.test_split), self.classes, SOUNDS)
        listings = [found.train, *([] if found.test is None else [found.test])]
        labels = {n: int(label) for each in listings for n, label in zip(each.names, each.labels, strict=True)}
        test = None if found.test is None else found.test.names
        return _Files(found.train.names, labels, found.classes, test, found.remarks, found.notes)

    def _by_names(self, store: Store, names: Sequence[str]) -> _Files:
        assert self.pattern is not None
        said, shown = said_by(self.pattern, names), store.shown("")
        if not said:
            raise DataError(f"{shown}: the pattern {self.pattern!r} fits none of its files, such as {names[0]}")
        strangers = [name for name in names if name not in said]
        remarks = []
        if strangers:
            remarks.append(
                f"{len(strangers):,} of {len(names):,} files do not fit the pattern {self.pattern!r} and are not used, "
                f"such as {store.shown(strangers[0])}"
            )
        there = {each["label"] for each in said.values()}
        classes = self.classes or tuple(in_order(there))
        for name in (*(set(classes) - there), *(there - set(classes))):
            what = "no file of class" if name in classes else "files of a class that `classes` does not name,"
            raise DataError(f"{shown}: there {'is' if name in classes else 'are'} {what} {name!r}")
        ids = {name: place for place, name in enumerate(classes)}
        labels = {name: ids[each["label"]] for name, each in said.items()}
        held = self._held_out(said, shown)
        if held is None:
            return _Files(tuple(said), labels, classes, None, (*remarks, *alike(classes)))
        parts = [tuple(name for name in said if (name in held) == test) for test in (False, True)]
        for part, of_part in zip(("training", "test"), parts, strict=True):
            lacking = set(ids.values()) - {labels[name] for name in of_part}
            if lacking:
                remarks.append(
                    f"no clip of {listed(classes[label] for label in sorted(lacking))} is in the {part} part"
                )
        return _Files(parts[0], labels, classes, parts[1], (*remarks, *alike(classes)))

    def _held_out(self, said: Mapping[str, Mapping[str, str]], shown: str) -> set[str] | None:
        """The files of the test part; None where it is split by nothing. Raises DataError."""
        if self.split_by is None:
            return None
        values = in_order({each[self.split_by] for each in said.values()})
        if len(values) < 2:
            raise DataError(f"{shown}: split_by = {self.split_by!r}: all files have {values[0]!r}")
        chosen = self.held_out
        for value in set(chosen) - set(values):
            raise DataError(f"{shown}: held_out: no file has the {self.split_by} {value!r}; there are {listed(values)}")
        if not chosen:
            generator = np.random.Generator(np.random.Philox(key=[0, 0]))
            count = min(len(values) - 1, max(1, round(self.test * len(values))))
            chosen = tuple(values[place] for place in generator.permutation(len(values))[:count])
        if len(set(chosen)) == len(values):
            raise DataError(f"{shown}: held_out: nothing is left to train on")
        return {name for name, each in said.items() if each[self.split_by] in chosen}

    def _sound(self, store: Store, names: Sequence[str]) -> Sound:
        rate = self.rate or self._first_rate(store, names)
        samples = round(self.seconds * rate)
        if not samples or abs(samples - self.seconds * rate) > 1e-6 * samples:
            raise DataError(
                f"seconds = {self.seconds:g}: {self.seconds * rate:g} samples at {rate} Hz; take a whole number of them"
            )
        sound = Sound(
            rate=rate,
            samples=samples,
            front=self.front,
            place=self.place,
            stereo=self.stereo,
            resample=self.resample,
        )
        _ = sound.image_shape  # Raises where the front end does not fit.
        return sound

    def _first_rate(self, store: Store, names: Sequence[str]) -> int:
        reason = ""
        for name in names:
            try:
                return read_wav(store.read(name)).rate
            except DataError as error:
                reason = f"{store.shown(name)}: {error}"
                if self.on_broken == "error":
                    raise DataError(f"{reason}; {BROKEN}") from None
        raise DataError(f"none of the sounds can be decoded: {reason}")

    def _part(self, store: Store, found: _Files, names: tuple[str, ...], sound: Sound) -> tuple[Clips, tuple[str, ...]]:
        """The clips of those files, and why others cannot be decoded. Raises DataError."""
        needed, there = 2 * sound.samples * len(names), physical_memory()
        if needed > there / 2:
            raise DataError(
                f"{len(names):,} clips of {sound.samples:,} samples take {needed / 1e9:.1f} GB in memory, over half of "
                f"this machine's {there / 1e9:.1f}: take fewer or shorter ones"
            )

        def read(name: str) -> np.ndarray | str:
            try:
                return sound.clip(store.read(name))
            except DataError as error:
                return f"{store.shown(name)}: {error}"

        with ThreadPoolExecutor() as pool:
            made = dict(zip(names, pool.map(read, names, chunksize=64), strict=True))
        reasons = [why for why in made.values() if isinstance(why, str)]
        if reasons and self.on_broken == "error":
            more = f" ({len(reasons)} of {len(names)} cannot be decoded)" if len(reasons) > 1 else ""
            raise DataError(f"{reasons[0]}{more}; {BROKEN}")
        clips = {name: clip for name, clip in made.items() if not isinstance(clip, str)}
        labels = [found.labels[name] for name in clips]
        lost = Counter(found.labels[name] for name in names).keys() - set(labels)
        if not clips or lost:
            what = f"no sound of class {found.classes[min(lost)]!r}" if lost else "none of the sounds"
            raise DataError(f"{what} can be decoded: {reasons[0]}")
        shown = tuple(map(store.shown, clips))
        return Clips(np.stack(list(clips.values())), np.array(labels, np.int32), sound=sound, names=shown), tuple(
            reasons
        )
