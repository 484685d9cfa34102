"""Every file a user may bring is read right, and every bad one is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rdbench.audio.clip import Clip
from rdbench.audio.load import MIN_SECONDS, ExcerptProtocol, Note, load_excerpt, read
from rdbench.audio.resample import resample
from rdbench.types import AudioError, SpecError

RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000)


def noise(rate: int, channels: int = 1, seconds: float = 0.2, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.uniform(-0.5, 0.5, (round(rate * seconds), channels))


def tone(rate: int, seconds: float, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)[:, None]


def write(path: Path, samples: np.ndarray, rate: int, **how: str) -> Path:
    soundfile.write(path, samples, rate, **how)
    return path


def clip_of(path: Path, start: float = 0.0, duration: float | None = None) -> Clip:
    return Clip(path.name, path, "audio", path.name, start, duration)


def refusal(path: Path, **part: float) -> str:
    with pytest.raises(AudioError) as caught:
        read(path, **part)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("suffix", "subtype", "step"),
    [
        ("wav", "PCM_16", 2**-15),
        ("wav", "PCM_24", 2**-23),
        ("wav", "PCM_32", 2**-24),
        ("wav", "FLOAT", 2**-25),
        ("wav", "DOUBLE", 2**-25),
        ("flac", "PCM_16", 2**-15),
        ("flac", "PCM_24", 2**-23),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_lossless_files_give_their_samples(
    tmp_path: Path, suffix: str, subtype: str, step: float, channels: int
) -> None:
    written = noise(44100, channels)
    samples, rate = read(write(tmp_path / f"x.{suffix}", written, 44100, subtype=subtype))
    assert rate == 44100
    assert samples.dtype == torch.float32
    assert samples.shape == (channels, len(written))
    assert np.abs(samples.numpy().T - written).max() <= step


@pytest.mark.parametrize("rate", RATES)
def test_every_rate_is_read(tmp_path: Path, rate: int) -> None:
    written = noise(rate, 2)
    samples, got = read(write(tmp_path / "x.wav", written, rate, subtype="PCM_24"))
    assert got == rate
    assert np.abs(samples.numpy().T - written).max() <= 2**-23


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("x.ogg", {"format": "OGG", "subtype": "VORBIS"}),
        ("x.mp3", {"format": "MP3"}),
        ("x.opus", {"format": "OGG", "subtype": "OPUS"}),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_lossy_files_keep_length_and_content(
    tmp_path: Path, name: str, how: dict[str, str], channels: int
) -> None:
    written = np.repeat(tone(48000, 1.0), channels, axis=1)
    path = write(tmp_path / name, written, 48000, **how)
    samples, rate = read(path)
    assert (rate, samples.shape) == (48000, (channels, 48000))
    inner = slice(4800, -4800)
    error = samples.numpy().T[inner] - written[inner]
    assert np.square(error).mean() < 1e-3 * np.square(written).mean()


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("x.ogg", {"format": "OGG", "subtype": "VORBIS"}),
        ("x.mp3", {"format": "MP3"}),
        ("x.mp3", {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.95}),
    ],
)
def test_a_part_of_a_lossy_file_is_the_part_of_the_whole(
    tmp_path: Path, rate: int, name: str, how: dict[str, str]
) -> None:
    """MP3 frames borrow bits from those before: a bare seek gives up to 0.6 of full scale wrong."""
    level = np.linspace(0.01, 0.9, 4 * rate)[:, None]
    path = write(tmp_path / name, level * noise(rate, 2, 4.0), rate, **how)
    whole, _ = read(path)
    for start in (0.3, 1.1, 1.77, 2.4, 3.3):
        part, _ = read(path, start=start, duration=0.4)
        first = round(start * rate)
        assert (part - whole[:, first : first + part.shape[-1]]).abs().max() < 1e-6


def test_a_part_is_the_part_of_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", noise(16000, seconds=1.0), 16000)
    whole, _ = read(path)
    part, _ = read(path, start=0.25, duration=0.5)
    assert torch.equal(part, whole[:, 4000:12000])
    rounded_up, _ = read(path, start=0.5, duration=0.505)  # a manifest's rounded duration
    assert torch.equal(rounded_up, whole[:, 8000:])


def test_parts_outside_the_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", noise(16000, seconds=1.0), 16000)
    assert "lasts 1 s" in refusal(path, start=1.5)
    assert "from 0.5 s up to 2.5 s" in refusal(path, start=0.5, duration=2.0)
    assert "not a part" in refusal(path, start=-1.0)
    assert "not a part" in refusal(path, duration=float("nan"))
    assert "too short" in refusal(path, duration=0.001)


def test_float_files_beyond_full_scale_are_not_clamped(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", 4 * noise(16000), 16000, subtype="FLOAT")
    assert float(read(path)[0].abs().max()) > 1.5


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "missing.wav")
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert "0 bytes" in refusal(empty)
    text = tmp_path / "text.wav"
    text.write_text("not audio at all " * 100)
    assert "cannot be read" in refusal(text)
    folder = tmp_path / "folder.wav"
    folder.mkdir()
    assert "there is no file" in refusal(folder)


def test_files_without_enough_samples(tmp_path: Path) -> None:
    nothing = write(tmp_path / "nothing.wav", np.zeros((0, 1)), 16000)
    assert "holds no samples" in refusal(nothing)
    one = write(tmp_path / "one.wav", np.full((1, 1), 0.1), 16000)
    assert "1 sample (" in refusal(one)
    almost = write(tmp_path / "almost.wav", noise(16000, seconds=MIN_SECONDS)[:-1], 16000)
    assert "too short" in refusal(almost)
    enough = write(tmp_path / "enough.wav", noise(16000, seconds=MIN_SECONDS), 16000)
    assert read(enough)[0].shape == (1, 320)


@pytest.mark.parametrize(("bad", "count"), [(np.nan, 1), (np.inf, 1), (-np.inf, 2)])
def test_not_a_number_is_refused(tmp_path: Path, bad: float, count: int) -> None:
    samples = noise(16000)
    samples[100 : 100 + count] = bad
    path = write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    assert f"{count} NaN or infinite sample" in refusal(path)


def test_rates_and_layouts_outside_the_range(tmp_path: Path) -> None:
    assert "4000 Hz" in refusal(write(tmp_path / "slow.wav", noise(4000), 4000))
    assert "384000 Hz" in refusal(write(tmp_path / "fast.wav", noise(384000), 384000))
    assert "9 channels" in refusal(write(tmp_path / "many.wav", noise(16000, 9), 16000))


def _with_declared_frames(path: Path, frames: int) -> None:
    """Rewrites the 36-bit number of samples in a FLAC file's STREAMINFO (bytes 21 to 25)."""
    data = bytearray(path.read_bytes())
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(data)


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "lie.flac", noise(16000, 8), 16000)
    _with_declared_frames(path, 2**35)
    assert "too long to be read at once" in refusal(path)


