import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from rednet.config import (
    CONFIGS,
    SCHEMAS,
    Config,
    ConfigError,
    RedNetOptions,
    compose,
    compose_jobs,
    find_problems,
    legal_keys,
    to_yaml,
    validate,
)
from rednet.config.problems import leaves
from rednet.errors import InputError

EXPERIMENTS = sorted(
    path.relative_to(CONFIGS / "experiment").with_suffix("").as_posix()
    for path in (CONFIGS / "experiment").rglob("*.yaml")
)
ROOT = ["data.root=images"]  # which experiments on a folder of images need
MODELS = sorted(path.stem for path in (CONFIGS / "model").glob("rednet*.yaml"))


@pytest.fixture(autouse=True)
def _no_imagenet_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGENET_ROOT", raising=False)


@pytest.fixture(scope="module")
def default() -> dict[str, Any]:
    return dataclasses.asdict(compose("train"))


def changed(plain: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy with another value for the dotted key."""
    name, _, rest = key.partition(".")
    old = plain.get(name) or {}
    return {**plain, name: changed(old, rest, value) if rest else value}


def schema_keys(command: str) -> set[str]:
    legal = legal_keys(SCHEMAS[command])
    groups = {key.rpartition(".")[0] for key in legal}
    keys = {key for key in legal if key not in groups and ".options." not in key}
    return keys | ({"model.options"} & legal.keys())


def paths(group: str) -> Iterator[list[str]]:
    return ([f"{group}={path.stem}"] for path in sorted((CONFIGS / group).glob("*.yaml")))


@pytest.mark.parametrize("command", SCHEMAS)
def test_configs_and_schema_have_the_same_keys(command: str) -> None:
    chosen = ["model=rednet50"] if "model" in legal_keys(SCHEMAS[command]) else []
    composed = compose(command, chosen)
    keys = {
        leaf for name, item in dataclasses.asdict(composed).items() for leaf in leaves(name, item)
    }
    off = {"search", "debug"}  # groups without a choice have no keys
    known = {key for key in schema_keys(command) if key.partition(".")[0] not in off}
    assert keys - off == known - {"experiment"}


def test_a_search_has_the_keys_of_the_schema() -> None:
    file = OmegaConf.load(CONFIGS / "search/optuna.yaml")
    assert {f"search.{key}" for key in file} == {
        key for key in schema_keys("train") if key.startswith("search.")
    }


@pytest.mark.parametrize(
    "choice",
    [c for group in ("augment", "debug", "optimizer", "schedule", "trainer") for c in paths(group)],
)
def test_every_choice_is_legal(choice: list[str]) -> None:
    compose("train", choice)


@pytest.mark.parametrize("model", MODELS)
def test_models_carry_the_name_of_their_file(model: str) -> None:
    assert compose("train", [f"model={model}"]).model.name == model


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_are_legal_and_leave_the_model_to_the_user(experiment: str) -> None:
    composed = compose("train", [f"experiment={experiment}", "model=rednet152", *ROOT])
    assert composed.model.name == "rednet152"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_say_first_how_to_run_them(experiment: str) -> None:
    lines = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith(f"# python train.py experiment={experiment}")


def test_the_default_is_rednet50_on_imagenet() -> None:
    config = compose("train")
    assert (config.model.name, config.data.name, config.data.root) == ("rednet50", "imagenet", None)
    assert (config.trainer.clip_grad, config.trainer.clip_mode) == (5.0, "norm")


def test_imagenet_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGENET_ROOT", "/images")
    assert compose("train").data.root == "/images"
    assert compose("train", ["data.root=/others"]).data.root == "/others"


@pytest.mark.parametrize("model", ["rednet26", "rednet152"])
def test_paper_recipe(model: str) -> None:
    config = compose("train", ["experiment=paper", f"model={model}"])
    assert config.model.name == model
    assert config.model.options == {}
    assert dataclasses.asdict(config.optimizer) == {
        "name": "sgd",
        "lr": 0.8,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "decay_all": True,
        "lr_base_size": 2048,
        "backbone_lr_scale": None,
        "layer_decay": None,
    }
    schedule = config.schedule
    assert (schedule.name, schedule.epochs, schedule.step_on) == ("cosine", 130, "epoch")
    assert (schedule.warmup_epochs, schedule.warmup_start, schedule.min_lr) == (5, 0.25, 0)
    augment = config.augment
    assert (augment.scale, augment.ratio, augment.hflip) == ([0.08, 1], [3 / 4, 4 / 3], 0.5)
    assert (augment.label_smoothing, augment.color_jitter, augment.auto_augment) == (
        0.1,
        None,
        None,
    )
    assert (augment.random_erasing, augment.mixup, augment.cutmix) == (0, 0, 0)
    data = config.data
    assert (data.image_size, data.crop_pct, data.interpolation) == (224, 0.875, "opencv")
    assert (data.mean, data.std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert data.batch_size * 64 == 2048
    assert (config.trainer.clip_grad, config.trainer.ema_decay) == (None, None)
    trainer = config.trainer
    assert (trainer.precision, trainer.tf32, trainer.sync_bn) == ("fp32", False, False)
    typed = compose("train", ["experiment=paper", "data.interpolation=bilinear"])
    assert typed.data.interpolation == "bilinear"


def test_paper_recipe_does_not_fix_the_data() -> None:
    config = compose("train", ["experiment=paper", "data=fashion_mnist"])
    assert (config.data.name, config.data.batch_size) == ("fashion_mnist", 64)


def test_a_group_chosen_by_the_user_replaces_the_papers() -> None:
    config = compose("train", ["experiment=paper", "augment=none", "schedule=step"])
    assert config.augment.label_smoothing == 0
    assert (config.schedule.name, config.schedule.epochs) == ("step", 90)


@pytest.mark.parametrize("schedule", ["cosine", "paper"])
@pytest.mark.parametrize(
    ("epochs", "warmup"), [(1, 0.5), (4, 2), (9, 4.5), (10, 5), (11, 5), (130, 5)]
)
def test_the_default_warmup_follows_short_runs(schedule: str, epochs: int, warmup: float) -> None:
    config = compose("train", [f"schedule={schedule}", f"schedule.epochs={epochs}"])
    assert config.schedule.warmup_epochs == warmup
    assert yaml.safe_load(to_yaml(config))["schedule"]["warmup_epochs"] == warmup


@pytest.mark.parametrize(
    ("epochs", "milestones"),
    [(1, [1 / 3, 2 / 3, 8 / 9]), (45, [15, 30, 40]), (90, [30, 60, 80]), (100, [30, 60, 80])],
)
def test_the_default_milestones_follow_short_runs(epochs: int, milestones: list[float]) -> None:
    config = compose("train", ["schedule=step", f"schedule.epochs={epochs}"])
    assert config.schedule.milestones == pytest.approx(milestones)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_can_be_cut_to_one_epoch(experiment: str) -> None:
    config = compose("train", [f"experiment={experiment}", "schedule.epochs=1", *ROOT])
    assert config.schedule.warmup_epochs <= 1
    assert config.finetune.head_epochs == 0


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["schedule.epochs=3", "schedule.warmup_epochs=5"], "schedule.warmup_epochs: must be at m"),
        (
            ["schedule=step", "schedule.epochs=3", "schedule.milestones=[2,5]"],
            "schedule.milestones: must be increasing epochs below schedule.epochs (3), got [2.0",
        ),
        (["schedule.epochs=fast"], 'schedule.epochs: must be a whole number, got "fast"'),
        (["schedule.epochs=2.5"], "schedule.epochs: must be a whole number, got 2.5"),
        (["schedule.epochs=0"], "schedule.epochs: must be at least 1, got 0"),
        (["schedule.epochs=null"], "schedule.epochs: must be a whole number, got null"),
        (["schedule.epochs=[1,2]"], "schedule.epochs: must be a whole number, got [1, 2]"),
    ],
)
def test_what_the_user_gives_is_not_shortened(overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose("train", overrides)
    (problem,) = caught.value.problems
    assert problem.startswith(line)


def test_ablations_are_the_papers_recipe_and_combine() -> None:
    one, other = "ablation/kernel5", "ablation/group4"
    both = compose("train", [f"experiment=[{one},{other}]"])
    assert both.model.options == {"stem": "conv7", "kernel_size": 5, "group_channels": 4}
    assert both.trainer.clip_grad is None
    assert compose("train", [f"experiment={one}", "model=rednet26"]).model.name == "rednet26"


def test_a_text_stands_for_a_list_of_one() -> None:
    config = compose("visualize", ["figures=kernels", "layers=layer3.1", "images=folder"])
    assert (config.figures, config.layers) == (["kernels"], ["layer3.1"])
    assert config.images == ["folder"]


def test_evaluation_takes_the_model_from_the_checkpoint_unless_told() -> None:
    assert compose("evaluate").model is None
    assert compose("evaluate", ["model=null"]).model is None
    assert compose("evaluate", ["model=rednet50"]).model.name == "rednet50"
    assert compose("evaluate", ["model.name=resnet18"]).model.name == "resnet18"


@pytest.mark.parametrize("overrides", [[], ["experiment=smoke"], ["schedule=step"]])
def test_yaml_and_back(overrides: list[str]) -> None:
    config = compose("train", [*overrides, "model.options.width=1e-3", "output_dir='1e3'"])
    assert validate(yaml.safe_load(to_yaml(config))) == config


def test_whole_numbers_are_numbers(default: dict[str, Any]) -> None:
    rate = validate(changed(default, "optimizer.lr", 1)).optimizer.lr
    assert (rate, type(rate)) == (1.0, float)


WRONG = [
    ("seed", -1, "seed: must be at least 0, got -1"),
    ("seed", True, "seed: must be a whole number, got true"),
    ("output_dir", 5, "output_dir: must be text or null, got 5"),
    ("output_dir", "", "output_dir: must not be empty or null"),
    ("optimizer.lr", 0, "optimizer.lr: must be greater than 0, got 0"),
    ("optimizer.lr", "fast", 'optimizer.lr: must be a number, got "fast"'),
    ("optimizer.lr", float("nan"), "optimizer.lr: must be a finite number, got NaN"),
    ("optimizer.lr", None, "optimizer.lr: must be a number, got null"),
    ("optimizer.momentum", 1, "optimizer.momentum: must be less than 1, got 1"),
    ("optimizer", 0.1, "optimizer: must be a group of keys, got 0.1"),
    ("schedule.epochs", 2.5, "schedule.epochs: must be a whole number, got 2.5"),
    ("schedule.name", "cosin", 'schedule.name: must be cosine, step or constant, got "cosin"'),
    (
        "schedule.warmup_epochs",
        200,
        "schedule.warmup_epochs: must be at most schedule.epochs (130)",
    ),
    ("data.crop_pct", 1.5, "data.crop_pct: must be at most 1, got 1.5"),
    ("data.std", [0.2, 0, 0.2], "data.std[1]: must be greater than 0, got 0"),
    ("data.std", [0.2], "data.mean: must have as many numbers as data.std"),
    ("data.mean", [0.2, 0.2], "data.mean: must have 1 number (gray) or 3 (colour)"),
    ("data.mean", 0.2, "data.mean: must be a list, e.g. [1,2], got 0.2"),
    ("data.max_unreadable", None, "data.max_unreadable: must be a whole number, got null"),
    ("augment.scale", [0.9, 0.1], "augment.scale: must be [min,max] with min <= max"),
    ("augment.scale", [0, 1], "augment.scale[0]: must be greater than 0, got 0"),
    ("augment.hflip", 1.1, "augment.hflip: must be at most 1, got 1.1"),
    ("augment.label_smoothing", 1, "augment.label_smoothing: must be less than 1, got 1"),
    ("trainer.device", "gpu", "trainer.device: must be auto, cpu, cuda, cuda:1, mps or xpu"),
    ("trainer.compile", "yes", 'trainer.compile: must be true or false, got "yes"'),
    ("trainer.clip_grad", "off", 'trainer.clip_grad: must be a number or null, got "off"'),
    ("trainer.ema_decay", 1, "trainer.ema_decay: must be less than 1 or null, got 1"),
    ("model.options.kernel_size", 4, "model.options.kernel_size: must be odd, got 4"),
    ("model.options.kernel_size", 0, "model.options.kernel_size: must be at least 1 or null"),
    ("model.options.group_channels", 0, "must be layer or a whole number of at least 1"),
    ("model.options.layers", [1, 1], "model.options.layers: must have exactly 4 entries, one per"),
    ("model.options.layers", [1] * 5, "must have exactly 4 entries, one per stage, got [1, 1, 1"),
    ("model.options.layers", [1, 1, 0, 1], "model.options.layers[2]: must be at least 1"),
    ("model.options.involution_stages", [5], "model.options.involution_stages[0]: must be at most"),
    ("model.options.output_stride", 4, "model.options.output_stride: must be 8, 16 or 32 or null"),
    ("model.options.num_classes", 10, "model.options.num_classes: follows the data, leave it out"),
    ("model.options.in_chans", 1, "model.options.in_chans: follows the data, leave it out"),
    ("data.root", "???", "data.root: has no value, give one with data.root=..."),
    ("optimizer.lrr", 1, "unknown key 'optimizer.lrr': did you mean 'optimizer.lr'?"),
    ("optimiser.lr", 1, "unknown key 'optimiser.lr': did you mean 'optimizer.lr'?"),
    ("lr", 1, "unknown key 'lr': did you mean 'optimizer.lr'?"),
    ("trainer.batchsize", 1, "unknown key 'trainer.batchsize': did you mean 'data.batch_size'?"),
    ("width", 1, "unknown key 'width': did you mean 'model.options.width'?"),
    ("model.options.widht", 1, "unknown key 'model.options.widht': did you mean 'model.options.w"),
    (
        "optimizer.zzz",
        1,
        "the keys of optimizer are backbone_lr_scale, decay_all, layer_decay, lr, lr_base_size, mo",
    ),
    ("zzz.zzz", 1, "unknown key 'zzz.zzz': the keys are augment, checkpoint, data, debug"),
]


RENAMED = [
    ("trainer.accumulate", 2, "unknown key 'trainer.accumulate': it was renamed to 'trainer.grad_"),
    ("trainer.checkpoint_activations", True, "it was renamed to 'trainer.grad_checkpointing'"),
    ("trainer.max_updates", 2, "it was renamed to 'trainer.max_steps'"),
    ("optimizer.reference_batch", 256, "it was renamed to 'optimizer.lr_base_size'"),
    ("schedule.step_on", "update", 'got "update", which was renamed to step'),
]


@pytest.mark.parametrize(("key", "value", "line"), WRONG + RENAMED)
def test_wrong_values_and_keys(default: dict[str, Any], key: str, value: Any, line: str) -> None:
    problems = find_problems(changed(default, key, value))
    assert len(problems) == 1
    assert line in problems[0]
    with pytest.raises(InputError):
        validate(changed(default, key, value))


DECODE = ", which is text; ${oc.decode:${oc.env:NAME}} reads a value from a variable"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("optimizer.lr", "0.07", "must be a number"),
        ("optimizer.lr", "1e-3", "must be a number"),
        ("optimizer.lr", "1", "must be a number"),
        ("seed", "3", "must be a whole number"),
        ("trainer.tf32", "true", "must be true or false"),
        ("data.mean", "[0.5]", "must be a list, e.g. [1,2]"),
        ("data.mean", ["0.5"], "must be a number"),
        ("model.options.output_stride", "16", "must be 8, 16 or 32 or null"),
        (
            "model.options.group_channels",
            "4",
            "must be layer or a whole number of at least 1",
        ),
    ],
)
def test_text_that_reads_like_the_right_value(
    default: dict[str, Any], key: str, value: Any, expected: str
) -> None:
    (line,) = find_problems(changed(default, key, value))
    assert line.startswith(key)
    assert f": {expected}, got " in line
    assert line.endswith(DECODE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.lr", "fast"),
        ("optimizer.lr", "true"),
        ("optimizer.lr", "[1"),
        ("seed", "0.5"),
        ("trainer.tf32", "yes"),
        ("trainer.precision", "16"),
        ("trainer.device", "1"),
        ("data.mean", "0.5"),
        ("model.options.output_stride", "0.5"),
        ("model.options.group_channels", "stage"),
    ],
)
def test_text_that_decoding_would_not_mend(default: dict[str, Any], key: str, value: str) -> None:
    (line,) = find_problems(changed(default, key, value))
    assert "oc.decode" not in line


def test_decoding_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LR", "0.07")
    with pytest.raises(ConfigError) as caught:
        compose("train", ["optimizer.lr=${oc.env:LR,0.03}"])
    assert caught.value.problems == [f'optimizer.lr: must be a number, got "0.07"{DECODE}']
    decoded = ["optimizer.lr='${oc.decode:${oc.env:LR,0.03}}'"]
    assert compose("train", decoded).optimizer.lr == 0.07
    monkeypatch.delenv("LR")
    assert compose("train", decoded).optimizer.lr == 0.03


RIGHT = [
    ("trainer.device", "cuda:1"),
    ("trainer.precision", "fp16"),
    ("model.options.group_channels", "layer"),
    ("model.options.involution_stages", []),
    ("model.options.generator_options", {"softmax": True}),
    ("model.options.stem", None),
    ("data.num_workers", 0),
    ("augment.auto_augment", "rand-m9-mstd0.5"),
    ("schedule.milestones", [30]),
]


@pytest.mark.parametrize(("key", "value"), RIGHT)
def test_right_values(default: dict[str, Any], key: str, value: Any) -> None:
    assert isinstance(validate(changed(default, key, value)), Config)


@pytest.mark.parametrize("milestones", [[], [30, 20], [30, 30], [90], None])
def test_milestones_increase_within_the_epochs(milestones: list[int] | None) -> None:
    plain = dataclasses.asdict(compose("train", ["schedule=step"]))
    (line,) = find_problems(changed(plain, "schedule.milestones", milestones))
    assert line.startswith("schedule.milestones: must be increasing epochs below schedule.epochs")


def test_options_of_other_models_are_free(default: dict[str, Any]) -> None:
    plain = changed(changed(default, "model.name", "resnet50"), "model.options", {"stem_width": 32})
    assert validate(plain).model.options == {"stem_width": 32}


def test_everything_wrong_is_reported_at_once(default: dict[str, Any]) -> None:
    plain = default
    for key, value in (("seed", -1), ("optimizer.lrr", 1), ("data.root", "???"), ("zzz", {})):
        plain = changed(plain, key, value)
    plain = changed(plain, "model.options", {"widht": 1, "kernel_size": 4})
    plain["trainer"] = {k: v for k, v in plain["trainer"].items() if k != "log_every"}
    with pytest.raises(ConfigError) as caught:
        validate(plain)
    assert len(caught.value.problems) == 7
    assert str(caught.value).splitlines() == caught.value.problems
    assert "pydantic" not in str(caught.value)


def test_every_option_of_rednet_may_be_left_to_the_model() -> None:
    assert set(dataclasses.asdict(RedNetOptions()).values()) == {None}


@pytest.mark.parametrize(
    ("argv", "keys"),
    [
        (["model=rednet26", "data=fashion_mnist"], set()),
        (["experiment=paper"], {"schedule", "trainer.clip_grad"}),
        (["experiment=fashion_mnist"], {"model", "model.options.width", "data", "data.image_size"}),
        (["experiment=ablation/linear"], {"model", "model.options.stem", "trainer.clip_grad"}),
    ],
)
def test_the_keys_of_an_experiment_count_as_set_by_the_user(argv, keys):
    """Those of the files that it builds upon, too; the choices of defaults do not count."""
    composition = compose_jobs("train", argv)
    assert keys <= composition.experiment_keys
    assert bool(keys) == bool(composition.experiment_keys)
    assert composition.user_keys == composition.explicit_keys | composition.experiment_keys
    assert "defaults" not in composition.experiment_keys


def test_the_keys_of_a_configuration_of_the_users_own(tmp_path):
    (tmp_path / "mine.yaml").write_text("defaults: [train, _self_]\ndata: {image_size: 96}\n")
    (tmp_path / "experiment").mkdir()
    own = "# @package _global_\ndefaults: [{override /model: rednet38}]\ndata: {crop_pct: 1.0}\n"
    (tmp_path / "experiment" / "own.yaml").write_text(own)
    mine = compose_jobs("train", [], config_name="mine", folders=[tmp_path, CONFIGS])
    assert "data.image_size" in mine.experiment_keys
    jobs = ["experiment=own,fashion_mnist"]
    both = compose_jobs("train", jobs, folders=[CONFIGS, tmp_path], multirun=True)
    assert {"data.crop_pct", "data.image_size", "model"} <= both.experiment_keys
