"""A neural codec of somebody's, as research code is written; torch is of that environment."""

import torch
from torch import nn


class Network(nn.Module):
    """Strided convolutions and a residual quantizer of three codebooks of 256 with seeded weights.

    Gradients stay on, the decoder returns a tensor that wants them, and is longer than the clip.
    """

    sample_rate = 24000
    frame_rate = 75.0
    codebook_sizes = (256, 256, 256)
    points = {"q1": 0.6, "q3": 1.8}  # noqa: RUF012  (as a person writes it)
    packages = ("torch",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv1d(1, 32, 640, stride=320, padding=160)
        self.up = nn.ConvTranspose1d(32, 1, 640, stride=320, padding=160)
        self.books = nn.Parameter(
            torch.randn(3, 256, 32) * torch.tensor([1.0, 0.6, 0.4])[:, None, None]
        )

    @property
    def device(self):
        return self.books.device

    def encode(self, samples, point):
        x = torch.from_numpy(samples).to(self.device)
        x = nn.functional.pad(x, (0, -x.shape[-1] % 320))
        rest = 20 * self.down(x).transpose(1, 2)
        codes = []
        for book in self.books[: 1 if point == "q1" else 3]:
            index = torch.cdist(rest, book.expand(len(rest), -1, -1)).argmin(-1)
            rest = rest - book[index]
            codes.append(index)
        return torch.stack(codes, 1)

    def decode(self, codes, length):
        index = torch.from_numpy(codes).to(self.device)
        latent = sum(self.books[k][index[:, k]] for k in range(index.shape[1]))
        return self.up(latent.transpose(1, 2) / 20)
