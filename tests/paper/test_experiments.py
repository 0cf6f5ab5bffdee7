"""The ablation experiments: the paper's recipe with the networks of the tables."""

import dataclasses

import pytest
import timm
import torch

from rednet.config import CONFIGS, compose
from rednet.models.variants import network_label
from rednet.paper.ablations import (
    ablations,
    compare_with_stem,
    convolution_macs,
    table1_flops,
)
from rednet.paper.networks import Network, network_from_options, resnet

ROWS = {row.experiment: row for row in ablations()}


def test_each_experiment_is_a_row_of_a_table():
    files = {f"ablation/{path.stem}" for path in (CONFIGS / "experiment/ablation").iterdir()}
    assert files == ROWS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_the_recipe_is_that_of_the_paper(name):
    ours, paper = (compose("train", [f"experiment={choice}"]) for choice in (name, "paper"))
    assert dataclasses.replace(ours, model=paper.model) == paper


@pytest.mark.parametrize("name", ROWS)
def test_the_network_is_that_of_the_table(name):
    model = compose("train", [f"experiment={name}"]).model
    assert network_from_options(model.name, model.options) == ROWS[name].network
    with torch.device("meta"):
        built = timm.create_model(model.name, **model.options)
    count = sum(weight.numel() for weight in built.parameters())
    assert count == ROWS[name].network.complexity().parameters


@pytest.mark.parametrize("name", ROWS)
def test_the_header_states_the_command_and_the_published_results(name):
    lines = (CONFIGS / "experiment" / f"{name}.yaml").read_text().splitlines()
    published = ROWS[name].published
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith(f"# python train.py experiment={name} ")
    results = (
        f"top-1 {published.top1} %, {published.parameters} M parameters, {published.flops} G FLOPs"
    )
    assert f"# Published: {results}." in lines


def test_the_baseline_names_both_explanations_of_its_stem():
    header = " ".join((CONFIGS / "experiment/ablation/baseline.yaml").read_text().split("\n# "))
    ours, other = (
        sum(item.is_reproduced for item in compare_with_stem(stem, count))
        for stem, count in (("conv7", table1_flops), ("involution3", convolution_macs))
    )
    assert (ours, other) == (18, 19)
    assert f"ResNet's stem, conv7, {ours} of them are reproduced" in header
    assert f"The other explanation scores {other}: the released 3x3 stem" in header
    choice = compose("train", ["experiment=ablation/baseline", "model.options.stem=involution3"])
    assert network_from_options(choice.model.name, choice.model.options) == Network(50)


def test_the_command_line_overrides_an_experiment():
    config = compose("train", ["experiment=ablation/kernel3", "model=rednet26", "schedule=step"])
    assert (config.model.name, config.schedule.name) == ("rednet26", "step")
    assert config.model.options == {"stem": "conv7", "kernel_size": 3}


RESNETS = {26: 13_696_552, 38: 19_626_792, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize("depth", RESNETS)
def test_the_papers_resnets_train_by_the_recipe_of_the_rednets(depth):
    ours, paper = (compose("train", ["experiment=paper", f"model={name}"]) for name in names(depth))
    assert dataclasses.replace(ours, model=paper.model) == paper
    network = network_from_options(ours.model.name, ours.model.options)
    assert network == resnet(depth)
    assert network.complexity().parameters == RESNETS[depth]
    labels = [network_label(model.name, model.options) for model in (ours.model, paper.model)]
    assert labels == names(depth)


def names(depth):
    return [f"resnet{depth}", f"rednet{depth}"]
