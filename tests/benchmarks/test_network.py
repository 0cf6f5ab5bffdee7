"""The benchmark of whole networks: rows, ratios, memory, compiled networks."""

import pytest
import torch
from benchmark_results import TINY, assert_fits, read_results, run_benchmark

from benchmarks.network import RATIOS, make_network

BOTH_MODES, BOTH_PRECISIONS = ("inference", "training"), ("fp32", "bf16")


@pytest.mark.parametrize(
    ("modes", "precisions"),
    [
        (("inference",), ("bf16",)),
        pytest.param(BOTH_MODES, BOTH_PRECISIONS, marks=pytest.mark.nightly),
    ],
    ids=["inference", "all"],
)
def test_network(modes, precisions, tmp_path):
    options = ["--depth", "26", "--mode", *modes, "--precision", *precisions]
    run_benchmark("network", *options, "--backend", "reference", *TINY, folder=tmp_path)
    content, records = read_results(tmp_path, "network")
    assert [(row["mode"], row["precision"]) for row in content["rows"]] == [
        (mode, precision) for mode in modes for precision in precisions
    ]
    assert len(records) == len(modes) * len(precisions)
    for row in content["rows"]:
        assert (row["depth"], row["execution"], row["backend"]) == (26, "eager", "reference")
        own = {key: value["turns_ms_per_image"] for key, value in row["contenders"].items()}
        for name, (slower, faster) in RATIOS.items():
            assert_fits(row["ratios"][name], own[slower], own[faster])
        if row["mode"] == "training":
            peaks = [row["contenders"][name]["peak_mib"] for name in ("rednet", "resnet")]
            assert row["memory_over_resnet"] == pytest.approx(peaks[0] / peaks[1], rel=1e-3)


def test_resnets_are_those_of_the_papers_table():
    with torch.device("meta"):
        networks = [make_network("resnet", depth) for depth in (26, 38, 50)]
    sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert sizes == [13_696_552, 19_626_792, 25_557_032]


COMPILED = ["--depth", "26", "--precision", "fp32", "--mode", "inference", "--compile"]


@pytest.mark.nightly
def test_compiled(tmp_path):
    run_benchmark("network", *COMPILED, "yes", *TINY, folder=tmp_path)
    content, _ = read_results(tmp_path, "network")
    assert [row["execution"] for row in content["rows"]] == ["compiled"]


@pytest.mark.nightly
def test_both_networks_are_compiled(tmp_path, monkeypatch):
    """The compiler itself, which takes long, runs in `test_compiled`."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(type(model)) or model)
    run_benchmark("network", *COMPILED, "both", *TINY, folder=tmp_path)
    content, _ = read_results(tmp_path, "network")
    assert [row["execution"] for row in content["rows"]] == ["eager", "compiled"]
    assert [kind.__name__ for kind in compiled] == ["ResNet", "RedNet"]
