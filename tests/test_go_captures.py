"""Go positions: legality, liberties and captures by playing each move with a flood fill, board by board."""

from __future__ import annotations

import numpy as np
import pytest

from cnnjax import Experiment, FixedSize, GoCaptures, SmallCNN
from cnnjax.config import replace
from cnnjax.data.go_captures import PLANES, capture_sizes, legal, liberties_at, planes, random_boards, with_best_move
from cnnjax.errors import ConfigError, DataError
from cnnjax.experiment import check


def beside(point, size):
    row, column = point
    return [
        (y, x)
        for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        if 0 <= y < size and 0 <= x < size
    ]


def group_of(board, point):
    """The points of the group at `point` and its liberties, by flood fill."""
    group, liberties, waiting = {point}, set(), [point]
    while waiting:
        for other in beside(waiting.pop(), len(board)):
            if board[other] == 0:
                liberties.add(other)
            elif board[other] == board[point] and other not in group:
                group.add(other)
                waiting.append(other)
    return group, liberties


def played(board, point):
    """Stones that the player's move captures; None where it is not legal."""
    board, captured = board.copy(), set()
    board[point] = 1
    for other in beside(point, len(board)):
        if board[other] == -1:
            group, liberties = group_of(board, other)
            captured |= set() if liberties else group
    for other in captured:
        board[other] = 0
    return len(captured) if group_of(board, point)[1] else None


@pytest.fixture(scope="module", params=[5, 9])
def boards(request):
    return random_boards(np.random.default_rng(request.param), 40, request.param, (0.2, 0.95))


def points(boards):
    return [(number, (row, column)) for number, row, column in np.ndindex(boards.shape)]


def test_every_group_has_liberties_and_they_are_counted(boards):
    counted = liberties_at(boards)
    assert len({*np.unique(counted)} & {0, 1, 2, 3, 4}) == 5
    for number, point in points(boards):
        if boards[number][point]:
            liberties = len(group_of(boards[number], point)[1])
            assert counted[number][point] == liberties > 0
        else:
            assert counted[number][point] == 0


def test_legality_and_captures_are_those_of_playing_each_move(boards):
    allowed, sizes = legal(boards), capture_sizes(boards)
    illegal = 0
    for number, point in points(boards):
        captured = played(boards[number], point) if boards[number][point] == 0 else None
        assert allowed[number][point] == (captured is not None)
        assert sizes[number][point] == (captured or 0)
        illegal += captured is None and boards[number][point] == 0
    assert illegal


def test_a_group_that_touches_from_two_sides_is_captured_once():
    board = np.array([[0, -1, 1, 0, 0], [-1, -1, 1, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [0] * 5], np.int8)[None]
    assert capture_sizes(board)[0, 0, 0] == 3
    assert legal(board)[0, 0, 0]


def test_the_label_is_the_one_move_that_captures_most():
    data = GoCaptures(size=7, examples=30, test_examples=5).load()
    images = data.train.held().images
    stones = images[..., 0].astype(int) - images[..., 1]
    for board, label in zip(stones, data.train.labels, strict=True):
        sizes = {point: played(board, point) or 0 for point in np.ndindex(board.shape) if board[point] == 0}
        first, second = sorted(sizes, key=sizes.__getitem__, reverse=True)[:2]
        assert sizes[first] > sizes[second] > 0
        assert first == divmod(int(label), 7)


def test_planes_are_those_that_do_not_give_the_move_away():
    boards = random_boards(np.random.default_rng(0), 20, 9, (0.5, 0.8))
    shown = planes(boards)
    filled = {"own stones", "opponent's stones", "empty", "ones", "liberties", "sensibleness"}
    ends = [*list(PLANES.values())[1:], 48]
    assert {
        name for (name, first), end in zip(PLANES.items(), ends, strict=True) if shown[..., first:end].any()
    } == filled
    liberties = shown[..., PLANES["liberties"] : PLANES["capture size"]]
    counted = liberties_at(boards)
    np.testing.assert_array_equal(liberties.sum(-1), boards != 0)
    np.testing.assert_array_equal((liberties * np.arange(1, 9)).sum(-1), np.minimum(counted, 8))
    assert not planes(boards, liberties=False)[..., PLANES["liberties"] : PLANES["capture size"]].any()


def test_what_is_sensible_is_legal_and_no_eye():
    board = np.array([[0, 1, 0, -1, 0], [1, 1, 0, -1, -1], [0] * 5, [0] * 5, [0] * 5], np.int8)[None]
    sensible = planes(board)[0, ..., PLANES["sensibleness"]].astype(bool)
    assert legal(board)[0, 0, 0]
    assert not sensible[0, 0]
    # The opponent's corner: no liberty is left there, and nothing is captured.
    assert not legal(board)[0, 0, 4]
    assert not sensible[0, 4]
    np.testing.assert_array_equal(sensible[2:], True)


def test_more_examples_leave_the_first_as_they_are():
    asked = (4, 0), (9, 0), (4, 1)
    few, many, other = (GoCaptures(size=5, examples=count, test_examples=3, seed=seed).load() for count, seed in asked)
    images = few.train.held().images
    np.testing.assert_array_equal(images, many.train.held().images[:4])
    np.testing.assert_array_equal(few.test.labels, many.test.labels)
    assert not np.array_equal(images[:3], few.test.held().images)
    assert not np.array_equal(images, other.train.held().images)


def test_classes_are_named_as_players_name_points():
    assert GoCaptures(examples=1, test_examples=1).load().classes[:10] == tuple(f"{c}19" for c in "ABCDEFGHJK")
    boards, labels = with_best_move(random_boards(np.random.default_rng(0), 50, 19, (0.6, 0.7)))
    assert len(boards) == len(labels) > 5


def test_bad_values_are_refused():
    with pytest.raises(ConfigError, match="density"):
        GoCaptures(density=(0.8, 0.5))
    with pytest.raises(DataError, match="take a larger board or other densities"):
        GoCaptures(size=5, density=(0.1, 0.1)).load()


@pytest.mark.parametrize("changes", [{"augment": "flip"}, {"test_time": "flip"}, {"resolution": FixedSize(train=4)}])
def test_what_moves_the_board_is_refused(changes):
    data = GoCaptures(size=5, examples=8, test_examples=4)
    experiment = Experiment(model=SmallCNN(features=2), data=data, validation=0, batch_size=8)
    check(experiment)
    with pytest.raises(ConfigError, match="may move pixels, and a label of go_captures is a place"):
        check(replace(experiment, changes))
