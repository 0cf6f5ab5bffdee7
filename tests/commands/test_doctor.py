"""What the doctor finds on machines with and without defects."""

import os
import stat
from importlib import metadata
from pathlib import Path

import pytest
import torch

from rednet import commands
from rednet.cgroup import core_limit, memory_limit
from rednet.doctor import packages, speed, system, tools
from rednet.doctor.report import Report
from rednet.ops import Backend, reference, register_backend
from rednet.ops.broken_backend import BrokenBackend

FOR_DEVELOPERS = {"accuracy", "browser", "test", "dev"}


@pytest.fixture
def report():
    return Report()


def test_this_machine(capsys):
    assert commands.doctor(["seconds=0"]) == 0
    out, err = capsys.readouterr()
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert err == ""
    labels = {"rednet", "torch", "CUDA", "compiler", "kernel cache", "cores", "memory"}
    assert labels | {"open files", "backend cuda", "extra onnx"} <= lines.keys()
    assert metadata.version("timm") in lines["timm"]
    assert lines["backend"].endswith("is used on cpu") or torch.cuda.is_available()


def test_the_speed_of_backends(report, monkeypatch):
    monkeypatch.setattr(speed, "IMAGE_SIZE", 32)
    speed.check_backends(report, 1e-9)
    rows = dict(report.rows)
    assert rows["backend reference"].startswith("runs on cpu, ")
    assert "RedNet-50 inference " in rows["backend native"]
    assert report.problems == []


def test_torch_that_cannot_be_imported(monkeypatch, capsys):
    def fail(name):
        raise OSError(0, "libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(packages, "import_module", fail)
    assert commands.doctor([]) == 2
    out, err = capsys.readouterr()
    first, *rest = err.splitlines()
    assert first.startswith("error: RedNet cannot run: torch cannot be imported (libcudart.so.13: ")
    assert len(rest) == 2 and "extra onnx" in out


def test_packages_that_are_missing_or_too_old(report, monkeypatch):
    versions = {"timm": "1.0.1", "hydra-core": None, "onnxruntime": None}
    found = packages.installed_version
    monkeypatch.setattr(packages, "installed_version", lambda n: versions.get(n, found(n)))
    monkeypatch.setattr(packages, "MAIN", ())
    packages.check_packages(report)
    packages.check_extras(report)
    (old,), (missing,) = report.problems, report.obstacles
    assert old.startswith("timm 1.0.1: rednet needs timm") and 'pip install "timm' in old
    assert missing.startswith('hydra-core is missing: pip install "hydra-core')
    extra = dict(report.rows)["extra onnx"]
    missing = 'onnxruntime not installed: pip install "rednet[onnx]" for export format=onnx'
    assert extra.endswith(missing)


def test_every_extra_has_a_row():
    extras = packages._project()["optional-dependencies"].keys()
    assert packages.PURPOSES.keys() == extras - FOR_DEVELOPERS


def test_an_extra_that_is_newer_than_the_installation(report, monkeypatch):
    monkeypatch.setattr(packages, "_requirements", list)
    packages.check_extras(report)
    assert dict(report.rows)["extra huggingface"].startswith("not known to this installation: ")


def test_a_machine_with_little_of_everything(report, monkeypatch, tmp_path):
    usage = system.shutil.disk_usage(tmp_path)._replace(total=1000, free=1000)
    monkeypatch.setattr(system.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(system, "core_limit", lambda: 0.5)
    monkeypatch.setattr(system, "memory_limit", lambda: 10**8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(system, "FILES", 10**9)
    monkeypatch.setattr(os, "getloadavg", lambda: (9999.0, 0, 0))
    monkeypatch.setattr(system, "MEMORY_INFO", Path("/proc/self/cmdline"))  # raises
    system.check_system(report)
    found = "\n".join(report.problems)
    assert "torch uses 64 threads, but 1 core can be used: set OMP_NUM_THREADS=1" in found
    assert "load: 9999.0 programs share " in found
    assert "memory: cannot be checked: " in found
    assert f"{Path.cwd()}: 1.0 kB free: delete files" in found
    assert "/dev/shm has 1000 bytes left" in found
    assert "data.num_workers=0" in found


def test_a_cache_that_others_can_write_to(report, monkeypatch, tmp_path):
    shared = tmp_path / "shared\x1b"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("REDNET_CACHE", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    tools.check_tools(report)
    (cache,) = report.problems
    assert "shared\\x1b can be written by everyone" in cache
    assert f"are kept in {tmp_path / 'rednet'}" in cache
    rows = dict(report.rows)
    assert rows["compiler"].startswith("none: no compiler 'no-such-compiler' found: set CXX")
    assert rows["kernel cache"].endswith("private: 0 files, 0.0 kB")
    assert stat.S_IMODE(os.stat(tmp_path / "rednet").st_mode) == 0o700


def test_backends_that_are_broken_or_wrong(report, monkeypatch):
    def make(name, involution2d=reference.involution2d, reason=None):
        gradients = (reference.involution2d_grad_input, reference.involution2d_grad_weight)
        return register_backend(Backend(name, lambda *_: reason, involution2d, *gradients))

    def wrong(*arguments):
        return 1.01 * reference.involution2d(*arguments)

    monkeypatch.setenv("REDNET_BACKEND", "mine")
    with make("mine", reason=BrokenBackend("no nvcc\nfound")), make("wrong", wrong):
        speed.check_backends(report, 0)
    *broken, wrong_results = report.problems
    assert broken == [
        "backend mine cannot run: no nvcc found",
        "REDNET_BACKEND=mine: backend 'mine' cannot run: no nvcc found",
    ]
    assert "wrong results on cpu (relative errors of output and gradients 0.01, " in wrong_results
    assert not report.obstacles


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_a_control_group(version, tmp_path):
    groups = tmp_path / "groups"
    if version == 2:
        groups.write_text("0::/job/step\n")
        files = {"job/cpu.max": "150000 100000\n", "job/step/cpu.max": "max 100000\n"}
        files |= {"job/memory.max": "max", "job/step/memory.max": "2000000000\n"}
    else:
        groups.write_text("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n")
        files = {"cpu,cpuacct/cpu.cfs_quota_us": "150000", "memory/memory.limit_in_bytes": "2" * 10}
        files |= {"cpu,cpuacct/cpu.cfs_period_us": "100000"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert core_limit(tmp_path, groups) == 1.5
    assert memory_limit(tmp_path, groups) in (2_000_000_000, 2_222_222_222)
    assert core_limit(tmp_path / "none", groups) is None
    assert memory_limit(tmp_path, tmp_path / "none") is None
