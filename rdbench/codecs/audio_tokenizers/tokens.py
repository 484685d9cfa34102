"""What the tokenizers of `transformers` with codes share; a subclass says how its model is called.

The model encodes with all its codebooks, and a point takes the first of them: these quantizers are
residual. Rates follow from the configuration (sample rate / hop × log2(codebook size)), and what
comes out of the model is held against it: the number of codebooks and frames, and that every code
is an entry of its codebook.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.codecs.audio_tokenizers.load import Geometry, Kind, all_to, load
from rdbench.codecs.neural.residual import ResidualCodec
from rdbench.codecs.neural.trained import check_distinct_codes
from rdbench.codecs.points import resolve
from rdbench.text import first_line
from rdbench.types import (
    CodecError,
    CodecInfo,
    OperatingPoint,
    RateKind,
    RdbenchError,
    RunsOn,
    WeightsError,
)

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when the same weights give other codes or audio."""


class TransformersTokenizer(ResidualCodec):
    """A tokenizer of `transformers` with one stream of codes.

    kind: the model it is of.
    """

    kind: ClassVar[Kind]
    family: ClassVar[str]
    citation: ClassVar[str]
    geometry: Geometry

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        subfolder: str = "",
        revision: str = "main",
        check: bool = True,
    ) -> None:
        """Loads the model on the CPU, in float32.

        Args:
            points: rates in kbps, or "q8" for eight codebooks; None means the default ones.
            weights: a folder in transformers' layout (config.json and model.safetensors), or the
                id of one on the Hugging Face hub, whose files are in this machine's cache.
            subfolder: where the model lies in it.
            revision: of a model of the hub: a commit, or a branch.
            check: whether to refuse weights of which a codebook gives one code alone.

        Raises:
            CodecError: without `weights`, or for an unknown point.
            MissingExtraError: without the package `transformers`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        loaded = load(self.kind, weights, subfolder, revision)
        self.model, self.geometry = loaded.model, loaded.geometry
        self.codebook_size = self.geometry.codebook_size
        self.points = resolve(self.kind.codec, points, self._all_points(), self._default())
        self.info = CodecInfo(
            name=self.kind.codec,
            family=self.family,
            sample_rates=(self.geometry.sample_rate,),
            channels=(self.geometry.channels,),
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.DEVICE,
            frame_rate=self.geometry.frame_rate,
            parameters=sum(p.numel() for p in self.model.parameters()),
            weights_sha256=loaded.sha256,
            version=f"{loaded.version}, adapter {ADAPTER}",
            citation=self.citation,
            details=loaded.details,
        )
        if check:
            self._try()

    def _try(self) -> None:
        """Raises WeightsError for a model that cannot encode, or with codebooks not in use."""
        try:
            # Codebooks that were never trained are all zero, and every code is then 0.
            check_distinct_codes(self, self._all_points()[-1], at_least=2)
        except RdbenchError:
            raise
        except Exception as error:  # a configuration may let the package fail anywhere
            raise WeightsError(
                f"{self.kind.named}: the model cannot encode a test signal "
                f"({first_line(error)}); give the config.json that belongs to the weights"
            ) from error

    @abstractmethod
    def _codes(self, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """All codes (clips, codebooks, frames) of clips of one length, and scales or None."""

    def _frames(self, length: int) -> int:
        """Frames that a clip of `length` samples has."""
        return -(-length // self.geometry.hop)

    def _fewest(self) -> int:
        """Codebooks of the cheapest point."""
        return 1

    def _default_counts(self) -> set[int]:
        """Numbers of codebooks that are run unless a spec lists others: powers of two, and all."""
        powers = {2**power for power in range(self.geometry.codebooks.bit_length())}
        return powers | {self.geometry.codebooks}

    def _all_points(self) -> tuple[OperatingPoint, ...]:
        """One for each number of codebooks, cheapest first."""
        return tuple(
            OperatingPoint(f"q{n}", n * self.geometry.kbps_per_codebook, {"n_codebooks": n})
            for n in range(self._fewest(), self.geometry.codebooks + 1)
        )

    def _default(self) -> list[str]:
        counts = self._default_counts()
        return [p.name for p in self._all_points() if p.settings["n_codebooks"] in counts]

    def to(self, device: torch.device | str) -> TransformersTokenizer:
        """Moves the model to `device`."""
        all_to(self.model, device)
        return self

    def _encode(
        self, samples: torch.Tensor, n_codebooks: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        codes, scales = self._codes(samples)
        codes = codes.long()
        self._check(codes, samples.shape[-1])
        return codes[:, :n_codebooks], scales

    def _check(self, codes: torch.Tensor, length: int) -> None:
        """Raises CodecError for codes that contradict the configuration."""
        wanted = (self.geometry.codebooks, self._frames(length))
        if tuple(codes.shape[1:]) != wanted:
            raise CodecError(
                f"{self.info.name} made {codes.shape[1]} codebooks of {codes.shape[2]} frames of "
                f"{length} samples, its configuration says {wanted[0]} of {wanted[1]}; give the "
                "config.json that belongs to the weights"
            )
        low, high = (int(value) for value in codes.aminmax())
        if low < 0 or high >= self.codebook_size:
            raise CodecError(
                f"{self.info.name} made the code {low if low < 0 else high}, its codebooks have "
                f"the entries 0 to {self.codebook_size - 1}; give the config.json that belongs to "
                "the weights"
            )

    def _full_bandwidth(self) -> Any:
        """What models that are asked for kbps are told, for all their codebooks."""
        return self.model.config.target_bandwidths[-1]
