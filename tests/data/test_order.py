import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcxr.data import order

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=40)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(order, "_window", lambda image_size: 13)
    monkeypatch.setattr(order, "_turn", lambda window: 3)


@given(lengths=LENGTHS, seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_an_epoch_has_every_image_once(lengths, seed, epoch):
    shuffled = order.shuffled_order(lengths, 64, seed, epoch)
    positions = order.stored_positions(shuffled, lengths)
    assert sorted(positions) == list(range(sum(lengths)))
    assert sorted(file for group in shuffled.groups for file in group) == list(range(len(lengths)))
    assert max(map(len, shuffled.groups)) <= order.FILES_PER_GROUP
    np.testing.assert_array_equal(shuffled.rows // 13, np.arange(sum(lengths)) // 13)


@given(lengths=LENGTHS)
def test_stored_order_is_the_order_of_the_files(lengths):
    stored = order.stored_order(lengths, 64)
    np.testing.assert_array_equal(order.stored_positions(stored, lengths), np.arange(sum(lengths)))


def test_files_of_a_group_are_read_in_turns():
    one = order.Order(groups=((1, 0), (2,)), turn=1, window=13, rows=np.arange(7))
    # File 0 holds images 0 to 2, file 1 images 3 and 4, file 2 images 5 and 6.
    assert order.stored_positions(one, [3, 2, 2]).tolist() == [3, 0, 4, 1, 2, 5, 6]
    two = dataclasses.replace(one, turn=2)
    assert order.stored_positions(two, [3, 2, 2]).tolist() == [3, 4, 0, 1, 2, 5, 6]
    assert two.turns([3, 2, 2]).tolist() == [[0, 3, 2], [0, 0, 2], [0, 2, 1], [1, 5, 2]]


def epoch_positions(seed, epoch, lengths):
    shuffled = order.shuffled_order(lengths, 64, seed, epoch)
    return order.stored_positions(shuffled, lengths)


def test_seed_and_epoch_decide():
    orders = [(seed, epoch) for seed in range(3) for epoch in range(3)]
    for lengths in ([50] * 4, [50]):
        assert len({tuple(epoch_positions(*chosen, lengths)) for chosen in orders}) == 9
    np.testing.assert_array_equal(epoch_positions(1, 2, [9, 9]), epoch_positions(1, 2, [9, 9]))


def test_neighbors_of_one_epoch_are_apart_in_the_next(monkeypatch):
    monkeypatch.setattr(order, "_window", lambda image_size: 200)
    first, second = (np.argsort(epoch_positions(0, epoch, [100] * 20)) for epoch in range(2))
    apart = np.abs(np.diff(second[np.argsort(first)]))
    assert np.median(apart) > 200  # of 2,000 images; 586 in a perfect shuffle, 1 without any


def test_windows_take_bounded_memory_and_hold_every_file_of_a_group_twice(monkeypatch):
    monkeypatch.undo()
    for size in (64, 256, 512):
        assert order._window(size) * size**2 <= order.WINDOW_BYTES
        assert order._turn(order._window(size)) * order.FILES_PER_GROUP * 2 == order._window(size)
    assert order._window(2048) == 256
