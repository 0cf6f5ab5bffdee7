"""Any wrong input gives one clear line and exit code 2, no traceback, and writes nothing."""

import errno
import pickle
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import timm
import torch

from rednet.__main__ import main
from rednet.build.folders import run_folder
from rednet.errors import InputError
from rednet.runtime import Runtime

ROOT = Path(__file__).parents[2]
EVALUATE = ["data=fashion_mnist", "data.val_samples=10", "model=timm", "model.name=test_resnet"]


class Dangerous:
    def __reduce__(self):
        return (Path.touch, (Path("code-was-run"),))


def make_empty_file(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")  # its name is enough


LAYOUTS = {
    "empty": [],
    "file": ["file"],
    "flat": ["flat/0.png"],
    "text": ["text/cat/readme.txt"],
    "hole": ["hole/cat/0.png", "hole/dog/readme.txt"],
    "single": ["single/cat/0.png", "single/dog/0.png"],
    "more": ["more/Train/cat/0.png", "more/Train/elk/0.png", "more/dev/dog/0.png"],
    "alone": ["alone/data/cat/0.png"],
    "archive": ["archive/images.tar", "archive/labels.csv"],
    "trainless": ["trainless/val/n01440764/0.png"],
    "valless": ["valless/train/n01440764/0.png"],
    "emptyval": ["emptyval/train/n01440764/0.png", "emptyval/val/readme.txt"],
    "named": ["named/train/tench/0.png", "named/val/tench/0.png"],
    "strange": ["strange/train/n01440764/0.png", "strange/val/holiday.JPEG"],
}


@pytest.fixture
def layouts(work_folder):
    (work_folder / "empty").mkdir()
    for path in (work_folder / name for names in LAYOUTS.values() for name in names):
        make_empty_file(path)


DATA = [
    ("imagenet", None, "data=imagenet needs a folder: give data.root=FOLDER or set $IMAGENET_ROOT"),
    (
        "imagenet",
        "missing",
        "ImageNet folder missing does not exist: expected a folder with train/ and val/",
    ),
    ("imagenet", "file", "ImageNet folder file does not exist"),
    ("imagenet", "empty", "empty has no folder train: expected empty/train/<synset>/*.JPEG"),
    ("imagenet", "trainless", "trainless has no folder train"),
    ("imagenet", "valless", "valless has no folder val: expected valless/val/<synset>/*.JPEG or"),
    ("imagenet", "emptyval", "data folder emptyval/val has no class folders"),
    ("imagenet", "named", "named/train has folders that are not among the 1000 ImageNet synsets"),
    ("imagenet", "strange", "strange/val/holiday.JPEG is not among the 50,000 validation images"),
    ("image_folder", "missing", "data folder missing cannot be read: No such file or directory"),
    ("image_folder", "file", "data folder file is a file: expected a folder; unpack an archive"),
    ("image_folder", "empty", "data folder empty is empty: expected empty/<class>/<image>"),
    ("image_folder", "flat", "data folder flat has no class folders, only 1 .png: expected"),
    ("image_folder", "text", "class folders without images in text: cat (1 .txt); add"),
    ("image_folder", "hole", "class folders without images in hole: dog (1 .txt); add"),
    ("image_folder", "single", "single has one image in each class and none to validate with"),
    ("image_folder", "more", "classes in more/dev that the training images lack: dog"),
    ("image_folder", "alone", "alone/data has a single class, cat: expected a folder for each"),
    ("image_folder", "archive", "data folder archive has no class folders, only 1 .csv, 1 .tar:"),
    ("fashion_mnist", "missing", "data folder missing does not exist: expected a folder of IDX"),
    ("fashion_mnist", "empty", "data folder empty has neither train-images-idx3-ubyte nor"),
]


@pytest.mark.parametrize(
    ("data", "root", "line"), DATA, ids=[f"{data} {root}" for data, root, _ in DATA]
)
def test_data_folders(data, root, line, train_tiny, layouts):
    argv = [] if root is None else [f"data.root={root}"]
    assert train_tiny(f"data={data}", *argv).error.startswith(line)
    assert not Path("runs").exists()


def test_a_folder_of_the_user_stays_and_a_new_one_does_not(train_tiny, work_folder):
    (work_folder / "mine").mkdir()
    for folder in ("mine", "new/deep"):
        assert train_tiny("optimizer.name=sgdd", f"output_dir={folder}").code == 2
    assert [path.name for path in work_folder.iterdir()] == ["mine"]


SETTINGS = [
    (["model=rednet27"], "unknown choice 'model=rednet27': did you mean 'rednet26'?"),
    (["model.name=resnet51"], "model.name=resnet51: timm has no such model; did you mean resnet"),
    (["model.options.depth=3"], "model test_resnet with options {'depth': 3}: ResNet.__init__() "),
    (["optimizer.lrr=1"], "unknown key 'optimizer.lrr': did you mean 'optimizer.lr'?"),
    (["optimizer.lr=fast"], 'optimizer.lr: must be a number, got "fast"'),
    (["optimizer.lr=-1"], "optimizer.lr: must be greater than 0, got -1"),
    (["seed=99999999999999999999"], "seed: must be less than 9.22337e+18, got 999999999999999"),
    (["data.batch_size=0"], "data.batch_size: must be at least 1, got 0"),
    (["optimizer.name=sgdd"], "optimizer.name=sgdd: timm has no such optimizer; did you mean sgd"),
    (["optimizer.name=adahessian"], "optimizer.name=adahessian: needs second derivatives"),
    (["optimizer.name=fusedsgd"], "optimizer.name=fusedsgd: "),
    (
        ["data.batch_size=9"],
        "batch_size 9 x grad_accum_steps 1 x 1 process = 9 is more than the 8",
    ),
    (["data.train_samples=9"], "one batch per epoch has a single image, but this network cannot"),
    (
        ["trainer.grad_accum_steps=3"],
        "batch_size 4 x grad_accum_steps 3 x 1 process = 12 is more than",
    ),
    (["data.train_samples=10001"], "data.train_samples=10001: the data has only 10000 images"),
    (["data.val_samples=2001"], "data.val_samples=2001: the data has only 2000 images"),
    (["augment.auto_augment=best"], "auto_augment 'best' is not a policy of timm's: try rand-m9"),
    (["output_dir=file/run"], "output_dir=file/run: cannot be written: Not a directory"),
    (["output_dir=file"], "output_dir=file: cannot be written: File exists"),
    (["trainer.device=xpu"], "trainer.device=xpu: not available on this machine or in this"),
    (["trainer.device=gpu"], "trainer.device: must be auto, cpu, cuda, cuda:1, mps or xpu, got"),
    (
        ["trainer.sync_bn=true"],
        "trainer.sync_bn=true: PyTorch synchronises batch norm on GPUs only",
    ),
    (["checkpoint=missing.pt"], "checkpoint=missing.pt: no such file"),
    (["resume=missing.pt"], "resume=missing.pt: no such file"),
    (["optimizer.lr=1e30", "schedule.epochs=9", "trainer.clip_grad=null"], "step 2 (learning"),
    (["model.options.features_only=true"], "model test_resnet with these options gives no logits"),
    (["model.name=test_vit", "data.image_size=28"], "model test_vit fails on images of 1x28x28"),
]


@pytest.mark.parametrize(("argv", "line"), SETTINGS, ids=[argv[0] for argv, _ in SETTINGS])
def test_settings(argv, line, train_tiny):
    Path("file").touch()
    assert train_tiny(*argv).error.startswith(line)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_gpu_that_is_not_there(device, train_tiny, evaluate, trained):
    line = f"trainer.device={device}: this machine has 0 CUDA devices; trainer.device=cpu works"
    assert train_tiny(f"trainer.device={device}").error.startswith(line)
    argv = [*EVALUATE, f"checkpoint={trained}/checkpoints/last.pt", f"trainer.device={device}"]
    assert evaluate(*argv).error.startswith(line)


REDNET = [
    (["model.options.kernel_size=4"], "model.options.kernel_size: must be odd"),
    (["model.options.group_channels=7"], "model rednet26 with options {'group_channels': 7}: "),
    (["model.options.generator_options={softmax: true}"], "model rednet26 with options {'gener"),
    (["model.options.norm_layer=batch"], "model rednet26 with options {'norm_layer': 'batch'}: "),
    (["model.options.num_classes=3"], "model.options.num_classes: follows the data, leave it out"),
    (["model.options.act_layer=relux"], "model rednet26 with options {'act_layer': 'relux'}: "),
]


@pytest.mark.parametrize(("argv", "line"), REDNET, ids=[argv[0] for argv, _ in REDNET])
def test_options_of_rednet(argv, line, train):
    sizes = ["data.train_samples=4", "data.val_samples=4", "data.batch_size=4"]
    fixed = ["trainer.device=cpu", "trainer.max_steps=1", "data.num_workers=0"]
    done = train("model=rednet26", "data=fashion_mnist", *sizes, *fixed, *argv)
    assert done.error.startswith(line)


def save_unsafe(path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Dangerous()}, path)


