"""Word and character error rates of what a recognizer hears in a reconstruction.

With N words (characters) in the reference text, and S, D and I the fewest substitutions, deletions
and insertions that make the recognized text of it (Levenshtein distance, by the package `jiwer`),

    wer = (S + D + I) / N            cer: the same of characters, spaces among them.

A key says what is counted, how both texts are normalized, and what the reference text is:

    wer_basic              the manifest's column `text`
    wer_basic_transcript   what the same recognizer hears in the reference
    wer_english, …         by the normalizer of English

Normalizers are Whisper's (Radford et al., "Robust speech recognition via large-scale weak
supervision", 2022, arXiv 2212.04356, appendix C), as `transformers` has them: `basic` takes
out what stands in brackets and all marks and symbols, lowercases and closes up spaces, in any
language; `english` also writes out contractions, numbers as digits, and British spellings as
American, by the model's `normalizer.json`, which must be there.

The recognizer is a Whisper (greedy, without timestamps, no text carried over), or a model of the
wav2vec 2.0 family with a CTC output, whose best symbol of each frame is taken. Conventions:
- a clip's value is that of the clip; the mean over clips is that of clips, not of all their words;
- a rate can exceed 1; a reference text that is empty once normalized has none (`undefined`);
- Whisper hears 30 s, filled up with zeros as it was trained: a longer clip is undefined; so is one
  over 60 s for a CTC model;
- the option `language` ("en") tells a Whisper of many languages which one it is; without, it
  guesses for each signal, and a wrong guess counts as errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import MODEL_FILE, BackendFactory, Direction, MetricDefinition
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.metrics.neural.transformers_network import (
    TOKENIZER,
    UNUSED,
    TransformersNetwork,
    is_normalized,
    zero_mean_unit_variance,
)
from rdbench.text import first_line
from rdbench.types import Score, SpecError, WeightsError
from rdbench.weights.model_files import ModelFiles
from rdbench.weights.transformers_models import quiet, read_configuration

if TYPE_CHECKING:
    import torch

EXTRA = "asr"
RATE = 16000
WHISPER_HOP = 320  # samples of one position of the encoder
PROMPT = 4  # tokens: start, language, task, no timestamps
CTC_SECONDS = 60.0
VOCABULARY = "vocab.json"
SPELLING = "normalizer.json"
GENERATION = "generation_config.json"

_COUNTED = {"wer": ("WER", "word"), "cer": ("CER", "character")}
_NORMALIZERS = {"basic": "Whisper's basic normalizer", "english": "Whisper's normalizer of English"}
_TEXTS = {
    "": "the manifest's text",
    "_transcript": "what the same model hears in the reference",
}


def _definition(count: str, normalizer: str, of: str) -> MetricDefinition:
    name, unit = _COUNTED[count]
    against = " against transcript" if of else ""
    return MetricDefinition(
        key=f"{count}_{normalizer}{of}",
        version=1,
        name=f"{name} ({normalizer}{against})",
        unit="",
        direction=Direction.LOWER,
        lower=0.0,
        upper=math.inf,
        identity=0.0 if of else math.nan,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=0.1,
        needs_alignment=False,
        definition=f"{unit} errors of what a recognizer (Whisper or CTC, named by the option "
        f"weights) hears in the reconstruction, per {unit} of {_TEXTS[of]}; both by "
        f"{_NORMALIZERS[normalizer]}",
        citation="Radford et al., Robust speech recognition via large-scale weak supervision, "
        "2022, arXiv 2212.04356 (normalizers); package jiwer",
        options=(MODEL_FILE, "language"),
        needs_model=True,
        reads_text=not of,
    )


DEFINITIONS: tuple[MetricDefinition, ...] = tuple(
    _definition(count, normalizer, of)
    for normalizer in _NORMALIZERS
    for of in _TEXTS
    for count in _COUNTED
)


class Recognizer(TransformersNetwork, ScoringNetwork):
    """A model that hears words."""

    keys = tuple(one.key for one in DEFINITIONS)
    extra = EXTRA
    packages = ("transformers", "jiwer")
    source = (
        "a folder of transformers' layout, or ID@REVISION of the Hugging Face hub "
        "(`rdbench weights fetch openai/whisper-small` brings it into its cache)"
    )
    classes: ClassVar[Mapping[str, str]] = {
        "whisper": "WhisperForConditionalGeneration",
        "wav2vec2": "Wav2Vec2ForCTC",
        "hubert": "HubertForCTC",
        "wavlm": "WavLMForCTC",
    }
    unused = (*UNUSED, "proj_out.weight")  # which is that of the embedding
    surplus = ("proj_out.weight",)

    def __init__(self, files: ModelFiles, device: str, language: str | None = None) -> None:
        super().__init__(files, device)
        if self.config.model_type == "whisper":
            self._heard: Callable[[torch.Tensor], list[str]] = _Whisper(self, language)
        else:
            self._heard = _Ctc(self)

    @classmethod
    def check(
        cls, key: str, files: ModelFiles, language: str | None = None, **options: Any
    ) -> None:
        """Also, that what makes text of its output is there."""
        super().check(key, files, **options)
        if "_english" in key:
            cls.side_file(files, SPELLING)
        is_whisper = read_configuration(cls._wanted(), files.path)[1].model_type == "whisper"
        if is_whisper:
            cls.side_text(files, TOKENIZER)
        else:
            is_normalized(cls, files)
            cls.side_file(files, VOCABULARY)
            if language is not None:
                raise SpecError(
                    f"{cls.named()}: the option language is for Whisper, and {files.path} is "
                    "another model; leave it out"
                )

    @property
    def longest(self) -> float:
        """What the model hears, or can be given."""
        if self.config.model_type == "whisper":
            return float(self.config.max_source_positions * WHISPER_HOP / RATE)
        return CTC_SECONDS

    def hear(self, signals: torch.Tensor) -> list[str]:
        """The text of each signal."""
        return self._heard(signals)

    def read(self, key: str, reference: str, output: str) -> float | Score:
        """The error rate that the key names."""
        count, normalizer = key.split("_")[:2]
        normalize = self._normalizer(normalizer)
        return error_rate(count, reference=normalize(reference), hypothesis=normalize(output))

    def _normalizer(self, name: str) -> Callable[[str], str]:
        from transformers.models.whisper import english_normalizer

        if name == "basic":
            return lambda text: english_normalizer.BasicTextNormalizer()(text).strip()
        spelling = self.side_file(self.files, SPELLING)
        return lambda text: english_normalizer.EnglishTextNormalizer(spelling)(text).strip()


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (Recognizer,))


def error_rate(count: str, *, reference: str, hypothesis: str) -> Score:
    """Errors of words ("wer") or characters ("cer") per one of the reference's, normalized."""
    import jiwer

    if not reference:
        return Score.undefined("the reference text is empty once normalized")
    measure = jiwer.wer if count == "wer" else jiwer.cer
    return Score(float(measure(reference, hypothesis)))


