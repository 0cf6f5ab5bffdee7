"""Describe files of every kind."""

import argparse
import json
import pickle

import pytest
import timm
import torch
from foreign_names import openmmlab_names, paddle_arrays
from safetensors.torch import save_file

import rednet
from rednet import commands
from rednet.label_rows import format_rows

OPTIONS = {"width": 0.25, "layers": [1, 1, 1, 1]}
HOSTILE = "a\nerror: FORGED\x1b[31m\u202e"


@pytest.fixture
def info(capsys):
    """Describe a file with the given overrides; return the rows by label, or the error line."""

    def run(*argv):
        capsys.readouterr()
        code = commands.info(list(argv))
        out, err = capsys.readouterr()
        if code:
            (line,) = err.splitlines()
            assert (code, out) == (2, "")
            return line
        assert err == "" and all(line.isprintable() for line in out.splitlines())
        rows, label = {}, ""
        width = out.index(argv[0].removeprefix("checkpoint="))
        for line in out.splitlines():
            label = line[:width].strip() or label
            rows[label] = f"{rows.get(label, '')}|{line[width:]}".removeprefix("|")
        return rows

    return run


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return dict(timm.create_model("rednet26", num_classes=7, **OPTIONS).state_dict())


def save_openmmlab(weights):
    meta = {"epoch": 130, "CLASSES": [HOSTILE, *"bcdefg"]}
    torch.save({"meta": meta, "state_dict": openmmlab_names(weights)}, "weights")


def save_paddle(weights):
    with open("weights", "wb") as file:
        pickle.dump(paddle_arrays(weights), file)


def save_timm(weights):
    args = argparse.Namespace(lr=0.5, img_size=32, model_kwargs=OPTIONS)
    state = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []}
    content = {"arch": "rednet26", "args": args, "metric": 75.5, "epoch": 3, "optimizer": state}
    torch.save({**content, "state_dict": weights, "state_dict_ema": weights}, "weights")


KINDS = {
    save_openmmlab: ("OpenMMLab", r"7: a\nerror: FORGED\x1b[31m\u202e, b, c, d, e and 2 more"),
    save_paddle: ("PaddleClas or ppim", "7, without names"),
    save_timm: ("training checkpoint of timm", "7, without names"),
    lambda weights: save_file(weights, "weights"): ("safetensors of another", "7, without names"),
    lambda weights: torch.save(weights, "weights"): ("state dict", "7, without names"),
}


@pytest.mark.parametrize("save", KINDS)
def test_files_of_other_programs(save, weights, info):
    save(weights)
    rows = info("checkpoint=weights")
    kind, classes = KINDS[save]
    assert rows["kind"].startswith(kind)
    assert rows["network"] == "rednet50, inferred from the tensors"
    assert rows["options"] == "width=0.25, layers=[1, 1, 1, 1]"
    assert rows["parameters"] == "337,655"
    assert rows["classes"] == classes
    assert "the network's name" in rows["not in the file"]
    if save is save_timm:
        assert rows["images"].startswith("image_size=32, crop_pct=0.875, interpolation=bilinear")
        assert rows["FLOPs"].endswith("multiply-adds for an image of 3x32x32")
        assert "not used|state_dict_ema: " in rows["weights"]
        assert rows["optimizer"] == "optimizer: momentum_buffer of 1 parameter, 12 B"
        assert "metric=75.5, epoch=3, args.lr=0.5" in rows["values"]
    else:
        assert rows["images"] == "unknown: the file does not say how they are prepared"
        assert rows["FLOPs"].endswith("3x224x224, a size that the file does not say")


def test_a_run(trained, info, capsys):
    file = trained / "checkpoints" / "last.pt"
    rows = info(f"checkpoint={file}")
    assert rows["network"] == "test_resnet, named in the file"
    assert rows["classes"].startswith("10: T-shirt/top, Trouser, ")
    assert rows["metrics"].startswith("epoch=2, global_step=4, lr=0.078125, train_loss=")
    assert rows["training"] == "epoch=2, global_step=4, optimizer_steps=4, step_in_epoch=0"
    assert rows["optimizer"].startswith("train_state.optimizer: momentum_buffer of ")
    assert rows["resume"] == "yes, by train.py"
    assert rows["data"] == "fashion_mnist: 10000 train images, 2000 val images"
    assert rows["config"].startswith("model, data, augment, loss, optimizer, ")
    assert rows["not in the file"] == "averaged weights"
    commands.info([f"checkpoint={file}", "format=json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"]["bytes"] == file.stat().st_size
    assert len(facts["classes"]["names"]) == 10
    assert facts["config"]["data"]["train_samples"] == 8
    assert facts["training"]["resumable"] is True
    best = trained / "checkpoints" / "best.pt"
    assert info(f"checkpoint={trained}").endswith(f"; the best epoch of this run is {best}")


def test_a_network_that_is_unknown_until_it_is_named(info):
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), "weights")
    rows = info("checkpoint=weights")
    assert rows["network"].startswith("unknown: no RedNet, and the file does not name a network")
    assert rows["parameters"].startswith("unknown; the weights have ")
    rows = info("checkpoint=weights", "model=timm", "model.name=test_resnet")
    assert rows["network"] == "test_resnet, as model=... says"
    assert rows["images"].endswith("(timm's configuration of the network)")
    line = info("checkpoint=weights", "model=rednet26")
    assert line.startswith("error: checkpoint=weights: does not fit this network: ")


def test_a_description_that_does_not_fit_its_tensors(weights, info, capsys):
    network = {"name": "rednet26", "options": {**OPTIONS, "width": float("inf")}}
    data = {"name": "x", "train": None, "val": None, "more": torch.ones(1)}
    content = {"format": "rednet-2", "model": network, "data": data, "class_names": [HOSTILE]}
    torch.save({**content, "state_dict": weights, "metrics": {"epoch": 10**30}}, "weights")
    assert info("checkpoint=weights")["problem"].endswith("above 1,000,000, or a reference")
    commands.info(["checkpoint=weights", "format=json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["network"]["options"]["width"] is facts["metrics"]["epoch"] is None


def test_mistakes(info, work_folder):
    (work_folder / "text").write_text("no weights")
    assert info() == "error: checkpoint=FILE is needed: the file to describe"
    assert info("checkpoint=nowhere") == "error: checkpoint=nowhere: no such file"
    assert info("checkpoint=text").endswith("damaged, truncated or not a checkpoint")
    line = info("checkpoint=.")
    assert line.startswith("error: checkpoint=.: is a folder, not a file; only one with model.saf")


def test_rows_fit_the_terminal():
    rows = [("network", "rednet26 of quarter width"), ("note", "a"), ("note", "b\x1b c" * 9)]
    assert format_rows(rows, None)[:2] == ["network  rednet26 of quarter width", "note     a"]
    for width in (40, 70):
        lines = format_rows(rows, width)
        assert all(len(line) <= width and line.isprintable() for line in lines)
    assert format_rows(rows, 20)[:4] == ["network", "  rednet26 of", "  quarter width", "note"]


def test_a_folder_for_the_hub(info):
    network = timm.create_model("rednet26", num_classes=3, **OPTIONS)
    rednet.save_for_hub(network, "hub", class_names=["cat", "dog", "Hölle"])
    rows = info("checkpoint=hub")
    assert rows["network"] == "rednet26, named in the file"
    assert rows["classes"] == "3: cat, dog, Hölle"
    assert "metrics" in rows["not in the file"] and "values" not in rows
