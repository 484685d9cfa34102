"""What a codec that is not rdbench's own consists of, for the keys of its units."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.tokens import TokenCodec
from rdbench.identity import Behind, behind, behind_files
from rdbench.weights.checkpoints import tensors_sha256

if TYPE_CHECKING:
    from rdbench.codecs.base import Codec


def code_of(codec: Codec, options: str) -> Behind:
    """Hashes of code and files; of a codec of rdbench's the files alone that it says it opens.

    options: as JSON.
    """
    if codec.code_files is not None:
        return behind_files(codec.code_files, json.loads(options))
    found = behind(type(codec).__module__, json.loads(options))
    return Behind(found.source, {**found.files, **codec.opens})


def name_weights(codec: Codec) -> None:
    """Gives a codec that says nothing of its weights the hash of its tensors.

    So that they are in its units' keys and in the manifest, and tables that were fitted to other
    weights are not taken for its own.
    """
    if codec.info.weights_sha256:
        return
    if isinstance(codec, PosteriorCodec):
        codec.info = replace(codec.info, weights_sha256=tensors_sha256(codec.modules))
    elif isinstance(codec, TokenCodec):
        codec.info = replace(codec.info, weights_sha256=tensors_sha256(codec.model))