class _Whisper:
    """Greedy decoding of a Whisper."""

    def __init__(self, recognizer: Recognizer, language: str | None) -> None:
        from transformers import GenerationConfig, WhisperFeatureExtractor

        self._model, config = recognizer.model, recognizer.config
        files = recognizer.files
        self._tokenizer = recognizer.tokenizer
        if (files.path / GENERATION).exists():
            said = recognizer.side_file(files, GENERATION)
            self._model.generation_config = GenerationConfig.from_dict(said)
        self._extract = WhisperFeatureExtractor(
            feature_size=config.num_mel_bins, chunk_length=round(recognizer.longest)
        )
        self._asked: dict[str, Any] = {"max_new_tokens": config.max_target_positions - PROMPT}
        if language is not None:
            self._asked |= {"language": language, "task": "transcribe"}

    def __call__(self, signals: torch.Tensor) -> list[str]:
        arrays = list(signals.cpu().numpy())
        made = self._extract(arrays, sampling_rate=RATE, return_tensors="pt")
        with quiet():
            tokens = self._model.generate(
                made.input_features.to(signals.device),
                do_sample=False,
                num_beams=1,
                return_timestamps=False,
                **self._asked,
            )
        found = tokens.tolist()
        return [self._tokenizer.decode(one, skip_special_tokens=True) for one in found]


class _Ctc:
    """The best symbol of each frame, repetitions and blanks left out."""

    def __init__(self, recognizer: Recognizer) -> None:
        from transformers import Wav2Vec2CTCTokenizer

        kind, files = type(recognizer), recognizer.files
        self._model = recognizer.model
        self._normalized = is_normalized(kind, files)
        try:
            self._tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(
                str(files.path), local_files_only=True
            )
        except Exception as error:  # values from a file: the package may raise anything
            raise WeightsError(
                f"{recognizer.named()}: {files.path} has no vocabulary of letters "
                f"({first_line(error)}); fetch it again"
            ) from error

    def __call__(self, signals: torch.Tensor) -> list[str]:
        heard = zero_mean_unit_variance(signals) if self._normalized else signals
        best = self._model(heard).logits.argmax(-1)
        texts: Sequence[str] = self._tokenizer.batch_decode(best.tolist())
        return list(texts)
