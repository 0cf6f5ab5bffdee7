"""The line that says whether the loader or the network is the limit."""

import pytest

from rednet.training.input_limit import LoadingSpeed, describe_limit
from rednet.training.throughput import Throughput


def after(images, seconds, waited):
    throughput = Throughput()
    throughput.add(images, seconds, waited)
    return throughput


@pytest.mark.parametrize(
    ("waited", "workers", "seconds", "world_size", "line"),
    [
        (
            *(0.5, 2, 0.004, 1),
            "the loader is the limit: 2 workers load 400 images/s, the network could take 800 "
            "images/s; data.num_workers=4 would do",
        ),
        (
            *(0.8, 2, 0.004, 1),
            "the loader is the limit: 2 workers load 400 images/s, the network could take 2000 "
            "images/s; data.num_workers=8 would do, on more than the 4 cores that there are; "
            "reduced shards load faster",
        ),
        (
            *(0.02, 4, 0.002, 1),
            "the network is the limit, with 408 images/s: 4 workers could load 2000 images/s; "
            "1 would do",
        ),
        (
            *(0.02, 4, 0.008, 2),
            "the network is the limit, with 408 images/s: 4 workers of each process could load "
            "1000 images/s; 2 would do",
        ),
        (
            *(0.4, 0, None, 1),
            "the loader is the limit: the training process loads 1000 images/s between the steps, "
            "the network could take 667 images/s; data.num_workers=1 would do",
        ),
        (
            *(0.04, 0, None, 1),
            "the network is the limit, with 417 images/s: the training process could load 10000 "
            "images/s",
        ),
    ],
)
def test_the_limit(waited, workers, seconds, world_size, line):
    speed = LoadingSpeed(workers, seconds, cores=4)
    assert describe_limit(after(400, 1.0, waited), speed, world_size) == f"input      {line}"


@pytest.mark.parametrize(
    ("waited", "workers", "seconds"), [(0.3, 2, None), (1.0, 2, 0.01), (0.0, 0, None)]
)
def test_nothing_is_said_without_measurements(waited, workers, seconds):
    speed = LoadingSpeed(workers, seconds, cores=4)
    assert describe_limit(after(400, 1.0, waited), speed, 1) == ""
    assert describe_limit(Throughput(), speed, 1) == ""
