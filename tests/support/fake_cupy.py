"""Fakes of CuPy, and of torch's state on a machine with GPUs, that record calls."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

from rednet.ops.cuda.source import source


class CompileException(Exception):
    """CuPy's exception, whose message is NVRTC's log."""


class CUDADriverError(RuntimeError):
    """CuPy's exception."""


@dataclass
class Launched:
    kernel: "FakeKernel"
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    problem: bytes
    stream: int


@dataclass
class FakeKernel:
    """A `cupy.RawKernel`, compiled for a device."""

    cupy: "FakeCuPy"
    name: str
    options: tuple[str, ...]
    device: int | None

    def __call__(self, grid, block, args, *, stream):
        assert self.cupy.torch.device == self.device
        if self.cupy.launch_error is not None:
            raise self.cupy.launch_error
        (problem,) = args
        assert (problem.size, problem.nbytes) == (1, problem.itemsize)
        launched = Launched(self, grid, block, problem.tobytes(), stream.ptr)
        self.cupy.launches.append(launched)


@dataclass
class FakeTorch:
    """torch's state on a machine with GPUs."""

    device: int | None = None
    handle: int = 0
    is_capturing: bool = False
    switches: list[int] = field(default_factory=list)

    @contextmanager
    def switch(self, device):
        index = getattr(device, "index", device)
        before, self.device = self.device, index
        self.switches.append(index)
        yield
        self.device = before


class FakeCuPy(ModuleType):
    """The part of CuPy 14 that the backend uses, and a record of its calls."""

    def __init__(self, state: FakeTorch) -> None:
        super().__init__("cupy")
        self.__version__ = "14.2.0"
        self.torch = state
        self.compiled: list[FakeKernel] = []
        self.launches: list[Launched] = []
        self.compile_error = self.launch_error = None
        self.cuda = SimpleNamespace(
            Stream=SimpleNamespace(
                from_external=lambda lent: SimpleNamespace(ptr=lent.__cuda_stream__()[1])
            ),
            compiler=SimpleNamespace(CompileException=CompileException),
            driver=SimpleNamespace(
                get_build_version=lambda: 13020, CUDADriverError=CUDADriverError
            ),
        )

    def RawModule(self, *, code, options, backend):
        assert (code, backend) == (source(), "nvrtc")

        def get_function(name):
            if self.compile_error is not None:
                raise self.compile_error
            self.compiled.append(FakeKernel(self, name, options, self.torch.device))
            return self.compiled[-1]

        return SimpleNamespace(get_function=get_function)
