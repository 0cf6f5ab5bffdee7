"""Device, precision, memory layout and processes of a run."""

import pytest
import torch

from rednet.errors import InputError
from rednet.runtime import Runtime, find_device, start_runtime


def test_auto_selects_a_gpu_if_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert find_device("auto").type == expected
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "mps:99", "xpu:99"])
def test_an_unavailable_device_is_an_input_error(name):
    with pytest.raises(InputError, match=rf"trainer\.device={name}: .*trainer\.device=cpu works"):
        find_device(name)


def test_a_run_of_one_process():
    with start_runtime("cpu", "fp32", channels_last=True) as runtime:
        assert runtime.is_primary
        assert runtime.gather("a") == ["a"]
        assert runtime.from_primary("a") == "a"
        assert runtime.sum(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("precision", "inside"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast_keeps_float32_weights(precision, inside):
    runtime = Runtime(precision=precision)
    linear = runtime.place(torch.nn.Linear(3, 2))
    with runtime.autocast():
        assert linear(torch.ones(1, 3)).dtype == inside
    assert linear.weight.dtype == torch.float32


@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_format_of_weights_and_images(channels_last):
    runtime = Runtime(channels_last=channels_last)
    conv = runtime.place(torch.nn.Conv2d(3, 4, 3))
    images = runtime.place_images(torch.ones(2, 3, 5, 5))
    for tensor in (conv.weight, images):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last


TWO_RANKS = """
import os, sys
import torch.distributed as dist
from rednet.build.folders import run_folder
from rednet.errors import InputError
from rednet.runtime import Runtime

child = os.fork()
rank = 1 if child == 0 else 0
dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/store", rank=rank, world_size=2)
runtime = Runtime(rank=rank, world_size=2)
calls = []

def call(outcome):
    calls.append(outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome

def attempt(outcome):
    try:
        return runtime.on_primary(lambda: call(outcome))
    except Exception as error:
        return f"{type(error).__name__}: {error}"

outcomes = [attempt(x) for x in ("value", InputError("mistake"), KeyError("bug"), None)]
with run_folder(None, "label", runtime) as folder:
    same = len(set(runtime.gather(folder))) == 1
os.write(1, f"{rank} {outcomes} {len(calls)} {same}\\n".encode())
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_what_the_primary_process_does_reaches_all(fresh_python, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = sorted(fresh_python(TWO_RANKS).splitlines())
    assert first == """0 ['value', 'InputError: mistake', "KeyError: 'bug'", None] 4 True"""
    assert second == (
        """1 ['value', 'InputError: mistake', "RuntimeError: rank 0: 'bug'", None] 0 True"""
    )
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
