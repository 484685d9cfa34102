"""Audio tokenizers of `transformers` with seeded weights, saved by the package itself.

Layers are narrow, so that tests are fast; rates, strides and kinds of layers are the published
ones. A random encoder's output is nearly constant: codebooks are drawn around what it makes of a
varied signal, with its own spread, so that many different codes occur and none is next to a tie.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rdbench.codecs.neural.trained import probe


def _hubert() -> Any:
    from transformers import HubertConfig

    return HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip


def _w2v_bert() -> Any:
    from transformers import Wav2Vec2BertConfig

    return Wav2Vec2BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        output_hidden_size=16,
    )  # fmt: skip


def mimi() -> Any:
    from transformers import MimiConfig, MimiModel

    return MimiModel(
        MimiConfig(
            num_filters=4, hidden_size=16, codebook_dim=8, codebook_size=64, num_quantizers=8,
            vector_quantization_hidden_dimension=8, num_hidden_layers=1, intermediate_size=32,
            num_attention_heads=2, num_key_value_heads=2, upsample_groups=16, sliding_window=8,
        )
    )  # fmt: skip


def encodec(sample_rate: int = 24_000) -> Any:
    from transformers import EncodecConfig, EncodecModel

    narrow = {"num_filters": 4, "hidden_size": 16, "num_lstm_layers": 1}
    of_rate: dict[int, dict[str, Any]] = {
        24_000: {"target_bandwidths": [1.5, 3.0, 6.0]},
        32_000: {
            "target_bandwidths": [2.2], "codebook_size": 2048, "upsampling_ratios": [8, 5, 4, 4],
            "sampling_rate": 32_000, "use_causal_conv": False,
        },
        48_000: {
            "target_bandwidths": [3.0, 6.0], "sampling_rate": 48_000, "audio_channels": 2,
            "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01,
            "norm_type": "time_group_norm", "use_causal_conv": False,
        },
    }  # fmt: skip
    return EncodecModel(EncodecConfig(**narrow, **of_rate[sample_rate]))


def dac() -> Any:
    from transformers import DacConfig, DacModel

    return DacModel(
        DacConfig(
            encoder_hidden_size=4, decoder_hidden_size=32, downsampling_ratios=[2, 4, 5, 8],
            n_codebooks=4,
        )
    )  # fmt: skip


def xcodec() -> Any:
    from transformers import XcodecConfig, XcodecModel

    acoustic = {"encoder_hidden_size": 4, "decoder_hidden_size": 32, "hidden_size": 16}
    return XcodecModel(
        XcodecConfig(acoustic_model_config=acoustic, semantic_model_config=_hubert())
    )


def higgs() -> Any:
    from transformers import HiggsAudioV2TokenizerConfig, HiggsAudioV2TokenizerModel

    acoustic = {
        "encoder_hidden_size": 4, "decoder_hidden_size": 64, "hidden_size": 16,
        "downsampling_ratios": [8, 5, 4, 2, 3], "upsampling_ratios": [8, 5, 4, 2, 3],
    }  # fmt: skip
    return HiggsAudioV2TokenizerModel(
        HiggsAudioV2TokenizerConfig(
            acoustic_model_config=acoustic, semantic_model_config=_hubert(), codebook_dim=8,
            target_bandwidths=[0.5, 1, 1.5, 2],
        )
    )  # fmt: skip


def _fsq(config: Any, model: Any) -> Any:
    return model(
        config(
            hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, head_dim=8, encoder_hidden_size=4, quantization_dim=48,
            quantization_levels=[4, 4, 4, 4], semantic_model_config=_w2v_bert(),
        )
    )  # fmt: skip


def xcodec2() -> Any:
    from transformers import Xcodec2Config, Xcodec2Model

    return _fsq(Xcodec2Config, Xcodec2Model)


def neucodec() -> Any:
    from transformers import NeuCodecConfig, NeuCodecModel

    return _fsq(NeuCodecConfig, NeuCodecModel)


def vibevoice() -> Any:
    from transformers import VibeVoiceAcousticTokenizerConfig, VibeVoiceAcousticTokenizerModel

    return VibeVoiceAcousticTokenizerModel(
        VibeVoiceAcousticTokenizerConfig(
            num_filters=2,
            hidden_size=8,
            depths=[1] * 7,
            layer_scale_init_value=0.5,
            initializer_range=0.3,
        )
    )


def pocket_tts() -> Any:
    from transformers import PocketTTSAudioTokenizerConfig, PocketTTSAudioTokenizerModel

    return PocketTTSAudioTokenizerModel(
        PocketTTSAudioTokenizerConfig(
            num_filters=4, hidden_size=16, num_hidden_layers=1, intermediate_size=32,
            num_attention_heads=2, num_key_value_heads=2, upsample_groups=16, sliding_window=8,
            latent_dim=8,
        )
    )  # fmt: skip


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "mimi": mimi,
    "transformers_encodec": encodec,
    "transformers_dac": dac,
    "xcodec": xcodec,
    "higgs_audio_v2": higgs,
    "xcodec2": xcodec2,
    "neucodec": neucodec,
}
LATENTS: dict[str, Callable[[], Any]] = {
    "vibevoice_acoustic": vibevoice,
    "pocket_tts": pocket_tts,
}


def seeded(build: Callable[[], Any], seed: int = 0) -> Any:
    """A model in evaluation mode whose codebooks are in use."""
    torch.manual_seed(seed)
    model = build().eval()
    for module in model.modules():
        if type(module).__name__.endswith("EuclideanCodebook"):
            module.encode = _fitted(module)
        elif type(module).__name__.endswith(("Xcodec2Quantizer", "NeuCodecQuantizer")):
            module.project_in.register_forward_hook(_standardize)
    with torch.no_grad():
        encode(model, probe(rate_of(model), getattr(model.config, "audio_channels", 1)).samples)
    for module in model.modules():
        module.__dict__.pop("encode", None)
        module._forward_hooks.clear()
    return model


def _fitted(codebook: Any) -> Callable[[torch.Tensor], Any]:
    """Its `encode`, which first draws the entries around what it is given."""
    plain = codebook.encode

    def encode(given: torch.Tensor) -> Any:
        entries = codebook.embed_sum if hasattr(codebook, "embed_sum") else codebook.embed
        flat = given.reshape(-1, given.shape[-1])
        entries.copy_(flat.mean(0) + flat.std(0) * torch.randn_like(entries))
        return plain(given)

    return encode


def _standardize(layer: torch.nn.Linear, given: Any, made: torch.Tensor) -> torch.Tensor:
    """Gives what a layer makes zero mean and unit variance over time."""
    center, spread = made.mean((0, 1)), made.std((0, 1))
    layer.weight /= spread[:, None]
    layer.bias.copy_((layer.bias - center) / spread)
    return (made - center) / spread


def rate_of(model: Any) -> int:
    """Hertz of what the encoder takes."""
    for name in ("sampling_rate", "sample_rate", "input_sampling_rate"):
        if hasattr(model.config, name):
            return int(getattr(model.config, name))
    return 24_000


def features(model: Any, samples: torch.Tensor) -> Any:
    """What the package's processor makes of clips (clips, 1, time) of one length."""
    import transformers

    kind = type(model).__name__.removesuffix("Model")
    processor = getattr(transformers, f"{kind}FeatureExtractor")()
    return processor(
        [clip[0].numpy() for clip in samples], sampling_rate=16_000, return_tensors="pt"
    )


def encode(model: Any, samples: torch.Tensor) -> Any:
    """The package's own encode with all codebooks: its output."""
    config = model.config
    if config.model_type in ("xcodec2", "neucodec"):
        given = features(model, samples)
        return model.encode(
            given["input_values"], input_features=given["input_features"],
            input_features_mask=given["input_features_mask"],
        )  # fmt: skip
    if hasattr(config, "target_bandwidths"):
        return model.encode(samples, bandwidth=config.target_bandwidths[-1])
    if config.model_type == "vibevoice_acoustic_tokenizer":
        return model.encode(samples, sample=False)
    return model.encode(samples)


def save(folder: Path, build: Callable[[], Any]) -> Path:
    """Writes config.json and model.safetensors with the package's own `save_pretrained`."""
    seeded(build).save_pretrained(folder)
    return folder
