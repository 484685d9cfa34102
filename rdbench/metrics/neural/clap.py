"""CLAP scores: how near a reconstruction is to a text, or to its reference, in what CLAP hears.

CLAP (Wu et al., "Large-scale contrastive language-audio pretraining with feature fusion and
keyword-to-caption augmentation", ICASSP 2023, arXiv 2211.06687) puts sounds and texts into one
space, where what belongs together has a high cosine. With the embeddings a_i of the windows of a
reconstruction, r_i of the same windows of its reference, t of the clip's text,

    clap_text  = mean over windows of cos(a_i, t)        the manifest's column `text`
    clap_audio = mean over windows of cos(a_i, r_i)

by `ClapModel` of the package `transformers`, of the mean of a clip's channels at 48 kHz. A window
has 10 s, the next begins 5 s later (a last part that is shorter is left out); a shorter clip is one
window, which the package's feature extractor repeats until it is full.

Conventions: the text is taken as it stands, as one that describes the sound ("rain on a tin roof");
a transcript of speech is none, and its score means nothing. A text of more tokens than the model
reads has no score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import (
    MODEL_FILE,
    BackendFactory,
    ChannelRule,
    Direction,
    MetricDefinition,
)
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.metrics.neural.transformers_network import (
    PREPROCESSOR,
    TOKENIZER,
    TransformersNetwork,
)
from rdbench.types import Score, SpecError
from rdbench.weights.model_files import ModelFiles

if TYPE_CHECKING:
    import numpy as np
    import torch

RATE = 48_000
WINDOW_SECONDS, HOP_SECONDS = 10, 5
_PREPARED = (
    "feature_size", "hop_length", "max_length_s", "frequency_min", "frequency_max", "top_db",
    "padding",
)  # fmt: skip
"""What a published `preprocessor_config.json` says of CLAP's filter bank and windows."""

_WHAT = {
    "clap_text": ("CLAP score (text)", "the clip's text (the manifest's column text)", math.nan),
    "clap_audio": ("CLAP similarity (audio)", "the same window of the reference", 1.0),
}

DEFINITIONS: tuple[MetricDefinition, ...] = tuple(
    MetricDefinition(
        key=key,
        version=1,
        name=name,
        unit="",
        direction=Direction.HIGHER,
        lower=-1.0,
        upper=1.0,
        identity=identity,
        domains=(),
        sample_rate=RATE,
        minimum_seconds=0.5,
        needs_alignment=False,
        definition="mean over windows of 10 s of the cosine of CLAP's embeddings of the "
        f"reconstruction and of {what}, of the mean of the channels at 48 kHz; the model is named "
        "by the option weights",
        citation="Wu et al., CLAP with feature fusion, ICASSP 2023, arXiv 2211.06687; package "
        "transformers (Apache 2.0)",
        channels=ChannelRule.DOWNMIX,
        options=(MODEL_FILE,),
        needs_model=True,
        reads_text=key == "clap_text",
    )
    for key, (name, what, identity) in _WHAT.items()
)


class Clap(TransformersNetwork, ScoringNetwork):
    """Both halves of CLAP."""

    keys = tuple(_WHAT)
    extra = "transformers"
    rate = RATE
    at_once = 60 * RATE
    source = (
        "a folder of transformers' layout, or ID@REVISION of the Hugging Face hub "
        "(`rdbench weights fetch laion/clap-htsat-unfused` brings it into its cache)"
    )
    classes: ClassVar[Mapping[str, str]] = {"clap": "ClapModel"}
    surplus = ("position_ids",)

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        from transformers import ClapFeatureExtractor

        said = self.side_file(files, PREPROCESSOR)
        taken = {name: said[name] for name in _PREPARED if name in said}
        self._extractor = ClapFeatureExtractor(truncation=self._truncation(files), **taken)
        self._texts: dict[str, Any] = {}

    @classmethod
    def check(cls, key: str, files: ModelFiles, **options: Any) -> None:
        """Also, that it says how audio is prepared, and of a text how it is spelt."""
        super().check(key, files, **options)
        cls._truncation(files)
        if key == "clap_text":
            cls.side_text(files, TOKENIZER)

    @classmethod
    def _truncation(cls, files: ModelFiles) -> str:
        said = cls.side_file(files, PREPROCESSOR)
        rate = said.get("sampling_rate") if isinstance(said, Mapping) else None
        way = said.get("truncation", "fusion") if rate == RATE else None
        lasts = said.get("max_length_s", WINDOW_SECONDS) if way else None
        if way not in ("fusion", "rand_trunc") or lasts != WINDOW_SECONDS:
            raise SpecError(
                f"{files.path / PREPROCESSOR} is not of a CLAP of {RATE} Hz; copy it from where "
                "the model is published"
            )
        return str(way)

    @property
    def longest(self) -> float:
        """Windows are of one length, whatever the clip's."""
        return math.inf

    def hear(self, signals: torch.Tensor) -> list[torch.Tensor]:
        """The embeddings of each signal's windows, (windows, dimensions) of length 1."""
        found = []
        for signal in signals:
            made = self._extractor(
                [*_windows(signal.cpu().numpy())], sampling_rate=RATE, return_tensors="pt"
            )
            inputs = {name: value.to(self.device) for name, value in made.items()}
            # Its own random choice, for what is longer than a window, is never asked for.
            inputs["is_longer"] = inputs["is_longer"].new_zeros(len(inputs["is_longer"]), 1)
            found.append(self.model.get_audio_features(**inputs).pooler_output)
        return found

    def read(self, key: str, reference: Any, output: torch.Tensor) -> float | Score:
        """The mean cosine with the text or with the reference's windows."""
        import torch

        other = self._embedded(reference) if key == "clap_text" else reference
        if isinstance(other, Score):
            return other
        similar = torch.nn.functional.cosine_similarity(output.double(), other.double(), dim=-1)
        return float(similar.mean())

    def _embedded(self, text: str) -> torch.Tensor | Score:
        """A text's embedding (1, dimensions), each made once; a Score with the reason for none."""
        if text not in self._texts:
            self._texts[text] = self._read_text(text)
        found: torch.Tensor | Score = self._texts[text]
        return found

    def _read_text(self, text: str) -> torch.Tensor | Score:
        import torch

        tokenizer = self.tokenizer
        tokenizer.no_truncation()  # which its file may ask for, and for filling up
        tokenizer.no_padding()
        ids = tokenizer.encode(text).ids
        # Positions of RoBERTa begin behind that of what fills up.
        most = self.config.text_config.max_position_embeddings - 2
        if len(ids) > most:
            return Score.undefined(f"its text has {len(ids)} tokens, and the model reads {most}")
        given = torch.tensor([ids], device=self.device)
        with torch.inference_mode():
            made = self.model.get_text_features(given, attention_mask=torch.ones_like(given))
        found: torch.Tensor = made.pooler_output
        return found


def _windows(signal: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    length, hop = WINDOW_SECONDS * RATE, HOP_SECONDS * RATE
    starts = range(0, max(1, len(signal) - length + 1), hop)
    return [signal[start : start + length] for start in starts]


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (Clap,))
