"""Selecting a backend, freely and forced."""

from dataclasses import replace

import pytest
import torch

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight
from rednet.ops import Backend, backend, backends, register_backend, registered_backends, select
from rednet.ops.broken_backend import BackendFailure, BrokenBackend

CPU, FLOAT = torch.device("cpu"), torch.float32
INPUT, WEIGHT = torch.ones(1, 2, 3, 3), torch.ones(1, 9, 3, 3)


def constant(name, value, unavailable_reason=None):
    """A backend whose results are all of one value."""
    return Backend(
        name=name,
        unavailable_reason=lambda device, dtype: unavailable_reason,
        involution2d=lambda input, weight, window: torch.full_like(input, value),
        grad_input=lambda grad, weight, size, window: torch.full_like(grad, value),
        grad_weight=lambda grad, input, groups, window: grad.new_full((1, 9, 3, 3), value),
    )


@pytest.fixture(autouse=True)
def free_choice(monkeypatch):
    monkeypatch.delenv("REDNET_BACKEND", raising=False)
    monkeypatch.setattr(backends, "_forced", None)


@pytest.fixture
def fakes():
    """Two backends before the built-in ones: the first is unavailable."""
    broken = constant("broken", 1.0, "there is no such device; buy one")
    with register_backend(constant("sevens", 7.0), "cuda"), register_backend(broken, "sevens"):
        yield


def output():
    return involution2d(INPUT, WEIGHT, 3, 1, 1).unique().tolist()


def test_the_reference_runs_everywhere():
    reference = registered_backends()[-1]
    for device in ("cpu", "cuda", "meta"):
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            assert reference.unavailable_reason(torch.device(device), dtype) is None
    assert reference.name == "reference"


def test_the_first_available_backend_is_selected(fakes):
    assert select(CPU, FLOAT).name == "sevens"
    assert output() == [7.0]


def test_all_three_operators_use_the_selected_backend(fakes):
    assert involution2d_grad_input(INPUT, WEIGHT, (3, 3), 3, 1, 1).unique().tolist() == [7.0]
    assert involution2d_grad_weight(INPUT, INPUT, 1, 3, 1, 1).unique().tolist() == [7.0]
    leaf = WEIGHT.clone().requires_grad_()
    involution2d(INPUT, leaf, 3, 1, 1).sum().backward()
    assert leaf.grad.unique().tolist() == [7.0]


def test_forced_by_a_call(fakes):
    backend("reference")
    assert select(CPU, FLOAT).name == "reference"
    assert output() == [4.0, 6.0, 9.0]
    backend(None)
    assert output() == [7.0]


def test_forced_by_a_context(fakes):
    with backend("reference"):
        assert output() == [4.0, 6.0, 9.0]
        with backend("sevens"):
            assert output() == [7.0]
        assert output() == [4.0, 6.0, 9.0]
    assert output() == [7.0]


@pytest.fixture
def failing(monkeypatch):
    """A backend that works until it is told to be broken."""
    monkeypatch.setattr(backends, "_warned", {})
    state = []
    sevens = replace(
        constant("sevens", 7.0),
        unavailable_reason=lambda *_: BrokenBackend("out of luck") if state else None,
    )
    with register_backend(sevens, "cuda"):
        yield lambda: state.append(True)


def test_a_backend_that_fails_is_replaced_with_a_warning(failing):
    assert output() == [7.0]
    failing()
    with pytest.warns(RuntimeWarning, match="'sevens' cannot run, .*: out of luck"):
        assert output() == [4.0, 6.0, 9.0]


def test_where_backends_are_kept_one_that_fails_is_an_error(failing):
    with backends.keep_backends():
        assert output() == [7.0]
        assert backends.kept_backends() == {("cpu", FLOAT): "sevens"}
        failing()
        with (
            pytest.warns(RuntimeWarning),
            pytest.raises(
                BackendFailure, match="'sevens' has worked so far and cannot run now: out of luck"
            ),
        ):
            output()
        assert backends.broken_backends(CPU, FLOAT) == ["backend 'sevens' cannot run: out of luck"]
    assert output() == [4.0, 6.0, 9.0]


def test_an_error_ends_the_context(fakes):
    with pytest.raises(KeyError), backend("reference"):
        raise KeyError
    assert select(CPU, FLOAT).name == "sevens"


def test_forced_by_the_environment(fakes, monkeypatch):
    monkeypatch.setenv("REDNET_BACKEND", "reference")
    assert output() == [4.0, 6.0, 9.0]
    with backend("sevens"):
        assert output() == [7.0]


def test_an_empty_variable_forces_nothing(fakes, monkeypatch):
    monkeypatch.setenv("REDNET_BACKEND", "")
    assert output() == [7.0]


def test_an_unknown_name_is_rejected(monkeypatch):
    with pytest.raises(ValueError, match=r"unknown backend 'refrence': choose from .*reference"):
        backend("refrence")
    assert select(CPU, FLOAT).name in [each.name for each in registered_backends()]
    monkeypatch.setenv("REDNET_BACKEND", "gpu")
    with pytest.raises(ValueError, match=r"unknown backend 'gpu': choose from .*reference"):
        output()


def test_a_forced_backend_that_cannot_run_says_why(fakes, monkeypatch):
    message = "backend 'broken' cannot run: there is no such device; buy one"
    with backend("broken"), pytest.raises(RuntimeError, match=message):
        output()
    monkeypatch.setenv("REDNET_BACKEND", "broken")
    with pytest.raises(RuntimeError, match=message):
        output()


def test_a_wrong_variable_does_not_break_the_import(fresh_python):
    fresh_python("import rednet.ops, rednet.registry", REDNET_BACKEND="nonsense")


def test_the_order():
    assert [each.name for each in registered_backends()] == ["cuda", "native", "reference"]


def test_the_cuda_backend_is_not_for_the_cpu():
    assert select(CPU, FLOAT).name != "cuda"
    with backend("cuda"), pytest.raises(RuntimeError, match="cannot run: it runs on NVIDIA GPUs"):
        output()


def test_the_import_needs_no_cupy(fresh_python):
    fresh_python("""
import sys
sys.modules["cupy"] = None
import rednet, rednet.ops, rednet.registry
""")


def test_the_import_does_not_import_cupy(fresh_python):
    code = """
import sys
import torch, timm
before = "cupy" in sys.modules
import rednet, rednet.ops, rednet.registry
rednet.involution2d(torch.ones(1, 2, 3, 3), torch.ones(1, 9, 3, 3), 3, 1, 1)
assert before or "cupy" not in sys.modules
"""
    fresh_python(code, REDNET_BACKEND="reference")
