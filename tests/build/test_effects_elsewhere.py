"""The keys of the commands other than train: used, refused by name, or ruled by the others."""

from pathlib import Path

import pytest
import timm
import torch
from run_plan import digest, network, save_images, with_value

from rednet.build.evaluation import build_evaluation
from rednet.build.model import place_model
from rednet.build.prediction import build_prediction, build_stream, find_paths, open_files
from rednet.build.visualization import build_inputs, network_writers, plain_writers
from rednet.commands.evaluate import TRAINING_ONLY
from rednet.commands.predict import UNUSED as UNUSED_BY_PREDICT
from rednet.commands.visualize import ALL, UNUSED
from rednet.config import SCHEMAS, compose, legal_keys, validate
from rednet.config.data_effects import KEYS_OF_SOME_DATA
from rednet.config.effects import idle_keys
from rednet.data import ImageDataset, eval_transform
from rednet.data.not_read import NotRead
from rednet.runtime import Runtime, set_numerics
from rednet.training.schedule import Schedule
from rednet.weights import read_checkpoint

PREPROCESSING = {
    "data.crop_pct": 0.5,
    "data.image_size": 40,
    "data.interpolation": "nearest",
    "data.mean": [0.1, 0.2, 0.3],
    "data.std": [0.1, 0.2, 0.3],
}
READING = {
    "data.batch_size": 3,
    "data.class_order": "natural",
    "data.max_pixels": 1000,
    "data.max_worker_restarts": 3,
    "data.num_workers": 1,
    "data.on_unreadable": "skip",
    "data.split": "train",
    "data.timeout": 5.0,
    "data.val_fraction": 0.5,
    "data.val_samples": 1,
    "seed": 5,
}
DEVICE = {
    "trainer.channels_last": False,
    "trainer.deterministic": True,
}
ARITHMETIC = {"trainer.log_every": 3, "trainer.precision": "bf16"}
TEST_TIME = {"tta": "hflip"}
SCHEDULE = {
    "lr": 0.1,
    "steps_per_epoch": 7,
    "schedule.epochs": 4,
    "schedule.gamma": 0.5,
    "schedule.milestones": [1],
    "schedule.min_lr": 0.001,
    "schedule.step_on": "step",
    "schedule.warmup_epochs": 1.0,
    "schedule.warmup_start": 0.5,
}
FIGURES = {
    "groups": 1,
    "layers": ["stem"],
    "max_images": 2,
    "max_rows": 1,
    "overlay": 0.5,
    "shared_scale": True,
    "smooth": False,
}
ELSEWHERE = {
    *("checkpoint", "checkpoints", "figures", "images", "output_dir", "predictions", "runs"),
    *("data.name", "data.root", "data.max_pixels", "schedule.name"),
    *("trainer.device", "trainer.tf32", "trainer.timeout", "trainer.optimize"),
    *KEYS_OF_SOME_DATA,
}
"""Keys with tests of their own."""

LOADING = ("batch_size", "max_pixels", "max_worker_restarts", "num_workers", "timeout")
PREDICTION = {"features": True, "sheet_images": 2, "top_k": 1}

KEYS = {
    "evaluate": {**PREPROCESSING, **READING, **DEVICE, **ARITHMETIC, **TEST_TIME},
    "paper_tables": {**PREPROCESSING, **READING, **DEVICE, **ARITHMETIC},
    "predict": {
        **PREPROCESSING,
        **DEVICE,
        **ARITHMETIC,
        **TEST_TIME,
        **PREDICTION,
        **{f"data.{key}": READING[f"data.{key}"] for key in LOADING},
    },
    "visualize": {**PREPROCESSING, **DEVICE, **SCHEDULE, **FIGURES},
}
REFUSED = {
    "evaluate": TRAINING_ONLY,
    "paper_tables": (*TRAINING_ONLY, "data.val_fraction"),
    "predict": UNUSED_BY_PREDICT,
    "visualize": UNUSED,
}


