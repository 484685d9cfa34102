"""Opus, MP3 and AAC: real bits, real audio, aligned with the reference.

FFmpeg itself is the reference: what the adapters count and decode from packets alone is compared
with files that PyAV writes and reads back by its own demuxers.
"""

from __future__ import annotations

import csv
import io
import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from rdbench.audio.resample import resample
from rdbench.codecs.packets.pyav import Aac, Mp3, Opus
from rdbench.codecs.registry import create
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import CODES, AudioBatch, CodecError, RateKind

LAYOUT = {1: "mono", 2: "stereo"}
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES = (8000, 16000, 22050, 44100, 96000)


@pytest.fixture(scope="module")
def speech(shared_data: Path) -> torch.Tensor:
    """1.5 s of 48 kHz speech, (1, time)."""
    return clip(shared_data / "clips", "speech", 48000, 1)


@pytest.fixture(scope="module")
def music(shared_data: Path) -> torch.Tensor:
    """1.5 s of stereo music at 44.1 kHz, resampled to 48 kHz, (2, time)."""
    return resample(clip(shared_data / "clips", "music", 44100, 2), 44100, 48000)


def clip(folder: Path, domain: str, rate: int, channels: int) -> torch.Tensor:
    with (folder / "manifest.csv").open() as file:
        for row in csv.DictReader(file):
            wanted = (row["domain"], int(row["sample_rate"]), int(row["channels"]))
            if wanted == (domain, rate, channels) and float(row["seconds"]) > 1.5:
                break
    samples, _ = soundfile.read(folder / row["file"], dtype="float32", always_2d=True)
    return torch.from_numpy(samples[: int(1.5 * rate)].T.copy())


def at_rate(samples: torch.Tensor, rate: int) -> AudioBatch:
    samples = resample(samples, 48000, rate)
    return AudioBatch(samples[None], torch.tensor([samples.shape[-1]]), rate)


def noise(length: int, channels: int, rate: int, *, seed: int = 0) -> AudioBatch:
    generator = torch.Generator().manual_seed(seed)
    samples = 0.2 * torch.randn(1, channels, length, generator=generator)
    return AudioBatch(samples, torch.tensor([length]), rate)


def through(codec, audio: AudioBatch, point):
    encoded = codec.encode(audio, point)
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips))
    return encoded, decoded.samples


def kbps(encoded, kind: RateKind = RateKind.PAYLOAD) -> float:
    return rates(encoded)[kind][0].kbps


def lag(reference: torch.Tensor, reconstruction: torch.Tensor) -> int:
    """Samples by which the reconstruction is late, by SciPy's cross-correlation."""
    one, two = reference.mean(0).double().numpy(), reconstruction.mean(0).double().numpy()
    correlation = scipy.signal.correlate(two, one, mode="full", method="fft")
    return int(correlation.argmax()) - (len(one) - 1)


def snr(reference: torch.Tensor, reconstruction: torch.Tensor) -> float:
    return float(
        10 * torch.log10(reference.square().sum() / (reference - reconstruction).square().sum())
    )


@pytest.mark.parametrize(
    "codec",
    [
        Opus(points=[6, 24, 128]),
        Opus(points=[6, 64], mode="cbr"),
        Opus(points=[32, 64], mode="cvbr", application="lowdelay", frame_duration=10),
        Mp3(points=[32, 128]),
        Mp3(points=[32, 128], mode="abr"),
        Mp3(mode="vbr", points=["V9", "V2"]),
        Aac(points=[24, 96]),
        Aac(mode="vbr", points=["q0.1", "q1"]),
    ],
    ids=lambda codec: f"{codec.info.name}-{codec.info.details['mode']}",
)
def test_adapters_keep_the_rules_of_codecs(codec) -> None:
    check_codec(codec, seconds=0.2)


# Alignment, on real audio.


@pytest.mark.parametrize("rate", MP3_RATES)
def test_mp3_is_aligned_to_the_sample(speech, music, rate: int) -> None:
    codec = Mp3(points=[32, 64])
    for source, point in ((speech, codec.points[0]), (music, codec.points[1])):
        audio = at_rate(source, rate)
        assert lag(audio.samples[0], through(codec, audio, point)[1][0]) == 0


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize(("mode", "points"), [("abr", [48]), ("vbr", ["V9", "V4"])])
def test_mp3_at_variable_rates_is_aligned_too(speech, rate: int, mode: str, points) -> None:
    codec = Mp3(mode=mode, points=points)
    audio = at_rate(speech, rate)
    for point in codec.points:
        assert lag(audio.samples[0], through(codec, audio, point)[1][0]) == 0


