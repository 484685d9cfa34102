"""`TokenCodec`: a model with tokens needs two methods and says how large its codebooks are."""

from __future__ import annotations

import pytest
import torch

from rdbench.codecs.testing import CodecCheckError, check_codec, example_audio
from rdbench.codecs.tokens import TokenCodec
from rdbench.rate import rates
from rdbench.types import CODES, CodecError, RateKind

HOP = 40


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = torch.nn.Parameter(torch.tensor(1 / 16))


class Mean(TokenCodec):
    """The mean of each frame, as two codebooks: 32 coarse steps, and 9 that refine them."""

    def __init__(self, *, points=None, nested: bool = True, draws: bool = False) -> None:
        super().__init__(
            name="mean", sample_rate=8000, frame_rate=8000 / HOP, codebook_sizes=(32, 9),
            modules=Net(), points=points, nested=nested, draws=draws,
        )  # fmt: skip

    def codes(self, audio: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(audio[:, 0], (0, -audio.shape[-1] % HOP))
        rest = padded.unflatten(-1, (-1, HOP)).mean(-1)
        coarse = (rest / self.model.step).round().clamp(-16, 15)
        fine = ((rest / self.model.step - coarse) * 8).round().clamp(-4, 4)
        return torch.stack([coarse + 16, fine + 4], 1).int()

    def decode_codes(self, codes: torch.Tensor) -> torch.Tensor:
        levels = codes[:, 0] - 16.0
        if codes.shape[1] == 2:
            levels = levels + (codes[:, 1] - 4) / 8
        noise = 0.01 * torch.randn(levels.shape) if self.draws else 0.0
        made = (levels * self.model.step + noise).repeat_interleave(HOP, -1)
        return made[:, None, :-7]  # shorter than the clip


class Transposed(Mean):
    def codes(self, audio: torch.Tensor) -> torch.Tensor:
        return super().codes(audio).transpose(1, 2)


class TooLarge(Mean):
    def codes(self, audio: torch.Tensor) -> torch.Tensor:
        return super().codes(audio) + 9


@pytest.mark.parametrize("how", [{}, {"nested": False}, {"draws": True}])
def test_it_keeps_all_promises(how: dict[str, bool]) -> None:
    check_codec(Mean(**how), max_residual=None)


def test_points_are_numbers_of_codebooks_at_their_own_sizes() -> None:
    codec = Mean()
    assert [point.name for point in codec.points] == ["q1", "q2"]
    assert codec.points[0].target_kbps == pytest.approx(1.0)
    assert codec.points[1].target_kbps == pytest.approx(0.2 * (5 + 3.169925001442312))
    assert [point.name for point in Mean(nested=False).points] == ["q2"]
    with pytest.raises(CodecError, match="has no operating point 'q3'"):
        Mean(points=["q3"])
    audio = example_audio(codec)
    encoded = codec.at(codec.encode(audio, codec.points[-1]), codec.points[0])
    (rate, *_) = rates(encoded)[RateKind.NOMINAL]
    assert rate.kbps == pytest.approx(1.0)
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips))
    assert decoded.lengths.tolist() == audio.lengths.tolist()


def test_what_its_methods_get_wrong_is_said() -> None:
    with pytest.raises(CodecError, match=r"must be \(clips, codebooks, frames\) with \d clips"):
        check_codec(Transposed())
    with pytest.raises(CodecCheckError, match="is outside its"):
        check_codec(TooLarge())
