"""Where the scores of a training go, beside the folder: TensorBoard, Weights & Biases, a function.

Each is told by the methods that it has, so that none of these packages is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.types import SpecError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREFIX = "rdbench"


def log_to(
    targets: Any, step: int, values: Mapping[str, float], figures: Mapping[str, Figure]
) -> None:
    """Hands the scores of a step to each of `targets`, one or a list.

    A target is a TensorBoard `SummaryWriter` (`add_scalar`, `add_figure`), a run of `wandb`
    (`log`), a logger of Lightning (`log_metrics`; figures where what is behind it takes them), or a
    function of (step, values, figures). values: by name, as `speech/pesq_wb`; figures: by domain.
    Raises SpecError for anything else.
    """
    for target in targets if isinstance(targets, list | tuple) else [targets]:
        if target is not None:
            _log(target, step, values, figures)


def check_targets(targets: Any) -> None:
    """Raises SpecError for a target that nothing can be logged to."""
    for target in targets if isinstance(targets, list | tuple) else [targets]:
        if target is not None and not any(hasattr(target, name) for name in _METHODS):
            raise SpecError(
                f"nothing can be logged to a {type(target).__name__}; give a SummaryWriter, a run "
                "of wandb, a logger of Lightning, or a function of (step, values, figures)"
            )


_METHODS: Sequence[str] = ("add_scalar", "log_metrics", "log", "__call__")


def _log(
    target: Any, step: int, values: Mapping[str, float], figures: Mapping[str, Figure]
) -> None:
    named = {f"{PREFIX}/{name}": value for name, value in values.items()}
    drawn = {f"{PREFIX}/{name}/over_steps": figure for name, figure in figures.items()}
    if hasattr(target, "add_scalar"):
        for name, value in named.items():
            target.add_scalar(name, value, step)
        for name, figure in drawn.items():
            target.add_figure(name, figure, step)
    elif hasattr(target, "log_metrics"):
        target.log_metrics(named, step=step)
        _draw_in(getattr(target, "experiment", None), step, drawn)
    elif hasattr(target, "log"):
        target.log({**named, **_images(drawn)}, step=step)
    else:
        target(step, values, figures)


def _draw_in(experiment: Any, step: int, drawn: Mapping[str, Figure]) -> None:
    """What is behind a logger of Lightning takes figures, if it is one of those that do."""
    if hasattr(experiment, "add_figure"):
        for name, figure in drawn.items():
            experiment.add_figure(name, figure, step)
    elif type(experiment).__module__.partition(".")[0] == "wandb":
        experiment.log(_images(drawn), step=step)


def _images(drawn: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures as Weights & Biases takes them, without making them interactive."""
    import sys

    wandb = sys.modules.get("wandb")
    return {name: wandb.Image(figure) if wandb else figure for name, figure in drawn.items()}
