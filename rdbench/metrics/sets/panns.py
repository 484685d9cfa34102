"""PANNs: 2048 dimensions for each 10 s, of CNN14, which was trained to tag the sounds of AudioSet.

Q. Kong et al., "PANNs: Large-scale pretrained audio neural networks for audio pattern recognition",
IEEE/ACM TASLP 28, 2020 (arXiv 1912.10211), at 32 kHz. With X the power of an FFT of 1024 (Hann, hop
320, ends reflected) and M 64 triangles on Slaney's mel scale from 50 to 14000 Hz, each of one area,

    log-mel = 10 log10 max(X M, 1e-10)

goes, each band normalized, through six blocks of two 3 × 3 convolutions with means over 2 × 2
between them; then the mean over bands, the sum of maximum and mean over time, and a linear layer
with its rectifier, whose output is the embedding. A window has 10 s, as the clips that it was
trained on, the next begins 5 s later (a last part that is shorter is left out); a shorter clip is
one window of its own length.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.neural.network import Network
from rdbench.metrics.neural.state_file import filled
from rdbench.metrics.sets.network_embedding import NetworkEmbedding
from rdbench.metrics.spectra import magnitudes
from rdbench.weights.model_files import ModelFiles

if TYPE_CHECKING:
    import torch

RATE = 32_000
FFT, HOP = 1024, 320  # samples
BANDS, LOWEST, HIGHEST = 64, 50.0, 14_000.0  # hertz
FLOOR = 1e-10
WINDOW, WINDOW_HOP = 10 * RATE, 5 * RATE
AT_ONCE = 8  # windows
_CHANNELS = (64, 128, 256, 512, 1024, 2048)
_UNUSED = ("spectrogram_extractor", "logmel_extractor", "fc_audioset")
"""Of the published file: its own transforms and filter bank, which are those above, and tags."""


class Panns(NetworkEmbedding):
    """CNN14 of windows of 10 s, float32 (windows, 2048) per clip."""

    name = "panns"
    title = "PANNs"
    what = "the embedding of PANNs' CNN14 of windows of 10 s"
    at = "32 kHz"
    sample_rate = RATE
    minimum_seconds = 0.5
    at_once = 60 * RATE
    source = (
        "the file Cnn14_mAP=0.431.pth, fetched from https://zenodo.org/record/3987831/files/"
        "Cnn14_mAP%3D0.431.pth"
    )
    citation = "Kong et al., PANNs, IEEE/ACM TASLP 28, 2020, arXiv 1912.10211"
    version = "1"

    def network(self, device: str) -> Network:
        """The model, loaded once."""
        return _loaded(self.files, device)


@cache
def _loaded(files: ModelFiles, device: str) -> Network:
    return _Network(files, device)


class _Network(Network):
    keys = ("frechet_panns",)
    source = Panns.source
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        model = filled(_model, files.path, named=self.named(), under="model", surplus=_UNUSED)
        self._model: Any = model.to(device)

    def hear(self, signals: torch.Tensor) -> Sequence[torch.Tensor]:
        import torch

        long = signals.shape[-1] >= WINDOW
        windows = signals.unfold(-1, WINDOW, WINDOW_HOP) if long else signals[:, None]
        each = windows.flatten(0, 1)
        starts = range(0, len(each), AT_ONCE)
        embedded = torch.cat([self._embedded(each[i : i + AT_ONCE]) for i in starts])
        return list(embedded.reshape(*windows.shape[:2], -1))

    def _embedded(self, windows: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        model = self._model
        x = model["bn0"](log_mel(windows).transpose(1, 2)[..., None]).permute(0, 3, 2, 1)
        for number in range(1, len(_CHANNELS) + 1):
            block = model[f"conv_block{number}"]
            for layer in "12":
                x = block[f"bn{layer}"](block[f"conv{layer}"](x)).relu()
            if number < len(_CHANNELS):
                x = functional.avg_pool2d(x, 2)
        x = x.mean(3)
        found: torch.Tensor = model["fc1"](x.amax(2) + x.mean(2)).relu()
        return found


def log_mel(signals: torch.Tensor) -> torch.Tensor:
    """Levels of (signals, time) at 32 kHz in dB, float32 (signals, frames, 64)."""
    power = magnitudes(signals[:, None], FFT, HOP, center=True)[:, 0].square()
    bands = power.transpose(1, 2) @ _triangles(str(signals.device))
    return 10.0 * bands.clamp(min=FLOOR).log10()


@cache
def _triangles(device: str) -> torch.Tensor:
    from torchaudio.functional import melscale_fbanks

    bank: torch.Tensor = melscale_fbanks(
        FFT // 2 + 1, LOWEST, HIGHEST, BANDS, RATE, norm="slaney", mel_scale="slaney"
    )
    return bank.to(device)


def _model() -> torch.nn.Module:
    """Named as in the published file."""
    from torch import nn

    def block(given: int, made: int) -> nn.ModuleDict:
        return nn.ModuleDict(
            {
                "conv1": nn.Conv2d(given, made, 3, padding=1, bias=False),
                "bn1": nn.BatchNorm2d(made),
                "conv2": nn.Conv2d(made, made, 3, padding=1, bias=False),
                "bn2": nn.BatchNorm2d(made),
            }
        )

    sizes = zip((1, *_CHANNELS), _CHANNELS, strict=False)
    blocks = {f"conv_block{n}": block(*size) for n, size in enumerate(sizes, start=1)}
    last = _CHANNELS[-1]
    return nn.ModuleDict(
        {"bn0": nn.BatchNorm2d(BANDS), **blocks, "fc1": nn.Linear(last, last)}
    ).eval()
