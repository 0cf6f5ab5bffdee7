"""The benchmark: what it counts, what it compares, and the files it writes."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
import torch

import rednet
from benchmarks import ceilings, cli, free, memory, parts
from benchmarks.layers import layers_of, random_inputs, unfold_involution2d
from benchmarks.network import RATIOS, Setting, make_contenders
from benchmarks.turns import Ratio, Spread, take_turns
from rednet import Involution2d, ops
from rednet.ops import Window, backends

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
TINY = ["--image-size", "64", "--batch", "2", "--turns", "2", "--device", "cpu"]


def run(*arguments, folder):
    assert cli.main([*arguments, *TINY, "--output", str(folder)]) == 0


def read(folder, part):
    content = json.loads((folder / f"{part}.json").read_text())
    records = list(csv.DictReader((folder / f"{part}.csv").read_text().splitlines()))
    assert (folder / f"{part}.png").read_bytes().startswith(b"\x89PNG")
    assert content["part"] == part
    assert {"date", "command", "turns", "machine", "rows"} < content.keys()
    assert {"cpu", "cores", "threads", "torch", "timm", "compiler", "device"} < set(
        content["machine"]
    )
    assert str(folder) not in json.dumps(content)
    return content, records


def assert_fits(ratio, slower, faster):
    """The ratio of medians is that of the times, and the spread surrounds a turn's ratio."""
    assert ratio["of_medians"] == pytest.approx(median(slower) / median(faster), rel=1e-2)
    by_turn = [one / other for one, other in zip(slower, faster, strict=True)]
    assert ratio["median"] == pytest.approx(median(by_turn), rel=1e-2)
    assert ratio["lower"] <= ratio["median"] <= ratio["upper"]


