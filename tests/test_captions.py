"""Captions: the beam against all sentences, BLEU against libraries, the loss and the cells by hand, and the data."""

from __future__ import annotations

import io
import itertools
import json
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, log_softmax

import cnnjax
from cnnjax import (
    Captioning,
    Data,
    Dataset,
    Examples,
    Experiment,
    Flip,
    FlipViews,
    Hardware,
    Options,
    Scenes,
    ShowAndTell,
    SigmoidCrossEntropy,
    SmallCNN,
    SoftmaxCrossEntropy,
    metrics,
)
from cnnjax.config import replace
from cnnjax.data import sentence_rows
from cnnjax.data.scenes import COLOURS, VOCABULARY
from cnnjax.errors import ConfigError, DataError
from cnnjax.experiment import check
from cnnjax.metrics.captions import sentence_of
from cnnjax.models.captioners.show_and_tell import ShowAndTellHead, pooled_in_cells
from cnnjax.tasks import Sentences
from cnnjax.tasks.captioning import next_words
from tests.exports import said_by_program

ONE = Options(Hardware(devices=1))
WORDS, LONGEST, IMAGES, FEATURES, UNITS, EMBEDDING = 4, 3, 8, 5, 6, 7
ALL = [
    [*words, *[0] * (LONGEST - length)]
    for length in range(LONGEST + 1)
    for words in itertools.product(range(1, WORDS), repeat=length)
]
"""Every sentence of at most three of three words."""
MAPS = {"last": jnp.asarray(np.random.default_rng(0).normal(size=(IMAGES, 2, 2, FEATURES)), jnp.float32)}
SIZE = {"size": (8, 8)}


def head_of(**fields: Any) -> ShowAndTellHead:
    config = ShowAndTell(**{"features": UNITS, "embedding": EMBEDDING, "longest": LONGEST} | fields)
    return ShowAndTellHead(config, "last", WORDS)


def variables_of(head: ShowAndTellHead) -> Any:
    """Far from 0, biases too, so that sentences differ much in probability; the end is not likely at first."""
    shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), MAPS, train=False, **SIZE))
    generator = np.random.default_rng(13)
    made = jax.tree.map(lambda x: jnp.asarray(generator.normal(size=x.shape), jnp.float32), shapes)
    logits = made["params"]["logits"]
    made["params"]["logits"] = {"kernel": 6 * logits["kernel"], "bias": jnp.array([-2.0, 0.0, 0.0, 0.0])}
    return made


def log_probabilities(head: ShowAndTellHead, variables: Any) -> np.ndarray:
    """Of every sentence of `ALL` for each image, [B, N], with its end, which costs nothing but its probability."""
    every = jnp.broadcast_to(jnp.asarray(ALL, jnp.int32), (IMAGES, len(ALL), LONGEST))
    logits = head.apply(variables, MAPS, train=True, target=every, **SIZE)["logits"]
    chances = log_softmax(np.asarray(logits, np.float64), -1)
    made = np.zeros((IMAGES, len(ALL)))
    for number, sentence in enumerate(ALL):
        length = len(sentence_of(sentence))
        for place, word in enumerate([*sentence[:length], 0]):
            made[:, number] += chances[:, number, place, word]
    return made


@pytest.mark.parametrize(("cell", "penalty"), [("lstm", 0.0), ("gru", 0.7)])
def test_a_wide_beam_says_the_best_of_all_sentences(cell, penalty):
    head = head_of(cell=cell, beam=len(ALL), length_penalty=penalty)
    variables = variables_of(head)
    chances = log_probabilities(head, variables)
    # Longer sentences have the rest.
    assert (np.exp(chances).sum(1) < 1).all()
    lengths = np.array([len(sentence_of(sentence)) + 1 for sentence in ALL])
    best = (chances / lengths**penalty).argmax(1)
    said = jax.jit(lambda: head.apply(variables, MAPS, train=False, **SIZE))()
    np.testing.assert_array_equal(said["words"], np.array(ALL)[best])
    # Logits of some tens, in float32.
    np.testing.assert_allclose(said["score"], chances[np.arange(IMAGES), best], rtol=1e-5, atol=1e-5)
    assert len(set(best)) > 3


