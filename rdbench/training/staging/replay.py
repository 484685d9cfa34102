"""Latents that a generator made, as input of the decoder in training.

What a decoder is given after a generator is no sample of the posterior, and a decoder that has
seen such latents makes more of them. `rdbench latent predict` writes the latents of a probe, an
array (channels, frames) for each clip and beside them `predicted.json`, which says of which
checkpoint they are. A replayed crop is a crop of the audio that begins with a frame, and the frames
of its latent.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field

from rdbench.audio.places import place_of
from rdbench.files import read_file
from rdbench.models.config import Frozen
from rdbench.training.loop import TrainingError

if TYPE_CHECKING:
    from rdbench.models.config import AutoencoderConfig
    from rdbench.training.data import CropData

ABOUT = "predicted.json"
MAX_BYTES = 2**30
"""Largest array of one clip that is read."""


class ReplayConfig(Frozen):
    """Which latents are replayed, and to how many crops.

    latents: folders as `rdbench latent predict` writes them (OUT/TASK/SEED), of whole clips of the
        training data; environment variables are filled in. share: of each batch, one crop at least.
    """

    latents: Annotated[tuple[str, ...], Field(min_length=1)]
    share: Annotated[float, Field(gt=0, le=1)] = 0.5

    def crops(self, batch: int) -> int:
        """How many crops of a batch are replayed."""
        return max(1, round(self.share * batch))


class ReplayedLatents:
    """Predicted latents of clips of `data`, drawn in crops.

    encoders: SHA-256 of the checkpoints whose latents may be replayed. Raises TrainingError for a
    folder that holds no such latents, of other weights, of none of the clips, or of parts of them.
    """

    def __init__(
        self,
        config: ReplayConfig,
        data: CropData,
        model: AutoencoderConfig,
        encoders: Collection[str],
    ) -> None:
        self._data = data
        self._hop = model.hop
        self._frames = -(-data.crop // model.hop)
        self._of: dict[int, list[np.ndarray]] = {}
        digest = hashlib.sha256()
        for text in config.latents:
            folder = Path(os.path.expandvars(text))
            _check_about(folder, encoders)
            found = False
            for index, name in enumerate(data.names):
                path = folder / f"{place_of(name)}.npy"
                if path.is_file():
                    latent = self._read(path, model.bottleneck.channels, data.length(index))
                    digest.update(latent.tobytes())
                    self._of.setdefault(index, []).append(latent)
                    found = True
            if not found:
                raise TrainingError(
                    f"{folder} has a latent of none of the clips that are trained on; predict "
                    "latents of the training data"
                )
        self.sha256 = digest.hexdigest()

    @property
    def clips(self) -> int:
        """Number of clips that have latents."""
        return len(self._of)

    def batch(
        self, *, seed: int, step: int, size: int, rank: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Audio (size, channels, crop) and its latents (size, channels, frames), float32."""
        generator = np.random.default_rng(np.random.SeedSequence((seed, step, rank, 1)))
        crops, latents = [], []
        for _ in range(size):
            index, start, crop = self._data.draw(generator, among=[*self._of], grid=self._hop)
            chosen = self._of[index][int(generator.integers(len(self._of[index])))]
            first = start // self._hop
            crops.append(crop)
            latents.append(chosen[:, first : first + self._frames])
        return self._data.as_audio(crops), torch.from_numpy(np.stack(latents))

    def _read(self, path: Path, channels: int, length: int) -> np.ndarray:
        wanted = (channels, -(-length // self._hop))
        try:
            latent = np.load(io.BytesIO(read_file(path, MAX_BYTES)), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise TrainingError(f"{path} is no array; predict it again") from error
        if latent.shape != wanted or latent.dtype.kind != "f" or not np.isfinite(latent).all():
            raise TrainingError(
                f"{path} holds {latent.dtype} {latent.shape} where the whole clip has finite "
                f"latents {wanted}; predict it again, with no `excerpt_seconds` in the spec"
            )
        found: np.ndarray = latent.astype(np.float32)
        return found


def _check_about(folder: Path, encoders: Collection[str]) -> None:
    path = folder / ABOUT
    try:
        about: Any = json.loads(read_file(path, MAX_BYTES))
        sha256 = about["codec"]["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{folder} holds no predicted latents ({ABOUT} is missing or damaged); give a folder "
            "that `rdbench latent predict` wrote, with task and seed"
        ) from error
    if sha256 not in encoders:
        raise TrainingError(
            f"{folder} is of other weights ({str(sha256)[:8]}) than the ones this run starts from; "
            "predict latents of those"
        )


def encoders_of(sha256: str, provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """The checkpoint `sha256` and those before it with the same encoder, which it says itself."""
    same = provenance.get("same_encoder_as")
    return (sha256, *map(str, same if isinstance(same, list) else ()))
