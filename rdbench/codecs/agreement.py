"""Comparing what codecs make: encodings, waveforms, delays. `testing` asserts with it.

Lengths and frame counts are respected throughout: what lies behind them is padding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdbench.types import Encoded, Packets, Posterior, SideInformation, Tokens, Waveform

if TYPE_CHECKING:
    import torch

CODES_EQUAL = 0.999
LATENT_TOLERANCE = 1e-4


def residual_lag(
    *, reference: torch.Tensor, reconstruction: torch.Tensor, max_lag: int = 4800
) -> tuple[int, float]:
    """Samples by which `reconstruction` comes late, and how sure that is.

    Both are (channels, time). Returns the lag within ±`max_lag` where the cross-correlation, summed
    over channels, is largest, and that value over the product of the norms (0 for silence).
    """
    import torch

    one, two = reference.double().cpu(), reconstruction.double().cpu()
    time = one.shape[-1]
    size = 2 * time
    product = torch.fft.rfft(two, n=size) * torch.fft.rfft(one, n=size).conj()
    correlation = torch.fft.irfft(product, n=size).sum(dim=0)
    reach = min(max_lag, time - 1)
    window = torch.cat([correlation[size - reach :], correlation[: reach + 1]])
    best = int(window.argmax())
    norms = float(one.norm() * two.norm())
    return best - reach, float(window[best]) / norms if norms > 0 else 0.0


def single(encoded: Encoded, index: int) -> Encoded:
    """Clip `index` of `encoded`, without the padding that the others put behind it."""
    payload: Any = encoded.payload
    length = int(encoded.lengths[index])
    pick = slice(index, index + 1)
    if isinstance(payload, Tokens):
        payload = Tokens(
            tuple(
                dataclasses.replace(
                    stream,
                    codes=stream.codes[pick, :, : int(stream.frames[index])],
                    frames=stream.frames[pick],
                )
                for stream in payload.streams
            )
        )
    elif isinstance(payload, Posterior):
        frames = int(payload.frames[index])
        payload = dataclasses.replace(
            payload,
            mean=payload.mean[pick, :, :frames],
            scale=None if payload.scale is None else payload.scale[pick, :, :frames],
            frames=payload.frames[pick],
        )
    elif isinstance(payload, Packets):
        payload = dataclasses.replace(payload, clips=payload.clips[pick])
    else:
        payload = Waveform(payload.samples[pick, :, :length])
    side = {
        name: SideInformation(item.values[pick], item.bits[pick])
        for name, item in encoded.side.items()
    }
    return dataclasses.replace(encoded, payload=payload, lengths=encoded.lengths[pick], side=side)


def difference(one: Encoded, two: Encoded) -> str:
    """What differs between two encodings of the same clips beyond rounding; "" where nothing."""
    a, b = one.payload, two.payload
    problem = ""
    if isinstance(a, Tokens) and isinstance(b, Tokens):
        problem = _tokens_difference(a, b)
    elif isinstance(a, Packets) and isinstance(b, Packets):
        problem = "" if same(a, b) else "its packets differ"
    elif isinstance(a, Posterior) and isinstance(b, Posterior):
        problem = _posterior_difference(a, b)
    elif isinstance(a, Waveform) and isinstance(b, Waveform):
        problem = _waveform_difference(a, b, one.lengths)
    else:
        problem = f"one payload is {type(a).__name__}, the other {type(b).__name__}"
    return problem or _side_difference(one, two)


def _tokens_difference(a: Tokens, b: Tokens) -> str:
    equal = total = 0
    for left, right in zip(a.streams, b.streams, strict=True):
        if left.frames.tolist() != right.frames.tolist():
            return f"{left.frames.tolist()} and {right.frames.tolist()} frames"
        for clip, frames in enumerate(left.frames.tolist()):
            same = left.codes[clip, :, :frames].cpu() == right.codes[clip, :, :frames].cpu()
            equal, total = equal + int(same.sum()), total + same.numel()
    if equal < CODES_EQUAL * total:
        return f"{total - equal} of {total} codes differ (allowed 0.1 %)"
    return ""


def _posterior_difference(a: Posterior, b: Posterior) -> str:
    if a.frames.tolist() != b.frames.tolist():
        return f"{a.frames.tolist()} and {b.frames.tolist()} frames"
    for name, left, right in (("mean", a.mean, b.mean), ("scale", a.scale, b.scale)):
        if left is None or right is None:
            continue
        for clip, frames in enumerate(a.frames.tolist()):
            distance = gap(left[clip, :, :frames], right[clip, :, :frames])
            if distance > LATENT_TOLERANCE:
                return f"its {name} differs by {distance:.1e} (allowed {LATENT_TOLERANCE:g})"
    return ""


def _waveform_difference(a: Waveform, b: Waveform, lengths: torch.Tensor) -> str:
    for clip, length in enumerate(lengths.tolist()):
        distance = gap(a.samples[clip, :, :length], b.samples[clip, :, :length])
        if distance > LATENT_TOLERANCE:
            return f"its waveform differs by {distance:.1e} (allowed {LATENT_TOLERANCE:g})"
    return ""


def _side_difference(one: Encoded, two: Encoded) -> str:
    if set(one.side) != set(two.side):
        return f"side information {sorted(one.side)} and {sorted(two.side)}"
    for name, item in one.side.items():
        if item.bits.tolist() != two.side[name].bits.tolist():
            return f"side information {name!r} takes other bits"
    return ""


def gap(one: torch.Tensor, two: torch.Tensor) -> float:
    """Largest absolute difference, relative to the larger of 1 and the peak."""
    if one.numel() == 0:
        return 0.0
    peak = max(1.0, float(two.abs().max()))
    return float((one.cpu().double() - two.cpu().double()).abs().max()) / peak


def same(one: Any, two: Any) -> bool:
    """Whether two trees of dataclasses, mappings, sequences and tensors are equal bit for bit."""
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if dataclasses.is_dataclass(one):
        fields = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(two) and all(
            same(getattr(one, name), getattr(two, name)) for name in fields
        )
    if isinstance(one, Mapping):
        return set(one) == set(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return bool(one == two)
