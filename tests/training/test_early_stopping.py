import pytest

from rednet.training.early_stopping import EarlyStopping


def ends(tops, **settings):
    """After which epoch a run ends, by the top-1 of its epochs, and why."""
    rows = [{"epoch": number, "val_top1": top1} for number, top1 in enumerate(tops, 1)]
    for number in range(1, len(rows) + 1):
        if reason := EarlyStopping(**settings, epochs=len(tops)).reason(rows[:number]):
            return number, reason
    return None


@pytest.mark.parametrize(
    ("tops", "patience", "end"),
    [
        ([10, 20, 20, 19, 30, 40], 2, 4),  # equal is not better
        ([10, 20, 20, 19, 30, 40], 3, None),  # better just in time
        ([10, 9, 8, 7], 1, 2),
        ([10, 9, 8, 7], 3, None),  # the last epoch ends the run anyway
        ([None, 10, None, 10, None, 9, None, 50], 3, 6),  # only an evaluation decides
        ([None, None, None, 10], 1, None),
        ([10, 20, 30, 40], 1, None),
    ],
)
def test_when_a_run_ends(tops, patience, end):
    found = ends(tops, patience=patience)
    assert (found and found[0]) == end


def test_epochs_of_the_classifier_alone_do_not_count():
    tops = [10, 9, 8, 7, 6, 5]
    assert ends(tops, patience=2)[0] == 3
    assert ends(tops, patience=2, not_before=3)[0] == 5


def test_the_line():
    assert ends([10, 61.234, 3, 4, 5], patience=2)[1] == (
        "stopped early after epoch 4: no better top-1 than 61.23 % of epoch 2 in 2 epochs"
    )


def test_off_by_default():
    assert EarlyStopping().reason([{"epoch": 1, "val_top1": 1.0}]) is None
