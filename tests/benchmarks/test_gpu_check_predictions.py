"""The variants of RedNet that the check of a GPU measures, and what it says of predictions."""

import time

import pytest
import torch

from benchmarks.gpu_check import cli, networks, predictions
from benchmarks.gpu_check.record import to_page
from benchmarks.gpu_check.runner import OK, Outcome
from benchmarks.gpu_check.stages import VARIANTS, Settings, all_stages
from benchmarks.kernels import span_prediction
from benchmarks.turns import Ratio
from rednet.ops.span_dispatch import span_choice

TINY = Settings("cpu", True, time.time() + 3600)


def test_variants_have_the_names_of_the_prediction_and_valid_environments(monkeypatch):
    assert sorted(VARIANTS) == sorted(span_prediction.WAYS)
    for name, environment in VARIANTS.items():
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        assert span_choice() == (None if name == "chosen" else name)


def test_the_limits_leave_time_for_what_the_table_chooses():
    """In the worst case the others are left to another run."""
    stages = all_stages()
    last = [stage.name for stage in stages].index("pytest")
    chosen = {"network-chosen", "compiled-chosen", "profile-chosen"}
    assert chosen <= {stage.name for stage in stages[:last]}
    assert sum(stage.seconds for stage in stages[: last + 1]) <= cli.SECONDS
    compiled = [stage for stage in stages if stage.name.startswith("compiled")]
    assert [stage.options["variant"] for stage in compiled] == [*VARIANTS]


@pytest.mark.parametrize("architecture", [80, 90])
def test_every_variant_has_a_prediction(architecture):
    gpu, ratios = predictions.predict(architecture)
    assert gpu in span_prediction.NETWORKS
    assert {*ratios} == {(mode, name) for mode in ("training", "inference") for name in VARIANTS}
    assert predictions.predict(75) is None


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [(0.8, "confirmed (+0 %)"), (0.83, "confirmed (+4 %)"), (0.7, "refuted (-13 %)")],
)
def test_a_ratio_is_judged(measured, verdict):
    assert predictions.judge_ratio(measured, 0.8) == verdict


def network_rows(mode, **ratios):
    """Rows of the three variants with predictions of .81, .79 and .77."""
    predicted = {"chosen": 0.81, "fused": 0.79, "stored": 0.77}
    return [
        {"mode": mode, "variant": name, "ratio": ratio, "predicted": predicted[name]}
        for name, ratio in ratios.items()
    ]


def test_the_page_says_what_the_variants_say_of_the_table():
    rows = network_rows(
        "training",
        chosen=[0.8, 0.79, 0.81],
        fused=[0.9, 0.89, 0.91],
        stored=[0.75, 0.74, 0.76],
    )
    page = to_page({}, [Outcome("network", OK, rows=[row]) for row in rows]).splitlines()
    start = page.index("[predictions]")
    fused, stored = page[start + 1 : -1]
    assert fused == (
        "  training: chosen over fused predicted 1.025, measured 0.889 (0.868 to 0.910); "
        "chosen is not slower: refuted: the table composes operators whose fused kernels would "
        "be faster"
    )
    assert stored.endswith(
        "predicted 1.052, measured 1.067 (1.039 to 1.095); chosen is not slower: confirmed"
    )
    close = network_rows("inference", chosen=[0.8, 0.7, 0.9], stored=[0.79, 0.7, 0.9])
    (line,) = predictions.judge_choice(close)
    assert line.startswith("inference: chosen over stored") and line.endswith(": open")
    assert "[predictions]" not in to_page({}, [Outcome("network", OK, rows=rows[:1])])


def test_a_network_without_a_gpu_has_no_prediction():
    setting = networks.make_setting(TINY, "inference", compiled=False)
    rows = []
    networks.measure(setting, "stored", 1, lambda line, **values: rows.append((line, values)))
    line, row = rows[-1]
    assert row["predicted"] is None and row["variant"] == "stored"
    assert line.startswith("inference, eager, fp32, batch 2: RedNet-26 stored ")


def test_a_network_on_a_gpu_is_judged_by_its_architecture(monkeypatch):
    on_gpu = Settings("cuda:0", False, TINY.deadline)
    ratio = Ratio(0.5, 0.5, 0.5, 0.5)
    for architecture, name in ((90, "predicted for H100 SXM 0."), (75, "no prediction")):
        found = divmod(architecture, 10)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, f=found: f)
        setting = networks.make_setting(on_gpu, "training", compiled=False)
        predicted, text = networks._prediction(setting, "chosen", ratio)
        assert text.startswith(f", {name}") and (predicted is None) == (architecture == 75)
    compiled = networks.make_setting(on_gpu, "training", compiled=True)
    assert networks._prediction(compiled, "chosen", ratio) == (None, "")