def steps_of(head: ShowAndTellHead, variables: Any) -> Any:
    """(state or None, image, word) -> (state, log probabilities of the next word), outside of any scan."""

    begun = jax.jit(lambda x: head.apply(variables, x, method="begun"))
    next_of = jax.jit(lambda state, word: head.apply(variables, state, word, method="step"))

    def step(state: Any, image: int, word: int) -> tuple[Any, np.ndarray]:
        if state is None:
            state = begun(MAPS["last"][image : image + 1])
        state, logits = next_of(state, jnp.array([word]))
        return state, log_softmax(np.asarray(logits[0], np.float64))

    return step


def searched(step: Any, width: int, penalty: float) -> tuple[list[int], float]:
    """The best sentence of a beam of lists."""
    beam = [([], 0.0, None, False)]
    for place in range(LONGEST + 1):
        after = []
        for words, score, state, ended in beam:
            if ended:
                after.append((words, score, state, True))
                continue
            next_state, chances = step(state, word=words[-1] if words else WORDS)
            allowed = range(WORDS) if place < LONGEST else [0]
            after += [([*words, word], score + chances[word], next_state, word == 0) for word in allowed]
        beam = sorted(after, key=lambda each: -each[1] / len(each[0]) ** penalty)[:width]
    words, score, _, _ = beam[0]
    return words[:-1], score


def greedy(step: Any) -> list[int]:
    words: list[int] = []
    state, chances = step(None, word=WORDS)
    while len(words) < LONGEST and (word := int(chances.argmax())):
        words.append(word)
        state, chances = step(state, word=word)
    return words


@pytest.mark.parametrize(("width", "penalty"), [(1, 0.0), (2, 1.0)])
def test_a_beam_is_one_of_lists_and_of_one_greedy(width, penalty):
    head = head_of(beam=width, length_penalty=penalty)
    variables = variables_of(head)
    steps = steps_of(head, variables)
    said = jax.jit(lambda: head.apply(variables, MAPS, train=False, **SIZE))()
    for image in range(IMAGES):
        words, score = searched(partial(steps, image=image), width, penalty)
        assert sentence_of(np.asarray(said["words"][image])) == words
        np.testing.assert_allclose(said["score"][image], score, rtol=1e-5, atol=1e-5)
    if width == 1:
        for image, row in enumerate(np.asarray(said["words"])):
            assert sentence_of(row) == greedy(partial(steps, image=image))
        best = log_probabilities(head, variables).max(1)
        # Greedy decoding misses the best sentence of some image, or a beam would be of no use here.
        assert (best > np.asarray(said["score"]) + 1e-3).any()


def by_hand(params: Any, cell: str, maps: np.ndarray, sentence: list[int]) -> np.ndarray:
    """Logits after the image and each word, [T + 1, V], by the equations of the cells."""

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        held = params[name] if name in params else params["cell"][name]
        return x @ np.asarray(held["kernel"], np.float64) + np.asarray(held.get("bias", 0.0), np.float64)

    h = c = np.zeros(UNITS)
    inputs = [dense("image", maps.mean((0, 1)))]
    inputs += [np.asarray(params["words"]["embedding"], np.float64)[word] for word in [WORDS, *sentence]]
    logits = []
    for x in inputs:
        if cell == "lstm":
            i, f, g, o = (dense(f"i{name}", x) + dense(f"h{name}", h) for name in "ifgo")
            c = expit(f) * c + expit(i) * np.tanh(g)
            h = expit(o) * np.tanh(c)
        else:
            r, z = (expit(dense(f"i{name}", x) + dense(f"h{name}", h)) for name in "rz")
            n = np.tanh(dense("in", x) + r * dense("hn", h))
            h = (1 - z) * n + z * h
        logits.append(dense("logits", h))
    return np.array(logits[1:])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_teacher_forcing_is_the_cells_equations_and_its_steps_one_by_one(cell):
    head, sentence = head_of(cell=cell), [2, 1, 3]
    variables = variables_of(head)
    target = jnp.broadcast_to(jnp.asarray([[sentence, [3, 0, 0]]], jnp.int32), (IMAGES, 2, LONGEST))
    forced = jax.jit(lambda: head.apply(variables, MAPS, train=True, target=target, **SIZE))()["logits"]
    assert forced.shape == (IMAGES, 2, LONGEST + 1, WORDS)
    expected = by_hand(variables["params"], cell, np.asarray(MAPS["last"][3], np.float64), sentence)
    np.testing.assert_allclose(forced[3, 0], expected, rtol=1e-4, atol=1e-5)
    state = head.apply(variables, MAPS["last"], method="begun")
    for place, word in enumerate([WORDS, *sentence]):
        state, logits = head.apply(variables, state, jnp.full(IMAGES, word), method="step")
        np.testing.assert_allclose(logits, forced[:, 0, place], rtol=1e-5, atol=1e-6)
    evaluated = jax.jit(lambda: head.apply(variables, MAPS, train=False, target=target, **SIZE))()
    np.testing.assert_allclose(evaluated["logits"], forced, rtol=1e-5, atol=1e-6)
    own = 4 * UNITS * (EMBEDDING + UNITS + 1) if cell == "lstm" else 3 * UNITS * (EMBEDDING + UNITS) + 4 * UNITS
    count = (FEATURES + 1) * EMBEDDING + (WORDS + 1) * EMBEDDING + (UNITS + 1) * WORDS + own
    assert sum(x.size for x in jax.tree.leaves(variables)) == count


