"""The compiled network of several processes: its gradients are exchanged while others are made."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from rednet.build.model import parallel_model


@pytest.fixture
def group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()
    torch._dynamo.reset()


def test_torch_splits_the_graph_at_the_buckets_of_gradients(group, monkeypatch):
    """In one graph all gradients would be ready at once, when nothing is left to overlap with."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    layers = [nn.Linear(600, 600) for _ in range(3)]  # 1.4 MB each; the first bucket has 1 MB
    runtime = SimpleNamespace(world_size=2, device=torch.device("cpu"))
    model = parallel_model(nn.Sequential(*layers), compiled=True, runtime=runtime)
    assert isinstance(model, nn.parallel.DistributedDataParallel)  # which the step asks for no_sync
    model(torch.randn(2, 600)).sum().backward()
    assert counter.frame_count > 1
