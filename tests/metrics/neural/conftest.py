"""Small models of the real classes with seeded weights, in the layout of `transformers`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RATE = 16000
LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINSHRDLUCMFWYPVBGKQJXZ'")
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def _preprocessor(folder: Path, *, normalize: bool = True) -> None:
    said = {"do_normalize": normalize, "feature_size": 1, "sampling_rate": RATE}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))


def _whisper(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    words = ["one", "two", "three", "Four", "five,", "(six)", "colour", "the", "a", "of"]
    vocabulary = {f"Ġ{words[i % 10]}" if i < 10 else f"Ġw{i}": i for i in range(60)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="Ġw59"))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>", "<|start|>", "<|notimestamps|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    end, start, silent = 60, 61, 62
    config = WhisperConfig(
        vocab_size=63, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_source_positions=150, max_target_positions=16, pad_token_id=end, bos_token_id=end,
        eos_token_id=end, decoder_start_token_id=start, init_std=0.4,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.generation_config.no_timestamps_token_id = silent
    model.generation_config.is_multilingual = False
    model.save_pretrained(folder)
    (folder / "normalizer.json").write_text(json.dumps({"colour": "color"}))


def _ctc(folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config(**SMALL, vocab_size=len(LETTERS), initializer_range=0.5)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({one: i for i, one in enumerate(LETTERS)}))
    _preprocessor(folder)


def _xvector(folder: Path) -> None:
    from transformers import WavLMConfig, WavLMForXVector

    config = WavLMConfig(**SMALL, tdnn_dim=[24] * 5, xvector_output_dim=24, num_buckets=32)
    WavLMForXVector(config).save_pretrained(folder)
    _preprocessor(folder, normalize=False)


def _hubert(folder: Path) -> None:
    from transformers import HubertConfig, HubertModel

    HubertModel(HubertConfig(**SMALL)).save_pretrained(folder)
    _preprocessor(folder)


def _clap(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    words = ("<s>", "<pad>", "</s>", "<unk>", "a", "dog", "rain", "on", "tin", "roof")
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    audio = {
        "depths": [1, 1], "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 16,
        "hidden_size": 32, "num_hidden_layers": 2, "enable_fusion": False,
    }  # fmt: skip
    text = {
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16,
    }  # fmt: skip
    ClapModel(ClapConfig(audio_config=audio, text_config=text, projection_dim=16)).save_pretrained(
        folder
    )
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)


_MAKERS: dict[str, Callable[[Path], None]] = {
    "whisper": _whisper,
    "ctc": _ctc,
    "xvector": _xvector,
    "hubert": _hubert,
    "clap": _clap,
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small model by name, written once."""
    pytest.importorskip("transformers", reason="pip install 'rdbench[transformers]'")
    base, made = tmp_path_factory.mktemp("models"), {}

    def folder(name: str) -> Path:
        import torch

        if name not in made:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                made[name] = base / name
                made[name].mkdir()
                _MAKERS[name](made[name])
        return made[name]

    return folder


@pytest.fixture(scope="session")
def voices() -> Callable[..., np.ndarray]:
    """Noise whose spectrum and level move, float32 (time,): different for each seed."""

    def make(seed: int, seconds: float, rate: int = RATE) -> np.ndarray:
        generator = np.random.default_rng(seed)
        time = np.arange(round(seconds * rate)) / rate
        wave = sum(
            generator.uniform(0.1, 1) * np.sin(2 * np.pi * f * time + 3 * np.sin(9 * time))
            for f in generator.uniform(100, 3000, 8)
        )
        return (0.05 * wave + 0.01 * generator.standard_normal(len(time))).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def by_model() -> Callable[..., list[Any]]:
    """Scores of clips [(channels…, time)] in one padded batch, by a metric with options."""

    def score(
        key: str,
        reference: list[np.ndarray] | None,
        reconstruction: list[np.ndarray],
        texts: list[Any] | None = None,
        **options: Any,
    ) -> list[Any]:
        from rdbench.metrics.base import DeviceBackend
        from rdbench.metrics.registry import backend, definition

        rate = definition(key).sample_rate or RATE
        metric = backend(key, options=options)
        assert isinstance(metric, DeviceBackend)
        prepared = None
        if reference is not None:
            more = {} if texts is None else {"texts": texts}
            prepared = metric.prepare(_padded(reference, rate), **more)
        return metric.score(prepared, reconstruction=_padded(reconstruction, rate))

    return score


def _padded(clips: list[np.ndarray], rate: int) -> Any:
    """A batch whose padding is NaN, so that whatever reads it shows."""
    import torch

    from rdbench.types import AudioBatch

    sides = [torch.from_numpy(np.atleast_2d(clip)) for clip in clips]
    lengths = torch.tensor([side.shape[-1] for side in sides])
    samples = torch.full((len(sides), sides[0].shape[0], int(lengths.max())), float("nan"))
    for row, side in zip(samples, sides, strict=True):
        row[:, : side.shape[-1]] = side
    return AudioBatch(samples, lengths, rate)
