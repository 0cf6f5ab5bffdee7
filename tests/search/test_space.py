"""The space of a search in Hydra's notation."""

import pytest

from rednet.config import ConfigError
from rednet.config.search import FORMS, quote_space, read_space
from rednet.search.space import Choice, Interval


@pytest.mark.parametrize(
    ("value", "axis", "text"),
    [
        ("interval(0.1, 1)", Interval(0.1, 1.0), "0.1 to 1"),
        ("log(1e-3,1)", Interval(0.001, 1.0, log=True), "0.001 to 1, log"),
        ("tag(log, interval(1e-3, 1))", Interval(0.001, 1.0, log=True), "0.001 to 1, log"),
        ("int(interval(1,8))", Interval(1, 8), "1 to 8"),
        ("int(tag(log,interval(1,8)))", Interval(1, 8, log=True), "1 to 8, log"),
        ("range(1,10,2)", Interval(1, 9, 2), "1 to 9, in steps of 2"),
        ("range(1,5,0.5)", Interval(1, 4.5, 0.5), "1 to 4.5, in steps of 0.5"),
        ("tag(log,range(1,8))", Interval(1, 7, log=True), "1 to 7, log"),
        ("choice(sgd, adamw)", Choice(("sgd", "adamw")), "sgd, adamw"),
        ("sgd,adamw", Choice(("sgd", "adamw")), "sgd, adamw"),
        ("choice([1,1],[2,1])", Choice(("[1,1]", "[2,1]")), "[1,1], [2,1]"),
        ("[null,0.9]", Choice(("null", "0.9")), "null, 0.9"),
        ([None, 0.5, True, "x y", [1, 2]], Choice(("null", "0.5", "True", "'x y'", "[1,2]")), None),
    ],
)
def test_the_notation_is_hydras(value, axis, text):
    assert read_space({"key": value}) == {"key": axis}
    assert text is None or str(axis) == text


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        *[(value, "the second number must be greater") for value in ("interval(1,1)", "log(2,1)")],
        *[(f"log({low},1)", "a logarithmic interval must begin above 0") for low in (0, -1)],
        ("interval(1,inf)", "both numbers must be finite"),
        ("interval(nan,1)", "the second number must be greater"),
        ("tag(uniform,interval(1,2))", "the only tag is log"),
        ("tag(log,range(1,8,2))", "with tag(log, ...) the step must be 1"),
        *[(v, "must have two different values or more") for v in ("choice(a)", "[1,1]", ["a"])],
        *[(v, "must have two numbers or more") for v in ("range(1,2)", "range(5,1,-1)")],
        *[(v, f"must be {FORMS}") for v in ("3", 3, None, True, "", "a", "interval(a,b)")],
        *[(v, f"must be {FORMS}") for v in ("interval(1)", "uniform(1,2)", "log(1,2", "${seed}")],
    ],
)
def test_what_is_wrong_is_said_in_a_line(value, problem):
    with pytest.raises(ConfigError) as caught:
        read_space({"a": {"b": value}, "c": "choice(1,2)"})
    (line,) = caught.value.problems
    assert line.startswith(f"search.space.a.b: {problem}")


def test_a_space_has_a_key():
    with pytest.raises(ConfigError, match=r"search\.space: has no key, e\.g\."):
        read_space({})


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("search.space.optimizer.lr=log(1,2)", "++search.space={optimizer.lr: 'log(1,2)'}"),
        ("+search.space.model=choice(a, b)", "++search.space={model: 'choice(a, b)'}"),
        ("search.space.a.b='interval(1,2)'", "++search.space={a.b: 'interval(1,2)'}"),
        *[(text, text) for text in ("search.trials=3", "search.space={}", "search.space.a", "a=b")],
    ],
)
def test_hydra_takes_the_values_of_the_space_for_text(text, quoted):
    assert quote_space(text) == quoted
