"""What `import rednet` loads and registers, each time in a new interpreter."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import rednet
from rednet import versions
from rednet.paper.document import provenance
from rednet.training import checkpoints

ROOT = Path(__file__).resolve().parents[1]

CREATE = """
assert timm.list_models("rednet*") == [f"rednet{depth}" for depth in (26, 38, 50, 101, 152)]
timm.create_model("rednet26", width=0.25)
"""


def python(code: str) -> str:
    """Return the output of the code; a RuntimeWarning is an error."""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_no_heavy_package():
    heavy = ["torch", "timm", "torchvision", "hydra", "matplotlib", "rednet.registry", "rednet.ops"]
    loaded = python(f"import sys, rednet; print([m for m in {heavy} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_the_configuration_can_be_checked_without_torch():
    code = "import sys, rednet.config; print({'torch', 'timm'} & sys.modules.keys())"
    assert python(code).strip() == "set()"


@pytest.mark.parametrize(
    "imports",
    [
        "import rednet, timm",
        "import timm, rednet",
        "from rednet import *; import timm; RedNet, Involution2d, involution2d, ops",
    ],
)
def test_timm_knows_the_models_in_any_order_of_imports(imports, fresh_python):
    strict = "import warnings; warnings.simplefilter('error', RuntimeWarning)\n"
    fresh_python(strict + imports + CREATE)


LOAD = """
import sys, rednet
assert "torch" not in sys.modules
import torch
x = torch.ones(1, 16, 7, 6)
program = torch.export.load(folder + "/layer.pt2").module()
trace = torch.jit.load(folder + "/layer.pt")
assert "rednet.layers" not in sys.modules
assert torch.equal(program(x), trace(x)) and program(x).any()
"""


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_saved_programs_need_no_more_than_import_rednet(tmp_path):
    import torch

    torch.manual_seed(0)  # an unlucky kernel is zero
    layer, x = rednet.Involution2d(16, kernel_size=3).eval(), torch.ones(1, 16, 7, 6)
    torch.export.save(torch.export.export(layer, (x,)), tmp_path / "layer.pt2")
    torch.jit.save(torch.jit.trace(layer, x), tmp_path / "layer.pt")
    python(f"folder = {str(tmp_path)!r}" + LOAD)


def test_an_unknown_name_is_an_attribute_error():
    code = "import rednet\ntry: rednet.involution3d\nexcept AttributeError as e: print(e)"
    assert python(code).strip() == "module 'rednet' has no attribute 'involution3d'"


def test_the_version_is_a_string():
    assert python("import rednet; print(rednet.__version__)").strip()[0].isdigit()


@pytest.fixture
def not_installed(monkeypatch):
    """Hide the package's metadata, as where its folder is on the path but not installed."""

    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)


def test_the_version_of_a_checkout_that_is_not_installed(not_installed):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert rednet.__version__ == project["version"]


@pytest.mark.parametrize(
    "content", [None, "[project", "[tool]\n", '[project]\nname = "other"\nversion = "3"\n']
)
def test_an_unknown_version(content, not_installed, monkeypatch, tmp_path):
    path = tmp_path / "pyproject.toml"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(versions, "PYPROJECT", path)
    assert rednet.__version__ == "0+unknown"


def test_files_name_the_version_where_the_package_is_not_installed(monkeypatch):
    installed = metadata.version

    def version(name):
        if name == "rednet":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    assert checkpoints.versions()["rednet"] == rednet.__version__
    assert provenance()["rednet"] == rednet.__version__
