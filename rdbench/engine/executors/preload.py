"""What the server that workers are forked from imports before the first of them is.

Importing is all that it does: no tensor, no thread, no device. Packages that are not installed
are left to whoever needs them to say so.
"""

from __future__ import annotations

import contextlib
import importlib

MODULES = (
    "torch",
    "torchaudio.transforms",
    "soundfile",
    "rdbench.engine.executors.host",
    "rdbench.engine.measure.measure",
    "rdbench.engine.measure.workshop",
    "rdbench.engine.passes.entropy",
    "rdbench.engine.passes.latents",
    "rdbench.engine.passes.scores",
    "rdbench.metrics.perceptual.pesq",
    "rdbench.metrics.signal.snr",
    "rdbench.metrics.signal.spectral",
    "rdbench.metrics.perceptual.stoi_torch",
    "rdbench.metrics.perceptual.visqol_torch.backend",
    "rdbench.codecs.packets.pyav",
    "rdbench.codecs.posterior.vae",
    "rdbench.models.autoencoder",
    "av",
    "pesq",
    "scipy.signal",
)

for _module in MODULES:
    with contextlib.suppress(ImportError):
        importlib.import_module(_module)
