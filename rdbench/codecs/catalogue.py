"""What `rdbench codecs` says of each codec, without importing any of them.

Reading a codec's own card (`CodecInfo`) takes its package and often its weights, so the cards of
the built-in ones stand here once more; a test holds them against the codecs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec

from rdbench.codecs.credits import CREDITS, Credit
from rdbench.codecs.registry import BUILT_IN, ELSEWHERE, ENTRY_POINT_GROUP, names
from rdbench.types import REPOSITORIES, install_command


@dataclass(frozen=True)
class Package:
    """What other people's code a codec runs: its module, what brings it, its licence.

    extra: of rdbench, or the name of one of `rdbench.types.REPOSITORIES`.
    """

    module: str
    extra: str
    licence: str

    @property
    def brought_by(self) -> str:
        """The extra, or that it is on no index."""
        return "its repository" if self.extra in REPOSITORIES else f"extra {self.extra}"


@dataclass(frozen=True)
class Card:
    """One line of the list; "" is what cannot be said without building the codec.

    points: what a spec may list, in kbps where nothing else is said. licence: of the weights, or
    of the encoder where there are none. package: None where the base installation has all of it.
    named: the options with which a spec names what the codec needs, where nobody publishes that
    under a name that rdbench knows; `python` among them is the interpreter of its environment.
    """

    family: str
    points: str
    options: tuple[str, ...]
    licence: str
    package: Package | None = None
    named: str = ""


_ENCODEC = "not stated (docs/weights.md)"
_WEIGHTS = ("weights", "check")
_HUB = ("weights", "subfolder", "revision")
_NAMED = "of the weights that you name"
_DIFFUSERS = Package("diffusers", "diffusers", "Apache-2.0")
_TRANSFORMERS = Package("transformers", "transformers", "Apache-2.0")

CARDS: Mapping[str, Card] = {
    "identity": Card("anchor", "identity", (), ""),
    "lowpass": Card("anchor", "cutoffs in Hz, from 100", (), ""),
    "files": Card(
        "files",
        "folders of reconstructions made elsewhere",
        (
            "folders",
            "bitstreams",
            "byte_counts",
            "container",
            "tokens",
            "codebook_sizes",
            "latents",
            "decoded_from",
            "stated_kbps",
            "delay",
            "tolerance_seconds",
            "made_of",
        ),
        "",
    ),
    "command": Card(
        "command",
        "kbps, or names in settings",
        (
            "encode",
            "decode",
            "sample_rate",
            "channels",
            "sample_format",
            "input_format",
            "output_format",
            "output_rate",
            "suffix",
            "settings",
            "payload",
            "header_bytes",
            "delay",
            "padding",
            "tolerance_seconds",
            "time_limit",
            "version",
            "licence",
            "citation",
        ),
        "",
    ),
    "opus": Card(
        "traditional",
        "6 to 512 (mono: to 256)",
        ("mode", "application", "frame_duration", "complexity"),
        "BSD-3-Clause (libopus)",
    ),
    "mp3": Card(
        "traditional",
        "8 to 320 as the standard lists; V9 to V0 (vbr)",
        ("mode", "quality", "joint_stereo"),
        "LGPL-2.0-or-later (LAME)",
    ),
    "aac": Card(
        "traditional",
        "6 to 1024; q0.1 to q2 (vbr)",
        ("mode", "coder"),
        "LGPL-2.1-or-later (FFmpeg)",
    ),
    "vorbis": Card("traditional", "q0 to q10", (), "BSD-3-Clause (libvorbis)"),
    "flac": Card("traditional", "lossless", ("bits", "level"), "LGPL-2.1-or-later (FFmpeg)"),
    "ac3": Card("traditional", "32 to 640 as the standard lists", (), "LGPL-2.1-or-later (FFmpeg)"),
    "eac3": Card("traditional", "32 to 640", (), "LGPL-2.1-or-later (FFmpeg)"),
    "amr_nb": Card(
        "traditional", "4.75 to 12.2 as the standard lists", (), "Apache-2.0 (OpenCORE)"
    ),
    "g722": Card("traditional", "64", (), "LGPL-2.1-or-later (FFmpeg)"),
    "lyra": Card(
        "neural",
        "0.2 to 9.2 in steps of 0.2",
        ("models",),
        "Apache-2.0",
        Package("ai_edge_litert", "lyra", "Apache-2.0"),
        "models",
    ),
    "encodec_24khz": Card("encodec", "1.5, 3, 6, 12, 24", _WEIGHTS, _ENCODEC),
    "encodec_48khz": Card("encodec", "3, 6, 12, 24", _WEIGHTS, _ENCODEC),
    "dac_16khz": Card("dac", "q1 to q12 (0.5 to 6)", _WEIGHTS, "MIT"),
    "dac_24khz": Card("dac", "q1 to q32 (0.75 to 24)", _WEIGHTS, "MIT"),
    "dac_44khz": Card("dac", "q1 to q9 (0.86 to 7.75)", _WEIGHTS, "MIT"),
    "dac_44khz_16kbps": Card("dac", "q1 to q18 (0.86 to 15.5)", _WEIGHTS, "MIT"),
    "mimi": Card(
        "mimi", "q1 to q32 (0.14 to 4.4)", (*_HUB, "check"), _NAMED, _TRANSFORMERS, "weights"
    ),
    "xcodec": Card(
        "xcodec", "q1 to q8 (0.5 to 4)", (*_HUB, "check"), _NAMED, _TRANSFORMERS, "weights"
    ),
    "higgs_audio_v2": Card(
        "xcodec", "q1 to q8 (0.25 to 2)", (*_HUB, "check"), _NAMED, _TRANSFORMERS, "weights"
    ),
    "xcodec2": Card("xcodec2", "q1 (0.8)", (*_HUB, "check"), _NAMED, _TRANSFORMERS, "weights"),
    "neucodec": Card("xcodec2", "q1 (0.8)", (*_HUB, "check"), _NAMED, _TRANSFORMERS, "weights"),
    "transformers_dac": Card(
        "dac", "q1 to q32 (0.5 to 24)", (*_HUB, "check"), _NAMED, _TRANSFORMERS, "weights"
    ),
    "transformers_encodec": Card(
        "encodec", "q1 to q32 (0.55 to 24)", (*_HUB, "check"), _NAMED, _TRANSFORMERS, "weights"
    ),
    "vibevoice_acoustic": Card(
        "vae", "posterior (7.5 Hz × 64, no KL)", _HUB, _NAMED, _TRANSFORMERS, "weights"
    ),
    "pocket_tts": Card(
        "vae", "posterior (12.5 Hz × 32, no KL)", _HUB, _NAMED, _TRANSFORMERS, "weights"
    ),
    "snac": Card(
        "snac",
        "one: 0.98 (24 kHz), 1.88 (32 kHz), 2.58 (44.1 kHz)",
        _HUB,
        "MIT",
        Package("snac", "snac", "MIT"),
        "weights",
    ),
    "speechtokenizer": Card(
        "speechtokenizer",
        "q1 to q8 (0.5 to 4)",
        (*_HUB, "check"),
        "Apache-2.0",
        Package("speechtokenizer", "speechtokenizer", "Apache-2.0"),
        "weights",
    ),
    "wavtokenizer": Card(
        "wavtokenizer",
        "one: 0.48 (40 Hz), 0.9 (75 Hz)",
        ("checkout", "config", "weights"),
        "MIT",
        named="python, checkout, config, weights",
    ),
    "bigcodec": Card(
        "bigcodec",
        "one: 1.04",
        ("checkout", "weights"),
        "MIT",
        named="python, checkout, weights",
    ),
    "longcat": Card(
        "longcat",
        "q2, q3, q4 (0.43, 0.65, 0.87)",
        ("checkout", "decoder"),
        "MIT",
        named="python, checkout, decoder",
    ),
    "moss": Card(
        "moss",
        "q1, q2, q4, q8, q16, q32 (0.125 to 4)",
        ("checkout", "weights"),
        "Apache-2.0",
        named="python, checkout, weights",
    ),
    "dualcodec": Card(
        "dualcodec",
        "q1 to q8 (0.175 to 1.225), or to q12 (0.35 to 3.1)",
        ("weights", "semantic", "model"),
        "MIT (code)",
        named="python, weights, semantic",
    ),
    "nanocodec": Card(
        "nanocodec",
        "one: 0.6 or 1.78 (12.5 Hz), 1.89 (21.5 Hz)",
        ("weights",),
        "NVIDIA Open Model License (weights), Apache-2.0 (code)",
        named="python, weights",
    ),
    "stable_codec": Card(
        "stable_codec",
        "1x46656_400bps (0.39), 2x15625_700bps (0.7), 4x729_1000bps (0.95)",
        ("config", "weights"),
        "Stability AI Community License",
        named="python, config, weights",
    ),
    "focalcodec": Card(
        "focalcodec",
        "q1: 0.65, 0.33, 0.16; causal 0.55, 0.6, 0.8",
        _WEIGHTS,
        "Apache-2.0",
        Package("focalcodec", "focalcodec", "Apache-2.0"),
        "weights",
    ),
    "codicodec": Card(
        "codicodec",
        "one: 2.38 (44.1 kHz), 2.59 (48 kHz)",
        ("weights", "sample_rate", "steps"),
        "CC-BY-NC-4.0",
        Package("codicodec", "codicodec", "CC-BY-NC-4.0"),
        "weights",
    ),
    "codicodec_latent": Card(
        "vae",
        "posterior (10.8 Hz × 64, no KL)",
        ("weights", "sample_rate", "steps", "seed"),
        "CC-BY-NC-4.0",
        Package("codicodec", "codicodec", "CC-BY-NC-4.0"),
        "weights",
    ),
    "dacvae": Card(
        "vae",
        "posterior (25 Hz × 128)",
        ("weights",),
        _NAMED,
        Package("dacvae", "dacvae", "Apache-2.0"),
        "weights",
    ),
    "music2latent": Card(
        "vae",
        "posterior (10.8 Hz × 64, no KL)",
        ("weights", "steps", "seed"),
        "CC-BY-NC-4.0",
        Package("music2latent", "music2latent", "CC-BY-NC-4.0"),
        "weights",
    ),
    "vae": Card(
        "vae or rvq or vq", "those of the checkpoint", ("weights",), "Apache-2.0 (those of rdbench)"
    ),
    "diffusers": Card("vae", "posterior", (*_HUB, "vocoder"), _NAMED, _DIFFUSERS, "weights"),
    "oobleck": Card("vae", "posterior", _HUB, _NAMED, _DIFFUSERS, "weights"),
}

PUBLISHED = frozenset(name for name in CARDS if name.startswith(("encodec_", "dac_")))
"""The codecs whose weights `rdbench weights fetch` knows by the codec's name."""


