"""The worst mistakes are those of the whole evaluation, whatever its batches and ranks."""

from threading import Barrier, Thread

import pytest
import torch
import torch.nn.functional as F

from rednet.data import Batch
from rednet.training.mistakes import WorstMistakes

LIMIT, SAMPLES, CLASSES = 5, 60, 4


class Ranks:
    """Threads that exchange values as the processes of a run do."""

    def __init__(self, count):
        self.barrier, self.values = Barrier(count), [None] * count

    def gather(self, rank, value):
        self.barrier.wait()
        self.values[rank] = value
        self.barrier.wait()
        return list(self.values)


class Rank:
    def __init__(self, ranks, rank):
        self.ranks, self.rank = ranks, rank

    def gather(self, value):
        return self.ranks.gather(self.rank, value)


def samples():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(SAMPLES, CLASSES, generator=generator)
    logits[10] = logits[20] = torch.tensor([0.0, 9.0, 0.0, 0.0])  # equally wrong
    logits[30] = torch.nan
    targets = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    targets[10] = targets[20] = 0
    return logits, targets


def expected(logits, targets):
    losses = F.cross_entropy(logits, targets, reduction="none")
    wrong = [i for i in range(SAMPLES) if logits[i].argmax() != targets[i] and i != 30]
    return sorted(wrong, key=lambda i: (-float(losses[i]), i))[:LIMIT]


def observe(observer, logits, targets, indices, size):
    observer.start()
    for part in torch.tensor(indices).split(size):
        images = part.to(torch.uint8).view(-1, 1, 1, 1)
        observer.add(Batch(images, targets[part], part, []), logits[part])
    observer.add(Batch(torch.empty(0), targets[:0], targets[:0], []), torch.empty(0, CLASSES))
    observer.finish()


@pytest.mark.parametrize(("count", "size"), [(1, 60), (1, 7), (1, 1), (2, 7), (3, 4)])
def test_over_all_batches_and_ranks(count, size):
    logits, targets = samples()
    ranks = Ranks(count)
    observers = [
        WorstMistakes(Rank(ranks, r), lambda image: bytes([int(image)]), limit=LIMIT)
        for r in range(count)
    ]
    threads = [
        Thread(target=observe, args=(each, logits, targets, range(rank, SAMPLES, count), size))
        for rank, each in enumerate(observers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    probabilities = logits.softmax(1)
    for observer in observers:
        worst = observer.worst
        assert [mistake.index for mistake in worst] == expected(logits, targets)
        assert [mistake.jpeg[0] for mistake in worst] == [mistake.index for mistake in worst]
        for mistake in worst:
            assert mistake.target == targets[mistake.index]
            assert mistake.prediction == logits[mistake.index].argmax()
            assert mistake.confidence == pytest.approx(float(probabilities[mistake.index].max()))


def test_no_mistake():
    observer = WorstMistakes(Rank(Ranks(1), 0), lambda image: b"")
    targets = torch.arange(CLASSES)
    observe(observer, 9.0 * torch.eye(CLASSES), targets, range(CLASSES), 2)
    assert observer.worst == []


def test_images_that_cannot_be_shown_do_not_end_the_evaluation(capsys):
    def fail(image):
        raise MemoryError

    observer = WorstMistakes(Rank(Ranks(1), 0), fail)
    observe(observer, *samples(), range(SAMPLES), 7)
    assert observer.worst == []
    assert capsys.readouterr().out.count("warning: ") == 1