def save_pickle(path):
    path.write_bytes(pickle.dumps(Dangerous()))


def save_truncated(path):
    torch.save(network(), path)
    path.write_bytes(path.read_bytes()[:-1000])


def network(**options):
    options = {"num_classes": 10, "in_chans": 1, **options}
    name = options.pop("name", "test_resnet")
    return timm.create_model(name, **options).state_dict()


def saving(**options):
    return lambda path: torch.save(network(**options), path)


DAMAGED = "damaged, truncated or not a checkpoint"
UNSAFE = "cannot be loaded safely: it contains "
CHECKPOINTS = [
    (lambda path: path.mkdir(), "is a folder, not a file"),
    (lambda path: path.write_bytes(b""), DAMAGED),
    (lambda path: path.write_text("hello world\n"), DAMAGED),
    (save_truncated, DAMAGED),
    (save_unsafe, UNSAFE),
    (save_pickle, UNSAFE),
    (lambda path: torch.save(timm.create_model("test_resnet"), path), UNSAFE),
    (lambda path: torch.save({"epoch": 3}, path), "contains no state dict"),
    (lambda path: torch.save([torch.ones(1)], path), "contains no state dict"),
    (lambda path: torch.save({"state_dict": {"fc.bias": 3}}, path), "contains no state dict"),
    (
        saving(name="test_efficientnet"),
        "does not fit this network: 87 missing (conv1.0.weight, conv1.1",
    ),
]