@pytest.mark.parametrize("command", KEYS)
def test_every_key_is_tried_or_refused_by_name(command):
    legal = {key for key in legal_keys(SCHEMAS[command]) if not key.startswith("model")}
    groups = {key.rpartition(".")[0] for key in legal}
    known = KEYS[command].keys() | ELSEWHERE | set(REFUSED[command])
    assert legal - groups <= known


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six images of each of two classes, and the weights of two networks."""
    root = tmp_path_factory.mktemp("work")
    save_images(root / "images", ("day9", "day10"), 6)  # text order has 10 first, natural order 9
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), root / "resnet.pt")
    small = timm.create_model("rednet26", width=0.25, layers=(1, 1, 1, 1), num_classes=2)
    torch.save(small.state_dict(), root / "rednet.pt")
    return root


@pytest.fixture(autouse=True)
def _restore(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("IMAGENET_ROOT", raising=False)
    yield
    set_numerics(deterministic=False, tf32=False)
    torch.backends.cudnn.benchmark = False


def assert_effect_or_refusal(command, argv, plan, keys):
    config = compose(command, argv)
    before = plan(config, set())
    assert plan(config, set()) == before
    wrong = []
    for key, value in keys.items():
        plain = with_value(config, key, value)
        is_refused = bool(idle_keys(command, plain, {key}))
        has_effect = plan(validate(plain, SCHEMAS[command]), {key}) != before
        if is_refused == has_effect:
            wrong.append(key)
    assert not wrong


def runtime_of(trainer):
    return Runtime(precision=trainer.precision, channels_last=trainer.channels_last), (
        trainer.precision,
        trainer.deterministic,
        trainer.log_every,
    )


def evaluation_plan(config, keys):
    runtime, rest = runtime_of(config.trainer)
    checkpoint = read_checkpoint(config.checkpoint)
    setup = build_evaluation(checkpoint, config.model, config.data, config.seed, keys)
    dataset = ImageDataset(setup.source, eval_transform(setup.preprocessing))
    data, samples = config.data, [(0, index) for index in range(len(dataset))]
    return (
        network(place_model(setup.model, config.trainer, runtime)),
        (data.batch_size, data.num_workers, data.on_unreadable, data.max_pixels),
        (data.timeout, data.max_worker_restarts),
        [(item.target, digest(item.image)) for item in map(dataset.__getitem__, samples)],
        dataset.transform.normalization,
        (config.tta, rest),
    )


def test_keys_of_evaluate():
    argv = ["checkpoint=resnet.pt", "model=timm", "model.name=test_resnet", "data=image_folder"]
    given = ["data.root=images", "data.class_order=text", "data.image_size=32"]
    assert_effect_or_refusal("evaluate", [*argv, *given], evaluation_plan, KEYS["evaluate"])


def prediction_plan(config, keys):
    """Everything that was built, and the names and the first lines of the files."""
    runtime, rest = runtime_of(config.trainer)
    setup = build_prediction(config, keys, runtime)
    folder = Path("predictions")
    folder.mkdir(exist_ok=True)
    stream = build_stream(setup, None, runtime)
    loader = stream.load(list(find_paths(setup, folder, NotRead())))
    dataset, keys_of_batches = loader.dataset, list(loader.sampler)
    with open_files(setup, folder) as writers:
        head = (len(writers), len(setup.labels))
    return (
        network(setup.predictor.model),
        (loader.num_workers, loader.timeout, loader.max_restarts, dataset.source.max_pixels),
        (stream.top_k, stream.features),
        [[digest(dataset[key].image) for key in batch] for batch in keys_of_batches],
        dataset.transform.normalization,
        (head, (folder / "predictions.csv").read_text()),
        (setup.predictor.tta, setup.config.sheet_images, rest),
    )


def test_keys_of_predict():
    argv = ["checkpoint=resnet.pt", "model=timm", "model.name=test_resnet", "images=images"]
    size = ["data.image_size=32", "data.batch_size=2"]
    assert_effect_or_refusal("predict", [*argv, *size], prediction_plan, KEYS["predict"])


def visualization_plan(config, keys):
    runtime, (_, deterministic, _) = runtime_of(config.trainer)
    writers = plain_writers(config, ALL)
    inputs = build_inputs(config, keys, runtime)
    writers |= network_writers(inputs, ALL)
    return deterministic, {name: described(write) for name, write in writers.items()}


def described(write):
    """A figure's function with its arguments."""
    arguments = (*getattr(write, "args", ()), *getattr(write, "keywords", {}).items())
    return [describe_argument(argument) for argument in arguments]


def describe_argument(argument):
    match argument:
        case torch.nn.Module():
            return network(argument)
        case Schedule():
            return [argument.lr_at(step) for step in range(argument.total_steps)]
        case ("layers", layers):
            return list(layers)
        case _ if hasattr(argument, "inputs"):
            return argument.names, digest(argument.inputs)
    return argument


def test_keys_of_visualize():
    argv = ["checkpoint=rednet.pt", "images=images", "data.image_size=32"]
    length = ["schedule.epochs=3", "steps_per_epoch=5"]
    keys = KEYS["visualize"]
    assert_effect_or_refusal("visualize", [*argv, *length], visualization_plan, keys)


@pytest.mark.parametrize("schedule", ["step", "constant"])
def test_keys_of_a_drawn_schedule(schedule):
    argv = [f"schedule={schedule}", "schedule.epochs=3", "steps_per_epoch=5"]
    assert_effect_or_refusal("visualize", argv, schedule_plan, SCHEDULE)


def schedule_plan(config, keys):
    return described(plain_writers(config, ["schedule"])["schedule"])
