"""One run of a model for several scores: what it said of the last signals is kept.

Metrics are keys, each with its own value. Where a model gives several at once (DNSMOS has four),
every key asks for all of them and takes its own, and a process runs the model once for each signal:

    @remembered
    def opinions(samples, sample_rate):
        return model(samples, sample_rate)
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

KEPT = 8
"""Answers that are kept of each function: metrics of one signal are scored one after another."""


def remembered(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, called once for equal arguments among its last `KEPT` calls of others.

    Arrays and tensors are equal where type, shape and content are; what else it takes must be
    hashable. An exception is not kept. Callers must not change what they are given.

    >>> import numpy as np
    >>> calls = []
    >>> @remembered
    ... def total(samples, factor):
    ...     calls.append(factor)
    ...     return float(samples.sum()) * factor
    >>> total(np.ones(3), 2), total(np.ones(3), 2), total(np.ones(3), 3)
    (6.0, 6.0, 9.0)
    >>> calls
    [2, 3]
    """
    answers: OrderedDict[Any, T] = OrderedDict()

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        what = (*map(_content, args), *((name, _content(one)) for name, one in kwargs.items()))
        if what not in answers:
            answers[what] = function(*args, **kwargs)
            if len(answers) > KEPT:
                answers.popitem(last=False)
        answers.move_to_end(what)
        return answers[what]

    return call


def _content(value: Any) -> Any:
    """What stands for an argument: of an array or a tensor its type, shape and hash."""
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return value
    array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    return str(value.dtype), tuple(value.shape), hashlib.sha256(array.tobytes()).digest()
