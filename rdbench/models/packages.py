"""What building modules of other packages needs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def older_weight_norm() -> Iterator[None]:
    """Without torch's remark on weight normalization.

    `dac` and `encodec` use torch's older one, as their checkpoints do; users cannot mend it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
        yield
