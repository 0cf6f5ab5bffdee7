"""The benchmark on a GPU: what is computed there is tested here without one."""

import json
from functools import partial

import pytest
import torch
from benchmark_results import TINY, run_benchmark
from torch import nn

from benchmarks import cli, gpu, operator
from benchmarks.ceilings import Multiplier, make_copier
from benchmarks.gpus import GPUS
from benchmarks.layers import layers_of
from benchmarks.operator_case import OperatorCase
from benchmarks.turns import take_turns

CPU = torch.device("cpu")
OPERATOR = ["operator", "--layer", "stage3-first", "--precision", "fp32", "--backend", "reference"]


@pytest.fixture
def case():
    return OperatorCase(layers_of(64)["stage3-first"], "fp32", 2, CPU, 1)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The CPU takes a GPU's place, without graphs."""
    monkeypatch.setattr(gpu, "applies", lambda device: True)
    monkeypatch.setattr(gpu, "take_turns_in_graphs", take_turns)
    monkeypatch.setattr(gpu, "make_peak_copy", partial(make_copier, 2**20))
    monkeypatch.setattr(gpu, "PEAK_BYTES", 2**20)
    # The other process, which measures memory, takes most of the time.
    monkeypatch.setattr(operator, "in_own_process", lambda *arguments: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")


def test_the_convolution_is_of_the_same_width(case):
    forward, both = gpu.make_convolution(case).values()
    output = forward()
    assert output.shape == (2, *case.layer.output_shape)
    assert output.is_contiguous(memory_format=torch.channels_last)
    to_input, to_kernel = both()
    assert to_input.shape == (2, *case.layer.input_shape)
    assert to_kernel.shape == nn.Conv2d(case.layer.channels, case.layer.channels, 3).weight.shape


def test_the_roofline(case, monkeypatch):
    """Whichever of memory and arithmetic takes longer."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    second = Multiplier(lambda: None, case.layer.operations(2), "by hand")
    slow_memory = {"peak copy": [2 * gpu.PEAK_BYTES / case.bytes_moved], "fma": [1.0]}
    found = gpu.describe_gpu(case, "forward", second, {**slow_memory, "conv3x3": [3.0]})
    assert found["roofline_ms"] == pytest.approx(2000)
    assert (found["roofline_binds"], found["datasheet_gbs"]) == ("memory", 3350)
    slow_arithmetic = {"peak copy": [2 * gpu.PEAK_BYTES / case.bytes_moved], "fma": [5.0]}
    found = gpu.describe_gpu(case, "forward+backward", second, {**slow_arithmetic, "conv3x3": [3]})
    assert found["roofline_ms"] == pytest.approx(3 * 5000)
    assert found["roofline_binds"] == "fma"
    own = gpu.compare([20.0], found, [30.0], int(3350e9))
    assert own["roofline_share"] == pytest.approx(15 / 20)
    assert own["datasheet_share"] == pytest.approx(1 / 20)
    assert own["speedup_over_conv3x3"] == pytest.approx(1.5)


def test_a_gpu_whose_datasheet_is_not_known(case, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tomorrow's")
    assert gpu.datasheet_gbs(CPU) is None
    figures = {"datasheet_gbs": None, "roofline_ms": 1.0}
    assert gpu.compare([1.0], figures, [1.0], 1)["datasheet_share"] is None


def test_the_datasheets_figures_fit_together():
    """Operations are 2 a lane and cycle; an A100 has 64 lanes for float32, Hopper 128."""
    for one, lanes in zip(GPUS, (64, 64, 128, 128), strict=True):
        assert one.flops == pytest.approx(2 * lanes * one.multiprocessors * one.clock, rel=0.01)
        assert one.flops64 == pytest.approx(one.flops / 2, rel=0.01)


def test_the_operator_as_on_a_gpu(as_on_a_gpu, tmp_path, capsys):
    run_benchmark(*OPERATOR, *TINY, folder=tmp_path)
    said = capsys.readouterr().out
    assert "of the roofline" in said and "x conv3x3" in said
    for row in json.loads((tmp_path / "operator.json").read_text())["rows"]:
        assert list(row["contenders"]) == ["unfold", "reference"]
        assert row["gpu"]["datasheet_gbs"] == 2039
        assert row["gpu"]["convolution_ms"]["median"] > 0
        reference = row["contenders"]["reference"]
        share = row["gpu"]["roofline_ms"] / reference["ms"]["median"]
        assert reference["gpu"]["roofline_share"] == pytest.approx(share, rel=1e-3)
    header = (tmp_path / "operator.csv").read_text().partition("\n")[0]
    assert header.endswith("peak_mib,roofline_share,datasheet_share,speedup_over_conv3x3")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_operator_on_a_gpu(tmp_path, precision):
    options = ["operator", "--layer", "stage1", "stage3-first", "--precision", precision]
    arguments = [*options, *TINY, "--device", "cuda", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    for row in json.loads((tmp_path / "operator.json").read_text())["rows"]:
        assert row["contenders"]["cuda"]["gpu"]["roofline_share"] > 0
        assert row["gpu"]["peak_copy_gbs"] > 50
