"""Bank conflicts of patterns that can be counted by hand."""

import numpy as np
import pytest

from benchmarks.kernels.shared_memory import INACTIVE, Access, count_wavefronts

LANE = np.arange(32)


@pytest.mark.parametrize(
    ("addresses", "size", "expected"),
    [
        (4 * LANE, 4, 1),  # a word of each bank
        (4 * LANE[::-1] + 4, 4, 1),  # in any order, from any bank on
        (8 * LANE, 4, 2),  # even banks only, two words of each
        (16 * LANE, 4, 4),
        (128 * LANE, 4, 32),  # all in bank 0
        (132 * LANE, 4, 1),  # an odd pitch of 33 words
        (0 * LANE, 4, 1),  # one word for all
        (4 * (LANE // 2), 4, 1),  # each word for two lanes
        (128 * (LANE % 2), 4, 2),  # two words of bank 0, each for sixteen lanes
        (2 * LANE, 2, 1),  # two lanes share each word
        (2 * LANE + 128 * (LANE % 2), 2, 2),  # here they do not
        (8 * LANE, 8, 2),  # 256 bytes
        (16 * LANE, 8, 4),  # in each half the words of lanes 0 and 8 share banks
        (8 * (LANE % 16), 8, 2),  # the halves are served apart, though they want the same
        (16 * LANE, 16, 4),  # 512 bytes
        (32 * LANE, 16, 8),  # in each quarter the words of lanes 0 and 4 share banks
        (128 * LANE, 16, 32),  # all in banks 0 to 3
        (144 * LANE, 16, 4),  # eight lanes of a quarter 4 banks apart
        (0 * LANE, 16, 4),  # one vector for all, but by quarters
    ],
)
def test_wavefronts_of_a_warp(addresses, size, expected):
    assert count_wavefronts(addresses[None], size) == [expected]


def test_lanes_that_take_no_part_cost_nothing():
    addresses = np.full((2, 32), INACTIVE)
    addresses[1, :3] = 0, 128, 256
    assert list(count_wavefronts(addresses, 4)) == [0, 3]
    assert list(count_wavefronts(addresses * 4, 16)) == [0, 3]


def test_an_access_adds_up_instructions_and_warps():
    """48 threads are a warp and a half: 4 + 2 quarters."""
    threads = 16 * np.arange(48)
    assert Access("LDS", 16, np.stack([threads, threads])).wavefronts == 2 * (4 + 2)
