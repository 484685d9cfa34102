"""The classes of diffusers that are run, by the names that `config.json` gives them."""

from __future__ import annotations

from collections.abc import Mapping

from rdbench.codecs.posterior.diffusers.config import Autoencoder
from rdbench.codecs.posterior.diffusers.cosmos import Cosmos3
from rdbench.codecs.posterior.diffusers.kvae import Kvae
from rdbench.codecs.posterior.diffusers.longcat import LongCat
from rdbench.codecs.posterior.diffusers.minimax import MiniMaxH3
from rdbench.codecs.posterior.diffusers.mmaudio import MMAudio
from rdbench.codecs.posterior.diffusers.oobleck import Oobleck
from rdbench.codecs.posterior.diffusers.same import Same

CLASSES: Mapping[str, type[Autoencoder]] = {
    one.builds: one for one in (Oobleck, Same, LongCat, MiniMaxH3, Kvae, Cosmos3, MMAudio)
}

NOT_RUN: Mapping[str, str] = {
    "AutoencoderKL": "it codes images, AudioLDM's spectrograms that diffusers does not compute",
    "AutoencoderKLLTX2Audio": "it codes a mel spectrogram that diffusers does not compute of audio",
    "MMAudioVocoder": "it is the vocoder of an MMAudioVAE, which the option vocoder names",
}
"""Classes of audio models that a person may try, and why they are no codec."""
