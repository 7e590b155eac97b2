"""Clips of sound: transforms against SciPy, librosa and numbers worked by hand, files of every kind, and splits."""

from __future__ import annotations

import io
import struct
import wave

import jax
import numpy as np
import pytest
from scipy import signal
from scipy.io import wavfile

from cnnjax import Chirps, Clips, ConfigError, DataError, LogMel, Sound, Spectrogram, WavFolder
from cnnjax.data import Dataset
from cnnjax.data.sound.mel import hertz_to_mel, mel_filters, mel_to_hertz
from cnnjax.data.sound.names import said_by
from cnnjax.data.sound.sound import fitted, resampled
from cnnjax.data.sound.spectrum import framed, power, stft
from cnnjax.data.sound.wav import as_int16, read_wav

RATE = 8000
NOISE = np.random.default_rng(0).standard_normal(1000).astype(np.float32)


# --- transforms


def test_frames_by_hand():
    x = np.arange(1.0, 8.0)
    np.testing.assert_array_equal(framed(x, window=3, hop=2, centred=False), [[1, 2, 3], [3, 4, 5], [5, 6, 7]])
    # The middle of frame t is sample 2 t, and there are zeros around.
    centred = [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 0]]
    np.testing.assert_array_equal(framed(x, window=3, hop=2, centred=True), centred)
    # Longer hops than windows leave samples out.
    np.testing.assert_array_equal(framed(x, window=2, hop=5, centred=False), [[1, 2], [6, 7]])
    assert framed(x, window=8, hop=2, centred=False).shape == (0, 8)


def test_a_transform_by_hand():
    # Two frames of four samples, a Hann window of 0, 1/2, 1, 1/2; sums of a few terms.
    x = np.array([1, 2, 3, 4, 5, 6], np.float32)
    found = stft(x, window=4, hop=2, fft=4, centred=False)
    expected = [[1 + 3 + 2, -3 + 1j * (-1 + 2), -1 + 3 - 2], [2 + 5 + 3, -5 + 1j * (-2 + 3), -2 + 5 - 3]]
    np.testing.assert_allclose(found, np.array(expected), atol=1e-6)