@pytest.mark.parametrize(("save", "line"), CHECKPOINTS)
def test_checkpoints(save, line, train_tiny, evaluate, work_folder):
    save(work_folder / "file.pt")
    expected = f"checkpoint=file.pt: {line}"
    assert train_tiny("checkpoint=file.pt").error.startswith(expected)
    assert evaluate(*EVALUATE, "checkpoint=file.pt").error.startswith(expected)
    assert [path.name for path in work_folder.iterdir()] == ["file.pt"]


def test_what_evaluation_needs_and_does_not_use(evaluate, trained):
    last = f"checkpoint={trained}/checkpoints/last.pt"
    assert evaluate(*EVALUATE).error == "checkpoint=FILE is needed: the weights to evaluate"
    assert evaluate(*EVALUATE, last, "optimizer.lr=1").error == (
        "optimizer.lr: this command does not use it"
    )
    assert evaluate(*EVALUATE[:2], last, "model=rednet26").error == (
        f"{last} is for test_resnet, not for rednet26"
    )


def test_classes_that_differ_from_the_data(evaluate, trained, make_images):
    last = f"checkpoint={trained}/checkpoints/last.pt"
    names = [f"class{number}" for number in range(10)]
    root = make_images("ten", names, 2)
    assert evaluate("data=image_folder", f"data.root={root}", last).error == (
        f"{last} has no classes class0, class1, class2, class3, class4 and 5 more; it has 10 "
        "classes: T-shirt/top, Trouser, Pullover, Dress, Coat and 5 more"
    )
    torch.save(network(num_classes=7), "seven.pt")
    assert evaluate(*EVALUATE, "checkpoint=seven.pt").error == (
        "checkpoint=seven.pt: its classifier has 7 classes, the data 10: evaluate it on data "
        "with the same classes"
    )


def test_pretrained_weights_without_internet(train_tiny, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    error = train_tiny("model.options.pretrained=true").error
    assert error.startswith("model test_resnet with options {'pretrained': True}: ")


PROGRAMS = [
    [str(ROOT / "train.py")],
    ["-m", "rednet", "train"],
    [str(ROOT / "scripts" / "evaluate.py")],
    ["-m", "rednet", "evaluate"],
]


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_programs_end_with_code_2_and_no_traceback(program, work_folder):
    command = [sys.executable, *program, "data=fashion_mnist", "data.rooot=x"]
    done = subprocess.run(command, capture_output=True, text=True)
    line = "error: unknown key 'data.rooot': did you mean 'data.root'?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    assert list(work_folder.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_mistakes_that_are_found_after_torch_is_loaded(command, fresh_python, work_folder):
    printed = fresh_python(f"""
import runpy, sys
sys.argv[1:] = ["{command}", "data=fashion_mnist", "trainer.device=cpu", "checkpoint=missing.pt"]
sys.stderr = sys.stdout
try:
    runpy.run_module("rednet", run_name="__main__")
except SystemExit as end:
    print(end.code)
""")
    assert printed == "error: checkpoint=missing.pt: no such file\n2\n"
    assert list(work_folder.iterdir()) == []


USAGE = (
    "usage: python -m rednet [--version] "
    "{train,evaluate,predict,convert-weights,export,info,doctor,report,paper-tables,visualize,"
    "build-kernels,prepare-imagenet,make-shards,launch-table,submit} [arguments]"
)
VERSIONS = f"rednet {version('rednet')}, torch {version('torch')}"


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["tarin"], 2, f"error: unknown command 'tarin'; {USAGE}\n"),
        (["--help"], 0, f"{USAGE}\n"),
        ([], 0, f"{USAGE}\n"),
        (["--version"], 0, f"{VERSIONS}\n"),
        (["train", "--version"], 0, f"{VERSIONS}\n"),
        (["paper_tables", "seed=3", "--version"], 0, f"{VERSIONS}\n"),
        (["launch_table", "--version"], 0, f"{VERSIONS}\n"),
        (["make-shards"], 2, "error: the following arguments are required: folder, overrides\n"),
    ],
)
def test_the_name_of_a_command(argv, code, text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rednet", *argv])
    assert main() == code
    assert "".join(capsys.readouterr()) == text


def test_underscores_in_the_name_of_a_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rednet", "convert_weights"])
    assert main() == 2
    assert "is needed" in capsys.readouterr().err


def test_a_disk_that_is_full(tmp_path):
    with (
        pytest.raises(InputError, match=r"output_dir=.*: cannot be written: No space left"),
        run_folder(str(tmp_path / "new"), "label", Runtime()),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not (tmp_path / "new").exists()
