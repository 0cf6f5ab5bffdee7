"""A variant is one entry of `rednet.models.variants`, from which everything else follows."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import rednet.registry
from rednet.models.variants import LAYERS

NEW_VARIANTS = """
from rednet.models.variants import LAYERS, STEMS, Stem

LAYERS["rednet14"] = (1, 1, 1, 1)
STEMS["involution5"] = Stem(involution_kernel_size=5, label="5x5 stem")
STEMS["large"] = Stem(stride=1, involution_kernel_size=5)
"""

SCHEMA = """
import sys
from rednet.config import find_problems

def problems(stem):
    model = {"name": "rednet14", "options": {"stem": stem}}
    return [line for line in find_problems({"model": model}, allow_missing=True) if "stem" in line]

assert problems("involution5") == []
expected = "must be involution3, involution7, conv7, small, involution5 or large or null"
assert problems("involution4") == [f'model.options.stem: {expected}, got "involution4"']
assert not {"torch", "timm"} & sys.modules.keys()
"""

NETWORKS = """
import timm, torch, rednet
from rednet.paper.accuracy_tables import has_row
from rednet.paper.complexity_tables import rednet_table
from rednet.paper.networks import INVOLUTION_STEMS, STEM_NAMES, Network, network_from_options
from rednet.weights.architecture import infer_architecture, list_guesses

with torch.device("meta"):
    model = timm.create_model("rednet14", stem="involution5")
    try:
        timm.create_model("rednet14", stem="involution4")
    except ValueError as error:
        assert str(error).endswith("involution3, involution7, conv7, small, involution5, large")
    else:
        raise AssertionError("a stem that does not exist")
    large = timm.create_model("rednet14", stem="large")
assert model.stem[1].window.kernel_size == 5
assert [len(getattr(model, f"layer{stage}")) for stage in (1, 2, 3, 4)] == [1, 1, 1, 1]
assert [info["reduction"] for info in large.feature_info] == [1, 2, 4, 8, 16]

options = {"stem": "involution5"}
assert infer_architecture(model.state_dict()) == {"name": "rednet14", "options": options}
assert infer_architecture(large.state_dict()) == {"name": "rednet14", "options": options}
assert list_guesses(large.state_dict(), options) == ["stem involution5 rather than large"]
assert list_guesses(large.state_dict(), {"stem": "large"}) == []

network = Network(14, "involution5")
assert network_from_options("rednet14", options) == network
assert rednet_table("involution5").title == "Table 1, RedNet with the 5x5 stem"
assert INVOLUTION_STEMS == ["involution7", "involution3", "involution5"]
assert STEM_NAMES["involution5"] == "5x5 stem" and "large" not in STEM_NAMES
assert has_row(Network(26, "involution5")) and not has_row(Network(26, "conv7"))
"""


def test_the_schema_follows_from_a_new_entry():
    command = [sys.executable, "-c", NEW_VARIANTS + SCHEMA]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_networks_and_tables_follow_from_a_new_entry(fresh_python):
    fresh_python(NEW_VARIANTS + NETWORKS)


def test_every_depth_has_a_configuration():
    folder = Path(rednet.__file__).parent / "configs" / "model"
    names = {path.stem: yaml.safe_load(path.read_text())["name"] for path in folder.glob("*.yaml")}
    resnets = {name.replace("red", "res"): name for name in LAYERS}
    assert names | {"timm": None} == {name: name for name in LAYERS} | resnets | {"timm": None}


@pytest.mark.parametrize("name", LAYERS)
def test_entry_points_are_ordinary_functions(name):
    create = getattr(rednet.registry, name)
    assert (create.__module__, create.__qualname__) == ("rednet.registry", name)
    assert create.__doc__.startswith("Create a RedNet with ")
    assert pickle.loads(pickle.dumps(create)) is create
