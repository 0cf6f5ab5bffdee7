"""What a run shows: its first images and its worst mistakes, at no cost to the run itself."""

import csv
import io
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from equal_runs import assert_equal_states, rows
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from rednet.training.display import Display
from rednet.training.mistake_files import keep_mistakes, write_mistakes
from rednet.training.mistakes import Mistake
from rednet.training.step import TrainStep
from rednet.weights import read_checkpoint

MIXED = ("augment=paper", "augment.mixup=0.8", "augment.cutmix=1.0")
HOSTILE = ["\x1b[2J\n", "\u732b" * 80, "$x$ <b>|`", "\u202eabc", "\udcff", "", "a" * 500, "=1+1"]


def events(folder):
    sizes = {"images": 0, "tensors": 0, "scalars": 0}
    return EventAccumulator(str(folder / "tensorboard"), sizes).Reload()


def images(folder, tag):
    """Return (step, pixels) of the images of a tag."""
    shown = events(folder).Images(tag)
    return [(e.step, pixels(Image.open(io.BytesIO(e.encoded_image_string)))) for e in shown]


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def scalars(folder):
    """Return the lines of scalars.csv without those about speed."""
    with (folder / "scalars.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    return [line for line in lines if "speed/" not in line[1] and line[1] != "images_per_second"]


@pytest.fixture
def first_batches(monkeypatch):
    """Copies of the micro-batches of all steps."""
    seen, call = [], TrainStep.__call__

    def spy(self, batches, *arguments):
        seen.append([batch._replace(images=batch.images.clone()) for batch in batches])
        return call(self, batches, *arguments)

    monkeypatch.setattr(TrainStep, "__call__", spy)
    return seen


def test_the_images_are_those_of_the_first_step(make_trainer, first_batches):
    trainer = make_trainer(*MIXED, "schedule.epochs=1")
    trainer.fit()
    ((step, shown),) = images(trainer.log.folder, "train/images")
    expected = pixels(trainer.log.images.display.train_grid(first_batches[0]))
    other = pixels(trainer.log.images.display.train_grid(first_batches[1]))
    assert step == 1 and shown.shape == expected.shape
    assert np.abs(shown - expected).mean() < 2  # JPEG
    assert np.abs(shown - other).mean() > 5


def test_a_run_is_the_same_with_and_without_them(make_trainer):
    one = make_trainer(*MIXED, "logger=[tensorboard,csv]", folder="a")
    other = make_trainer(*MIXED, "logger=[]", folder="b")
    other.log.images = None
    one.fit()
    other.fit()
    assert rows(one.log.folder) == rows(other.log.folder)
    assert_equal_states(one.model.state_dict(), other.model.state_dict())
    assert not any((other.log.folder / name).exists() for name in ("tensorboard", "mistakes"))


def test_the_mistakes_are_the_worst_of_the_evaluation(make_trainer):
    trainer = make_trainer("schedule.epochs=1", "optimizer.lr=0.5", "logger=csv")
    trainer.fit()
    dataset, model = trainer.val_loader.dataset, trainer.model.eval()
    samples = [dataset[0, index] for index in range(len(dataset))]
    with torch.no_grad():
        batch = torch.stack(
            [s.normalization(s.image) if s.normalization else s.image for s in samples]
        )
        logits = model(batch)
    targets = torch.tensor([sample.target for sample in samples])
    losses = F.cross_entropy(logits, targets, reduction="none")
    wrong = (logits.argmax(1) != targets).nonzero().flatten().tolist()
    worst = sorted(wrong, key=lambda index: -float(losses[index]))[:16]
    (folder,) = (trainer.log.folder / "mistakes").iterdir()
    index = json.loads((folder / "index.json").read_text())
    assert (index["epoch"], index["samples"], index["wrong"]) == (1, 20, len(wrong))
    mistakes = index["images"]
    assert [mistake["loss"] for mistake in mistakes] == pytest.approx(
        losses[worst].tolist(), rel=1e-5
    )
    names = dataset.source.class_names
    for mistake in mistakes:
        number = mistake["index"]
        assert mistake["label"] == names[targets[number]]
        assert mistake["prediction"] == names[logits[number].argmax()]
        with Image.open(folder / mistake["file"]) as image:
            assert image.size == (12, 12)
    pairs = json.loads((folder / "confusion.json").read_text())["pairs"]
    assert sum(pair["count"] for pair in pairs) == len(wrong)


def test_a_resumed_run_shows_what_an_uninterrupted_one_does(make_trainer):
    options = (*MIXED, "logger=[tensorboard,csv]", "trainer.log_every=2")
    whole = make_trainer(*options, folder="whole")
    whole.fit()
    make_trainer(*options, "trainer.max_steps=7", folder="cut").fit()
    cut = make_trainer(*options, folder="cut")
    cut.load_state_dict(read_checkpoint(cut.saver.store.last).content)
    cut.fit()
    one, other = whole.log.folder, cut.log.folder
    for tag, steps in (("train/images", [1]), ("val/mistakes", [5, 10])):
        shown = [images(folder, tag) for folder in (one, other)]
        assert [step for step, _ in shown[0]] == [step for step, _ in shown[1]] == steps
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(*shown, strict=True))
    assert scalars(one) == scalars(other)
    assert files(one / "mistakes") == files(other / "mistakes")
    best = max(whole.log.rows, key=lambda row: row["val_top1"])["epoch"]
    kept = {path.name for path in (one / "mistakes").iterdir()}
    assert kept == {"epoch-0002", f"epoch-{best:04d}"}


