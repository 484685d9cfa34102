"""Neural codecs whose weights somebody published: found, read strictly, and looked at.

`weights="pretrained"` is the published file, which is fetched by name alone; a path is a checkpoint
of the same model. A model is built without memory and filled by name and shape, so that none of its
weights stays random (`rdbench.weights`).
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from rdbench.codecs.neural.residual import ResidualCodec
from rdbench.codecs.neural.trained import check_distinct_codes, check_pretrained
from rdbench.codecs.points import resolve
from rdbench.types import CodecInfo, OperatingPoint, RateKind, RunsOn
from rdbench.weights.checkpoints import Checkpoint, load_strict, read_checkpoint
from rdbench.weights.published import PRETRAINED, WeightsFile, locate


class PublishedCodec(ResidualCodec):
    """A residual codec with a published weights file; subclasses say which, and build the model.

    adapter: raised when what an adapter makes of the same weights changes. hop: samples of a frame.
    default: names of the points that are run unless a spec lists others; None means all.
    """

    name: str
    family: str
    package: str
    adapter: int = 1
    citation: str
    sample_rate: int
    audio_channels: int = 1
    hop: int
    default: tuple[str, ...] | None = None
    file: WeightsFile

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | os.PathLike[str] = PRETRAINED,
        check: bool = True,
    ) -> None:
        """Loads the weights on the CPU.

        Args:
            points: rates in kbps, or names of points; None means the default ones.
            weights: "pretrained", or the path of a checkpoint (or of a folder with the published
                file).
            check: whether to refuse weights whose codebooks are hardly used.

        Raises:
            CodecError: for an unknown point.
            WeightsError: for weights that are absent, damaged, or of another model.
        """
        self.points = resolve(self.name, points, self.all_points(), self.default)
        path = locate(weights, self.file, self.name)
        checkpoint = read_checkpoint(path)
        self.model = self._build(checkpoint)
        load_strict(self.model, checkpoint, codec=self.name)
        self.info = CodecInfo(
            name=self.name,
            family=self.family,
            sample_rates=(self.sample_rate,),
            channels=(self.audio_channels,),
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.DEVICE,
            frame_rate=self.sample_rate / self.hop,
            parameters=sum(p.numel() for p in self.model.parameters()),
            weights_sha256=checkpoint.sha256,
            version=f"{self.package} {version(self.package)}, adapter {self.adapter}",
            licence=self.file.licence,
            citation=self.citation,
            details={
                "weights": checkpoint.filename,
                "weights_bytes": path.stat().st_size,
                "pretrained": weights == PRETRAINED,
                **({"weights_from": self.file.url} if weights == PRETRAINED else {}),
            },
        )
        if check:
            check_distinct_codes(self, self.full_point)

    @classmethod
    @abstractmethod
    def all_points(cls) -> tuple[OperatingPoint, ...]:
        """Every point of the published model, cheapest first."""

    @classmethod
    def kbps_per_codebook(cls) -> float:
        """Nominal kbps of one codebook of 1024 entries."""
        return cls.sample_rate / cls.hop * 10 / 1000

    @abstractmethod
    def _build(self, checkpoint: Checkpoint) -> Any:
        """The model that `checkpoint` fits, without memory."""

    @property
    def full_point(self) -> OperatingPoint:
        """All codebooks."""
        return self.all_points()[-1]

    def self_check(self) -> list[str]:
        """For weights that should be the published ones: codes in use, and a plausible PESQ."""
        return check_pretrained(self, self.full_point) if self.info.details["pretrained"] else []
