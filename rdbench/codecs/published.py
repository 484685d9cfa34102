"""Which codecs have weights that somebody published, and what fetches those of a name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from rdbench.codecs.registry import BUILT_IN
from rdbench.suggest import nearest
from rdbench.types import CodecError
from rdbench.weights.hub import HubModel, is_id
from rdbench.weights.published import Download, PublishedDownload, WeightsFile


def published_files() -> Mapping[str, WeightsFile]:
    """The published file of each codec that has one."""
    found = {}
    for name, place in BUILT_IN.items():
        module, _, attribute = place.partition(":")
        file = getattr(getattr(importlib.import_module(module), attribute), "file", None)
        if isinstance(file, WeightsFile):
            found[name] = file
    return found


def download(name: str, *, subfolder: str = "", revision: str = "main") -> Download:
    """What fetches the weights of a codec, or of a model of the hub.

    Raises CodecError for a name that is neither.
    """
    files = published_files()
    if name in files:
        return PublishedDownload(name, files[name])
    if is_id(name):
        return HubModel.of(name, subfolder, revision)
    raise CodecError(
        f"there are no published weights of {name!r}; "
        f"{nearest(name, list(files), many='rdbench knows those of')}; give other models as "
        "OWNER/NAME or OWNER/NAME@REVISION of the Hugging Face hub"
    )