def catalogue() -> dict[str, Card]:
    """Every codec that a spec may name; of installed packages no more than whose they are."""
    installed = {
        entry.name: Card(f"package {entry.dist.name}" if entry.dist else "", "", (), "")
        for entry in entry_points(group=ENTRY_POINT_GROUP)
        if entry.name not in {*BUILT_IN, *ELSEWHERE}
    }
    return {name: {**installed, **CARDS}[name] for name in names()}


def credit(name: str) -> Credit:
    """Whom a codec is owed to; of a package's, its name in specs and no more."""
    return CREDITS.get(name) or Credit(name)


def licences(name: str, card: Card) -> tuple[str, str]:
    """Of the code that makes codes of audio, and of the weights; "" where there are none of these.

    Of rdbench's own code, Apache-2.0, there is no word.
    """
    code = card.package.licence if card.package else credit(name).code
    return (code, card.licence) if code else (card.licence, "")


def lacking(name: str, card: Card) -> str:
    """What must be installed or fetched before a codec runs here, as a command; "" for nothing.

    What a spec names itself (`Card.named`) is not looked for. Weights are looked for in the cache.

    Raises WeightsError where there can be no cache.
    """
    if card.package is not None and find_spec(card.package.module) is None:
        return install_command(card.package.extra)
    if name in PUBLISHED:
        from rdbench.codecs.published import published_files
        from rdbench.weights.published import cache_folder

        if not (cache_folder() / published_files()[name].filename).is_file():
            return f"rdbench weights fetch {name}"
    return ""
