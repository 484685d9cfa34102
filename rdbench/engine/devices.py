"""Devices by the names that a user gives them, and how many worker processes go with one."""

from __future__ import annotations

from rdbench.engine.environment import cores
from rdbench.types import SpecError


def resolve_devices(names: str) -> tuple[str, ...]:
    """Resolves names with commas between them; "cuda:all" is every CUDA device of the machine.

    Raises SpecError for one that this machine has not, for one that is named twice, and for
    devices of two classes, whose results differ.
    """
    import torch

    if names == "cuda:all":
        names = ",".join(f"cuda:{index}" for index in range(max(1, torch.cuda.device_count())))
    found = tuple(resolve_device(name.strip()) for name in names.split(","))
    if len(set(found)) < len(found):
        raise SpecError(f"devices {names!r} name one twice; name each once")
    if len({name.partition(":")[0] for name in found}) > 1:
        raise SpecError(f"devices {names!r} are of two classes; use those of one")
    return found


def resolve_device(name: str) -> str:
    """Resolves "auto"; raises SpecError for one that this machine has not."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SpecError(f"there is no device {name!r}; use cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SpecError(
            f"device {name!r} is not on this machine, which has "
            f"{torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return name


def most_workers() -> int:
    """How many processes are started at most, whatever a user asks for: each takes memory, and more
    than the cores can feed gain nothing.
    """
    return max(8, 4 * cores())


def default_workers(device: str, threads: int) -> int:
    """Worker processes where the user names no number, by the rule of
    `rdbench.engine.executors.processes`.
    """
    return max(1, cores() // threads) if device == "cpu" else cores()
