"""The packages that numbers may depend on, which a worker must have as the run's machine has them.

They are read from what rdbench asks for: its base, and its extras of codecs and metrics. The
provenance of a row names fewer (`rdbench.engine.environment`): it tells rows apart, while here a
difference is kept from making any.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

OTHER_EXTRAS = frozenset({"docs", "test", "train", "lightning", "cluster"})
"""Extras that measure nothing."""
NO_NUMBERS = frozenset(
    {"matplotlib", "plotly", "jinja2", "typer", "rich", "setuptools", "requests", "beartype"}
)
"""Packages that show, ask or install, and compute nothing."""


def versions_here() -> dict[str, str]:
    """Versions of rdbench, Python and the packages that are installed here of those."""
    from rdbench.version import __version__

    found = {"rdbench": __version__, "python": platform.python_version()}
    for package in _wanted():
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # of an extra
            continue
    return found


def _wanted() -> Iterator[str]:
    try:
        asked = requires("rdbench") or []
    except PackageNotFoundError:  # run from its source
        return
    for requirement in asked:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
        extra = re.search(r"""extra == ["']([\w-]+)["']""", requirement)
        if name not in NO_NUMBERS and not (extra and extra[1] in OTHER_EXTRAS):
            yield name
