"""Networks of the package `transformers`, from a folder or the hub's cache.

What a waveform goes through before a model of the wav2vec 2.0 family (also HuBERT, WavLM) stands in
its `preprocessor_config.json`: where `do_normalize` is set, each signal is brought to zero mean and
unit variance (of all its samples, plus 1e-7), and otherwise nothing is done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.files import read_file
from rdbench.metrics.neural.network import Network
from rdbench.text import first_line
from rdbench.types import WeightsError
from rdbench.weights.configs import read_json
from rdbench.weights.hub import MAX_SIDE_BYTES, TRANSFORMERS_FILES
from rdbench.weights.model_files import ModelFiles
from rdbench.weights.transformers_models import Wanted, read_configuration, read_model

if TYPE_CHECKING:
    import torch

UNUSED: tuple[str, ...] = ("masked_spec_embed",)
"""Of the wav2vec 2.0 family: what stands in for frames that training hides."""
PREPROCESSOR = "preprocessor_config.json"
TOKENIZER = "tokenizer.json"


class TransformersNetwork(Network):
    """A model of `transformers`. classes: by model type; surplus, unused: see `Wanted`."""

    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    of_folder = True
    classes: ClassVar[Mapping[str, str]]
    surplus: ClassVar[Collection[str]] = ()
    unused: ClassVar[Collection[str]] = ()

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        wanted = self._wanted()
        build, config, _ = read_configuration(wanted, files.path)
        model, _ = read_model(wanted, build, config, files.path)
        self.config = config
        self.model = model.to(device)

    @classmethod
    def check(cls, key: str, files: ModelFiles, **options: Any) -> None:
        """Also, that its configuration is of such a model."""
        super().check(key, files, **options)
        read_configuration(cls._wanted(), files.path)

    @classmethod
    def _wanted(cls) -> Wanted:
        return Wanted(cls.named(), cls.classes, cls.surplus, cls.unused, TRANSFORMERS_FILES)

    @classmethod
    def side_file(cls, files: ModelFiles, name: str) -> Any:
        """What a JSON file beside the weights holds; raises WeightsError where it is absent."""
        where = "copy it from where the model is published"
        return read_json(files.path / name, codec=cls.named(), missing=where)

    @classmethod
    def side_text(cls, files: ModelFiles, name: str) -> str:
        """The text of a file beside the weights; raises WeightsError where it is none."""
        path = files.path / name
        if not path.exists():
            raise WeightsError(
                f"{cls.named()}: {files.path} has no {name}; copy it from where the model is "
                "published"
            )
        try:
            return read_file(path, MAX_SIDE_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise WeightsError(
                f"{cls.named()}: {path} cannot be read ({first_line(error)}); fetch it again"
            ) from error

    @cached_property
    def tokenizer(self) -> Any:
        """What makes tokens of a text, by the package `tokenizers`; raises WeightsError."""
        from tokenizers import Tokenizer

        text = self.side_text(self.files, TOKENIZER)
        try:
            return Tokenizer.from_str(text)
        except Exception as error:  # the package's own kind
            raise WeightsError(
                f"{self.named()}: {self.files.path / TOKENIZER} is no tokenizer "
                f"({first_line(error)}); fetch it again"
            ) from error


class WaveformNetwork(TransformersNetwork):
    """One that takes waveforms: of the wav2vec 2.0 family."""

    unused = UNUSED

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        self.normalized = is_normalized(type(self), files)

    @classmethod
    def check(cls, key: str, files: ModelFiles, **options: Any) -> None:
        """Also, that it says how audio is prepared."""
        super().check(key, files, **options)
        is_normalized(cls, files)

    def prepared(self, signals: torch.Tensor) -> torch.Tensor:
        """Signals (signals, time) as the model takes them."""
        return zero_mean_unit_variance(signals) if self.normalized else signals


def zero_mean_unit_variance(signals: torch.Tensor) -> torch.Tensor:
    """Each of (signals, time), as the package's feature extractor does it."""
    centred = signals - signals.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-7).sqrt()


def is_normalized(kind: type[TransformersNetwork], files: ModelFiles) -> bool:
    said = kind.side_file(files, PREPROCESSOR)
    if not isinstance(said, Mapping) or said.get("sampling_rate", kind.rate) != kind.rate:
        raise WeightsError(
            f"{kind.named()}: {files.path / PREPROCESSOR} is not of a model of {kind.rate} Hz; "
            "give one that is"
        )
    return bool(said.get("do_normalize", True))
