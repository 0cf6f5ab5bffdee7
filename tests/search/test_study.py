"""The trials of a search in a folder, without the runs."""

import pytest

from rednet.errors import InputError
from rednet.search.space import Choice, Interval
from rednet.training.metrics import EpochMetrics, append_row

optuna = pytest.importorskip("optuna", reason='needs pip install "rednet[search]"')

from rednet.search.plan import Plan  # noqa: E402
from rednet.search.study import Study  # noqa: E402

SPACE = {
    "lr": Interval(0.001, 1.0, log=True),
    "layers": Interval(1, 4),
    "name": Choice(("sgd", "adamw")),
}


@pytest.fixture
def make(tmp_path):
    """Return a function that opens the search in a folder, as a process does."""

    def open_study(folder="X", settings=None, **changes):
        values = {"trials": 3, "metric": "val_top1", "sampler_name": "tpe", "pruner_name": "median"}
        values |= {"startup_trials": 1, "seed": 0, "epochs": 3, "space": SPACE}
        (tmp_path / folder).mkdir(exist_ok=True)
        return Study(tmp_path / folder, Plan(**{**values, **changes}), settings or {"a": "1"})

    return open_study


def epoch(number, top1):
    return EpochMetrics(number, number, 0.1, 1.0, 1.0, top1, None, 1.0, 1.0)


def run(trial, *scores):
    """Do what a training does: log, then ask; return why the trial ended early."""
    rows = []
    for number, top1 in enumerate(scores, 1):
        trial.folder.mkdir(exist_ok=True)
        metrics = epoch(number, top1)
        append_row(trial.folder, rows, metrics.row())
        rows.append(metrics.row())
        if reason := trial.monitor(metrics):
            break
    trial.finish()
    trial.release()
    return reason


def drawn(study):
    return [trial.params for trial in study.optuna.get_trials()]


def test_the_values_do_not_depend_on_interruptions(make):
    study = make("X")
    for score in (50.0, 60.0, 70.0):
        run(study.claim(), score)
    assert study.claim() is None
    for score in (50.0, 60.0, 70.0):
        again = make("Y")  # another process each time
        run(again.claim(), score)
    assert drawn(study) == drawn(again)
    assert len({params["lr"] for params in drawn(study)}) == 3
    assert [each.value for each in again.outcomes()] == [50.0, 60.0, 70.0]


def test_an_interrupted_trial_is_continued_by_one_process_only(make):
    first = make().claim()
    first.folder.mkdir()
    first.monitor(epoch(1, 40.0))
    second = make().claim()
    assert second.number == 1  # the first trial is still being run
    first.release()  # as the kernel does when a process is killed
    third = make()
    resumed = third.claim()
    assert (resumed.number, resumed.settings) == (0, first.settings)
    resumed.monitor(epoch(1, 40.0))  # again, as the run goes on from an earlier checkpoint
    resumed.finish()
    resumed.release()
    last = third.claim()
    assert last.number == 2
    assert make().claim() is None


def test_a_trial_that_was_killed_while_it_was_drawn_gets_its_values(make):
    study = make()
    study.optuna.ask().suggest_float("lr", 0.001, 1.0, log=True)
    assert [each.settings["name"] for each in study.outcomes()] == ["-"]
    trial = make().claim()
    assert trial.number == 0 and trial.settings.keys() == SPACE.keys()


def test_a_trial_below_the_median_is_pruned(make):
    study = make()
    assert run(study.claim(), 50.0, 60.0) is None
    reason = run(study.claim(), 40.0, 60.0)
    assert reason == "pruned after epoch 1 by search.pruner=median: top-1 40"
    assert [each.state for each in study.outcomes()] == ["complete", "pruned"]
    assert [each.value for each in study.outcomes()] == [60.0, 40.0]


@pytest.mark.parametrize("pruner", ["none", "hyperband"])
def test_other_pruners(make, pruner):
    study = make(pruner_name=pruner)
    reasons = [run(study.claim(), score, score) for score in (50.0, 40.0, 30.0)]
    assert any(reasons) == (pruner == "hyperband")


def test_a_loss_is_minimized(make):
    study = make(metric="val_loss", sampler_name="random")
    run(study.claim(), 50.0)
    assert study.optuna.direction == optuna.study.StudyDirection.MINIMIZE
    assert study.optuna.best_value == 1.0


def test_failed_trials_count_and_say_why(make):
    study = make()
    trial = study.claim()
    trial.fail("it broke")
    trial.release()
    run(study.claim(), None)
    states = [(each.state, each.reason) for each in study.outcomes()]
    assert states == [("failed", "it broke"), ("failed", "no epoch has a top-1")]
    assert study.claim().number == 2


def test_a_folder_holds_one_search(make):
    make(settings={"a": "1", "b": "2"})
    with pytest.raises(InputError) as caught:
        make(settings={"a": "3", "b": "2", "c": "4"})
    first, *lines = str(caught.value).split("\n")
    assert "holds a search with other settings; choose another folder:" in first
    assert lines == ["a: 1 there, 3 here", "c: not set there, 4 here"]


def test_a_damaged_database_is_a_line(make, tmp_path):
    (tmp_path / "X").mkdir()
    (tmp_path / "X/search.db").write_text("something else " * 100)
    with pytest.raises(InputError, match=r"search\.db cannot be read: .*not a database"):
        make()