@pytest.mark.parametrize("rate", AAC_RATES)
def test_aac_is_aligned_to_the_sample(speech, music, rate: int) -> None:
    codec = Aac(points=[32, 96])
    for source, point in ((speech, codec.points[0]), (music, codec.points[1])):
        audio = at_rate(source, rate)
        assert lag(audio.samples[0], through(codec, audio, point)[1][0]) == 0


@pytest.mark.parametrize("rate", OPUS_RATES)
def test_opus_is_aligned_in_celt_and_keeps_its_known_residue_in_silk(
    speech, music, rate: int
) -> None:
    """1.5 s of one speech and one music clip, application audio, 20 ms: bass leaves more.

    `docs/protocol.md` has the extremes over whole corpora, and those of voip.
    """
    codec = Opus(points=[6, 12, 24, 96])
    for source in (speech, music):
        audio = at_rate(source, rate)
        lags = [lag(audio.samples[0], through(codec, audio, p)[1][0]) for p in codec.points]
        assert lags[3] == 0
        # −3 … +4 samples at 48 kHz, rounded at the clip's rate
        assert all(-3 * rate / 48000 - 0.5 <= x <= 4 * rate / 48000 + 0.5 for x in lags[:3])


def test_the_low_delay_mode_of_opus_is_aligned_too(speech) -> None:
    codec = Opus(points=[48], application="lowdelay")
    for rate in OPUS_RATES:
        audio = at_rate(speech, rate)
        assert lag(audio.samples[0], through(codec, audio, codec.points[0])[1][0]) == 0