@pytest.mark.parametrize(("window", "hop", "fft", "taper"), [(200, 80, 256, "hann"), (61, 97, 61, "hamming")])
def test_transform_is_scipys(window, hop, fft, taper):
    fields = {"window": window, "hop": hop, "fft": fft, "taper": taper}
    made = signal.get_window(taper, window)
    theirs = signal.ShortTimeFFT(made, hop, RATE, mfft=fft, phase_shift=None)
    expected = theirs.stft(NOISE, p0=0, p1=1 + len(NOISE) // hop).T
    np.testing.assert_allclose(stft(NOISE, centred=True, **fields), expected, atol=1e-4)
    cut = [np.fft.rfft(made * NOISE[at : at + window], fft) for at in range(0, len(NOISE) - window + 1, hop)]
    np.testing.assert_allclose(stft(NOISE, centred=False, **fields), cut, atol=1e-4)


def test_a_full_sine_has_power_one_and_is_white():
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE).astype(np.float32)
    found = np.asarray(power(sine, window=256, hop=80, fft=256, centred=False))
    # 1000 Hz is bin 32 of 256; of a Hann window the bins beside have a quarter of the power.
    np.testing.assert_allclose(found[:, 31:34], np.broadcast_to([0.25, 1, 0.25], (len(found), 3)), atol=1e-3)
    front = Spectrogram(window=256, hop=80, centred=False, floor=-60)
    images = np.asarray(front.images(np.stack([sine, sine / 1000, 0 * sine]), rate=RATE))
    assert images.shape == (3, *front.shape(RATE // 2, rate=RATE)) == (3, 129, 47, 1)
    # The lowest frequency is the last row; -60 decibels are black, and so is less.
    np.testing.assert_allclose(images[0, 128 - 32, :, 0], 1, atol=1e-3)
    np.testing.assert_allclose(images[1, 128 - 32, :, 0], 0, atol=1e-3)
    assert images[0].argmax(0).min() == images[0].argmax(0).max() == 128 - 32
    assert not images[2].any()


def test_mels_by_hand():
    # 2595 log10(1 + 700 / 700), and 15 mels of 200/3 Hz each, then 27 mels to a factor of 6.4.
    assert hertz_to_mel(700, "htk") == pytest.approx(2595 * np.log10(2))
    assert hertz_to_mel(np.array([0, 500, 1000, 6400]), "slaney") == pytest.approx([0, 7.5, 15, 42])
    for scale in ("htk", "slaney"):
        np.testing.assert_allclose(mel_to_hertz(hertz_to_mel([0, 300, 1000, 3999], scale), scale), [0, 300, 1000, 3999])
    # Below 1000 Hz Slaney's mels are hertz: feet at 0, 200, 400 and 600, and bins every 100.
    filters = mel_filters(rate=1600, fft=16, bands=2, low=0, high=600, scale="slaney", norm="none")
    np.testing.assert_allclose(filters, [[0, 0.5, 1, 0.5, 0, 0, 0, 0, 0], [0, 0, 0, 0.5, 1, 0.5, 0, 0, 0]], atol=1e-12)
    areas = mel_filters(rate=1600, fft=16, bands=2, low=0, high=600, scale="slaney", norm="slaney")
    np.testing.assert_allclose(areas, filters / 200, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("htk", [True, False])
def test_log_mel_is_librosas(htk):
    librosa = pytest.importorskip("librosa")
    scale = "htk" if htk else "slaney"
    filters = mel_filters(rate=RATE, fft=256, bands=30, low=20, high=3800, scale=scale, norm="slaney")
    fields = {"sr": RATE, "n_fft": 256, "n_mels": 30, "fmin": 20, "fmax": 3800, "htk": htk}
    np.testing.assert_allclose(filters, librosa.filters.mel(**fields), atol=1e-7)
    front = LogMel(window=256, hop=80, bands=30, low=20, high=3800, scale=scale, norm="slaney", floor=-100)
    theirs = librosa.feature.melspectrogram(y=NOISE / 10, hop_length=80, center=True, pad_mode="constant", **fields)
    decibels = librosa.power_to_db(theirs * (2 / 128) ** 2, ref=1.0, amin=1e-10, top_db=None)
    found = np.asarray(front.images(NOISE / 10, rate=RATE))[::-1, :, 0]
    np.testing.assert_allclose(found, np.clip(1 + decibels / 100, 0, 1), atol=2e-5)


def test_front_ends_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="no bin of the spectrum lies in band 4, 63 to 86 Hz .* larger fft than 256"):
        LogMel(bands=128).shape(RATE, rate=RATE)
    with pytest.raises(ConfigError, match="high at most half of the sampling rate, 4000"):
        LogMel(high=5000).shape(RATE, rate=RATE)
    with pytest.raises(ConfigError, match="window = 200: a clip has only 100 samples"):
        LogMel(centred=False).shape(100, rate=RATE)
    with pytest.raises(ConfigError, match="fft = 128: must be at least the window, 200"):
        LogMel(fft=128)


# --- files


def written(samples, rate=RATE):
    """The bytes that SciPy writes for an array."""
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def of_24_bits(values, channels=1):
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setparams((channels, 3, RATE, 0, "NONE", ""))
        made.writeframes(b"".join(int(value).to_bytes(3, "little", signed=True) for value in values))
    return file.getvalue()


def extensible(data):
    """The same file in the extensible form, with a chunk of another name, of an odd length, before the samples."""
    fmt, samples = data[20:36], data[44:]
    guid = fmt[:2] + bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVEfmt " + struct.pack("<I", 40) + b"\xfe\xff" + fmt[2:] + struct.pack("<HHI", 22, 16, 4) + guid
    body += b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


PCM = np.array([-32768, -1, 0, 1, 12345, 32767], np.int16)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (written(np.array([0, 128, 255], np.uint8)), [-1, 0, 127 / 128]),
        (written(PCM), PCM / 32768),
        (extensible(written(PCM)), PCM / 32768),
        (of_24_bits([-(2**23), -1, 0, 5, 2**23 - 1]), [-1, -(2.0**-23), 0, 5 * 2.0**-23, 1 - 2.0**-23]),
        (written(np.array([-(2**31), 1, 2**31 - 1], np.int32)), [-1, 2.0**-31, 1 - 2.0**-31]),
        (written(np.array([-0.5, 0.25, 1.5], np.float32)), [-0.5, 0.25, 1.5]),
        (written(np.array([-0.1, 1.5])), [-0.1, 1.5]),
    ],
    ids=["8", "16", "extensible", "24", "32", "float32", "float64"],
)
def test_files_of_every_kind(data, expected):
    wav = read_wav(data)
    np.testing.assert_array_equal(wav.samples[:, 0], expected)
    assert wav.rate == RATE


