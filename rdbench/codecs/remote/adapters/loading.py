"""Checkouts, configurations and checkpoints, as the other side finds them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def enter_checkout(folder: str, file: str, source: str) -> Path:
    """Lets modules of a checkout be imported, before any other; returns its folder.

    file: one that it must have. source: where to clone it from.
    """
    place = _checkout(folder, file, source)
    sys.path.insert(0, str(place))
    return place


def as_package(folder: str, name: str, file: str, source: str) -> Path:
    """Lets modules of a checkout be imported as those of a package; the rest as `enter_checkout`.

    name: of the package. For modules that import each other by a dot, from whatever folder.
    """
    place = _checkout(folder, file, source)
    package = ModuleType(name)
    package.__path__ = [str(place)]
    sys.modules[name] = package
    return place


def _checkout(folder: str, file: str, source: str) -> Path:
    place = existing(folder)
    if not (place / file).is_file():
        raise FileNotFoundError(f"{folder} has no {file}; name a checkout of {source}")
    return place


def existing(path: str) -> Path:
    """A file or folder that is there, as an absolute path."""
    place = Path(path).expanduser().absolute()
    if not place.exists():
        raise FileNotFoundError(f"there is no {path}")
    return place


def imported_from(folder: Path) -> list[Path]:
    """The files of all modules that were imported from a folder, whatever it is called."""
    root, found = folder.resolve(), set()
    for module in list(sys.modules.values()):
        file = Path(getattr(module, "__file__", None) or "/").resolve()
        # Some modules that are made up say a name without a folder.
        if (
            root in file.parents
            and file.is_file()
            and not {"site-packages", "dist-packages"} & set(file.parts)
        ):
            found.add(file)
    return sorted(found, key=str)


def read_checkpoint(path: Path) -> Any:
    """What a PyTorch file holds, on the CPU; code in it is refused, not run."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def fill(model: Any, state: Any, *, computed: str = "") -> None:
    """Gives a model of torch every tensor that it has; it ends ready to be used.

    What else a checkpoint has must be of parts that the model has not, as discriminators are: a
    layer too many of one of its own parts is the checkpoint of another model.

    computed: the beginning of names that a checkpoint need not have, since they are not trained.
    """
    import torch

    wanted = set(model.state_dict())
    parts = {name.partition(".")[0] for name in wanted}
    given = {name: one for name, one in state.items() if name.partition(".")[0] in parts}
    unknown = sorted(set(given) - wanted)
    missing = sorted(n for n in wanted - set(given) if not computed or not n.startswith(computed))
    if missing or unknown:
        raise ValueError(
            f"the weights lack {len(missing)} of {len(wanted)} tensors and have {len(unknown)} "
            f"unknown (first {(missing + unknown)[0]!r}); give the checkpoint of this model"
        )
    model.load_state_dict(given, strict=False)  # but for what is computed, they are all there
    model.eval().requires_grad_(False)
    # TF32 has ten bits of mantissa, which flip codes.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def pad_to_frames(samples: Any, hop: int) -> Any:
    """Samples (clips, channels, time), filled up with zeros to whole frames of `hop` samples."""
    import torch

    return torch.nn.functional.pad(samples, (0, -samples.shape[-1] % hop))
