import torch
from torch import nn


class Codebook(nn.Module):
    codebook_size = 8192

    def __init__(self):
        super().__init__()
        self._codebook = nn.Embedding(self.codebook_size, 8)


class Quantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Codebook()])


class CodecDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.quantizer = Quantizer()
        self.model = nn.ConvTranspose1d(8, 1, 200, stride=200)

    def forward(self, x, vq=True):
        if not vq:
            return self.model(x)
        book = self.quantizer.layers[0]._codebook.weight
        index = torch.cdist(x.transpose(1, 2), book[None]).argmin(-1)
        return self.vq2emb(index[..., None]).transpose(1, 2), index[None], None

    def vq2emb(self, vq):
        return self.quantizer.layers[0]._codebook(vq[:, :, 0])
