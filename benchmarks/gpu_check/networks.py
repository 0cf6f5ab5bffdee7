"""Stages "network" and "compiled": a variant of RedNet-50 against ResNet-50, in turns."""

from functools import partial

import torch

from benchmarks.gpu_check.predictions import judge_ratio, predict
from benchmarks.gpu_check.stages import Emit, Settings
from benchmarks.network import REDNET, RESNET, Setting, make_step
from benchmarks.turns import Ratio, Spread, Work, take_turns
from rednet.runtime import keep_freed_memory, set_numerics

BATCH, TURNS = 256, 15


def make_setting(settings: Settings, mode: str, compiled: bool) -> Setting:
    """Return the setting of the comparison: RedNet-50, batch 256, bfloat16, 224 pixels."""
    device, threads = torch.device(settings.device), torch.get_num_threads()
    if settings.tiny:
        return Setting(26, "fp32", mode, compiled, 2, 64, device, threads, None)
    return Setting(50, "bf16", mode, compiled, BATCH, 224, device, threads, None)


def run(settings: Settings, emit: Emit, compiled: bool, variant: str) -> None:
    """Emit a row for training and one for inference; `variant` is one of `VARIANTS`."""
    set_numerics(deterministic=False, tf32=True)
    if not settings.on_gpu:
        keep_freed_memory()
    if settings.tiny and compiled:  # Inductor takes minutes
        torch.compile = partial(torch.compile, backend="eager")
    for mode in ("training", "inference"):
        setting = make_setting(settings, mode, compiled)
        measure(setting, variant, 1 if settings.tiny else TURNS, emit)


def measure(setting: Setting, variant: str, turns: int, emit: Emit) -> None:
    """Emit the images per second of both networks, their ratio and their memory."""
    torch.compiler.reset()
    steps: dict[str, Work] = {}
    peaks: dict[str, float | None] = {}
    for name in (RESNET, REDNET):
        steps[name], peaks[name] = _make_warm_step(setting, name)
        emit(None, mode=setting.mode, network=name, peak_gib=peaks[name], is_warm=True)
    times = take_turns(steps, turns, setting.device)
    rates = {name: setting.batch / Spread.of(values).median for name, values in times.items()}
    ratio = Ratio.of(times[RESNET], times[REDNET])
    execution = "compiled" if setting.compiled else "eager"
    memory = ""
    if peaks[RESNET] and peaks[REDNET]:
        memory = f", {peaks[REDNET]:.2f} and {peaks[RESNET]:.2f} GiB"
    predicted, verdict = _prediction(setting, variant, ratio)
    emit(
        f"{setting.mode}, {execution}, {setting.precision}, batch {setting.batch}: RedNet-"
        f"{setting.depth} {variant} {rates[REDNET]:.0f}, ResNet-{setting.depth} "
        f"{rates[RESNET]:.0f} images/s, ratio {ratio.median:.3f} ({ratio.lower:.3f} to "
        f"{ratio.upper:.3f}){verdict}{memory}",
        variant=variant,
        predicted=predicted,
        mode=setting.mode,
        execution=execution,
        precision=setting.precision,
        depth=setting.depth,
        batch=setting.batch,
        image_size=setting.image_size,
        backend=setting.used_backend,
        images_per_second=rates,
        turns_ms={name: [1000 * time for time in values] for name, values in times.items()},
        ratio=[ratio.median, ratio.lower, ratio.upper],
        peak_gib=peaks,
    )


def _prediction(setting: Setting, variant: str, ratio: Ratio) -> tuple[float | None, str]:
    """Return the predicted ratio, and whether the measured one confirms it; there may be none."""
    if setting.device.type != "cuda" or setting.compiled:
        return None, ""
    major, minor = torch.cuda.get_device_capability(setting.device)
    found = predict(10 * major + minor)
    if found is None:
        return None, ", no prediction for this GPU"
    gpu, ratios = found
    predicted = ratios[setting.mode, variant]
    verdict = judge_ratio(ratio.median, predicted)
    return predicted, f", predicted for {gpu} {predicted:.3f}: {verdict}"


def _make_warm_step(setting: Setting, name: str) -> tuple[Work, float | None]:
    """Return a step that has run, and the peak GiB of a step with all that the network holds."""
    if setting.device.type != "cuda":
        step = make_step(setting, name)
        step()
        return step, None
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    step = make_step(setting, name)
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return step, (torch.cuda.max_memory_allocated() - before) / 2**30
