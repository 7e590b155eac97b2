"""Sentences as an entry of examples: ids of words in rows that are filled up with the id of the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnjax.errors import DataError

END = "<end>"
"""What the first word of a vocabulary, id 0, is called: the end of a sentence, and what fills up a row."""


def sentence_rows(
    texts: Sequence[Sequence[str]], vocabulary: tuple[str, ...], *, longest: int, most: int
) -> np.ndarray:
    """The entry `words`, int32 [N, most, longest], of N images with 1 to `most` sentences each, words between blanks.

    vocabulary: words by id, the first one the end. Rows after the last sentence are 0. Raises DataError for a word that
    is not in it, a sentence that is longer, and an image with none or with more.
    """
    ids = {word: number for number, word in enumerate(vocabulary)}
    words = np.zeros((len(texts), most, longest), np.int32)
    for image, own in enumerate(texts):
        if not 1 <= len(own) <= most:
            raise DataError(f"image {image} has {len(own)} sentences; it must have 1 to most = {most}")
        for row, text in enumerate(own):
            said = text.split()
            if not 1 <= len(said) <= longest:
                raise DataError(f"image {image}: {text!r} has {len(said)} words; it must have 1 to longest = {longest}")
            for place, word in enumerate(said):
                if not ids.get(word):
                    raise DataError(f"image {image}: {word!r} is no word of the vocabulary, in {text!r}")
                words[image, row, place] = ids[word]
    return words


def check_words(words: np.ndarray, vocabulary: int, where: str) -> None:
    """Raise DataError, beginning with `where`, unless these are sentences [N, R, T] of ids below `vocabulary`.

    Every image has one in its first row, and nothing stands after a 0 in its row.
    """
    if words.ndim != 3 or words.dtype != np.int32 or not words.size:
        raise DataError(f"{where}: words must be int32 [N, sentences, longest], got {words.dtype} {list(words.shape)}")
    wrong = np.argwhere((words < 0) | (words >= vocabulary))
    for example, row, place in wrong[:1]:
        raise DataError(
            f"{where}: a sentence of example {example} has the id {words[example, row, place]}, but those of the "
            f"{vocabulary} words are 0 to {vocabulary - 1}"
        )
    for example, row, _ in np.argwhere((words[..., :-1] == 0) & (words[..., 1:] != 0))[:1]:
        raise DataError(f"{where}: sentence {row} of example {example} goes on after its end, 0")
    for example in np.flatnonzero(words[:, 0, 0] == 0)[:1]:
        raise DataError(f"{where}: example {example} has no sentence in its first row")
