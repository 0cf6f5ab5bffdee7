"""Stage "first-backward": kernels that are first loaded by a thread without a CUDA context.

Autograd runs backward in a thread of its own. Each case is a fresh process, and its values are
compared with the reference backend's.
"""

import subprocess
import sys

from benchmarks.gpu_check.stages import Emit, Settings

START = """
import sys, threading
import torch
from rednet import involution2d
from rednet.ops import Window, backend, reference, select

device = torch.device(sys.argv[1])
name = "cuda" if device.type == "cuda" else None
window = Window(7, 1, 3)
torch.manual_seed(0)
shapes = (2, 32, 14, 14), (2, 98, 14, 14), (2, 32, 14, 14)
tensors = [torch.randn(shape).to(memory_format=torch.channels_last) for shape in shapes]
input, weight, grad = (tensor.to(device, copy=True) for tensor in tensors)
"""
CASES = {
    "forward and backward": """
leaves = [input.requires_grad_(), weight.requires_grad_()]
with backend(name):
    found = torch.autograd.grad(involution2d(*leaves, 7, 1, 3), leaves, grad)
""",
    "backward before any forward": """
class OnlyBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, weight):
        ctx.save_for_backward(input, weight)
        return torch.zeros_like(input)

    @staticmethod
    def backward(ctx, grad):
        input, weight = ctx.saved_tensors
        with backend(name):
            used = select(device, torch.float32)
            return (
                used.grad_input(grad, weight, (14, 14), window),
                used.grad_weight(grad, input, 2, window),
            )

leaves = [input.requires_grad_(), weight.requires_grad_()]
found = torch.autograd.grad(OnlyBackward.apply(*leaves), leaves, grad)
""",
    "forward and backward in a thread": """
found = []

def work():
    leaves = [input.requires_grad_(), weight.requires_grad_()]
    with backend(name):
        found.extend(torch.autograd.grad(involution2d(*leaves, 7, 1, 3), leaves, grad))

thread = threading.Thread(target=work)
thread.start()
thread.join()
""",
    "a layer, forward and backward": """
import copy
from rednet import Involution2d

torch.backends.cudnn.allow_tf32 = False
layer = Involution2d(32)
exactly = copy.deepcopy(layer).double()

def gradients(layer, input, grad):
    leaves = [input.requires_grad_(), *layer.parameters()]
    return torch.autograd.grad(layer(input), leaves, grad)

with backend(name):
    found = gradients(layer.to(device, memory_format=torch.channels_last), input, grad)
with backend("reference"):
    exact = gradients(exactly, tensors[0].double(), tensors[2].double())
""",
}
END = """
input, weight, grad = (tensor.double() for tensor in tensors)
if "exact" not in globals():
    exact = (
        reference.involution2d_grad_input(grad, weight, (14, 14), window),
        reference.involution2d_grad_weight(grad, input, 2, window),
    )
assert len(found) == len(exact), "nothing was computed"
largest = max(float(one.abs().max()) for one in exact)
errors = [
    float((a.cpu().double() - b).abs().max() / max(float(b.abs().max()), 1e-3 * largest))
    for a, b in zip(found, exact)
]
print(f"error {max(errors):.1e}")
assert max(errors) < 1e-4, errors
"""


def run(settings: Settings, emit: Emit) -> None:
    """Run every case in a fresh process, all at once."""
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-c", START + code + END, settings.device],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, code in CASES.items()
    }
    for name, process in processes.items():
        try:
            output, _ = process.communicate(timeout=max(1, settings.seconds_left()))
        except subprocess.TimeoutExpired:
            process.kill()
            emit(f"{name}: hangs", case=name, ok=False)
            continue
        print(f"--- {name}\n{output}")
        last = (output.strip().splitlines() or ["no output"])[-1]
        is_right = process.returncode == 0
        emit(f"{name}: {'right, ' if is_right else ''}{last}", case=name, ok=is_right)