def test_tensorboard_has_the_configuration_and_can_compare_runs(make_trainer):
    trainer = make_trainer("schedule.epochs=1", "optimizer.lr=0.025")
    trainer.fit()
    board = events(trainer.log.folder)
    (text,) = board.Tensors("config/text_summary")
    assert b"      lr: 0.025" in text.tensor_proto.string_val[0]
    content = {
        tag: HParamsPluginData.FromString(
            board.SummaryMetadata(f"_hparams_/{tag}").plugin_data.content
        )
        for tag in ("experiment", "session_start_info")
    }
    settings = content["session_start_info"].session_start_info.hparams
    assert settings["optimizer.lr"].number_value == 0.025
    assert "output_dir" not in settings and "data.num_workers" not in settings
    (metric,) = content["experiment"].experiment.metric_infos
    (best,) = board.Scalars(metric.name.tag)
    assert best.value == pytest.approx(trainer.log.rows[0]["val_top1"])
    expected = {"speed/images_per_second", "speed/data_wait_percent", "speed/peak_memory_gb"}
    assert expected < set(board.Tags()["scalars"])


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        (torch.tensor(2), ["c"]),
        (torch.tensor([0.91, 0.03, 0.03, 0.03]), ["91 % a"]),
        (torch.tensor([0.0, 0.25, 0.0, 0.75]), ["75 % d", "25 % b"]),
        (torch.tensor([0.3, 0.6, 0.05, 0.05]), ["60 % b", "30 % a"]),
        (torch.tensor([0.4, 0.6]), ["60 % b", "40 % a"]),
        (torch.tensor([1.0]), ["100 % a"]),
    ],
)
def test_labels(target, lines):
    assert Display(["a", "b", "c", "d"]).describe_target(target) == lines


def test_hostile_names(tmp_path):
    count = len(HOSTILE)
    content = io.BytesIO()
    Image.new("L", (9, 5), 128).save(content, "JPEG")
    jpeg = content.getvalue()
    worst = [Mistake((-1.0, i), i, (i + 1) % count, 0.5, HOSTILE[i], jpeg) for i in range(count)]
    grid = Display(HOSTILE).mistakes_grid(worst, 1)
    assert grid.width < 2000 and grid.height < 2000
    confusion = torch.ones(count, count, dtype=torch.int64)
    write_mistakes(tmp_path, 3, 30, worst, confusion, HOSTILE)
    for path in (tmp_path / "mistakes" / "epoch-0003").glob("*.json"):
        assert json.loads(path.read_text()) and "\x1b" not in path.read_text()


def test_other_folders_are_not_deleted(tmp_path):
    for name in ("epoch-0001", "epoch-0002", "epoch-0003", "mine"):
        (tmp_path / "mistakes" / name).mkdir(parents=True)
    keep_mistakes(tmp_path, 3, None, 1)
    kept = {path.name for path in (tmp_path / "mistakes").iterdir()}
    assert kept == {"epoch-0001", "epoch-0003", "mine"}


def test_images_that_cannot_be_drawn_are_a_warning(make_trainer, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no font")

    monkeypatch.setattr(Display, "train_grid", fail)
    monkeypatch.setattr(Display, "mistakes_grid", fail)
    trainer = make_trainer()
    (trainer.log.folder / "mistakes").touch()
    assert trainer.fit() is not None
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning: " in line]
    assert len(lines) == 2 and sum("no font" in line for line in lines) == 1