def test_files_cut_off_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.flac", noise(44100, seconds=2.0), 44100)
    path.write_bytes(path.read_bytes()[:60_000])
    refusal(path)
    longer = write(tmp_path / "longer.flac", noise(44100, seconds=0.5), 44100)
    _with_declared_frames(longer, 44100)
    refusal(longer)


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
@pytest.mark.parametrize("channels", ["mono", "stereo"])
def test_excerpts_have_one_length_whatever_the_native_rate(
    tmp_path: Path, rate: int, channels: str
) -> None:
    protocol = ExcerptProtocol(rate, channels, 0.5)  # type: ignore[arg-type]
    shapes = set()
    for native in (8000, 11025, 16000, 22050, 44100, 48000, 192000):
        for seconds in (0.5, 0.5001, 0.77):
            path = write(tmp_path / "x.wav", noise(native, 2, seconds + 1 / native), native)
            shapes.add(tuple(load_excerpt(clip_of(path), protocol).samples.shape))
    assert shapes == {(1 if channels == "mono" else 2, round(0.5 * rate))}


@pytest.mark.parametrize(
    ("native", "rate"),
    [(44100, 16000), (16000, 44100), (48000, 44100), (22050, 48000), (44101, 48000)],
)
def test_an_excerpt_is_the_middle_of_the_whole_clip_resampled(
    tmp_path: Path, native: int, rate: int
) -> None:
    path = write(tmp_path / "x.wav", noise(native, seconds=0.81), native, subtype="FLOAT")
    whole = resample(read(path)[0], native, rate)
    excerpt = load_excerpt(clip_of(path), ExcerptProtocol(rate, "native", 0.25))
    length = round(rate / 4)
    offset = (whole.shape[-1] - length) // 2
    assert excerpt.samples.shape == (1, length)
    assert (excerpt.samples - whole[:, offset : offset + length]).abs().max() < 1e-6
    assert excerpt.seconds == length / rate


