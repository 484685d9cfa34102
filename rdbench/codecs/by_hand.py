"""Codecs used by hand: audio that is there goes through one, as it would in a run.

What a run does to a reference is done here: it is brought to a rate and channels that the codec
takes, encoded, decoded, and brought back to its own rate, channels and length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.codecs.base import Codec, GivenCodec
from rdbench.types import AudioBatch, CodecError, Encoded, OperatingPoint

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.audio.channels import ChannelPolicy

RATE_COLUMNS = ("point", "clip", "kind", "kbps", "bits", "seconds", "status", "reason")


def roundtrip(
    codec: Codec,
    audio: Any,
    sample_rate: int,
    *,
    point: str | float | None = None,
    variant: str | None = None,
    seed: int = 0,
) -> Any:
    """Encodes and decodes; see `rdbench.codecs.base.Codec.roundtrip`."""
    import numpy as np
    import torch

    from rdbench.audio.channels import from_native, spread_seeds

    chosen = _point(codec, point)
    wanted = _variant(codec, variant)
    made: list[torch.Tensor] = []
    for number, batch in enumerate(_batches(codec, audio, sample_rate)):
        with torch.no_grad():
            native, how = _to_native(batch, codec)
            encoded = next(_encoded(codec, native, [chosen]))
            seeds = spread_seeds([seed + number], how, batch.channels)
            decoded = codec.decode(codec.decoder_input(encoded, wanted, seeds))
            made.append(from_native(decoded, batch, how).samples[0])
    if isinstance(audio, list | tuple):
        return [_alike(one, given) for one, given in zip(made, audio, strict=True)]
    if np.ndim(audio) < 3:
        return _alike(made[0], audio)
    return _alike(torch.stack(made), audio)


def rates(
    codec: Codec,
    audio: Any,
    sample_rate: int,
    *,
    points: Sequence[str | float] | None = None,
) -> pd.DataFrame:
    """What audio costs in a codec: every rate that follows from what it encodes.

    Args:
        codec: made by hand (`from rdbench.codecs import opus`), or one of your own.
        audio: as `Codec.roundtrip` takes it.
        sample_rate: of all of it, in hertz.
        points: names or kbps of the codec's points; None is all of them.

    Returns:
        A row for each point, clip (its number, from 0) and kind of rate: kbps (1000 bits per second
        of the clip as it was given), bits, seconds, status ("ok" or "undefined") and reason. An
        anchor has no rate, and no row. Which bits each kind counts: docs/rates.md.

    Raises:
        CodecError: for a point that the codec has not, and what it cannot encode.
        SpecError: for audio of another form.

    >>> import numpy as np
    >>> from rdbench.codecs import mp3
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(48000)
    >>> found = rates(mp3(64, 128), noise, 48000)
    >>> found.query("kind == 'payload'").kbps.round().tolist()
    [66.0, 132.0]
    """
    import pandas as pd
    import torch

    from rdbench.audio.channels import gather_rates
    from rdbench.rate import rates as measure

    chosen = codec.points if points is None else [_point(codec, point) for point in points]
    rows = []
    for number, batch in enumerate(_batches(codec, audio, sample_rate)):
        with torch.no_grad():
            native, how = _to_native(batch, codec)
            for point, encoded in zip(chosen, _encoded(codec, native, chosen), strict=True):
                measured = gather_rates(measure(encoded), how, batch.channels)
                for kind, (rate,) in measured.items():
                    row = (rate.kbps, rate.bits, rate.seconds, str(rate.status), rate.reason)
                    rows.append((point.name, number, str(kind), *row))
    return pd.DataFrame(rows, columns=list(RATE_COLUMNS))


def _batches(codec: Codec, audio: Any, sample_rate: int) -> Iterator[AudioBatch]:
    """The clips, one by one."""
    import torch

    from rdbench.audio.arrays import checked_rate, clips_of

    if isinstance(codec, GivenCodec):
        raise CodecError(f"{codec.info.name} codes nothing by itself; use it in a spec")
    rate = checked_rate(sample_rate)
    for clip in clips_of(audio, "audio"):
        if not clip.shape[-1]:
            raise CodecError("the audio holds no samples; give some")
        yield AudioBatch(clip[None], torch.tensor([clip.shape[-1]]), rate)


def _to_native(batch: AudioBatch, codec: Codec) -> tuple[AudioBatch, ChannelPolicy]:
    from rdbench.audio.channels import to_native

    return to_native(batch, codec.info)


def _encoded(
    codec: Codec, native: AudioBatch, points: Sequence[OperatingPoint]
) -> Iterator[Encoded]:
    """What is encoded at each point; of a nested codec once, and cut."""
    whole = codec.encode(native, codec.points[-1]) if codec.nested else None
    for point in points:
        if whole is None:
            yield codec.encode(native, point)
        else:
            yield whole if point.name == codec.points[-1].name else codec.at(whole, point)


def _point(codec: Codec, point: str | float | None) -> OperatingPoint:
    if point is not None:
        from rdbench.codecs.points import resolve

        return resolve(codec.info.name, [point], codec.points)[0]
    if len(codec.points) > 1:
        names = ", ".join(one.name for one in codec.points)
        raise CodecError(f"{codec.info.name} has several points ({names}); name one as `point`")
    return codec.points[0]


def _variant(codec: Codec, name: str | None) -> Any:
    from rdbench.codecs.variants import variant

    if name is None:
        return codec.variants[0]
    found = variant(name)
    if not codec.can_decode(found):
        raise CodecError(
            f"{codec.info.name} has no variant {name!r}; it has: {', '.join(codec.variant_names)}"
        )
    return found


def _alike(made: Any, given: Any) -> Any:
    """Samples (…, channels, time) in the form, and of the kind, of what was given."""
    import numpy as np
    import torch

    shaped = made.reshape(tuple(given.shape) if hasattr(given, "shape") else np.shape(given))
    return shaped.to(given.device) if isinstance(given, torch.Tensor) else shaped.cpu().numpy()
