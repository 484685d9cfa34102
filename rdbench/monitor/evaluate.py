"""`rdbench.evaluate`: a model that is in memory, on a small fixed set, in the middle of training.

The model stays where it is; what is measured is what `rdbench run` measures, by the same code and
on the same clips each time, so that steps can be compared with each other and with any other run of
the spec. Modes, gradients, random states and torch's settings are afterwards as they were.
"""

from __future__ import annotations

import hashlib
import logging
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.monitor.loggers import check_targets, log_to
from rdbench.monitor.specs import with_system
from rdbench.monitor.steps import add_step, draw, folder_of, read_step, scalars, write_figures
from rdbench.types import CodecError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from rdbench.codecs.base import Codec
    from rdbench.engine.run import RunOptions

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found.

    table: `rdbench.monitor.steps.COLUMNS`, of this step. failed: rows that failed. folder: of its
    run, or None where none was kept.
    """

    step: int
    table: pd.DataFrame
    failed: int
    folder: Path | None

    @property
    def values(self) -> dict[str, float]:
        """Rates and scores by name, as loggers have them: `speech/kbps`, `speech/pesq_wb`."""
        return scalars(self.table)


def evaluate(
    model: Any,
    spec: Any = None,
    step: int = 0,
    *,
    folder: str | Path | None = None,
    log: Any = None,
    name: str = "model",
    allow_code: bool = False,
    allow_download: bool = False,
) -> Evaluation:
    """Evaluates a model in this process, on the device on which it is.

    Args:
        model: a `Codec` around the model (derive it from
            `rdbench.codecs.posterior.base.PosteriorCodec`, say), or an autoencoder of
            `rdbench.models`. Its weights are those that it has now. A model that keeps tensors of
            its forward pass (rotary tables, say) must have made them before: here they would be
            made without gradients.
        spec: what to measure: a path, a mapping, or None. Its systems are left out; what it does
            not say is made to suit the model (the embedded clips, 3 s of each, quick metrics).
        step: of training.
        folder: where the run of each step, the table of all (`training.csv`) and the figure over
            steps are kept; None keeps nothing.
        log: where scores and figures go: see `rdbench.monitor.loggers.log_to`.
        name: of the model in tables.
        allow_code: let metrics run that are `module:Class`.
        allow_download: fetch models of metrics that are not on this machine.

    Raises:
        SpecError, CodecError, AudioError: for what can be mended before anything is measured.
        CodecError: where everything failed. Single failures are rows, and counted in `failed`.
    """
    from rdbench.engine.run import RunOptions

    check_targets(log)
    codec = _codec(model)
    with ExitStack() as stack:
        stack.enter_context(_as_it_was(codec))
        out = Path(folder) if folder is not None else None
        place = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rdbench")))
        options = RunOptions(
            device=_device(codec),
            costs="none",
            allow_code=allow_code,
            allow_download=allow_download,
        )
        found = _measured(codec, spec, step, out=place, name=name, options=options)
        whole = add_step(place, found.table)
        if out is not None:
            write_figures(out, whole)
        if log is not None:
            from rdbench.report.figures.style import figure_style

            with figure_style():
                log_to(log, step, found.values, draw(whole))
    return found if out is not None else replace(found, folder=None)


def _measured(
    codec: Codec, spec: Any, step: int, *, out: Path, name: str, options: RunOptions
) -> Evaluation:
    from rdbench.engine.run import run_benchmark

    kind = type(codec)
    # A name alone, which nobody imports: a class that was typed in a notebook will do.
    system = {"codec": f"{kind.__module__}:{kind.__name__}".replace("__main__", "main")}
    benchmark = with_system(spec, {**system, "name": name}, codec.info)
    place = folder_of(out, step)
    summary = run_benchmark(benchmark, place, options, held={name: codec})
    table = read_step(place, step)
    if not table["value"].notna().any():
        raise CodecError(f"step {step}: nothing could be scored ({_reason(place)}); see {place}")
    if summary.failed:
        _LOG.warning("step %d: %d rows failed, as: %s", step, summary.failed, _reason(place))
    return Evaluation(step, table, summary.failed, place)


def _reason(folder: Path) -> str:
    from rdbench.store.reader import read_rows

    rows = read_rows(folder)
    reasons = rows.loc[rows["status"] != "ok", "reason"]
    return str(reasons.mode().iloc[0]) if len(reasons) else "there is no clip"


def _codec(model: Any) -> Codec:
    from rdbench.codecs.base import Codec
    from rdbench.models.autoencoder import Autoencoder

    if isinstance(model, Codec):
        return model
    if isinstance(model, Autoencoder):
        from rdbench.codecs.posterior.vae import codec_of
        from rdbench.models.checkpoint import Header

        return codec_of(model, Header(model.config, {}, {}), name="model")
    raise CodecError(
        f"a {type(model).__name__} is no codec; put the model into one derived from "
        "rdbench.codecs.posterior.base.PosteriorCodec (docs/training_loop.md)"
    )


def _modules(codec: Codec) -> list[torch.nn.Module]:
    """The models of a codec: itself, its attributes, and those in lists and tables among them."""
    import torch

    found: dict[int, torch.nn.Module] = {}

    def look(value: Any, depth: int) -> None:
        if isinstance(value, torch.nn.Module):
            found.setdefault(id(value), value)
        elif depth and isinstance(value, list | tuple | dict):
            for one in value.values() if isinstance(value, dict) else value:
                look(one, depth - 1)

    for value in (codec, *vars(codec).values()):
        look(value, 2)
    return list(found.values())


def _device(codec: Codec) -> str:
    for module in _modules(codec):
        for tensor in (*module.parameters(), *module.buffers()):
            return str(tensor.device)
    return "cpu"


@contextmanager
def _as_it_was(codec: Codec) -> Iterator[None]:
    """Names the weights that the codec has now, and leaves everything else as it was."""
    import numpy as np
    import torch

    from rdbench.weights.checkpoints import tensors_sha256

    modules = _modules(codec)
    info = codec.info
    training = [(part, part.training) for module in modules for part in module.modules()]
    # NumPy's old generator is what others draw from.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    device = torch.device(_device(codec))
    devices = [device] if device.type == "cuda" else []
    digests = [tensors_sha256(module) for module in modules]
    try:
        if digests:
            whole = digests[0]
            if len(digests) > 1:
                whole = hashlib.sha256("".join(digests).encode()).hexdigest()
            codec.info = replace(info, weights_sha256=whole)
        for module in modules:
            module.eval()
        with (
            torch.random.fork_rng(devices),
            torch.autocast(device.type, enabled=False),
            torch.no_grad(),
        ):
            yield
    finally:
        codec.info = info
        for part, was in training:
            part.training = was
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