@pytest.mark.parametrize(
    ("codec", "rate", "frame"),
    [(Opus(points=[96]), 48000, 960), (Mp3(points=[128]), 44100, 1152),
     (Mp3(points=[64]), 16000, 576), (Aac(points=[96]), 44100, 1024)],
)  # fmt: skip
def test_the_tail_is_not_lost(codec, rate: int, frame: int) -> None:
    # Noise below 3 kHz, so that what an encoder cuts off above does not hide the tail.
    sos = scipy.signal.butter(8, 3000, fs=rate, output="sos")
    for extra in (0, 1, frame // 3, frame // 2, frame - 1):
        white = noise(8 * frame + extra, 1, rate, seed=extra)
        smooth = torch.from_numpy(scipy.signal.sosfiltfilt(sos, white.samples.numpy()).copy())
        audio = AudioBatch(smooth.float(), white.lengths, rate)
        _, decoded = through(codec, audio, codec.points[0])
        assert snr(audio.samples[..., -frame // 2 :], decoded[..., -frame // 2 :]) > 10


# Rates.


@pytest.mark.parametrize(
    ("codec", "rate"),
    [(Opus(points=[6, 16, 64]), 48000), (Mp3(points=[32, 64, 128]), 44100),
     (Aac(points=[24, 48, 96]), 44100), (Mp3(mode="vbr", points=["V9", "V5", "V0"]), 44100),
     (Aac(mode="vbr", points=["q0.1", "q0.5", "q2"]), 44100)],
    ids=["opus", "mp3", "aac", "mp3-vbr", "aac-vbr"],
)  # fmt: skip
def test_more_bits_are_spent_and_buy_quality(codec, rate: int, speech, music) -> None:
    for source in (speech, music):
        audio = at_rate(source, rate)
        spent, quality = [], []
        for point in codec.points:
            encoded, decoded = through(codec, audio, point)
            spent.append(kbps(encoded))
            quality.append(snr(audio.samples, decoded))
        assert spent == sorted(spent)
        assert quality[0] + 3 < quality[-1]


def test_constant_rates_are_constant_and_what_was_asked_for(music) -> None:
    audio = at_rate(music, 48000)
    for target in (6, 24, 96, 256):
        codec = Opus(points=[target], mode="cbr")
        (stream,) = codec.encode(audio, codec.points[0]).payload.clips
        assert {len(packet) for packet in stream.packets} == {round(target * 1000 * 0.02 / 8)}
    for target in (32, 128, 320):
        codec = Mp3(points=[target])
        (stream,) = codec.encode(audio, codec.points[0]).payload.clips
        assert {len(packet) for packet in stream.packets} == {target * 1000 * 1152 // 48000 // 8}


@pytest.mark.parametrize("codec", [Opus(points=[32]), Mp3(mode="vbr", points=["V5"])])
def test_variable_rates_vary(codec, music) -> None:
    (stream,) = codec.encode(at_rate(music, 48000), codec.points[0]).payload.clips
    assert len({len(packet) for packet in stream.packets}) > 4  # MP3 has 14 sizes at all


@pytest.mark.parametrize(
    ("codec", "rate"), [(Opus(), 48000), (Mp3(), 44100), (Aac(), 44100)], ids=["opus", "mp3", "aac"]
)
def test_stereo_and_mono_both_work_at_every_default_point(codec, rate: int, music) -> None:
    for channels in (1, 2):
        audio = at_rate(music[:channels, :9600], rate)
        for point in codec.points:
            encoded, decoded = through(codec, audio, point)
            assert decoded.shape == audio.samples.shape
            assert encoded.channels == channels


def test_opus_takes_speech_at_its_own_rate_rather_than_upsampled() -> None:
    info = Opus().info
    assert [info.native_rate(r) for r in (8000, 11025, 16000, 22050, 32000, 44100, 96000)] == [
        8000, 12000, 16000, 24000, 48000, 48000, 48000,
    ]  # fmt: skip


def test_frames_and_application_of_opus_are_those_asked_for(speech) -> None:
    audio = at_rate(speech, 16000)
    streams = {}
    for application, duration in (("audio", 20), ("voip", 20), ("voip", 40)):
        codec = Opus(points=[12], application=application, frame_duration=duration)
        (stream,) = codec.encode(audio, codec.points[0]).payload.clips
        # RFC 6716, table 2: configurations 8 to 11 are SILK at 16 kHz, of 10, 20, 40 and 60 ms.
        assert {packet[0] >> 3 for packet in stream.packets} == {{20: 9, 40: 10}[duration]}
        streams[application, duration] = stream.packets
    assert streams["audio", 20] != streams["voip", 20]
    assert len(streams["voip", 40]) == pytest.approx(len(streams["voip", 20]) / 2, abs=1)


# The files of FFmpeg's own muxers, demuxed and decoded by FFmpeg.


def written(codec, audio: AudioBatch, bit_rate: int, options: dict[str, str]) -> bytes:
    """A whole file, by the plain use of PyAV."""
    file = io.BytesIO()
    samples = audio.samples[0].numpy()
    planar = codec.sample_format.endswith("p")
    data = np.ascontiguousarray(samples if planar else samples.T.reshape(1, -1))
    with av.open(file, "w", format=codec.muxer) as container:
        stream = container.add_stream(codec.encoder, rate=audio.sample_rate, options=options)
        stream.codec_context.layout = LAYOUT[len(samples)]
        stream.codec_context.format = codec.sample_format
        stream.codec_context.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(data, codec.sample_format, LAYOUT[len(samples)])
        frame.sample_rate, frame.pts = audio.sample_rate, 0
        frame.time_base = Fraction(1, audio.sample_rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


CASES = [
    (Opus(points=[24]), 48000, 24000, {"vbr": "on", "compression_level": "10"}),
    (Mp3(points=[64]), 44100, 64000, {"compression_level": "2"}),
    (Mp3(points=[32]), 16000, 32000, {"compression_level": "2"}),
    (Aac(points=[48]), 44100, 48000, {"profile": "aac_low"}),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("channels", [1, 2])
def test_payload_and_container_are_those_of_the_file(case, channels: int, music) -> None:
    codec, rate, bit_rate, options = case
    audio = at_rate(music[:channels], rate)
    encoded = codec.encode(audio, codec.points[0])
    (stream,) = encoded.payload.clips
    file = written(codec, audio, bit_rate, options)
    with av.open(io.BytesIO(file)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert list(stream.packets) == packets
    assert stream.container_bytes == len(file)
    seconds = audio.samples.shape[-1] / rate
    assert kbps(encoded) == pytest.approx(8 * sum(map(len, packets)) / seconds / 1000)
    assert kbps(encoded, RateKind.CONTAINER) == pytest.approx(8 * len(file) / seconds / 1000)
    assert kbps(encoded, RateKind.CONTAINER) > kbps(encoded)


@pytest.mark.parametrize("case", CASES)
def test_packets_decode_to_what_the_file_decodes_to(case, music) -> None:
    codec, rate, bit_rate, options = case
    audio = at_rate(music, rate)
    _, decoded = through(codec, audio, codec.points[0])
    file = written(codec, audio, bit_rate, options)
    with av.open(io.BytesIO(file)) as container:
        if codec.info.name == "opus":  # FFmpeg has a decoder of its own beside libopus
            stream = container.streams.audio[0]
            context = av.CodecContext.create("libopus", "r")
            context.extradata = stream.codec_context.extradata
            context.options = {"request_sample_fmt": "flt"}
            frames = [f for packet in container.demux(stream) for f in context.decode(packet)]
        else:
            frames = list(container.decode(audio=0))
    arrays = [frame.to_ndarray() for frame in frames]
    if not frames[0].format.is_planar:
        arrays = [array.reshape(-1, 2).T for array in arrays]
    whole = torch.from_numpy(np.concatenate(arrays, axis=1))[:, : decoded.shape[-1]]
    assert torch.equal(whole, decoded[0])


def test_both_decoders_of_opus_agree(speech) -> None:
    audio = at_rate(speech, 48000)
    codec = Opus(points=[96])
    encoded, decoded = through(codec, audio, codec.points[0])
    (stream,) = encoded.payload.clips
    context = av.CodecContext.create("opus", "r")
    context.extradata = stream.header
    frames = [f for packet in stream.packets for f in context.decode(av.Packet(packet))]
    whole = torch.from_numpy(np.concatenate([f.to_ndarray() for f in frames], axis=1))
    assert torch.allclose(whole[:, : decoded.shape[-1]], decoded[0], atol=1e-5)


def test_the_information_frame_of_lame_is_no_payload(music) -> None:
    codec = Mp3(points=[64])
    audio = at_rate(music, 44100)
    (stream,) = codec.encode(audio, codec.points[0]).payload.clips
    file = written(codec, audio, 64000, {"compression_level": "2"})
    assert b"Xing" in file or b"Info" in file
    assert not any(b"Xing" in packet or b"Info" in packet for packet in stream.packets)
    assert stream.container_bytes - sum(map(len, stream.packets)) >= len(stream.packets[0])
    # One packet for each frame of 1152 samples that the clip and the delay take, one more to flush.
    frames = -(-(audio.samples.shape[-1] + 1105) // 1152)
    assert frames <= len(stream.packets) <= frames + 1


def test_the_declared_delay_is_the_one_in_the_stream() -> None:
    for codec, rate, delay in (
        (Opus(points=[24]), 48000, 312), (Opus(points=[24]), 16000, 104),
        (Opus(points=[24], application="lowdelay"), 48000, 120),
        (Mp3(points=[32]), 44100, 1105), (Mp3(points=[32]), 8000, 1105),
        (Aac(points=[24]), 44100, 1024), (Aac(points=[24]), 8000, 1024),
    ):  # fmt: skip
        encoded = codec.encode(noise(3000, 1, rate), codec.points[0])
        (stream,) = encoded.payload.clips
        assert stream.details["delay"] == delay
        assert codec.info.delay == (delay * 48000 // rate if codec.info.name == "opus" else delay)
        if codec.info.name == "opus":
            assert int.from_bytes(stream.header[10:12], "little") * rate == delay * 48000


# Hard input.


@pytest.mark.parametrize("name", ["opus", "mp3", "aac"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["silence", "full scale"])
def test_short_silent_and_loud_clips_come_back_at_their_length(
    name: str, channels: int, kind: str
) -> None:
    codec = create(name, points=[32])
    for rate in (8000, 16000, 48000):
        for length in (1, 2, 159, rate // 50, rate // 10 + 1):
            audio = noise(length, channels, rate, seed=length)
            samples = audio.samples.sign() if kind == "full scale" else audio.samples * 0
            audio = AudioBatch(samples, audio.lengths, rate)
            _, decoded = through(codec, audio, codec.points[0])
            assert decoded.shape == samples.shape
            assert bool(decoded.isfinite().all())
            if kind == "silence":
                assert float(decoded.abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("codec", "channels", "rate", "sentence"),
    [
        (Opus(points=[32]), 1, 44100, "opus does not take 44100 Hz; resample to one of: 8000"),
        (Opus(points=[32]), 3, 48000, "takes mono or stereo, not 3 channels"),
        (Opus(points=[320]), 1, 48000, "does not take 320 kbps for mono; it takes 6 to 256 kbps"),
        (Mp3(points=[32]), 1, 96000, "mp3 does not take 96000 Hz"),
        (Mp3(points=[16]), 1, 44100, "16 kbps at 44100 Hz; it takes 32, 40"),
        (Mp3(points=[320]), 1, 16000, "320 kbps at 16000 Hz; it takes 8, 16"),
        (Mp3(points=[80]), 1, 8000, "80 kbps at 8000 Hz; it takes 8, 16.*64$"),
        (Aac(points=[128]), 1, 16000, "128 kbps for mono at 16000 Hz; it takes 6 to 96 kbps"),
        (Aac(points=[64]), 6, 48000, "takes mono or stereo, not 6 channels"),
    ],
)
def test_what_a_codec_does_not_take_is_one_sentence(
    codec, channels: int, rate: int, sentence: str
) -> None:
    with pytest.raises(CodecError, match=sentence):
        codec.encode(noise(1000, channels, rate), codec.points[0])


def test_every_rate_that_mp3_offers_is_the_rate_it_has() -> None:
    """LAME silently takes another rate where the standard has none: none such may be offered."""
    for rate in (8000, 16000, 44100):
        for target in Mp3()._allowed(rate):
            codec = Mp3(points=[target])
            audio = noise(rate // 2, 2, rate)
            (stream,) = codec.encode(audio, codec.points[0]).payload.clips
            frame = 1152 if rate >= 32000 else 576
            measured = 8 * sum(map(len, stream.packets)) / (len(stream.packets) * frame / rate)
            assert measured == pytest.approx(target * 1000, rel=0.01)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["opus", "mp3", "aac"])
def test_nan_is_refused_and_only_within_the_clip(name: str, bad: float) -> None:
    codec = create(name, points=[32])
    audio = noise(1000, 1, 16000)
    audio.samples[0, 0, 900] = bad
    with pytest.raises(CodecError, match="clip 0: it holds NaN or infinite"):
        codec.encode(audio, codec.points[0])
    codec.encode(AudioBatch(audio.samples, torch.tensor([900]), 16000), codec.points[0])
    with pytest.raises(CodecError, match="clip 0: it is empty"):
        codec.encode(AudioBatch(audio.samples, torch.tensor([0]), 16000), codec.points[0])


@pytest.mark.parametrize("name", ["opus", "mp3", "aac"])
def test_damaged_packets_are_an_error_of_the_codec(name: str) -> None:
    codec = create(name, points=[32])
    encoded = codec.encode(noise(16000, 1, 16000), codec.points[0])
    wanted = codec.decoder_input(encoded, CODES, [0])
    (stream,) = wanted.payload.clips
    object.__setattr__(stream, "packets", stream.packets[:3])
    with pytest.raises(CodecError, match="damaged or incomplete"):
        codec.decode(wanted)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("opus", {"mode": "abr"}, "opus: mode must be one of vbr, cvbr, cbr, not 'abr'"),
        ("opus", {"application": "music"}, "application must be one of audio, voip, lowdelay"),
        ("opus", {"frame_duration": 15}, "frame_duration must be one of 2.5, 5, 10"),
        ("opus", {"complexity": 11}, "complexity must be one of"),
        ("mp3", {"mode": "crf"}, "mode must be one of cbr, abr, vbr"),
        ("aac", {"coder": "slow"}, "coder must be one of twoloop, fast"),
    ],
)
def test_wrong_options_are_one_sentence(name: str, options: dict, sentence: str) -> None:
    with pytest.raises(CodecError, match=sentence):
        create(name, options=options)


def test_points_are_those_of_the_mode() -> None:
    assert [p.name for p in Mp3(mode="vbr", points=["V0", "V9"]).points] == ["V9", "V0"]
    assert [p.name for p in Mp3(mode="vbr", points=[165]).points] == ["V4"]
    with pytest.raises(CodecError, match="nearest is '128'"):
        Mp3(points=[136])
    with pytest.raises(CodecError, match="6 to 512 kbps"):
        Opus(points=[4])
    with pytest.raises(CodecError, match="mp3 has no operating point 'V10'"):
        Mp3(mode="vbr", points=["V10"])


@pytest.mark.parametrize("name", ["opus", "mp3", "aac"])
def test_codecs_travel_to_worker_processes_and_name_their_versions(name: str) -> None:
    codec = create(name, points=[32])
    twin = pickle.loads(pickle.dumps(codec))
    audio = noise(4000, 1, 16000)
    one, two = (c.encode(audio, c.points[0]).payload.clips[0] for c in (codec, twin))
    assert one == two
    assert f"av {av.__version__}" in codec.info.version
    assert "libavcodec" in codec.info.version
