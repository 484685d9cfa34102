"""A callback of PyTorch Lightning that evaluates the model while it trains."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.monitor.evaluate import evaluate
from rdbench.monitor.loggers import check_targets
from rdbench.types import MissingExtraError, RdbenchError, SpecError

try:
    from lightning.pytorch.callbacks import Callback
except ImportError as error:
    raise MissingExtraError("the callback of Lightning", "lightning") from error

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

_LOG = logging.getLogger(__name__)


class EvaluateCallback(Callback):
    """Evaluates `codec(module)` every so many steps, on the process of rank 0.

    Scores and figures go to the trainer's loggers. An evaluation that fails is a warning: training
    goes on.
    """

    def __init__(
        self,
        codec: Callable[[LightningModule], Any],
        spec: Any = None,
        *,
        every_n_steps: int,
        folder: str | Path | None = None,
        log: Any = None,
    ) -> None:
        """Says what is evaluated, and when.

        Args:
            codec: makes the codec of a module that is being trained, once; it must use the module's
                own weights and no copy of them.
            spec: as in `rdbench.evaluate`.
            every_n_steps: optimizer steps between evaluations (`trainer.global_step`).
            folder: as in `rdbench.evaluate`; None is `evaluations` under the trainer's root folder.
            log: further targets beside the trainer's loggers.

        Raises:
            SpecError: for less than one step, and for a target that nothing can be logged to.
        """
        if every_n_steps < 1:
            raise SpecError(f"every_n_steps is {every_n_steps}; it must be 1 or more")
        check_targets(log)
        self._make = codec
        self._spec = spec
        self._every = every_n_steps
        self._folder = folder
        self._log = log if isinstance(log, list | tuple) else [log]
        self._codec: Any = None
        self._last = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any
    ) -> None:
        """Evaluates, where it is time to."""
        step = trainer.global_step
        # Of several batches in one step (accumulated gradients) the first that has made it.
        if not step or step % self._every or step == self._last or not trainer.is_global_zero:
            return
        self._last = step
        try:
            if self._codec is None:
                self._codec = self._make(pl_module)
            evaluate(
                self._codec,
                self._spec,
                step,
                folder=self._folder or Path(trainer.default_root_dir) / "evaluations",
                log=[*trainer.loggers, *self._log],
            )
        except RdbenchError as error:
            _LOG.warning("step %d was not evaluated: %s", step, error)