def test_samples_of_16_bits_stay_what_they_are():
    np.testing.assert_array_equal(as_int16(read_wav(written(PCM)).samples[:, 0]), PCM)
    # Halves go to the even number, and what is beyond is clipped.
    np.testing.assert_array_equal(as_int16(np.array([1.5, 2.5, -99999, 40000]) / 32768), [2, 2, -32768, 32767])


WHOLE = written(PCM)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"ID3" + WHOLE, "no WAV file"),
        (WHOLE[:36], "no samples .chunk data.: it is cut short"),
        (WHOLE[:-3], "cut short: 9 of 12 bytes of its chunk 'data'"),
        (WHOLE[:40] + bytes(4), "it has no samples"),
        (WHOLE[:20] + b"\x06\0" + WHOLE[22:], "compressed .A-law."),
        (WHOLE[:34] + b"\x0c\0" + WHOLE[36:], "PCM of 12 bits; those of 8, 16, 24, 32"),
        (WHOLE[:32] + b"\x05\0" + WHOLE[34:], "frames of 5 bytes: it is damaged"),
        (written(np.array([0, np.nan], np.float32)), "NaN or infinite"),
        (written(np.zeros((4, 2), np.int16)), "two channels: mix them to one, or choose stereo='mean'"),
        (written(np.zeros((4, 3), np.int16)), "3 channels"),
        (written(PCM, rate=1), "at 1 Hz in frames of 2 bytes: it is damaged"),
        (written(PCM, rate=2**29), "at 536870912 Hz in frames of 2 bytes: it is damaged"),
        (written(PCM, rate=16000), "16000 Hz, not 8000 Hz: resample it, or set resample=True"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data, words):
    with pytest.raises(DataError, match=words):
        Sound(rate=RATE, samples=4).clip(data)


def test_channels_lengths_and_rates_are_made_one():
    two = written(np.array([[100, 200], [300, 500]], np.int16))
    for stereo, expected in (("mean", [150, 400]), ("left", [100, 300]), ("right", [200, 500])):
        np.testing.assert_array_equal(Sound(rate=RATE, samples=2, stereo=stereo).clip(two), expected)
    five = np.arange(1, 6)
    np.testing.assert_array_equal(fitted(five, 2, "centre"), [2, 3])
    np.testing.assert_array_equal(fitted(five, 8, "centre"), [0, 1, 2, 3, 4, 5, 0, 0])
    np.testing.assert_array_equal(fitted(five, 2, "start"), [1, 2])
    np.testing.assert_array_equal(fitted(five, 7, "start"), [1, 2, 3, 4, 5, 0, 0])
    # A tone that both rates hold is the same tone.
    tones = [np.sin(2 * np.pi * 440 * np.arange(rate) / rate) for rate in (16000, 11025)]
    for tone, rate in zip(tones, (16000, 11025), strict=True):
        found, exact = resampled(tone, rate, RATE), np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
        assert len(found) == RATE
        np.testing.assert_allclose(found[500:-500], exact[500:-500], atol=2e-3)


# --- sets


def tone(seed, samples=400):
    return np.random.default_rng(seed).integers(-3000, 3000, samples).astype(np.int16)


