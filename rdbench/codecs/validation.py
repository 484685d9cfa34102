"""What an adapter refuses before it encodes, in one sentence each."""

from __future__ import annotations

from rdbench.types import AudioBatch, CodecError, CodecInfo


def check_audio(info: CodecInfo, audio: AudioBatch) -> None:
    """Raises CodecError unless `audio` is what `info` says the codec takes.

    Refused are: another sample rate or channel count, an empty clip, and NaN or infinite samples
    within a clip's length.
    """
    if info.sample_rates and audio.sample_rate not in info.sample_rates:
        rates = ", ".join(str(rate) for rate in info.sample_rates)
        raise CodecError(
            f"{info.name} does not take {audio.sample_rate} Hz; resample to one of: {rates}"
        )
    if info.channels and audio.channels not in info.channels:
        takes = " or ".join({1: "mono", 2: "stereo"}.get(n, str(n)) for n in info.channels)
        raise CodecError(
            f"{info.name} takes {takes}, not {audio.channels} channels; run it on each channel, "
            "or downmix"
        )
    for index, length in enumerate(audio.lengths.tolist()):
        if length < 1:
            raise CodecError(f"{info.name} cannot encode clip {index}: it is empty; leave it out")
        if not bool(audio.samples[index, :, :length].isfinite().all()):
            raise CodecError(
                f"{info.name} cannot encode clip {index}: it holds NaN or infinite samples"
            )
