"""Who made each built-in codec: what papers call it, whom to cite, under which licence it runs.

Adapters take their citations from here. Identity, the low-pass, and what is made by others' files
and programs have nobody to cite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from rdbench.codecs.registry import ELSEWHERE


@dataclass(frozen=True)
class Credit:
    """What is owed to whom.

    label: as papers write the codec's name. citation: authors, title, year, and where it is; of a
    standard its number. code: licence of the code that makes codes of audio, where weights have one
    of their own and no `Package` (`rdbench.codecs.catalogue`) says it.
    """

    label: str
    citation: str = ""
    code: str = ""


_FFMPEG = "the FFmpeg project's native encoder"
_ENCODEC = (
    "Défossez, Copet, Synnaeve, Adi: High Fidelity Neural Audio Compression, 2022, arXiv:2210.13438"
)
_ENCODEC_CODE = "CC BY-NC 4.0 (encodec 0.1.1)"
_DAC = (
    "Kumar, Seetharaman, Luebs, Kumar, Kumar: High-Fidelity Audio Compression with Improved "
    "RVQGAN, NeurIPS 2023, arXiv:2306.06546"
)
_CODICODEC = (
    "Pasini, Lattner, Fazekas: CoDiCodec: Unifying Continuous and Discrete Compressed "
    "Representations of Audio, ISMIR 2025, arXiv:2509.09836"
)
_DAC_CODE = "MIT (descript-audio-codec)"


def _said_over_there(name: str) -> tuple[str, str]:
    """The citation, and the licence of the code, of a class that runs in another environment.

    It imports nothing of rdbench, so that it says of itself what others are told here.
    """
    module, _, attribute = ELSEWHERE[name].partition(":")
    found = getattr(import_module(module), attribute)
    return str(found.citation), str(found.licence)


CREDITS: Mapping[str, Credit] = {
    "identity": Credit("Reference"),
    "lowpass": Credit("Low-pass"),
    "files": Credit("Reconstructions made elsewhere"),
    "command": Credit("Programs"),
    "opus": Credit(
        "Opus", "Valin, Vos, Terriberry: Definition of the Opus Audio Codec, RFC 6716, 2012"
    ),
    "mp3": Credit("MP3", "ISO/IEC 11172-3:1993 and 13818-3:1998; the LAME project"),
    "aac": Credit("AAC-LC", "ISO/IEC 14496-3:2019; the FFmpeg project's native AAC encoder"),
    "vorbis": Credit("Vorbis", "Xiph.Org Foundation: Vorbis I specification, 2020; libvorbis"),
    "flac": Credit(
        "FLAC", "RFC 9639: Free Lossless Audio Codec, 2024; the FFmpeg project's encoder"
    ),
    "ac3": Credit("AC-3", f"ETSI TS 102 366; {_FFMPEG}"),
    "eac3": Credit("E-AC-3", f"ETSI TS 102 366, Annex E; {_FFMPEG}"),
    "amr_nb": Credit("AMR-NB", "3GPP TS 26.071: AMR speech codec; the OpenCORE library"),
    "g722": Credit("G.722", "ITU-T G.722: 7 kHz audio-coding within 64 kbit/s"),
    "lyra": Credit(
        "Lyra v2", "Zeghidour et al.: SoundStream, TASLP 30, 2022; Google: Lyra v2, 2022"
    ),
    "encodec_24khz": Credit("EnCodec 24 kHz", _ENCODEC, _ENCODEC_CODE),
    "encodec_48khz": Credit("EnCodec 48 kHz", _ENCODEC, _ENCODEC_CODE),
    "dac_16khz": Credit("DAC 16 kHz", _DAC, _DAC_CODE),
    "dac_24khz": Credit("DAC 24 kHz", _DAC, _DAC_CODE),
    "dac_44khz": Credit("DAC 44.1 kHz", _DAC, _DAC_CODE),
    "dac_44khz_16kbps": Credit("DAC 44.1 kHz, 16 kbps", _DAC, _DAC_CODE),
    "mimi": Credit(
        "Mimi",
        "Défossez, Mazaré, Orsini, Royer, Pérez, Jégou, Grave, Zeghidour: Moshi: a speech-text "
        "foundation model for real-time dialogue, 2024, arXiv:2410.00037",
    ),
    "xcodec": Credit(
        "X-Codec",
        "Ye et al.: Codec Does Matter: Exploring the Semantic Shortcoming of Codec for Audio "
        "Language Model, AAAI 2025, arXiv:2408.17175",
    ),
    "higgs_audio_v2": Credit(
        "Higgs Audio v2 tokenizer",
        "Boson AI: Higgs Audio v2, 2025, https://github.com/boson-ai/higgs-audio",
    ),
    "xcodec2": Credit(
        "X-codec2",
        "Ye et al.: Llasa: Scaling Train-Time and Inference-Time Compute for Llama-based Speech "
        "Synthesis, 2025, arXiv:2502.04128",
    ),
    "neucodec": Credit(
        "NeuCodec",
        "Julian et al.: Finite Scalar Quantization Enables Redundant and Transmission-Robust "
        "Neural Audio Compression at Low Bit-rates, 2025, arXiv:2509.09550",
    ),
    "transformers_dac": Credit("DAC (transformers)", _DAC),
    "transformers_encodec": Credit("EnCodec (transformers)", _ENCODEC),
    "vibevoice_acoustic": Credit(
        "VibeVoice acoustic tokenizer",
        "Peng et al.: VibeVoice Technical Report, 2025, arXiv:2508.19205",
    ),
    "pocket_tts": Credit(
        "Pocket TTS tokenizer",
        "Kyutai: Pocket TTS, 2026, https://github.com/kyutai-labs/pocket-tts",
    ),
    "snac": Credit(
        "SNAC",
        "Siuzdak, Grötschla, Lanzendörfer: SNAC: Multi-Scale Neural Audio Codec, 2024, "
        "arXiv:2410.14411",
    ),
    "speechtokenizer": Credit(
        "SpeechTokenizer",
        "Zhang, Zhang, Li, Zhou, Qiu: SpeechTokenizer: Unified Speech Tokenizer for Speech "
        "Language Models, ICLR 2024, arXiv:2308.16692",
    ),
    "vae": Credit(
        "rdbench checkpoints",
        "rdbench reference checkpoints; target-KL after Seetharaman & Kumar, arXiv:2605.17085; "
        "backbone after Siuzdak, arXiv:2306.00814",
        "Apache-2.0 (rdbench)",
    ),
    "diffusers": Credit(
        "Audio autoencoders of diffusers",
        "von Platen et al.: Diffusers, 2022, https://github.com/huggingface/diffusers; and who "
        "made the model, as the manifest of a run says",
    ),
    "oobleck": Credit(
        "Stable Audio Open VAE", "Evans et al.: Stable Audio Open, 2024, arXiv:2407.14358"
    ),
    "focalcodec": Credit(
        "FocalCodec",
        "Della Libera, Paissan, Subakan, Ravanelli: FocalCodec: Low-Bitrate Speech Coding via "
        "Focal Modulation Networks, NeurIPS 2025, arXiv:2502.04465",
    ),
    "codicodec": Credit("CoDiCodec", _CODICODEC),
    "codicodec_latent": Credit("CoDiCodec, continuous", _CODICODEC),
    "music2latent": Credit(
        "Music2Latent",
        "Pasini, Lattner, Fazekas: Music2Latent: Consistency Autoencoders for Latent Audio "
        "Compression, ISMIR 2024, arXiv:2408.06500",
    ),
    "dacvae": Credit(
        "DACVAE", "Meta: DACVAE (SAM Audio), 2025, https://github.com/facebookresearch/dacvae"
    ),
    **{
        name: Credit(label, *_said_over_there(name))
        for name, label in (
            ("wavtokenizer", "WavTokenizer"),
            ("bigcodec", "BigCodec"),
            ("dualcodec", "DualCodec"),
            ("stable_codec", "Stable Codec"),
            ("moss", "MOSS Audio Tokenizer"),
            ("longcat", "LongCat Audio Codec"),
            ("nanocodec", "NanoCodec"),
        )
    },
}