@pytest.fixture
def folder(tmp_path):
    """Two words by three speakers in two takes."""
    seed = 0
    for word in ("no", "yes"):
        for speaker in ("ann", "bob", "eve"):
            for take in range(2):
                seed += 1
                (tmp_path / f"{word}_{speaker}_{take}.wav").write_bytes(written(tone(seed)))
    return tmp_path


FIELDS = {"pattern": "{label}_{speaker}_{take}", "seconds": 0.05}


def who(part):
    return {name.rpartition("_")[0].rpartition("_")[2] for name in part.names}


def test_splits_by_speaker_and_by_take(folder):
    data = WavFolder(root=str(folder), split_by="speaker", held_out=("eve",), **FIELDS).load()
    assert (who(data.train), who(data.test)) == ({"ann", "bob"}, {"eve"})
    assert (data.classes, len(data.train), len(data.test)) == (("no", "yes"), 8, 4)
    np.testing.assert_array_equal(data.train.images[0], tone(1))
    assert data.train.images.dtype == np.int16
    takes = WavFolder(root=str(folder), split_by="take", held_out=("1",), **FIELDS).load()
    assert all(name.endswith("_1.wav") for name in takes.test.names)
    assert who(takes.train) == who(takes.test) == {"ann", "bob", "eve"}
    # One speaker of three is held out, the same each time, and no clip is in both parts.
    drawn = WavFolder(root=str(folder), split_by="speaker", test=0.4, **FIELDS).load()
    assert len(who(drawn.test)) == 1
    assert not who(drawn.test) & who(drawn.train)
    assert not set(drawn.train.names) & set(drawn.test.names)
    assert not drawn.repeated
    twins = Dataset("twins", drawn.train, drawn.train, classes=drawn.classes)
    assert "8 clips of the test part are in the training part too" in twins.repeated[0]


def test_folders_of_classes(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("classes")
    for number, part in enumerate(("train", "test")):
        for word in ("yes", "no"):
            (root / part / word).mkdir(parents=True)
            for take in range(2):
                (root / part / word / f"{take}.wav").write_bytes(
                    written(tone(10 * number + take + (word == "no") * 99))
                )
    data = WavFolder(root=str(root), seconds=0.05, classes=("yes", "no")).load()
    assert (data.classes, len(data.train), len(data.test)) == (("yes", "no"), 4, 4)
    np.testing.assert_array_equal(data.test.labels, [1, 1, 0, 0])
    (root / "train" / "no" / "0.wav").unlink(), (root / "train" / "no" / "1.wav").unlink()
    with pytest.raises(DataError, match=r"class 'no' has no sounds \(.wav"):
        WavFolder(root=str(root), seconds=0.05, classes=("yes", "no"), test=0.3).load()


def test_broken_files_are_named_or_left_out(folder):
    (folder / "no_ann_0.wav").write_bytes(WHOLE[:-3])
    fields = {"root": str(folder), "split_by": "speaker", "held_out": ("eve",), **FIELDS}
    with pytest.raises(DataError, match=r"no_ann_0.wav: it is cut short.*on_broken='skip'"):
        WavFolder(**fields).load()
    with pytest.warns(UserWarning, match="1 of 12 sounds cannot be decoded and are left out; .*no_ann_0.wav"):
        data = WavFolder(on_broken="skip", **fields).load()
    assert (len(data.train), dict(data.skipped)) == (7, {"train": 1})
    (folder / "no_ann_0.wav").write_bytes(written(tone(1)))
    (folder / "no_bob_0.wav").write_bytes(written(tone(1), rate=11025))
    with pytest.raises(DataError, match="no_bob_0.wav: it is sampled at 11025 Hz, not 8000 Hz"):
        WavFolder(**fields).load()
    data = WavFolder(rate=RATE, resample=True, **fields).load()
    assert data.sound.rate == RATE


def test_names_that_do_not_fit_are_said(folder):
    (folder / "_noise_.wav").write_bytes(WHOLE)
    with pytest.warns(UserWarning, match="1 of 13 files do not fit the pattern .*_noise_.wav"):
        assert len(WavFolder(root=str(folder), **FIELDS).load().train) == 10
    with pytest.raises(DataError, match="held_out: no file has the speaker 'tom'; there are"):
        WavFolder(root=str(folder), split_by="speaker", held_out=("tom",), **FIELDS).load()
    with pytest.raises(DataError, match=r"fits it in more than one way, as \('a', 'b_c'\) and \('a_b', 'c'\)"):
        said_by("{label}_{take}", ["x/a_b_c.wav"])
    assert said_by("{label}/{who}_nohash_{}", ["root/yes/0a_nohash_1.wav", "yes/x.wav"]) == {
        "root/yes/0a_nohash_1.wav": {"label": "yes", "who": "0a"}
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pattern": "{speaker}_{take}"}, "has no {label}"),
        ({"pattern": "{label}_{label}"}, "{label} is there twice"),
        ({"pattern": "{label}_{"}, "places are written {name}"),
        ({"split_by": "speaker"}, "split_by = 'speaker': set pattern"),
        ({"held_out": ("a",)}, "say of which place"),
        ({"resample": True}, "set the rate that all shall have"),
    ],
)
def test_fields_that_do_not_agree_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        WavFolder(root="somewhere", **fields)


