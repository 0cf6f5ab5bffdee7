from collections import Counter
from math import ceil

import pytest

from rednet.data import EvalSampler, TrainSampler
from rednet.errors import InputError

CASES = [
    # samples, batch size, grad_accum_steps, world size
    (100, 10, 1, 1),
    (103, 10, 1, 1),
    (103, 8, 3, 1),
    (50, 4, 2, 3),
    (49, 4, 2, 3),
    (25, 4, 2, 3),
    (26, 4, 2, 3),
    (33, 1, 2, 4),
    (39, 1, 3, 4),
    (41, 2, 1, 8),
    (17, 2, 1, 8),
    (24, 4, 2, 3),
]


def batches(num_samples, batch_size, grad_accum_steps, world_size, epoch=0, start_step=0, seed=0):
    """Per rank, the sampler and its list of micro-batches."""
    samplers = [
        TrainSampler(
            num_samples,
            batch_size,
            grad_accum_steps=grad_accum_steps,
            rank=rank,
            world_size=world_size,
            seed=seed,
        )
        for rank in range(world_size)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch, start_step)
    return [(sampler, list(sampler)) for sampler in samplers]


def by_update(sampler, micro_batches):
    """Group one rank's micro-batches by update."""
    rest = iter(micro_batches)
    updates = range(sampler.start_step, sampler.steps_per_epoch)
    return [[next(rest) for _ in range(sampler.micro_batches(u))] for u in updates]


@pytest.mark.parametrize("case", CASES)
def test_every_sample_once_and_equal_work_on_every_rank(case):
    num_samples, batch_size, grad_accum_steps, world_size = case
    per_rank = batches(*case)
    seen = Counter(key for _, parts in per_rank for part in parts for key in part)
    assert set(seen) == {(0, index) for index in range(num_samples)}
    rest = num_samples % (batch_size * grad_accum_steps * world_size)
    repeated = sum(seen.values()) - num_samples
    if rest == 0 or (rest >= world_size and batch_size > 1):
        assert repeated == 0
    assert repeated < world_size
    assert len({len(parts) for _, parts in per_rank}) == 1
    for sampler, parts in per_rank:
        assert len(sampler) == len(parts)
        assert all(1 <= len(part) <= batch_size for part in parts)
        assert sampler.steps_per_epoch == ceil(
            num_samples / (batch_size * grad_accum_steps * world_size)
        )
        for update in by_update(sampler, parts)[:-1]:
            assert [len(part) for part in update] == [batch_size] * grad_accum_steps
        last = [len(part) for part in by_update(sampler, parts)[-1]]
        assert max(last) - min(last) <= 1


def test_an_update_has_the_same_samples_at_any_number_of_ranks():
    layouts = [(83, 12, 1, 1), (83, 3, 4, 1), (83, 6, 1, 2), (83, 3, 2, 2), (83, 1, 2, 6)]
    sets = []
    for layout in layouts:
        grouped = [by_update(sampler, parts) for sampler, parts in batches(*layout, epoch=3)]
        sets.append(
            [
                {key for rank in grouped for part in rank[u] for key in part}
                for u in range(len(grouped[0]))
            ]
        )
    assert all(other == sets[0] for other in sets)
    assert [len(update) for update in sets[0]] == [12] * 6 + [11]


def test_update_sizes():
    sampler = TrainSampler(50, 4, grad_accum_steps=2, world_size=3)
    assert (sampler.global_batch, sampler.steps_per_epoch) == (24, 3)
    assert [sampler.update_size(u) for u in range(3)] == [24, 24, 2]
    assert [sampler.micro_batches(u) for u in range(3)] == [2, 2, 1]


def test_order_depends_on_seed_and_epoch_only():
    order = {
        (seed, epoch): [
            key[1] for part in batches(40, 5, 1, 1, epoch, 0, seed)[0][1] for key in part
        ]
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({tuple(value) for value in order.values()}) == 4
    again = batches(40, 8, 1, 1, 1, 0, 1)[0][1]
    assert [key for part in again for key in part] == [(1, index) for index in order[1, 1]]


@pytest.mark.parametrize("start", [0, 1, 3, 5])
def test_an_epoch_may_start_at_any_update(start):
    whole, rest = batches(33, 2, 2, 2, 4)[1], batches(33, 2, 2, 2, 4, start)[1]
    skipped = sum(map(whole[0].micro_batches, range(start)))
    assert rest[1] == whole[1][skipped:]
    assert len(rest[0]) == len(rest[1])


def test_the_paper_has_626_updates():
    assert TrainSampler(1_281_167, 32, world_size=64).steps_per_epoch == 626


def test_more_than_there_is_in_one_update_is_an_input_error():
    with pytest.raises(InputError, match=r"= 24 is more than the 23 training images"):
        TrainSampler(23, 4, grad_accum_steps=2, world_size=3)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("num_samples", [1, 5, 12])
def test_evaluation_sees_each_sample_once_in_order(num_samples, world_size):
    samplers = [EvalSampler(num_samples, 2, rank, world_size) for rank in range(world_size)]
    for rank, sampler in enumerate(samplers):
        parts = list(sampler)
        assert len(sampler) == len(parts)
        assert all(1 <= len(part) <= 2 for part in parts)
        keys = [key for part in parts for key in part]
        assert keys == [(0, index) for index in range(num_samples)][rank::world_size]


@pytest.mark.parametrize("num_samples", range(12, 40))
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_smallest_part_is_the_size_of_the_smallest_micro_batch(num_samples, world_size):
    samplers = [
        TrainSampler(num_samples, 2, grad_accum_steps=2, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    sizes = [len(keys) for sampler in samplers for keys in sampler]
    assert {sampler.smallest_part() for sampler in samplers} == {min(sizes)}
