"""What `rdbench codecs` says of each codec, without importing any of them.

Reading a codec's own card (`CodecInfo`) takes its package and often its weights, so the cards of
the built-in ones stand here once more; a test holds them against the codecs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

from rdbench.codecs.registry import BUILT_IN, ENTRY_POINT_GROUP, names


@dataclass(frozen=True)
class Card:
    """One line of the list; "" is what cannot be said without building the codec.

    points: what a spec may list, in kbps where nothing else is said. licence: of the weights, or
    of the encoder where there are none.
    """

    family: str
    points: str
    options: tuple[str, ...]
    licence: str


_ENCODEC = "not stated (docs/weights.md)"
_WEIGHTS = ("weights", "check")

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
    "lyra": Card("neural", "0.2 to 9.2 in steps of 0.2", ("models",), "Apache-2.0"),
    "encodec_24khz": Card("encodec", "1.5, 3, 6, 12, 24", _WEIGHTS, _ENCODEC),
    "encodec_48khz": Card("encodec", "3, 6, 12, 24", _WEIGHTS, _ENCODEC),
    "dac_16khz": Card("dac", "q1 to q12 (0.5 to 6)", _WEIGHTS, "MIT"),
    "dac_24khz": Card("dac", "q1 to q32 (0.75 to 24)", _WEIGHTS, "MIT"),
    "dac_44khz": Card("dac", "q1 to q9 (0.86 to 7.75)", _WEIGHTS, "MIT"),
    "dac_44khz_16kbps": Card("dac", "q1 to q18 (0.86 to 15.5)", _WEIGHTS, "MIT"),
    "snac": Card("snac", "one: 0.98 (24 kHz), 1.88 (32 kHz), 2.58 (44.1 kHz)", ("weights",), "MIT"),
    "speechtokenizer": Card("speechtokenizer", "q1 to q8 (0.5 to 4)", _WEIGHTS, "Apache-2.0"),
    "vae": Card(
        "vae or rvq", "those of the checkpoint", ("weights",), "Apache-2.0 (those of rdbench)"
    ),
    "oobleck": Card(
        "vae", "posterior", ("weights", "subfolder", "revision"), "of the weights that you name"
    ),
}


def catalogue() -> dict[str, Card]:
    """Every codec that a spec may name; of installed packages no more than whose they are."""
    installed = {
        entry.name: Card(f"package {entry.dist.name}" if entry.dist else "", "", (), "")
        for entry in entry_points(group=ENTRY_POINT_GROUP)
        if entry.name not in BUILT_IN
    }
    return {name: {**installed, **CARDS}[name] for name in names()}
