"""Seeded Go positions whose best move is known: the point that captures most stones. Synthetic; no game is behind them.

Rules of Go that count here: stones of one colour that touch along lines are a group; the empty points beside a group
are its liberties; a move that takes a group's last liberty captures it; a move that leaves its own group without a
liberty, and captures nothing, is not legal. Positions have no history, so there is no ko.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax.data.dataset import Dataset
from cnnjax.data.examples import Examples
from cnnjax.data.source import Data
from cnnjax.errors import DataError

PLANES = {
    "own stones": 0,
    "opponent's stones": 1,
    "empty": 2,
    "ones": 3,
    "turns since": 4,
    "liberties": 12,
    "capture size": 20,
    "self-atari size": 28,
    "liberties after the move": 36,
    "ladder capture": 44,
    "ladder escape": 45,
    "sensibleness": 46,
    "zeros": 47,
}
"""The first plane of each kind, in the order of AlphaGo's (Silver et al. 2016, Nature 529, extended data table 2)."""

COUNTED = 8
"""Planes of a kind that counts: 1, 2, ... and eight or more."""

TOGETHER = 256
"""Random positions that are drawn together, of which those with one best move are kept."""

COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"


class GoCaptures(Data):
    """`examples` + `test_examples` positions, uint8 0 or 1 [size, size, 48], with the best move as their class.

    Each point is a stone with a probability drawn from `density` for each position, of either colour alike; groups
    without a liberty are taken off. Kept are positions in which at least two moves capture something and one of them
    captures more stones than every other: its point is the label, 0 to size^2 - 1, row by row. So a network has to find
    the opponent's groups with one liberty, count their stones, and add up those that one point captures together.

    The planes stand where AlphaGo's 48 do (`PLANES`). Filled are the stones of the player and of the opponent, empty
    points, ones, liberties (1 to 8 and more, of the group at each point; left out where not `liberties`, so that they
    must be counted too), and sensibleness (the move is legal and fills no point whose neighbours are all the player's).
    Zero are turns since, for there was no game, and those that look a move ahead, for they would give the answer, or
    part of it, away: capture size, self-atari size, liberties after the move, ladders.

    How well a network does here says nothing about its strength at Go. What moves the board (flips, crops) would
    leave the label behind, and is refused.

    size: points of a side of the board. seed: of the positions.
    """

    size: int = Field(default=19, ge=5, le=25)
    density: tuple[float, float] = (0.5, 0.8)
    liberties: bool = True
    examples: int = Field(default=4096, ge=1)
    test_examples: int = Field(default=1024, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _probabilities(self) -> Self:
        least, most = self.density
        if not 0.1 <= least <= most <= 0.95:
            raise ValueError(f"density = {self.density}: give the least and the greatest, within 0.1 to 0.95")
        return self

    def read(self) -> Dataset:
        train, test = (self._part(count, part) for part, count in enumerate((self.examples, self.test_examples)))
        rows = range(self.size, 0, -1)
        classes = tuple(f"{column}{row}" for row in rows for column in COLUMNS[: self.size])
        mean, std = (0.0,) * _COUNT, (1.0,) * _COUNT
        return Dataset("go_captures", train, test, classes=classes, maximum=1, mean=mean, std=std, labels_places=True)

    def _part(self, count: int, part: int) -> Examples:
        boards, labels, found, drawn = [], [], 0, 0
        while found < count:
            # Each lot has its own randomness, so that more examples leave the first as they are.
            generator = np.random.Generator(np.random.Philox(key=[self.seed, 2 * drawn + part]))
            made, best = with_best_move(random_boards(generator, TOGETHER, self.size, self.density))
            boards.append(made)
            labels.append(best)
            found, drawn = found + len(best), drawn + 1
            if drawn >= 100 and found < drawn:
                raise DataError(
                    f"go_captures: {found} of {drawn * TOGETHER} positions of {self.size}x{self.size} points at "
                    f"density = {self.density} have one best capture of several; take a larger board or other densities"
                )
        kept = np.concatenate(boards)[:count]
        return Examples(planes(kept, liberties=self.liberties), np.concatenate(labels)[:count])


_COUNT = 1 + PLANES["zeros"]


def random_boards(generator: np.random.Generator, count: int, size: int, density: tuple[float, float]) -> np.ndarray:
    """int8 [count, size, size]: 1 a stone of the player to move, -1 of the opponent, 0 empty; all groups have
    liberties."""
    share = generator.uniform(*density, (count, 1, 1))
    drawn = generator.random((count, size, size))
    boards = np.where(drawn < share / 2, 1, np.where(drawn < share, -1, 0)).astype(np.int8)
    # Those that stay have a liberty already, so once is enough.
    return np.where((boards != 0) & (liberties_at(boards) == 0), np.int8(0), boards)


def with_best_move(boards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The boards in which several moves capture and one captures most, and that move's place int32, row by row."""
    captured = capture_sizes(boards).reshape(len(boards), -1)
    second, first = np.sort(captured, axis=1)[:, -2:].T
    kept = (second > 0) & (first > second)
    return boards[kept], captured[kept].argmax(1).astype(np.int32)


def planes(boards: np.ndarray, *, liberties: bool = True) -> np.ndarray:
    """uint8 0 or 1 [N, size, size, 48]: what `GoCaptures` shows of boards."""
    shown = np.zeros((*boards.shape, _COUNT), np.uint8)
    shown[..., PLANES["own stones"]] = boards == 1
    shown[..., PLANES["opponent's stones"]] = boards == -1
    shown[..., PLANES["empty"]] = boards == 0
    shown[..., PLANES["ones"]] = 1
    if liberties:
        counted = np.minimum(liberties_at(boards), COUNTED)
        for number in range(1, COUNTED + 1):
            shown[..., PLANES["liberties"] + number - 1] = counted == number
    shown[..., PLANES["sensibleness"]] = legal(boards) & ~_eyes(boards)
    return shown


def legal(boards: np.ndarray) -> np.ndarray:
    """bool [N, size, size]: where the player may move: with a liberty beside it, or one left to a group of the
    player's that it joins, or by a capture."""
    left = (_beside(boards, outside=2) == 1) & (_beside(liberties_at(boards)) > 1)
    breathes = (_beside(boards, outside=2) == 0).any(0) | left.any(0)
    return (boards == 0) & (breathes | (capture_sizes(boards) > 0))


def capture_sizes(boards: np.ndarray) -> np.ndarray:
    """int64 [N, size, size]: how many of the opponent's stones a move at each point captures; 0 where it is taken."""
    groups, sizes = _groups(boards == -1)
    captured = _groups_beside(np.where(liberties_at(boards) == 1, groups, 0))
    return np.where(boards == 0, sizes[captured].sum(0), 0)


def liberties_at(boards: np.ndarray) -> np.ndarray:
    """int64 [N, size, size]: liberties of the group at each point; 0 where there is none."""
    counts = np.zeros(boards.shape, np.int64)
    for colour in (1, -1):
        groups, sizes = _groups(boards == colour)
        of_group = np.bincount(_groups_beside(groups)[:, boards == 0].reshape(-1), minlength=len(sizes))
        counts += np.where(groups > 0, of_group[groups], 0)
    return counts


def _eyes(boards: np.ndarray) -> np.ndarray:
    """Empty points whose neighbours on the board are all the player's."""
    beside = _beside(boards, outside=2)
    return (boards == 0) & ((beside == 1) | (beside == 2)).all(0)


def _groups(stones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the group at each point, from 1 on over all boards, 0 for none; and how many stones each has."""
    from scipy import ndimage

    touching = np.zeros((3, 3, 3), bool)
    touching[1] = [[False, True, False], [True, True, True], [False, True, False]]
    groups = np.empty(stones.shape, np.int32)
    ndimage.label(stones, touching, output=groups)
    sizes = np.bincount(groups.reshape(-1))
    sizes[0] = 0
    return groups, sizes


def _groups_beside(groups: np.ndarray) -> np.ndarray:
    """[4, N, size, size]: the numbers of the groups around each point, each once."""
    beside = _beside(groups)
    for side in range(1, len(beside)):
        beside[side][(beside[:side] == beside[side]).any(0)] = 0
    return beside


def _beside(values: np.ndarray, *, outside: int = 0) -> np.ndarray:
    """[4, N, size, size]: the values of the points above, below, left and right; `outside` beyond the edge."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), constant_values=outside)
    return np.stack([padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]])
