"""Networks as exported files: size, time to export, time of an image, error against PyTorch."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import rednet.registry  # noqa: F401 (registers the names with timm)
from benchmarks.calibration import calibrate
from benchmarks.network import make_network
from benchmarks.runtimes import RUNTIMES, Run, unavailable_reason
from benchmarks.turns import Ratio, Spread, Work, take_turns
from rednet.export import Options, Subject, write_program
from rednet.export.checking import relative_error
from rednet.runtime import Runtime

Row = dict[str, Any]

CALIBRATION_IMAGES = 64
"""As many images as are measured, or more: of others the activations may grow without bounds."""
CPU = torch.device("cpu")
EAGER = "eager"


@dataclass(frozen=True)
class Form:
    """A network in PyTorch, or as a file together with the program that runs it.

    Attributes:
        network: "rednet" or "resnet"; the latter tells what a runtime does with convolutions.
        format: "onnx", "torch_export", or "eager" for PyTorch itself.
        runtime: A key of `RUNTIMES`.
        fold_bn: Batch normalisation is folded into the convolutions before it.
        decompose: Operations of PyTorch replace the operator, in a program of torch.export.
    """

    network: str
    format: str
    runtime: str = "torch"
    fold_bn: bool = False
    decompose: bool = False

    @property
    def file(self) -> tuple[str, str, Options]:
        """What distinguishes the form's file from those of others."""
        return self.network, self.format, Options(self.fold_bn, self.decompose)

    @property
    def operator(self) -> str | None:
        """What computes the involutions: the library's operator, or the format's operations."""
        if self.network == "resnet":
            return None
        return "standard" if self.decompose or self.format == "onnx" else "native"

    @property
    def name(self) -> str:
        """The form in words."""
        parts = [self.network, self.format]
        parts += [self.runtime] if self.format == "onnx" else []
        parts += ["decomposed"] if self.decompose else []
        return " ".join([*parts, *(["folded"] if self.fold_bn else [])])


@dataclass(frozen=True)
class File:
    """An exported network.

    Attributes:
        data: Content of the file.
        seconds: Time of the export.
        cpu_seconds: Its processor time, which depends less on other work of the machine.
    """

    data: bytes
    seconds: float
    cpu_seconds: float


def list_forms() -> list[Form]:
    """Return the forms that this machine can run, PyTorch's first."""
    networks = ["rednet", "resnet"]
    forms = [Form(network, EAGER) for network in networks]
    for decompose in (False, True):
        for fold_bn in (True, False):
            forms.append(Form("rednet", "torch_export", "torch", fold_bn, decompose))
    for runtime in ("onnxruntime", "openvino"):
        forms += [Form("rednet", "onnx", runtime, fold_bn) for fold_bn in (True, False)]
        forms += [Form(network, "onnx", runtime, True) for network in networks[1:]]
    return [form for form in forms if unavailable_reason(form.runtime) is None]


class Exports:
    """The forms of one depth, exported and opened.

    Args:
        depth: Depth of RedNet, and of ResNet.
        image_size: Side of the images in pixels.
    """

    def __init__(self, depth: int, image_size: int) -> None:
        self.depth = depth
        self.forms = list_forms()
        eager = [form for form in self.forms if form.format == EAGER]
        self.subjects = {
            form.network: make_subject(form.network, depth, image_size) for form in eager
        }
        self.files = _write_all(self.forms, self.subjects)
        self.runs = {form: self._open(form) for form in self.forms}

    def _open(self, form: Form) -> Run:
        if form.format == EAGER:
            return _run_eagerly(self.subjects[form.network])
        return RUNTIMES[form.runtime](self.files[form.file].data, torch.get_num_threads())

    def measure(self, batch: int, turns: int, on_turn: Work = lambda: None) -> list[Row]:
        """Return a row for each form.

        Args:
            batch: Images per batch.
            turns: Turns of each form.
            on_turn: Called after every round of turns.
        """
        images = self.subjects["rednet"].images(batch)
        work: dict[str, Work] = {form.name: partial(run, images) for form, run in self.runs.items()}
        errors = {form: self._error(form, images) for form in self.forms}
        times = take_turns(work, turns, CPU, on_turn)
        return [
            self._describe(form, images, times) | {"relative_error": errors[form]}
            for form in self.forms
        ]

    def _error(self, form: Form, images: Tensor) -> float | None:
        if form.format == EAGER:
            return None
        return relative_error(self.runs[form](images), self.subjects[form.network], images)

    def _describe(self, form: Form, images: Tensor, times: Mapping[str, list[float]]) -> Row:
        subject, file = self.subjects[form.network], self.files.get(form.file)
        own = times[form.name]
        per_image = [1000 * seconds / len(images) for seconds in own]
        return {
            "depth": self.depth,
            "form": form.name,
            **asdict(form),
            "operator": form.operator,
            "batch": len(images),
            "image_size": subject.size,
            "megabytes": file and len(file.data) / 1e6,
            "export_seconds": file and file.seconds,
            "export_cpu_seconds": file and file.cpu_seconds,
            "ms_per_image": asdict(Spread.of(per_image)),
            "turns_ms_per_image": [float(f"{value:.4g}") for value in per_image],
            "over_eager": asdict(Ratio.of(own, times[Form(form.network, EAGER).name])),
        }


def make_subject(network: str, depth: int, image_size: int) -> Subject:
    """Return "rednet" or "resnet" with random weights and activations of an ordinary size."""
    torch.manual_seed(0)
    model = make_network(network, depth)
    subject = Subject(model, {"name": f"{network}{depth}", "options": {}}, {}, None, 3, image_size)
    calibrate(model, subject.images(CALIBRATION_IMAGES))
    return subject


def _write_all(
    forms: Sequence[Form], subjects: Mapping[str, Subject]
) -> dict[tuple[str, str, Options], File]:
    """Export every file once, also if several runtimes read it."""
    files = dict.fromkeys(form.file for form in forms if form.format != EAGER)
    return {file: _write(subjects[file[0]], *file[1:]) for file in files}


def _write(subject: Subject, format: str, options: Options) -> File:
    start, cpu_start = time.perf_counter(), time.process_time()
    data = write_program(subject, format, options)
    return File(data, time.perf_counter() - start, time.process_time() - cpu_start)


def _run_eagerly(subject: Subject) -> Run:
    """Run a network as evaluation does, in the layout that is fastest."""
    runtime = Runtime(CPU, "fp32")
    model = runtime.place(subject.model)
    return torch.no_grad()(lambda images: model(runtime.place_images(images)))
