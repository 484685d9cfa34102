"""What a run was made with: versions and hardware, for the manifest."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rdbench.codecs.precision import turn_off_tf32

PACKAGES = (
    "torch",
    "torchaudio",
    "numpy",
    "av",
    "encodec",
    "descript-audio-codec",
    "ai-edge-litert",
    "pesq",
    "pystoi",
    "visqol-python",
    "soundfile",
    "safetensors",
)


def versions() -> dict[str, str]:
    """Installed versions of rdbench and of the packages that numbers depend on."""
    from rdbench.version import __version__

    found = {"rdbench": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def provenance(device: str) -> tuple[str, dict[str, Any]]:
    """With what rows are measured that may change their digits: a name, and what it stands for.

    The same versions on the same kind of processor have the same name.
    """
    found = hardware(device)
    told = {"versions": versions(), **{key: found[key] for key in ("processor", "accelerator")}}
    text = json.dumps(told, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8], told


def hardware(device: str) -> dict[str, Any]:
    """Processor, cores that this process may use, memory in bytes, and the device's name."""
    import psutil
    import torch

    accelerator = torch.cuda.get_device_name(device) if device.startswith("cuda") else ""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": device,
        "accelerator": accelerator,
    }


def machine_name(device: str) -> str:
    """Names what a cost depends on beside the codec: hardware, torch, and a hash of all of it.

    Not the kernel's version, nor the last bytes of memory: a machine that was updated is the same.
    """
    from importlib.metadata import version

    found = hardware(device)
    found["device"] = device.partition(":")[0]
    found["memory_bytes"] = round(found["memory_bytes"] / 2**30)
    del found["platform"]
    torch = version("torch")
    text = json.dumps([found, torch], sort_keys=True)
    what = found["accelerator"] or f"{found['processor']}, {found['cores']} cores"
    return f"{what}, torch {torch} #{hashlib.sha256(text.encode()).hexdigest()[:6]}"


@contextmanager
def torch_settings(threads: int) -> Iterator[None]:
    """Torch with `threads` threads and in full precision; afterwards as it was found."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    restore = turn_off_tf32()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        restore()


def cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
