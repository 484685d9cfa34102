"""VGGish: 128 dimensions for each 0.96 s, of the network that Fréchet audio distance began with.

S. Hershey et al., "CNN architectures for large-scale audio classification", ICASSP 2017 (arXiv
1609.09430), with the weights that its authors published in 2017, as `torchvggish` converted them.
At 16 kHz, with X the magnitudes of an FFT of 512 of frames of 25 ms (periodic Hann, hop 10 ms) and
M 64 triangles, straight in mel = 1127 ln(1 + f / 700), from 125 to 7500 Hz,

    log-mel = ln(X M + 0.01)

is cut into windows of 96 frames, one after another (a last part that is shorter is left out), and
goes through six layers of 3 × 3 convolutions with maxima over 2 × 2 and three linear layers. The
embedding is the last layer's output before its rectifier, without the PCA and the quantization that
AudioSet's own features have: as `fadtk` and `frechet_audio_distance` take it by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.neural.network import Network
from rdbench.metrics.neural.state_file import filled
from rdbench.metrics.sets.network_embedding import NetworkEmbedding
from rdbench.weights.model_files import ModelFiles

if TYPE_CHECKING:
    import torch

RATE = 16_000
FRAME, HOP, FFT = 400, 160, 512  # samples
BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0  # hertz
OFFSET = 0.01
WINDOW_FRAMES = 96
AT_ONCE = 64  # windows
_BLOCKS = ((64,), (128,), (256, 256), (512, 512))  # channels of convolutions between maxima
_LAST = 512 * (WINDOW_FRAMES // 16) * (BANDS // 16)


class Vggish(NetworkEmbedding):
    """VGGish of windows of 0.96 s, float32 (windows, 128) per clip."""

    name = "vggish"
    title = "VGGish"
    what = "VGGish's embedding of windows of 0.96 s (without PCA, before the last rectifier)"
    at = "16 kHz"
    sample_rate = RATE
    minimum_seconds = (FRAME + (WINDOW_FRAMES - 1) * HOP) / RATE
    source = (
        "the file vggish-10086976.pth, fetched from https://github.com/harritaylor/torchvggish/"
        "releases/download/v0.1/vggish-10086976.pth"
    )
    citation = "Hershey et al., CNN architectures for large-scale audio classification, ICASSP "
    citation += "2017, arXiv 1609.09430"
    version = "1"

    def network(self, device: str) -> Network:
        """The model, loaded once."""
        return _loaded(self.files, device)


@cache
def _loaded(files: ModelFiles, device: str) -> Network:
    return _Network(files, device)


class _Network(Network):
    keys = ("frechet_vggish",)
    source = Vggish.source
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        self._model: Any = filled(_model, files.path, named=self.named()).to(device)

    def hear(self, signals: torch.Tensor) -> Sequence[torch.Tensor]:
        import torch

        levels = log_mel(signals)
        windows = levels.unfold(1, WINDOW_FRAMES, WINDOW_FRAMES).transpose(-1, -2).float()
        windows = windows.reshape(-1, 1, WINDOW_FRAMES, BANDS)
        starts = range(0, len(windows), AT_ONCE)
        embedded = torch.cat([self._embedded(windows[i : i + AT_ONCE]) for i in starts])
        return list(embedded.reshape(len(signals), -1, embedded.shape[-1]))

    def _embedded(self, windows: torch.Tensor) -> torch.Tensor:
        found = self._model["features"](windows)
        # In the order of the original: time, band, channel.
        made: torch.Tensor = self._model["embeddings"](found.permute(0, 2, 3, 1).flatten(1))
        return made


def log_mel(signals: torch.Tensor) -> torch.Tensor:
    """Levels of (signals, time) at 16 kHz, float64 (signals, frames, 64)."""
    import torch

    window = torch.hann_window(FRAME, dtype=torch.float64, device=signals.device)
    frames = signals.double().unfold(-1, FRAME, HOP) * window
    magnitude = torch.fft.rfft(frames, FFT).abs()
    levels: torch.Tensor = (magnitude @ _triangles(str(signals.device)) + OFFSET).log()
    return levels


@cache
def _triangles(device: str) -> torch.Tensor:
    """The bands, float64 (bins, bands); the bin at 0 Hz is in none."""
    import torch

    def mel(hertz: torch.Tensor) -> torch.Tensor:
        return 1127.0 * (1.0 + hertz / 700.0).log()

    bins = mel(torch.linspace(0.0, RATE / 2, FFT // 2 + 1, dtype=torch.float64))[:, None]
    first, last = mel(torch.tensor([LOWEST, HIGHEST], dtype=torch.float64)).tolist()
    edges = torch.linspace(first, last, BANDS + 2, dtype=torch.float64)
    width = edges[1] - edges[0]
    bank = (1.0 - (bins - edges[1:-1]).abs() / width).clamp(min=0.0)
    bank[0] = 0.0
    return bank.to(device)


def _model() -> torch.nn.Module:
    """Named as in the published file."""
    from torch import nn

    layers: list[nn.Module] = []
    width = 1
    for block in _BLOCKS:
        for channels in block:
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            width = channels
        layers.append(nn.MaxPool2d(2))
    dense = [nn.Linear(_LAST, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.ModuleDict(
        {
            "features": nn.Sequential(*layers),
            "embeddings": nn.Sequential(*dense, nn.Linear(4096, 128)),
        }
    ).eval()