def test_a_part_of_a_file_is_excerpted_within_the_part(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", noise(16000, seconds=4.0), 16000, subtype="FLOAT")
    excerpt = load_excerpt(clip_of(path, 1.0, 2.0), ExcerptProtocol(16000, "mono", 1.0))
    assert torch.equal(excerpt.samples, read(path)[0][:, 24000:40000])


def test_short_clips_stay_whole_and_say_so(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", noise(16000, seconds=1.25), 16000)
    excerpt = load_excerpt(clip_of(path), ExcerptProtocol(16000, "mono", 3.0))
    assert excerpt.samples.shape == (1, 20000)
    assert excerpt.notes == (Note("short", "1.250 s, kept whole (excerpts are 3 s)"),)
    whole = load_excerpt(clip_of(path), ExcerptProtocol(16000, "mono", None))
    assert whole.notes == ()
    assert torch.equal(whole.samples, excerpt.samples)


def test_channels_follow_the_protocol(tmp_path: Path) -> None:
    five = np.stack([np.full(8000, value) for value in (0.1, 0.2, 0.3, 0.4, 0.5)], axis=1)
    path = write(tmp_path / "five.wav", five, 16000, subtype="FLOAT")

    def levels(channels: str, source: Path = path) -> list[float]:
        protocol = ExcerptProtocol(16000, channels, None)  # type: ignore[arg-type]
        return load_excerpt(clip_of(source), protocol).samples[:, 0].tolist()

    assert levels("mono") == pytest.approx([0.3])
    assert levels("stereo") == pytest.approx([(0.1 + 0.4) / 2, (0.2 + 0.4) / 2])
    assert levels("native") == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    mono = write(tmp_path / "mono.wav", five[:, :1], 16000, subtype="FLOAT")
    assert levels("stereo", mono) == pytest.approx([0.1, 0.1])


def test_silent_clipped_and_upsampled_clips_carry_notes(tmp_path: Path) -> None:
    protocol = ExcerptProtocol(16000, "mono", None)

    def kinds(samples: np.ndarray, rate: int = 16000) -> list[str]:
        path = write(tmp_path / "x.wav", samples, rate)
        return [note.key for note in load_excerpt(clip_of(path), protocol).notes]

    assert kinds(np.zeros((16000, 1))) == ["silent"]
    assert kinds(np.clip(8 * tone(16000, 1.0), -1, 1)) == ["clipped"]
    assert kinds(tone(8000, 1.0), 8000) == ["upsampled"]
    assert kinds(tone(16000, 1.0)) == []
    touching = tone(16000, 1.0)
    touching[500] = 1.0  # one sample at full scale is a peak, not clipping
    assert kinds(touching) == []
    opposed = np.concatenate([tone(16000, 1.0), -tone(16000, 1.0)], axis=1)
    assert kinds(opposed) == ["silent"]  # what is scored is silent, whatever the file holds


def test_an_error_names_the_clip(tmp_path: Path) -> None:
    clip = Clip("speech/a.wav", tmp_path / "a.wav", "speech", "a")
    with pytest.raises(AudioError, match=r"^speech/a\.wav cannot be read"):
        load_excerpt(clip, ExcerptProtocol(16000, "mono", 1.0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sample_rate": 4000}, "sample_rate is 4000"),
        ({"channels": "5.1"}, "channels is '5.1'"),
        ({"excerpt_seconds": 0.0}, "excerpt_seconds is 0.0"),
        ({"excerpt_seconds": float("nan")}, "excerpt_seconds is nan"),
        ({"gain": "loudness"}, "gain is 'loudness'"),
    ],
)
def test_protocols_that_cannot_be_kept_are_refused(change: dict[str, object], said: str) -> None:
    values = {"sample_rate": 16000, "channels": "mono", "excerpt_seconds": 3.0, **change}
    with pytest.raises(SpecError, match=said):
        ExcerptProtocol(**values)  # type: ignore[arg-type]
