"""Faults planted in the kernels: the emulator or the values must show every one of them."""

import re

import pytest
import torch
from mutated_kernels import mutated

from rednet.ops import Window, reference
from rednet.ops.cuda.plan import plan_grad_input, plan_grad_weight, plan_involution2d
from rednet.ops.cuda.source import FOLDER, source

FILES = {
    "forward.cuh": plan_involution2d,
    "grad_input.cuh": plan_grad_input,
    "grad_weight.cuh": plan_grad_weight,
}
BARRIERS = [
    (name, number)
    for name in FILES
    for number in range((FOLDER / name).read_text(encoding="utf-8").count("__syncthreads();"))
]
# The changed file, the old text and the new text.
FAULTS = {
    "a wait is missing": ("forward.cuh", "    wait_for_copies();\n", ""),
    "it waits for too few": ("grad_input.cuh", "wait_for_copies_but<1>()", "commit_copies()"),
    "the last of a strip is not written": (
        *("forward.cuh", "if (output.has(y, x + i))"),
        "if (i + 1 < STRIP && output.has(y, x + i))",
    ),
    "a tap is not written": (
        *("grad_weight.cuh", "for (int tap = 0; tap < K; ++tap)"),
        "for (int tap = 1; tap < K; ++tap)",
    ),
    "the ends of a kernel are not written": ("taps.cuh", "      send_ends(plane,", "//"),
    "a slot begins elsewhere": (
        *("taps.cuh", "ORDER == ALIGNED ? kernel : ahead + kernel - shifted"),
        "kernel",
    ),
    "no padding": ("forward.cuh", "block.left * S - problem.padding", "block.left * S"),
    "the wrong group": ("forward.cuh", "block.group * K * K", "0 * K * K"),
}
OUT_OF_BOUNDS = {
    "reads below the image": (
        *("pixels.cuh", "inside && plane.has_row(lines.y[line])"),
        "inside",
    ),
    "writes beyond the image": ("forward.cuh", "if (output.has(y, x + i))", ""),
    "a tile too small": (
        *("pixels.cuh", "SIZE = HEIGHT * PITCH"),
        "SIZE = (HEIGHT - 1) * PITCH",
    ),
}


def make_launch(plan):
    """Return a launch, its tensors, its result (all NaN) and the expected result."""
    window = Window(7, 1, 3)
    draw = torch.Generator().manual_seed(0)
    shapes = {"image": (1, 64, 9, 11), "kernel": (1, 2 * 49, 9, 11)}
    image, kernel, grad = (
        torch.randn(shapes[name], generator=draw).contiguous(memory_format=torch.channels_last)
        for name in ("image", "kernel", "image")
    )
    if plan is plan_involution2d:
        tensors, exact = (image, kernel), reference.involution2d(image, kernel, window)
    elif plan is plan_grad_input:
        tensors = grad, kernel
        exact = reference.involution2d_grad_input(grad, kernel, image.shape[2:], window)
    else:
        tensors, exact = (grad, image), reference.involution2d_grad_weight(grad, image, 2, window)
    result = torch.full_like(exact, torch.nan).contiguous(memory_format=torch.channels_last)
    return plan(*tensors, result, window), tensors, result, exact


def is_right(emulator, name, text, seed=0):
    """Return whether the kernel of a file gives the right values when compiled from the text."""
    launch, _, result, exact = make_launch(FILES[name])
    try:
        emulator.run(launch, text, seed)
    except emulator.EmulationError:
        return False
    return torch.allclose(result, exact, atol=1e-4)


# Every fault in a process of its own, since the sanitizers end it.
EACH_SANITIZED = """
import runpy
tests = runpy.run_path(sys.argv[1])
launch, *kept = tests["make_launch"](tests["FILES"]["forward.cuh"])
for path in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        print(f"[{path}]", file=sys.stderr, flush=True)
        emulator.run(launch, open(path).read())
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seed", range(4))
def test_without_faults(emulator, name, seed):
    assert is_right(emulator, name, source(emulator.DEVICE), seed)


@pytest.mark.parametrize("name, number", BARRIERS)
def test_a_missing_barrier(emulator, name, number):
    text = mutated(source(emulator.DEVICE), name, "__syncthreads();", "", number)
    assert not all(is_right(emulator, name, text, seed) for seed in range(8))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_values_show(emulator, fault):
    name, old, new = FAULTS[fault]
    text = mutated(source(emulator.DEVICE), name, old, new)
    used_by = [name] if name in FILES else FILES
    assert not all(is_right(emulator, kernel, text) for kernel in used_by)


@pytest.mark.usefixtures("sanitizers")
def test_accesses_out_of_bounds(emulator, tmp_path):
    text = source(emulator.DEVICE)
    mutants = {fault: mutated(text, *change) for fault, change in OUT_OF_BOUNDS.items()}
    paths = []
    for number, mutant in enumerate([text, *mutants.values()]):
        paths.append(tmp_path / f"{number}.cu")
        paths[-1].write_text(mutant, encoding="utf-8")
    done = emulator.run_sanitized(EACH_SANITIZED, __file__, *map(str, paths))
    assert done.returncode == 0, done.stderr
    reports = re.split(r"^\[.*\.cu\]$", done.stderr, flags=re.MULTILINE)[1:]
    (status, report), *found = zip(map(int, done.stdout.split()), reports, strict=True)
    assert (status, re.findall("ERROR|runtime error", report)) == (0, [])
    for fault, (status, report) in zip(OUT_OF_BOUNDS, found, strict=True):
        assert status != 0, fault
        assert "AddressSanitizer" in report or "EmulationError" in report, report
