"""Backends that users register."""

from dataclasses import replace

import pytest
import torch

from rednet import involution2d
from rednet.ops import backend, backends, register_backend, registered_backends, select

CPU, FLOAT = torch.device("cpu"), torch.float32
REFERENCE = registered_backends()[-1]
MINE = replace(
    REFERENCE,
    name="mine",
    involution2d=lambda input, weight, window: torch.full_like(input, 7),
)
BUILT_IN = ["cuda", "native", "reference"]


@pytest.fixture(autouse=True)
def free_selection(monkeypatch):
    monkeypatch.delenv("REDNET_BACKEND", raising=False)
    monkeypatch.setattr(backends, "_forced", None)
    monkeypatch.setattr(backends, "_registered", backends._registered)


def names():
    return [each.name for each in registered_backends()]


def output():
    return involution2d(torch.ones(1, 2, 3, 3), torch.ones(1, 9, 3, 3), 3, 1, 1).unique().tolist()


def test_it_takes_precedence_over_the_one_named():
    with register_backend(MINE, before="native"):
        assert names() == ["cuda", "mine", "native", "reference"]
        assert select(CPU, FLOAT) is MINE
        assert output() == [7.0]
    assert names() == BUILT_IN


def test_without_before_only_its_name_selects_it():
    with register_backend(MINE):
        assert names() == [*BUILT_IN, "mine"]
        assert select(CPU, FLOAT) is not MINE
        with backend("mine"):
            assert output() == [7.0]


def test_it_stays_until_it_is_removed():
    registration = register_backend(MINE, before="cuda")
    assert names() == ["mine", *BUILT_IN]
    registration.remove()
    registration.remove()
    assert names() == BUILT_IN


def test_the_environment_selects_it(monkeypatch):
    monkeypatch.setenv("REDNET_BACKEND", "mine")
    with register_backend(MINE):
        assert output() == [7.0]
    with pytest.raises(ValueError, match="unknown backend 'mine': choose from cuda, native, refer"):
        output()


def test_an_error_inside_removes_it():
    with pytest.raises(KeyError), register_backend(MINE):
        raise KeyError
    assert names() == BUILT_IN


def test_a_name_is_taken_once():
    for taken in (*registered_backends(), MINE):
        with register_backend(MINE):
            with pytest.raises(ValueError, match=f"named '{taken.name}' is already registered"):
                register_backend(taken)
            assert names() == [*BUILT_IN, "mine"]


def test_an_unknown_place_is_refused():
    with pytest.raises(
        ValueError, match="unknown backend 'nativ': choose from cuda, native, refer"
    ):
        register_backend(MINE, before="nativ")
    assert names() == BUILT_IN


def test_a_registration_removes_only_itself():
    first = register_backend(MINE, before="reference")
    with register_backend(replace(MINE, name="other"), before="mine"):
        first.remove()
        assert names() == ["cuda", "native", "other", "reference"]
        with register_backend(MINE):
            first.remove()
            assert names() == ["cuda", "native", "other", "reference", "mine"]