def test_ceilings(tmp_path):
    arguments = ["ceilings", "--turns", "2", "--device", "cpu", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    content, records = read(tmp_path, "ceilings")
    assert len(records) == len(content["rows"]) == 2 + len(ceilings.SIZES_MIB)
    for row in content["rows"]:
        assert 0 < row["lower"] <= row["median"] <= row["upper"] <= row["best"] * 1.001
    assert {row["unit"] for row in content["rows"]} == {"GFLOP/s", "GB/s"}


def test_operator(tmp_path, capsys):
    options = ["--layer", "stage3-first", "--precision", "fp32", "--backend", "reference"]
    run("operator", *options, folder=tmp_path)
    content, records = read(tmp_path, "operator")
    forward, both = content["rows"]
    assert (forward["pass"], both["pass"]) == ("forward", "forward+backward")
    assert both["operations"] == 3 * forward["operations"]
    assert [record["contender"] for record in records] == ["unfold", "reference"] * 2
    for row in content["rows"]:
        unfold, reference = (row["contenders"][name] for name in ("unfold", "reference"))
        assert_fits(reference["speedup"], unfold["turns_ms"], reference["turns_ms"])
        assert unfold["speedup"]["of_medians"] == 1
        seconds = reference["ms"]["median"] / 1000
        assert reference["gflops"] == pytest.approx(row["operations"] / seconds / 1e9, rel=1e-3)
        assert reference["gbs"] == pytest.approx(row["bytes"] / seconds / 1e9, rel=1e-3)
        found = row["ceilings"]
        shares = {
            "fma": reference["gflops"] / found["fma_gflops"],
            "copy": reference["gbs"] / found["copy_gbs"],
        }
        assert max(shares, key=shares.get) == found["binds"]
        assert reference["share"]["of_medians"] == pytest.approx(shares[found["binds"]], rel=1e-2)
    assert both["contenders"]["unfold"]["peak_mib"] > both["contenders"]["reference"]["peak_mib"]
    assert "reference" in capsys.readouterr().out


@pytest.mark.slow
def test_network(tmp_path):
    options = ["--depth", "26", "38", "--precision", "fp32", "bf16", "--backend", "reference"]
    run("network", *options, folder=tmp_path)
    content, records = read(tmp_path, "network")
    assert [(row["mode"], row["precision"]) for row in content["rows"]] == [
        (mode, precision) for mode in ("inference", "training") for precision in ("fp32", "bf16")
    ]
    assert len(records) == 4
    for row in content["rows"]:
        assert (row["depth"], row["execution"], row["backend"]) == (26, "eager", "reference")
        own = {key: value["turns_ms_per_image"] for key, value in row["contenders"].items()}
        for name, (slower, faster) in RATIOS.items():
            assert_fits(row["ratios"][name], own[slower], own[faster])
        if row["mode"] == "training":
            peaks = [row["contenders"][name]["peak_mib"] for name in ("rednet", "resnet")]
            assert row["memory_over_resnet"] == pytest.approx(peaks[0] / peaks[1], rel=1e-3)


@pytest.mark.slow
def test_compiled(tmp_path):
    options = ["--depth", "26", "--precision", "fp32", "--mode", "inference", "--compile", "yes"]
    run("network", *options, folder=tmp_path)
    content, _ = read(tmp_path, "network")
    assert [row["execution"] for row in content["rows"]] == ["compiled"]


def test_the_script_answers_a_mistake_in_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "network", "--depth", "51"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: argument --depth: invalid choice: 51")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["operators"], "operators"),
        (["--turns", "0"], "must be at least 1, got 0"),
        (["operator", "--depth", "50"], "--depth"),
        (["operator", "--layer", "stage5"], "stage5"),
        (["operator", "--backend", "naive"], "--backend naive: there is no such backend: "),
        (["network", "--backend", "naive"], "no backend is named 'naive'"),
        (["network", "--precision", "fp64"], "fp64"),
        (["network", "--depth", "38"], "timm has no ResNet-38"),
        (["network", "--image-size", "32"], "must be at least 64, got 32"),
        (["ceilings", "--batch", "16"], "--batch"),
    ],
)
def test_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("error: ") and told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_for_results(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    assert cli.main(["ceilings", "--device", "cpu", "--output", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: --output {path}: ")


def test_without_arguments_all_parts_run_at_their_defaults():
    options = cli.parse([])
    assert (options.part, options.turns, options.batch) == ("all", 9, [16])
    assert (options.depth, options.precision) == ([50], ["fp32", "bf16"])
    assert (options.layer, options.image_size) == (list(layers_of(224)), 224)
    assert set(cli.PARTS) == {"all", *parts.PARTS}


def test_the_folder_is_not_part_of_the_command():
    for form in (["--output", "here"], ["--output=here"]):
        assert cli.parse(["operator", *form, "--turns", "3"]).command == (
            "python scripts/benchmark.py operator --turns 3"
        )


def test_the_layers_are_those_of_the_network():
    found = set()

    def note(layer, inputs, output):
        window = layer.window
        shape = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
        found.add((*shape, layer.groups, window.kernel_size, window.stride, window.padding))

    with torch.device("meta"):
        model = rednet.RedNet()
        for module in model.modules():
            if isinstance(module, Involution2d):
                module.register_forward_hook(note)
        model.eval()(torch.empty(1, 3, 224, 224))
    expected = set()
    for layer in layers_of(224).values():
        window = layer.window
        groups = layer.weight_shape[0] // window.area
        numbers = (groups, window.kernel_size, window.stride, window.padding)
        expected.add((layer.input_shape, layer.output_shape, *numbers))
    assert found == expected


def test_counts_against_hand_numbers():
    layer = layers_of(224)["stage2-first"]
    assert layer.operations(16) == 2 * 16 * 128 * 49 * 28 * 28
    assert layer.elements(16) == 16 * (128 * 56 * 56 + 8 * 49 * 28 * 28 + 128 * 28 * 28)
    stem = layers_of(224)["stem"]
    assert stem.operations(1) == 2 * 32 * 9 * 112 * 112
    assert stem.elements(1) == (2 * 32 + 2 * 9) * 112 * 112


@pytest.mark.parametrize("name", ["stem", "stage2-first", "stage4"])
def test_unfold_is_the_same_operator(name):
    layer = layers_of(64)[name]
    tensors = random_inputs(layer, 2, torch.float64, CPU, torch.contiguous_format)
    window = layer.window
    numbers = (window.kernel_size, window.stride, window.padding, window.dilation)
    found = []
    for function in (unfold_involution2d, rednet.involution2d):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors[:2]]
        with ops.backend("reference"):
            output = function(*leaves, *numbers)
            found.append((output, *torch.autograd.grad(output, leaves, tensors[2])))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("stride", "size"), [(1, (6, 5)), (2, (6, 5)), (2, (7, 8))])
def test_the_free_involution_copies(stride, size, layout):
    window = Window(3, stride, 1)
    rows, columns = (window.output_size(side) for side in size)
    input = torch.randn(2, 32, *size).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(2, 18, rows, columns).contiguous(memory_format=layout).requires_grad_()
    with free.free_involution():
        output = rednet.involution2d(input, weight, 3, stride, 1)
        output.backward(torch.ones_like(output))
    assert torch.equal(output, input[..., ::stride, ::stride])
    expected = torch.zeros_like(input)
    expected[..., ::stride, ::stride] = 1
    assert torch.equal(input.grad, expected)
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    for tensor in (output, input.grad, weight.grad):
        assert tensor.is_contiguous(memory_format=layout)
    assert output.untyped_storage().data_ptr() != input.untyped_storage().data_ptr()


def test_the_free_involution_leaves_the_registry_as_it_was():
    known, chosen = backends.BACKENDS, ops.select(CPU, torch.float32)
    with pytest.raises(KeyError), free.free_involution():
        assert ops.select(CPU, torch.float32).name == free.NAME
        raise KeyError
    assert backends.BACKENDS is known
    assert ops.select(CPU, torch.float32) is chosen
    with pytest.raises(ValueError, match="no backend is named 'free'"):
        ops.backend(free.NAME)


def test_the_bound_still_generates_kernels(monkeypatch):
    calls = []
    monkeypatch.setattr(
        Involution2d,
        "apply_kernel",
        lambda self, x, kernel: (
            calls.append(ops.select(x.device, x.dtype).name)
            or rednet.involution2d(x, kernel, *vars(self.window).values())
        ),
    )
    setting = Setting(26, "fp32", "inference", False, 1, 64, CPU, 1, "reference")
    contenders = make_contenders(setting)
    for name in ("rednet", "bound"):
        assert contenders[name]().shape == (1, 1000)
    assert len(calls) == 2 * 9
    assert calls[:9] == ["reference"] * 9
    assert calls[9:] == ["free"] * 9


def test_turns_alternate_and_short_calls_are_repeated():
    calls = []
    work = {name: lambda name=name: calls.append(name) for name in "AB"}
    times = take_turns(work, 3, CPU)
    order = [name for last, name in zip(["", *calls], calls, strict=False) if name != last]
    assert order == list("ABABAB" + "AB")
    assert calls.count("A") > 100
    assert all(len(values) == 3 and min(values) > 0 for values in times.values())


def test_spread_and_ratio():
    assert Spread.of([3, 1, 2, 5, 4]) == Spread(3, 2, 4)
    assert Ratio.of([2, 6, 12], [1, 2, 3]) == Ratio(3, 3, 2.5, 3.5)


def grow(size):
    memory.return_freed_memory()

    def work():
        torch.ones(size, dtype=torch.uint8)

    work()
    return memory.peak_growth(work, CPU)


@pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="needs Linux's count of pages")
def test_peak_memory_of_one_tensor(monkeypatch):
    # The other process imports this file, by the name that pytest gave it.
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    size = 50 * 2**20
    assert memory.in_own_process(grow, size) == pytest.approx(size, rel=0.05)


def test_the_matrix_product_stands_in_for_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    multiplier = ceilings.make_multiplier(CPU, torch.bfloat16)
    assert (multiplier.method, multiplier.operations) == ("product of matrices", 2.0 * 1024**3)
    assert multiplier.run().dtype == torch.float32
