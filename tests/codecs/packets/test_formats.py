"""Vorbis, FLAC, AC-3, E-AC-3, AMR and G.722: real bits, real audio, aligned with the reference."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from rdbench.audio.resample import resample
from rdbench.codecs.agreement import residual_lag
from rdbench.codecs.base import Codec
from rdbench.codecs.packets.dolby import Ac3, Eac3
from rdbench.codecs.packets.flac import Flac
from rdbench.codecs.packets.telephony import G722, AmrNb
from rdbench.codecs.packets.vorbis import Vorbis
from rdbench.codecs.registry import create
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import CODES, AudioBatch, CodecError, RateKind

CODECS = [
    Vorbis(points=["q0", "q6"]),
    Flac(),
    Flac(bits=24, level=0),
    Ac3(points=[64, 192]),
    Eac3(points=[48, 128]),
    AmrNb(points=[4.75, 12.2]),
    G722(),
]
LOSSY = [codec for codec in CODECS if codec.info.name != "flac"]


def name_of(codec: Codec) -> str:
    return codec.info.name


def through(codec: Codec, audio: AudioBatch, point=None):
    encoded = codec.encode(audio, point or codec.points[-1])
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips))
    return encoded, decoded.samples


def speech(shared_data: Path, rate: int) -> AudioBatch:
    samples, native = soundfile.read(
        shared_data / "clips" / "speech" / "vctk_n_b.wav", dtype="float32", always_2d=True
    )
    found = resample(torch.from_numpy(samples.T[:, : 2 * native].copy()), native, rate)
    return AudioBatch(found[None], torch.tensor([found.shape[-1]]), rate)


@pytest.mark.parametrize("codec", CODECS, ids=name_of)
def test_they_keep_the_rules_of_codecs(codec: Codec) -> None:
    check_codec(codec, seconds=0.2)


@pytest.mark.parametrize("codec", LOSSY, ids=name_of)
def test_speech_comes_back_in_its_place(codec: Codec, shared_data: Path) -> None:
    for rate in (codec.info.sample_rates[0], codec.info.sample_rates[-1]):
        audio = speech(shared_data, rate)
        _, decoded = through(codec, audio)
        lag, alike = residual_lag(reference=audio.samples[0], reconstruction=decoded[0])
        assert alike > 0.85
        assert -1 <= lag <= 0 if codec.info.name == "amr_nb" else lag == 0


@pytest.mark.parametrize("codec", LOSSY, ids=name_of)
def test_the_declared_delay_is_the_one_that_is_removed(codec: Codec) -> None:
    rate = codec.info.sample_rates[-1]
    audio = AudioBatch(torch.zeros(1, 1, rate // 4), torch.tensor([rate // 4]), rate)
    (stream,) = codec.encode(audio, codec.points[0]).payload.clips
    assert stream.details["delay"] == codec.info.delay


@pytest.mark.parametrize("extra", [0, 1, 500, 1279, 1535])
@pytest.mark.parametrize("codec", LOSSY, ids=name_of)
def test_the_end_of_a_clip_is_not_lost(codec: Codec, extra: int) -> None:
    rate = codec.info.sample_rates[-1]
    length = 3 * 1536 + extra
    time = torch.arange(length) / rate
    tone = (0.3 * torch.sin(2 * torch.pi * 400 * time))[None, None]
    _, decoded = through(codec, AudioBatch(tone, torch.tensor([length]), rate))
    end = slice(-rate // 400, None)
    assert float(decoded[0, 0, end].square().mean()) > 0.5 * float(tone[0, 0, end].square().mean())


# FLAC.


@pytest.mark.parametrize(("bits", "rate"), [(16, 16000), (16, 44100), (24, 48000)])
@pytest.mark.parametrize("channels", [1, 2])
def test_flac_loses_nothing(bits: int, rate: int, channels: int) -> None:
    generator = np.random.default_rng(bits)
    full = 2 ** (bits - 1)
    whole = generator.integers(-full, full, (1, channels, 5001))
    whole[..., :2] = [-full, full - 1]
    samples = torch.from_numpy((whole / full).astype(np.float32))
    audio = AudioBatch(samples, torch.tensor([5001]), rate)
    encoded, decoded = through(Flac(bits=bits), audio)
    assert torch.equal(decoded, samples)
    # Noise of full scale cannot be packed, so that the rate is that of the samples.
    payload = rates(encoded)[RateKind.PAYLOAD][0].kbps
    assert payload == pytest.approx(rate * bits * channels / 1000, rel=0.02)


def test_the_rate_of_flac_is_that_of_the_signal() -> None:
    quiet = AudioBatch(torch.zeros(1, 1, 16000), torch.tensor([16000]), 16000)
    assert rates(Flac().encode(quiet, Flac().points[0]))[RateKind.PAYLOAD][0].kbps < 3


def test_files_of_flac_are_read_by_others(tmp_path: Path) -> None:
    """libsndfile decodes what FFmpeg has packed, and packs as much."""
    generator = np.random.default_rng(1)
    smooth = np.cumsum(generator.integers(-40, 41, 16000)) % 8000
    samples = torch.from_numpy((smooth / 2**15).astype(np.float32))[None, None]
    encoded, _ = through(Flac(), AudioBatch(samples, torch.tensor([16000]), 16000))
    (stream,) = encoded.payload.clips
    file = io.BytesIO()
    soundfile.write(file, smooth.astype(np.int16), 16000, format="FLAC", compression_level=1.0)
    with av.open(io.BytesIO(file.getvalue())) as container:
        theirs = sum(packet.size for packet in container.demux(audio=0))
    assert sum(map(len, stream.packets)) == pytest.approx(theirs, rel=0.03)


# Rates.


@pytest.mark.parametrize("codec", [Ac3(), Eac3(), G722()], ids=name_of)
def test_constant_rates_are_those_asked_for(codec: Codec) -> None:
    rate = codec.info.sample_rates[-1]
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(1, codec.info.channels[-1], 2 * rate, generator=generator)
    for point in codec.points:
        encoded = codec.encode(AudioBatch(noise, torch.tensor([2 * rate]), rate), point)
        (stream,) = encoded.payload.clips
        assert rates(encoded)[RateKind.PAYLOAD][0].kbps == pytest.approx(
            point.target_kbps, rel=0.04
        )
        assert stream.container_bytes == sum(map(len, stream.packets))


def test_frames_of_amr_are_those_of_the_standard() -> None:
    """RFC 4867, table 1: bits of a frame by mode, here in octets behind one of header."""
    bits = (95, 103, 118, 134, 148, 159, 204, 244)
    codec = AmrNb(points=AmrNb.MODES)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(1, 1, 8000, generator=generator)
    for mode, point in enumerate(codec.points):
        (stream,) = codec.encode(AudioBatch(noise, torch.tensor([8000]), 8000), point).payload.clips
        assert {len(packet) for packet in stream.packets} == {1 + -(-bits[mode] // 8)}
        assert {packet[0] >> 3 & 15 for packet in stream.packets} == {mode}
        assert stream.container_bytes == len(b"#!AMR\n") + sum(map(len, stream.packets))


def test_vorbis_is_that_of_libvorbis(shared_data: Path) -> None:
    """Packets and audio are those of a file that libsndfile writes and reads."""
    audio = speech(shared_data, 44100)
    codec = Vorbis(points=["q4"])
    encoded, decoded = through(codec, audio)
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", 44100, 1, "VORBIS", format="OGG", compression_level=0.6
    ) as writer:
        for block in audio.samples[0, 0].split(1024):
            writer.write(block.numpy())
    file.seek(0)
    theirs, _ = soundfile.read(file, dtype="float32")
    assert len(theirs) == decoded.shape[-1]
    assert np.allclose(theirs, decoded[0, 0].numpy(), atol=1e-5)
    (stream,) = encoded.payload.clips
    assert stream.container_bytes == len(file.getvalue())
    assert "libVorbis" in codec.info.version
    spent = [
        rates(codec.encode(audio, point))[RateKind.PAYLOAD][0].kbps
        for codec in [Vorbis(points=[f"q{quality}" for quality in range(11)])]
        for point in codec.points
    ]
    assert spent == sorted(spent)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("flac", {"bits": 20}, "flac: bits must be one of 16, 24"),
        ("flac", {"level": 13}, "flac: level must be one of"),
    ],
)
def test_options_that_do_not_exist_are_one_sentence(name: str, options, sentence: str) -> None:
    with pytest.raises(CodecError, match=sentence):
        create(name, options=options)


@pytest.mark.parametrize(
    ("name", "point", "sentence"),
    [
        ("vorbis", "q11", "vorbis has no operating point 'q11'"),
        ("ac3", 100, "the nearest is '96'"),
        ("eac3", 16, "it takes 32 to 640 kbps"),
        ("amr_nb", 23.85, "the nearest is '12.2'"),
        ("g722", 48, "the nearest is '64'"),
        ("flac", 700, "has no rate"),
    ],
)
def test_points_that_do_not_exist_are_one_sentence(name: str, point, sentence: str) -> None:
    with pytest.raises(CodecError, match=sentence):
        create(name, points=[point])


def test_what_this_build_only_decodes_is_no_codec_here() -> None:
    """docs/codecs.md says so; with an encoder, each would be one."""
    for decoder in ("amrwb", "speex", "aac"):
        av.Codec(decoder, "r")
    for encoder in ("libvo_amrwbenc", "libspeex", "libfdk_aac"):
        with pytest.raises(ValueError, match=encoder):
            av.Codec(encoder, "w")


@pytest.mark.parametrize("codec", CODECS, ids=name_of)
def test_they_travel_to_worker_processes(codec: Codec) -> None:
    assert pickle.loads(pickle.dumps(codec)).info == codec.info