def test_clips_are_16_bits_of_one_length():
    sound = Sound(rate=RATE, samples=400)
    clips = np.stack([tone(1), tone(2)])
    with pytest.raises(DataError, match="must be int16"):
        Clips(clips.astype(np.float32), sound=sound)
    with pytest.raises(DataError, match="clips have 300 samples, and their sound says 400"):
        Clips(clips[:, :300], sound=sound)
    with pytest.raises(DataError, match="mask has places in an image"):
        Clips(clips, mask=np.zeros((2, 4, 4), np.uint8), sound=sound)


def test_the_scale_is_that_of_what_the_network_sees():
    data = Chirps(examples=300, test_examples=8, seconds=0.1).load()
    seen = np.asarray(data.sound.images(data.train.images), np.float64)
    (mean,), (std,) = data.scale
    assert (mean, std) == (pytest.approx(seen.mean(), abs=1e-6), pytest.approx(seen.std(), abs=1e-6))
    # Pictures of them are the same, rounded.
    np.testing.assert_allclose(data.train.stacked(np.arange(3)) / 255, seen[:3], atol=0.5 / 255 + 1e-6)


def test_chirps_are_what_they_are_called():
    """The pitch of the loudest band of a tone without noise goes as its class says; pulses are silent half the time."""
    front = LogMel(bands=64, fft=2048, window=256)
    data = Chirps(noise=0, interval=2, examples=16, test_examples=8, front=front).load()
    images = np.asarray(data.sound.images(data.train.images))[..., 0][:, ::-1]
    for image, label in zip(images, data.train.labels, strict=True):
        sounding = np.flatnonzero(image.max(0) > image.max() - 0.1)
        pitch = image.argmax(0)[sounding]
        first, middle, last = pitch[0], pitch[len(pitch) // 2], pitch[-1]
        name = data.classes[label].removeprefix("pulsed ")
        low, high = pitch.min() + 3, pitch.max() - 3
        ends = {"rise": first < low and last > high, "fall": first > high and last < low}
        ends |= {"peak": max(first, last) < low < middle, "dip": min(first, last) > high > middle}
        assert ends[name], (name, pitch)
    few = Chirps(noise=0, examples=8, test_examples=8).load()
    more = Chirps(noise=0, examples=16, test_examples=8).load()
    np.testing.assert_array_equal(few.train.images, more.train.images[:8])
    assert few.fingerprint != Chirps(noise=0, examples=8, test_examples=8, seed=1).load().fingerprint


def test_gradients_flow_through_silence():
    front = LogMel()
    gradient = jax.grad(lambda x: front.images(x, rate=RATE).sum())(np.zeros(400, np.float32))
    assert np.isfinite(gradient).all()
