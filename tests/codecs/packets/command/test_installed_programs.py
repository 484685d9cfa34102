"""The ready-made specs of programs, where the programs are installed.

apt-get install opus-tools lame vorbis-tools flac speex codec2 liblc3-tools
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from rdbench.audio.resample import resample
from rdbench.codecs.agreement import residual_lag
from rdbench.codecs.base import Codec
from rdbench.codecs.packets import pcm
from rdbench.codecs.registry import create, names
from rdbench.metrics.registry import keys
from rdbench.rate import rates
from rdbench.spec import shipped
from rdbench.spec.load import load_spec
from rdbench.spec.model import SystemSpec
from rdbench.types import CODES, AudioBatch, MissingProgramError, RateKind

ROOT = Path(__file__).parents[4]
SYSTEMS = {
    (spec, system.name): system
    for spec in ("programs_16k", "programs_48k")
    for system in load_spec(
        shipped.FOLDER / f"{spec}.yaml", metric_keys=keys(), codec_names=names()
    ).systems
}
PROGRAMS = [where for where, system in SYSTEMS.items() if system.codec == "command"]
WAVEFORM = [where for where in PROGRAMS if where[1] != "codec2"]
"""Whose decoders give the waveform back; a vocoder does not."""


def built(system: SystemSpec, **options: Any) -> Codec:
    try:
        return create(
            system.codec,
            points=system.points,
            options={**system.options, **options},
            allow_code=True,
        )
    except MissingProgramError as error:
        pytest.skip(str(error))


def clip(folder: Path, codec: Codec, rate: int, *, stereo: bool = False) -> AudioBatch:
    """Three seconds of 16 bit samples at a rate that the codec takes."""
    name = "music/arovane_beat_a.flac" if stereo else "speech/vctk_n_b.wav"
    samples, native = soundfile.read(folder / "clips" / name, dtype="float32", always_2d=True)
    rate = codec.info.native_rate(rate)
    found = resample(torch.from_numpy(samples[: 3 * native].T.copy()), native, rate)
    whole = torch.from_numpy(pcm.to_whole(found.numpy(), 16) / 2**15).float()
    return AudioBatch(whole[None], torch.tensor([whole.shape[-1]]), rate)


def clip_for(folder: Path, codec: Codec, where: tuple[str, str]) -> AudioBatch:
    """Speech, or music where the codec takes stereo alone, at the rate of its benchmark."""
    return clip(folder, codec, int(where[0][9:11]) * 1000, stereo=1 not in codec.info.channels)


def through(codec: Codec, audio: AudioBatch, point) -> tuple[Any, torch.Tensor]:
    encoded = codec.encode(audio, point)
    return encoded, codec.decode(codec.decoder_input(encoded, CODES, [0])).samples


@pytest.mark.parametrize("where", PROGRAMS, ids="-".join)
def test_they_spend_what_their_points_promise(where: tuple[str, str], shared_data: Path) -> None:
    codec = built(SYSTEMS[where])
    audio = clip_for(shared_data, codec, where)
    spent = []
    for point in (codec.points[0], codec.points[-1]):
        encoded, decoded = through(codec, audio, point)
        assert decoded.shape == audio.samples.shape
        assert decoded.isfinite().all()
        assert float(decoded.square().mean().log10() - audio.samples.square().mean().log10()) > -0.5
        found = {kind: rate[0].kbps for kind, rate in rates(encoded).items()}
        assert found[RateKind.PAYLOAD] <= found[RateKind.CONTAINER]
        spent.append(found[RateKind.PAYLOAD])
        if point.target_kbps and where[1] in ("codec2", "lc3", "lame", "speex"):
            assert spent[-1] == pytest.approx(point.target_kbps, rel=0.06)
    assert spent == sorted(spent)


@pytest.mark.parametrize("where", WAVEFORM, ids="-".join)
def test_their_delay_is_the_one_declared(where: tuple[str, str], shared_data: Path) -> None:
    codec = built(SYSTEMS[where])
    audio = clip_for(shared_data, codec, where)
    _, decoded = through(codec, audio, codec.points[-1])
    lag, alike = residual_lag(reference=audio.samples[0], reconstruction=decoded[0])
    assert alike > 0.9
    assert abs(lag) <= (1 if where[1] == "speex" else 0)


@pytest.mark.parametrize("stereo", [False, True])
def test_lame_writes_the_packets_of_pyav(shared_data: Path, *, stereo: bool) -> None:
    program, ours = built(SYSTEMS["programs_48k", "lame"]), create("mp3", points=[64, 96, 128])
    audio = clip(shared_data, program, 44100, stereo=stereo)
    for one, two in zip(program.points, ours.points, strict=True):
        theirs, decoded = through(program, audio, one)
        encoded, wanted = through(ours, audio, two)
        assert theirs.payload.clips[0].packets == encoded.payload.clips[0].packets
        written = wanted.clamp(-1, 1 - 2**-15)  # lame decodes to 16 bits
        assert float((decoded - written).abs().max()) < 1e-4


def test_flac_is_lossless_either_way(shared_data: Path) -> None:
    program = built(SYSTEMS["programs_48k", "flac_program"])
    audio = clip(shared_data, program, 44100, stereo=True)
    _, decoded = through(program, audio, program.points[0])
    assert torch.equal(decoded, audio.samples)


def test_opusenc_and_oggenc_spend_what_pyav_and_libsndfile_do(shared_data: Path) -> None:
    """Of other versions or feeding they are other packets: nearly as many bits, as good."""
    for name, ours, rate in (("opusenc", "opus", 48000), ("oggenc", "vorbis", 44100)):
        program = built(SYSTEMS["programs_48k", name])
        other = create(ours, points=[point.name for point in program.points])
        audio = clip(shared_data, program, rate, stereo=True)
        for one, two in zip(program.points, other.points, strict=True):
            theirs, own = (
                rates(codec.encode(audio, point))[RateKind.PAYLOAD][0].kbps
                for codec, point in ((program, one), (other, two))
            )
            assert theirs == pytest.approx(own, rel=0.03)