def test_the_map_is_averaged_in_cells():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)
    pooled = pooled_in_cells(jnp.asarray(x), 2)
    np.testing.assert_allclose(pooled[1, 0, 1], x[1, :2, 3:].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(pooled_in_cells(jnp.asarray(x), 1)[:, 0, 0], x.mean((1, 2)), rtol=1e-5)
    with pytest.raises(ConfigError, match="the last map is 6x4, which has no 3x3 parts"):
        pooled_in_cells(jnp.asarray(x), 3)


# --- loss and metrics

TARGET = jnp.array([[[2, 3, 0], [1, 0, 0]], [[3, 2, 1], [0, 0, 0]]])
LOGITS = jnp.asarray(np.random.default_rng(1).normal(size=(2, 2, 4, 4)), jnp.float32)
NEXT = [[(0, 0, 2), (0, 1, 3), (0, 2, 0), (1, 0, 1), (1, 1, 0)], [(0, 0, 3), (0, 1, 2), (0, 2, 1), (0, 3, 0)]]
"""Of two images: reference, place and the word that comes there."""


class Two(Data, tag="two_sentences"):
    """Two images of four words' sentences."""

    entry: str = "words"
    classes: tuple[str, ...] = ("<end>", "x", "y", "z")

    def read(self) -> Dataset:
        part = Examples(np.zeros((2, 8, 8, 1), np.uint8), **{self.entry: np.asarray(TARGET, np.int32)})
        return Dataset("two", part, part, classes=self.classes)


def test_the_loss_is_the_mean_over_words_of_all_references():
    form: Any = Two().load()
    chances = log_softmax(np.asarray(LOGITS, np.float64), -1)
    expected = [-np.mean([chances[image, row, place, word] for row, place, word in NEXT[image]]) for image in (0, 1)]
    told = {"loss": SoftmaxCrossEntropy(), "form": form}
    losses = jax.jit(lambda: Captioning().losses({"logits": LOGITS}, TARGET, **told))()
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    # What stands after the end, and in a row without a sentence, has no gradient.
    gradient = jax.jit(jax.grad(lambda x: Captioning().losses({"logits": x}, TARGET, **told).sum()))(LOGITS)
    moved = {(image, row, place) for image, row, place in np.argwhere(np.abs(np.asarray(gradient)).sum(-1))}
    assert moved == {(image, row, place) for image in (0, 1) for row, place, _ in NEXT[image]}
    smoothed = {"loss": SoftmaxCrossEntropy(label_smoothing=0.2), "form": form}
    smooth = jax.jit(lambda: Captioning().losses({"logits": LOGITS}, TARGET, **smoothed))()
    mixed = [np.mean([chances[image, row, place].mean() for row, place, _ in NEXT[image]]) for image in (0, 1)]
    np.testing.assert_allclose(smooth, 0.8 * np.array(expected) - 0.2 * np.array(mixed), rtol=1e-5)


def test_perplexity_and_accuracy_are_of_all_words_together():
    form: Any = Two().load()
    chances = log_softmax(np.asarray(LOGITS, np.float64), -1)
    said = jnp.array([[2, 3, 0], [3, 1, 0]])
    task, outputs = Captioning(), {"logits": LOGITS, "words": said, "score": jnp.zeros(2)}
    told = {"loss": SoftmaxCrossEntropy(), "form": form}
    losses = jax.jit(lambda: task.losses(outputs, TARGET, **told))()

    def summary(valid):
        told_valid = {"valid": jnp.array(valid), "losses": losses, "detail": True}
        sums = jax.jit(lambda: task.measure(outputs, TARGET, **told_valid, **told))()
        kept = {name: array[np.array(valid)] for name, array in task.gather(outputs, TARGET, **told).items()}
        return task.summarize({**sums, **kept}, form)

    for valid in ([True, True], [False, True]):
        images = [image for image in (0, 1) if valid[image]]
        words = [(image, *each) for image in images for each in NEXT[image]]
        found = summary(valid)
        surprise = -np.mean([chances[each] for each in words])
        np.testing.assert_allclose(found["perplexity"], math.exp(surprise), rtol=1e-6)
        right = np.mean([chances[each[:3]].argmax() == each[3] for each in words])
        np.testing.assert_allclose(found["word_accuracy"], right)
        assert found["exact"] == (0.5 if valid[0] else 0.0)
        np.testing.assert_allclose(found["loss"], np.mean(np.asarray(losses)[images]), rtol=1e-6)
        assert {each.name for each in task.specifications(**told)} == set(found) - {"count"}


def test_bleu_by_hand():
    """Precisions of 1- to 4-grams, and what too few words cost."""
    true = ["the", "cat", "sat", "on", "the", "mat"]
    # No four words of it are there.
    assert metrics.bleu([["the", "cat", "sat", "by", "the", "mat"]], [[true]]) == 0.0
    one = metrics.bleu([["a", "cat", "sat", "on", "the", "cat"]], [[true]])
    # Of its words the second "cat" does not count; "the cat" does.
    assert one == pytest.approx((4 / 6 * 4 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    # Ten words of twelve.
    short = metrics.bleu([true[:5], true[:5]], [[true], [true]])
    assert short == pytest.approx(math.exp(-0.2))
    assert metrics.bleu([["a"], []], [[["a"]], [["a"]]]) == 0.0
    # Two references as near: the shorter counts, so that nothing is too short.
    assert metrics.bleu([list("abcdef")], [[list("abcde"), list("abcdefg")]]) == pytest.approx(1.0)


def random_sentences(seed: int) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Ten sentences of up to ten words with one to three references each, that have much in common."""
    generator = np.random.default_rng(seed)
    said, true = [], []
    for _ in range(10):
        own = list(generator.choice(list("abcd"), generator.integers(1, 10)))
        cut = own[: generator.integers(0, len(own) + 1)] if seed % 2 else own
        said.append([str(word) for word in cut])
        count = generator.integers(1, 4)
        others = [list(generator.choice(list("abcd"), generator.integers(1, 10))) for _ in range(count)]
        true.append([[str(word) for word in each] for each in others[:-1]] + [[str(word) for word in own]])
    return said, true


RECORDED = {1: 0.6872892787909726, 3: 0.3359109812391625, 7: 0.7574651283969668}
"""BLEU of random sentences by seed, by sacrebleu 2.6.0 without smoothing: all lose by the brevity penalty too."""


def test_bleu_is_what_sacrebleu_said():
    for seed, expected in RECORDED.items():
        assert metrics.bleu(*random_sentences(seed)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_bleu_is_that_of_two_libraries():
    sacrebleu = pytest.importorskip("sacrebleu", reason="the peer of BLEU: pip install sacrebleu")
    nltk = pytest.importorskip("nltk.translate.bleu_score", reason="the peer of BLEU: pip install nltk")
    found, compared = [], 0
    for seed in range(30):
        said, true = random_sentences(seed)
        if seed % 3 == 2:
            # Few, so that some have no 4-gram right.
            said, true = said[:2], true[:2]
        ours = metrics.bleu(said, true)
        columns = [[" ".join(own[row]) if row < len(own) else None for own in true] for row in range(3)]
        theirs = sacrebleu.corpus_bleu(
            [" ".join(each) for each in said], columns, tokenize="none", smooth_method="none", force=True
        )
        assert ours == pytest.approx(theirs.score / 100, abs=1e-12)
        # nltk takes a sentence without a 4-gram to have one, which is not right.
        long = [row for row, each in enumerate(said) if len(each) >= 4]
        few = ([said[row] for row in long], [true[row] for row in long])
        if ours := metrics.bleu(*few):
            compared += 1
            assert ours == pytest.approx(nltk.corpus_bleu(few[1], few[0]), abs=1e-12)
        found.append((theirs.bp < 1, theirs.score == 0))
    assert compared > 3
    assert {True, False} == {short for short, _ in found} == {zero for _, zero in found}


def test_next_words():
    words, counted = next_words(TARGET)
    for image in (0, 1):
        told = {(place // 4, place % 4, int(words[image, place])) for place in np.flatnonzero(counted[image])}
        assert told == set(NEXT[image])


# --- data


def middles(image: np.ndarray) -> dict[str, np.ndarray]:
    """The middle of the pixels nearest to each colour that is there, x and y."""
    colours = np.array(list(COLOURS.values()))
    pixels = image / 255
    distances = np.abs(pixels[:, :, None] - colours).max(-1)
    return {
        name: np.argwhere(distances[..., number] < 0.02)[:, ::-1].mean(0)
        for number, name in enumerate(COLOURS)
        if (distances[..., number] < 0.02).any()
    }


def test_sentences_are_true_of_their_pixels():
    data = Scenes(references=2, noise=0.0, examples=150, test_examples=4)
    dataset = data.load()
    relations = []
    for image, rows in zip(dataset.train.values["image"], dataset.train.values["words"], strict=True):
        first, second = (" ".join(dataset.classes[word] for word in sentence_of(row)) for row in rows)
        there, said = middles(image), first.split()
        if len(said) == 3:
            assert second == ""
            assert list(there) == [said[1]]
            continue
        relation = said[3]
        relations.append(relation)
        other = second.split()
        assert {"left": "right", "right": "left", "above": "below", "below": "above"}[relation] == other[3]
        assert (said[:3], said[-3:]) == (other[-3:], other[:3])
        if said[1] == said[-2]:
            continue
        across, down = there[said[1]] - there[said[-2]]
        sideways = "left" if across < 0 else "right"
        upright = "above" if down < 0 else "below"
        assert relation == (sideways if abs(across) > abs(down) else upright)
        assert list(COLOURS).index(said[1]) < list(COLOURS).index(said[-2])
    # All of the four are there, however the first is chosen.
    assert min(relations.count(each) for each in ("left", "right", "above", "below")) > 10


def test_scenes_are_the_same_for_a_seed_and_more_leave_the_first_alone():
    few, more = (Scenes(size=24, radius=(3.0, 4.0), examples=count, test_examples=2).read() for count in (4, 6))
    for name, array in few.train.values.items():
        np.testing.assert_array_equal(array, more.train.values[name][:4])
    assert few.classes == VOCABULARY
    assert few.fingerprint == Scenes(size=24, radius=(3.0, 4.0), examples=4, test_examples=2).read().fingerprint
    other = Scenes(size=24, radius=(3.0, 4.0), examples=4, test_examples=2, seed=1).read()
    assert few.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({(0, 0, 0): 9}, "train: a sentence of example 0 has the id 9, but those of the 4 words are 0 to 3"),
        ({(0, 0, 0): 0, (0, 0, 1): 0}, "train: example 0 has no sentence in its first row"),
        ({(1, 1, 1): 2}, "train: sentence 1 of example 1 goes on after its end, 0"),
    ],
)
def test_sentences_that_are_none_are_refused(change, message):
    words = np.asarray(TARGET, np.int32).copy()
    for place, word in change.items():
        words[place] = word
    part = Examples(np.zeros((2, 8, 8, 1), np.uint8), words=words)
    with pytest.raises(DataError, match=message):
        Dataset("two", part, part, classes=("<end>", "x", "y", "z"))


def test_texts_become_rows():
    rows = sentence_rows([["y x", "z"], ["x x x"]], ("<end>", "x", "y", "z"), longest=3, most=2)
    np.testing.assert_array_equal(rows, [[[2, 1, 0], [3, 0, 0]], [[1, 1, 1], [0, 0, 0]]])
    for texts, message in (
        ([["w"]], "'w' is no word of the vocabulary"),
        ([["<end>"]], "'<end>' is no word"),
        ([["x x x x"]], "has 4 words; it must have 1 to longest = 3"),
        ([[]], "image 0 has 0 sentences"),
    ):
        with pytest.raises(DataError, match=message):
            sentence_rows(texts, ("<end>", "x", "y", "z"), longest=3, most=2)
    with pytest.raises(ValueError, match="two shapes side by side need three times their height"):
        Scenes(size=16)


# --- a training

DATA = Scenes(size=16, radius=(2.0, 2.5), references=2, examples=16, test_examples=6)
HEAD = ShowAndTell(features=8, embedding=8, longest=9, beam=2)
BASE = Experiment(
    model=SmallCNN(features=2), data=DATA, task=Captioning(captioner=HEAD), steps=2, batch_size=8, validation=0
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": SigmoidCrossEntropy()}, "a word is one among many: take loss=softmax"),
        ({"task.captioner.longest": 7}, "up to 8 words, which could not be said"),
        ({"task.captioner.cells": 3}, "the last map is 4x4, which has no 3x3 parts"),
        ({"augment": (Flip(),)}, "flip may move pixels, and the words of scenes tell of places in the image"),
        ({"test_time": FlipViews()}, "flip may move pixels, and the words of scenes tell of places"),
        ({"data": Two(entry="texts")}, "its target is 'words', and the examples of two have image, texts"),
        ({"data": Two(classes=())}, "two names no words"),
    ],
)
def test_what_captions_cannot_be_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        check(replace(BASE, fields))


def test_several_views_are_refused():
    with pytest.raises(ConfigError, match="those of several views have no mean"):
        Captioning().merged({}, FlipViews(), Two().load())


@pytest.mark.slow
def test_what_is_said_in_use_is_what_was_measured(tmp_path):
    result = cnnjax.train(replace(BASE, {"steps": 30, "optim.learning_rate": 0.05}), tmp_path / "run", options=ONE)
    trained, test = cnnjax.load(tmp_path / "run"), DATA.load().test.values
    said = trained.predict(test["image"])
    assert isinstance(said, Sentences)
    assert len(said) == 6
    true = [[sentence_of(row) for row in rows if row[0]] for rows in test["words"]]
    ours = [sentence_of(row) for row in said.words]
    assert result["metrics"]["test_bleu"] == pytest.approx(metrics.bleu(ours, true))
    assert result["metrics"]["test_exact"] == np.mean([a in b for a, b in zip(ours, true, strict=True)])
    text = " ".join(VOCABULARY[word] for word in ours[0])
    assert said.texts[0] == text
    assert text in repr(said)
    assert said.rows()[0] == {"sentence": text, "log_probability": pytest.approx(float(said.scores[0]))}
    assert json.dumps(said.rows())
    assert said.cells()[1][0][0] == text
    [first, *_] = said.pictures(test["image"])
    picture = np.asarray(Image.open(io.BytesIO(first)))
    assert picture.shape[1:] == (160, 3)
    assert picture.shape[0] > 160
    np.testing.assert_array_equal(picture[:160:10, ::10], test["image"][0])
    assert (picture[160:] < 128).any()
    by_program = said_by_program(trained, test["image"], tmp_path, batch_size=6)
    np.testing.assert_array_equal(by_program["words"], said.words)
    np.testing.assert_allclose(by_program["score"], said.scores, rtol=1e-4)
    with pytest.raises(ConfigError, match="one sentence is said of an image"):
        trained.task.check_top(2, trained.classes)
    with pytest.raises(DataError, match="they must be uint8"):
        said.captioned(test["image"][:2])
