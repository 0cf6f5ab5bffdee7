"""The ablation experiments: the paper's recipe with the networks of the tables."""

import dataclasses

import pytest
import timm
import torch

from rednet.config import CONFIGS, compose
from rednet.paper.ablations import ablations
from rednet.paper.networks import network_from_options

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


def test_the_command_line_overrides_an_experiment():
    config = compose("train", ["experiment=ablation/kernel3", "model=rednet26", "schedule=step"])
    assert (config.model.name, config.schedule.name) == ("rednet26", "step")
    assert config.model.options == {"stem": "conv7", "kernel_size": 3}
