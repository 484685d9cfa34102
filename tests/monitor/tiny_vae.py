"""A VAE small enough to be evaluated in a second."""

import torch

from rdbench.codecs.posterior.base import PosteriorCodec

HOP = 320


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encode = torch.nn.Conv1d(1, 16, HOP, stride=HOP)
        self.decode = torch.nn.ConvTranspose1d(8, 1, HOP, stride=HOP)
        self.drop = torch.nn.Dropout(0.5)


class TinyVae(PosteriorCodec):
    """Weights of a file, or of a model that is handed over."""

    def __init__(self, *, points=None, weights=None, net=None) -> None:  # type: ignore[no-untyped-def]
        net = net or Net()
        if weights:
            net.load_state_dict(torch.load(weights, weights_only=True))
        super().__init__(
            name="tiny", sample_rate=16_000, frame_rate=50.0, modules=net, points=points
        )

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        audio = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % HOP))
        mean, logvar = self.modules.encode(audio).chunk(2, dim=1)
        return self.modules.drop(mean), (logvar / 2).exp()

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return self.modules.decode(z)


class Broken(TinyVae):
    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise RuntimeError("shapes do not fit")
