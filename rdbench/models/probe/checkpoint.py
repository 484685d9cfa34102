"""A probe's checkpoint: as an autoencoder's, with the codec that it belongs to.

The provenance in its header names the checkpoint whose latents it was trained on
(`codec`, `codec_sha256`) and the SHA-256 of the audio files (`fitted_on`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.models.checkpoint import load_model, save_model
from rdbench.models.probe.config import ProbeConfig
from rdbench.models.probe.transformer import Probe
from rdbench.types import WeightsError

CONFIG = "rdbench.probe"


class ProbeError(WeightsError):
    """A probe that belongs to another checkpoint, or was trained on clips that are to be scored."""


@dataclass(frozen=True)
class TrainedProbe:
    """A probe with what its file says of it.

    sha256: of the file. codec, codec_sha256: the checkpoint whose latents it generates.
    fitted_on: SHA-256 of the audio files that it was trained on.
    """

    model: Probe
    sha256: str
    codec: str
    codec_sha256: str
    fitted_on: frozenset[str]
    provenance: Mapping[str, Any]

    def check_codec(self, name: str, weights_sha256: str) -> None:
        """Raises ProbeError unless the probe was trained on the latents of these weights."""
        if weights_sha256 != self.codec_sha256:
            raise ProbeError(
                f"the probe was trained on latents of {self.codec} (weights "
                f"{self.codec_sha256[:8]}), not of {name} ({weights_sha256[:8] or 'no weights'}); "
                "train one on this checkpoint"
            )

    def check_apart(self, scored: Iterable[tuple[str, str]]) -> None:
        """Refuses clips that the probe was trained on; `scored` are (name, SHA-256 of the file).

        Raises ProbeError, naming the first such clip.
        """
        same = [name for name, digest in scored if digest in self.fitted_on]
        if same:
            raise ProbeError(
                f"clip {same[0]!r} is one of the {len(self.fitted_on)} clips that the probe was "
                f"trained on ({len(same)} such clips): it would remember; predict other clips"
            )


def save(path: Path, model: Probe, provenance: Mapping[str, Any]) -> None:
    """Writes a probe, whole or not at all, in float32; raises OSError where the disk refuses."""
    save_model(path, model, CONFIG, model.config, provenance, half=False)


def load(path: Path) -> TrainedProbe:
    """The probe at `path`, on the CPU, in evaluation mode; raises WeightsError."""
    model, header = load_model(path, CONFIG, ProbeConfig, Probe)
    said = header.provenance
    codec, digest, files = said.get("codec"), said.get("codec_sha256"), said.get("fitted_on")
    if not (isinstance(codec, str) and isinstance(digest, str) and isinstance(files, list)):
        raise WeightsError(
            f"{path} does not say of which checkpoint and clips its probe is; train it again"
        )
    fitted_on = frozenset(str(one) for one in files)
    return TrainedProbe(model.eval(), header.sha256, codec, digest, fitted_on, said)
