from collections import Counter
from math import ceil

import pytest
from timm.data.distributed_sampler import RepeatAugSampler

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
    """Return the sampler and its list of micro-batches for each rank."""
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


def by_step(sampler, micro_batches):
    """Group one rank's micro-batches by step."""
    rest = iter(micro_batches)
    steps = range(sampler.start_step, sampler.steps_per_epoch)
    return [[next(rest) for _ in range(sampler.micro_batches(step))] for step in steps]


@pytest.mark.parametrize("case", CASES)
def test_every_sample_once_and_equal_work_on_every_rank(case):
    num_samples, batch_size, grad_accum_steps, world_size = case
    per_rank = batches(*case)
    seen = Counter(
        key for _, micro_batches in per_rank for micro_batch in micro_batches for key in micro_batch
    )
    assert set(seen) == {(0, index) for index in range(num_samples)}
    rest = num_samples % (batch_size * grad_accum_steps * world_size)
    repeated = sum(seen.values()) - num_samples
    if rest == 0 or (rest >= world_size and batch_size > 1):
        assert repeated == 0
    assert repeated < world_size
    assert len({len(micro_batches) for _, micro_batches in per_rank}) == 1
    for sampler, micro_batches in per_rank:
        assert len(sampler) == len(micro_batches)
        assert all(1 <= len(micro_batch) <= batch_size for micro_batch in micro_batches)
        assert sampler.steps_per_epoch == ceil(
            num_samples / (batch_size * grad_accum_steps * world_size)
        )
        for step in by_step(sampler, micro_batches)[:-1]:
            assert [len(micro_batch) for micro_batch in step] == [batch_size] * grad_accum_steps
        last = [len(micro_batch) for micro_batch in by_step(sampler, micro_batches)[-1]]
        assert max(last) - min(last) <= 1


def test_a_step_has_the_same_samples_at_any_number_of_ranks():
    layouts = [(83, 12, 1, 1), (83, 3, 4, 1), (83, 6, 1, 2), (83, 3, 2, 2), (83, 1, 2, 6)]
    sets = []
    for layout in layouts:
        grouped = [
            by_step(sampler, micro_batches) for sampler, micro_batches in batches(*layout, epoch=3)
        ]
        sets.append(
            [
                {key for rank in grouped for micro_batch in rank[step] for key in micro_batch}
                for step in range(len(grouped[0]))
            ]
        )
    assert all(other == sets[0] for other in sets)
    assert [len(step) for step in sets[0]] == [12] * 6 + [11]


def test_samples_and_micro_batches_of_each_step():
    sampler = TrainSampler(50, 4, grad_accum_steps=2, world_size=3)
    assert (sampler.global_batch, sampler.steps_per_epoch) == (24, 3)
    assert [sampler.samples_in_step(step) for step in range(3)] == [24, 24, 2]
    assert [sampler.micro_batches(step) for step in range(3)] == [2, 2, 1]


def test_order_depends_on_seed_and_epoch_only():
    order = {
        (seed, epoch): [
            key[1]
            for micro_batch in batches(40, 5, 1, 1, epoch, 0, seed)[0][1]
            for key in micro_batch
        ]
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({tuple(value) for value in order.values()}) == 4
    again = batches(40, 8, 1, 1, 1, 0, 1)[0][1]
    assert [key for micro_batch in again for key in micro_batch] == [
        (1, index) for index in order[1, 1]
    ]


@pytest.mark.parametrize("start", [0, 1, 3, 5])
def test_an_epoch_can_start_at_any_step(start):
    whole, rest = batches(33, 2, 2, 2, 4)[1], batches(33, 2, 2, 2, 4, start)[1]
    skipped = sum(map(whole[0].micro_batches, range(start)))
    assert rest[1] == whole[1][skipped:]
    assert len(rest[0]) == len(rest[1])


@pytest.mark.parametrize("world_size", [1, 4])
def test_repeated_samples_follow_timms_rule(world_size):
    plain = [keys[0][1] for keys in TrainSampler(96, 1, seed=3)]
    for rank in range(world_size):
        options = {"rank": rank, "world_size": world_size, "seed": 3, "repeats": 3}
        sampler = TrainSampler(96, 6, **options)
        ours = [key for keys in sampler for key in keys]
        theirs = RepeatAugSampler(range(96), world_size, rank, shuffle=False, selected_round=0)
        assert [key[1] for key in ours] == [plain[index] for index in theirs]
        start = sampler.steps_per_epoch - 1
        sampler.set_epoch(0, start)
        assert [key for keys in sampler for key in keys] == ours[6 * start :]
    whole = [key for keys in TrainSampler(100, 6, seed=3, repeats=3) for key in keys]
    versions = Counter(key[1] for key in whole)
    assert (len(whole), len(set(whole))) == (100, 100)
    assert sorted(versions.values()) == [1, *[3] * 33]
    assert {len(key) for key in whole} == {2, 3}


def test_the_paper_takes_626_steps_per_epoch():
    assert TrainSampler(1_281_167, 32, world_size=64).steps_per_epoch == 626


def test_a_step_larger_than_the_data_set_is_an_input_error():
    with pytest.raises(InputError, match=r"= 24 is more than the 23 training images"):
        TrainSampler(23, 4, grad_accum_steps=2, world_size=3)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("num_samples", [1, 5, 12])
def test_evaluation_sees_each_sample_once_in_order(num_samples, world_size):
    samplers = [EvalSampler(num_samples, 2, rank, world_size) for rank in range(world_size)]
    for rank, sampler in enumerate(samplers):
        yielded = list(sampler)
        assert len(sampler) == len(yielded)
        assert all(1 <= len(batch) <= 2 for batch in yielded)
        keys = [key for batch in yielded for key in batch]
        assert keys == [(0, index) for index in range(num_samples)][rank::world_size]


@pytest.mark.parametrize("num_samples", range(12, 40))
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_smallest_micro_batch_over_all_ranks(num_samples, world_size):
    samplers = [
        TrainSampler(num_samples, 2, grad_accum_steps=2, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    sizes = [len(keys) for sampler in samplers for keys in sampler]
    assert {sampler.smallest_micro_batch() for sampler in samplers} == {min(sizes)}
