"""What there is to hear of latents whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from listening_codecs import RATE, voice

from rdbench.engine.fit import fit_tables
from rdbench.engine.listen import Asked, listen
from rdbench.engine.progress import Progress
from rdbench.latent.interpolation import TIMES
from rdbench.latent.listening.arithmetic import LEVEL_DB, MULTIPLES, SEMITONES
from rdbench.latent.listening.heard import NUMBERS, PARTS, Group, Heard
from rdbench.models.probe import checkpoint as probes
from rdbench.models.probe.config import ProbeConfig, ProbeShape
from rdbench.models.probe.transformer import Probe
from rdbench.rate.tables import Tables, TablesError
from rdbench.spec.model import BenchmarkSpec
from rdbench.types import CodecError, SpecError, WeightsError


def write(folder: Path, waves: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for name, wave in waves.items():
        soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="FLOAT")
    return folder


def noises(folder: Path, count: int, seed: int, seconds: float = 1.0) -> Path:
    """Coloured noise: neighbours are alike."""
    rng = np.random.default_rng(seed)
    waves = {}
    for number in range(count):
        wave = 0.05 * rng.standard_normal(round(RATE * seconds))
        waves[f"{number}"] = np.convolve(wave, [1, 0.8, 0.5], mode="same")
    return write(folder, waves)


def spec_of(clips: Path, *systems: str | dict[str, Any], **more: Any) -> BenchmarkSpec:
    named = [
        {"codec": f"listening_codecs:{one}", "name": one} if isinstance(one, str) else one
        for one in systems
    ]
    content = {
        "name": "small",
        "corpus": {"kind": "folder", "path": str(clips)},
        "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None},
        "metrics": {"default": ["snr"]},
        "systems": named,
    }
    return BenchmarkSpec.model_validate({**content, **more})


def hear(spec: BenchmarkSpec, **asked: Any) -> tuple[list[Group], Heard]:
    asked = {"seconds": 0.5, "draws": 1, **asked}
    heard = listen(spec, Asked(**asked), Progress(), allow_code=True)
    return list(heard.groups), heard


def part(groups: Sequence[Group], key: str, begins: str = "") -> list[Group]:
    return [one for one in groups if one.part == key and one.title.startswith(begins)]


def numbers(group: Group, key: str) -> list[float]:
    return [one.numbers[key] for one in group.sounds]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fit")
    fitted = fit_tables(
        spec_of(noises(root / "clips", 5, 9), "Frames"), Progress(), device="cpu", allow_code=True
    )
    (root / "tables.json").write_bytes(fitted.dumps())
    return root / "tables.json"


def test_every_part_is_there_and_nothing_lacks(tmp_path: Path, tables: Path) -> None:
    groups, heard = hear(spec_of(noises(tmp_path / "c", 3, 1), "Frames"), tables=tables, draws=2)
    assert heard.lacking == heard.failures == []
    assert list(dict.fromkeys(one.part for one in groups)) == list(PARTS)
    assert [len(part(groups, key)) for key in PARTS] == [2, 4, 5, 3]
    for group in groups:
        assert len({one.samples.shape for one in group.sounds} | {group.reference.shape}) == 1
        for one in group.sounds:
            assert set(one.numbers) <= set(NUMBERS)
    names = [one.name for one in part(groups, "paths")[0].sounds]
    assert names == ["mean", "sample", "noise_2", "sample_clamp", "collapse_all"]
    assert heard.about == ("3 clips of the corpus c, whole; seed 0.",)


def test_lerp_of_a_linear_codec_is_lerp_of_its_audio(tmp_path: Path) -> None:
    groups, _ = hear(spec_of(noises(tmp_path / "c", 2, 1), "Frames"))
    path, turned = part(groups, "interpolation")
    first, last = (path.sounds[end].samples for end in (0, -1))
    for t, one in zip(TIMES, path.sounds, strict=True):
        assert one.samples == pytest.approx((1 - t) * first + t * last, abs=1e-6)
    assert numbers(path, "norm")[4] == pytest.approx(numbers(path, "norm")[0] / 2, rel=0.1)
    assert numbers(turned, "norm") == pytest.approx([numbers(turned, "norm")[0]] * 9, rel=0.15)
    assert numbers(path, "to_first")[0] == numbers(path, "to_last")[-1] == 0.0
    assert len(set(numbers(path, "roughness"))) == 1
    assert path.reference.shape == first.shape


def test_the_level_of_a_linear_codec_is_exact_in_the_clip_itself(tmp_path: Path) -> None:
    groups, _ = hear(spec_of(noises(tmp_path / "c", 2, 1), "Frames"))
    control = part(groups, "arithmetic", "level of 0.wav in itself")[0]
    gain = 1 - 10 ** (-LEVEL_DB / 20)
    expected = [20 * math.log10(1 + multiple * gain) for multiple in MULTIPLES]
    assert numbers(control, "level_change") == pytest.approx(expected, abs=1e-4)
    assert numbers(control, "level_change")[0] == pytest.approx(-LEVEL_DB, abs=1e-4)
    assert numbers(control, "asked_db") == [-12.0, -6.0, 0.0, 6.0, 12.0]


def test_directions_for_level_and_pitch_do_what_is_asked_where_there_are_such(
    tmp_path: Path,
) -> None:
    steady = torch.ones(RATE, dtype=torch.float64)
    clips = write(
        tmp_path / "c",
        {"low": voice(110 * steady, torch.tensor(0.02)).numpy(),
         "other": voice(170 * steady, torch.tensor(0.05)).numpy()},
    )  # fmt: skip
    groups, heard = hear(spec_of(clips, "Voice"))
    assert heard.failures == []
    level = part(groups, "arithmetic", "level of low.wav added to other.wav")[0]
    asked = [multiple * LEVEL_DB for multiple in MULTIPLES]
    assert numbers(level, "level_change") == pytest.approx(asked, abs=0.02)
    higher = part(groups, "arithmetic", "F0 of low.wav added to other.wav")[0]
    asked = [multiple * SEMITONES for multiple in MULTIPLES]
    assert numbers(higher, "asked_semitones") == pytest.approx(asked)
    assert numbers(higher, "f0_change") == pytest.approx(asked, abs=0.05)
    assert numbers(higher, "f0")[2] == pytest.approx(170, rel=0.005)
    assert f"decoded, {SEMITONES:.2f}" in higher.note


def test_draws_have_the_moments_of_the_fit(tmp_path: Path, tables: Path) -> None:
    groups, _ = hear(spec_of(noises(tmp_path / "c", 1, 1), "Frames"), tables=tables, seconds=20)
    (entry,) = Tables.load(tables).entries
    assert entry.full is not None
    assert entry.prior is not None
    (draw,) = part(groups, "prior")
    drawn = {one.name: one.samples.reshape(-1, 8).T * 10.0 for one in draw.sounds}
    assert list(drawn) == ["N(0, I)", "diagonal", "full", "AR(4)"]
    assert np.cov(drawn["N(0, I)"]) == pytest.approx(np.eye(8), abs=0.05)
    assert drawn["diagonal"].std(axis=1) == pytest.approx(entry.prior.scale, rel=0.03)
    inverse = np.linalg.inv(entry.full.whitening)
    covariance = inverse @ inverse.T
    near = 0.05 * covariance.max()
    assert np.cov(drawn["full"]) == pytest.approx(covariance, abs=near)
    assert np.cov(drawn["AR(4)"]) == pytest.approx(covariance, abs=near)
    # The last sample of a frame goes on in the first of the next.
    lag = {name: np.corrcoef(z[7, :-1], z[0, 1:])[0, 1] for name, z in drawn.items()}
    assert lag["full"] == pytest.approx(0.0, abs=0.03)
    expected = 100 * 0.05**2 * (0.8 + 0.8 * 0.5) / entry.prior.scale[0] ** 2
    assert lag["AR(4)"] == pytest.approx(expected, abs=0.05)
    assert numbers(draw, "norm")[0] == pytest.approx(1.0, abs=0.03)


def test_the_same_spec_gives_the_same_sounds_and_a_seed_others(
    tmp_path: Path, tables: Path
) -> None:
    clips = noises(tmp_path / "c", 2, 1)
    one, two = (hear(spec_of(clips, "Frames"), tables=tables)[0] for _ in range(2))
    for first, second in zip(one, two, strict=True):
        for a, b in zip(first.sounds, second.sounds, strict=True):
            assert np.array_equal(a.samples, b.samples)
            assert dict(a.numbers) == pytest.approx(dict(b.numbers), rel=0, abs=0, nan_ok=True)
    protocol = {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None, "seed": 1}
    other, _ = hear(spec_of(clips, "Frames", protocol=protocol), tables=tables)
    assert not np.array_equal(other[0].sounds[0].samples, one[0].sounds[0].samples)
    # A clip's sample does not depend on which clips stand beside it.
    few = {"kind": "folder", "path": str(clips), "sample": {"clips": 1}}
    alone, _ = hear(spec_of(clips, "Frames", corpus=few), tables=tables)
    samples = [part(groups, "paths")[0].sounds[1].samples for groups in (one, alone)]
    assert np.array_equal(*samples)


def test_what_is_missing_is_said_and_the_rest_is_there(tmp_path: Path) -> None:
    groups, heard = hear(spec_of(noises(tmp_path / "c", 1, 1), "Frames"))
    assert heard.failures == []
    text = "\n".join(heard.lacking)
    for words in (
        "no draws of the diagonal", "--tables", "one clip", "raise --limit",
        "AR(4) priors, sample_clamp, collapse_all: nothing was fitted",
    ):  # fmt: skip
        assert words in text
    assert [one.name for one in part(groups, "prior")[0].sounds] == ["N(0, I)"]
    assert [one.name for one in part(groups, "paths")[0].sounds] == ["mean", "sample", "noise_2"]
    assert part(groups, "interpolation") == []
    assert [one.title for one in part(groups, "arithmetic")] == ["level of 0.wav in itself"]


def test_tables_of_the_spec_that_are_not_there_are_said(tmp_path: Path) -> None:
    clips = noises(tmp_path / "c", 2, 1)
    named = str(tmp_path / "none.json")
    groups, heard = hear(spec_of(clips, "Frames", entropy={"enabled": True, "tables": named}))
    assert heard.lacking[0] == f"the spec names the tables {named}, which are not there"
    assert "run `rdbench fit-entropy`" in heard.lacking[1]
    assert heard.failures == []
    assert len(part(groups, "interpolation")) == 2


def test_unequal_lengths_are_cut_and_one_frame_is_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    waves = {name: 0.1 * rng.standard_normal(n) for name, n in (("a", 168), ("b", 4000))}
    groups, heard = hear(spec_of(write(tmp_path / "c", waves), "Frames"), seconds=1e-4)
    assert heard.failures == []
    assert {one.samples.shape for one in part(groups, "prior")[0].sounds} == {(1, 8)}
    for group in part(groups, "interpolation"):
        assert {one.samples.shape[1] for one in group.sounds} == {168}
    f0 = part(groups, "arithmetic", "F0")[0]
    assert all(math.isnan(value) for value in numbers(f0, "f0_change"))


def test_a_latent_without_a_scale_has_its_mean_and_no_prior(tmp_path: Path) -> None:
    system = {"codec": "listening_codecs:Frames", "name": "plain", "options": {"scale": False}}
    groups, heard = hear(spec_of(noises(tmp_path / "c", 2, 1), system))
    assert heard.failures == []
    assert "plain has no trained posterior" in heard.lacking[0]
    assert part(groups, "prior") == []
    path = part(groups, "interpolation")[0]
    assert path.sounds[0].samples == pytest.approx(path.reference, abs=1e-6)
    assert [one.name for one in part(groups, "paths")[0].sounds] == ["mean"]


@pytest.mark.parametrize(
    ("codec", "said"),
    [("Endless", "samples that are not finite"), ("Fragile", "RuntimeError: out of luck"),
     ("Infinite", "1.wav is left out: the posterior of clip '1.wav' has a mean that is not")],
)  # fmt: skip
def test_a_failure_is_one_sentence_and_other_groups_are_there(
    tmp_path: Path, codec: str, said: str
) -> None:
    rng = np.random.default_rng(0)
    waves = {f"{i}": 0.05 * rng.standard_normal(2000) for i in range(3)}
    waves["1"][500] = 0.95
    groups, heard = hear(spec_of(write(tmp_path / "c", waves), codec, "Frames"))
    whole = part([one for one in groups if one.system == "Frames"], "interpolation")
    assert len(whole) == 4
    assert any(said in sentence for sentence in heard.failures)
    assert not any("\n" in sentence for sentence in heard.failures)
    mine = [one for one in groups if one.system == codec]
    assert bool(mine) == (codec != "Fragile")
    assert heard.failures


def test_systems_without_a_continuous_latent_are_said_and_alone_refused(tmp_path: Path) -> None:
    clips = noises(tmp_path / "c", 2, 1)
    other = {"codec": "fakes:Quantizer", "name": "tokens"}
    _, heard = hear(spec_of(clips, other, "Frames"))
    assert heard.lacking[0] == "tokens has no continuous latent, so it is left out"
    with pytest.raises(CodecError, match="no system of the spec has a continuous latent"):
        hear(spec_of(clips, other))


def test_paths_are_those_of_the_spec_or_those_that_are_asked_for(tmp_path: Path) -> None:
    clips = noises(tmp_path / "c", 2, 1)
    latents = tmp_path / "latents"
    latents.mkdir()
    np.save(latents / "0.npy", np.zeros((8, 1000), np.float32))
    system = {
        "codec": "listening_codecs:Frames", "name": "Frames", "predicted": str(latents),
        "variants": ["noise_0.5", "noise_2", "calibrated_noise", "predicted", "rolled"],
    }  # fmt: skip
    groups, heard = hear(spec_of(clips, system))
    first, second = part(groups, "paths")
    names = ["mean", "sample", "noise_0.5", "predicted", "rolled"]
    assert [one.name for one in first.sounds] == names
    assert first.sounds[3].samples.max() == 0.0
    assert [one.name for one in second.sounds] == [n for n in names if n != "predicted"]
    assert any("no predicted latent of 1.wav" in text for text in heard.lacking)
    assert any("1.npy" in text for text in heard.failures)
    groups, _ = hear(spec_of(clips, "Frames"), paths=("noise_3", "mean"))
    assert [one.name for one in part(groups, "paths")[0].sounds] == ["noise_3", "mean"]


def test_a_probe_generates_from_the_noise_of_the_other_draws(tmp_path: Path) -> None:
    config = ProbeConfig(
        shape=ProbeShape(width=16, layers=1, heads=2), channels=8, live=(0, 1, 2),
        frame_rate=1000, sample_rate=RATE,
    )  # fmt: skip
    about = {"codec": "frames", "codec_sha256": "f" * 64, "fitted_on": ["11"], "seed": 0}
    path = tmp_path / "probe.safetensors"
    probes.save(path, Probe(config), about)
    clips = noises(tmp_path / "c", 2, 1)
    groups, _ = hear(spec_of(clips, "Frames"), probes=(path,))
    (draw,) = part(groups, "prior")
    assert [one.name for one in draw.sounds] == ["N(0, I)", "probe"]
    white, made = (one.samples.reshape(-1, 8)[:, 3:] for one in draw.sounds)
    assert made == pytest.approx(white, abs=1e-6)  # dead channels keep their noise
    with pytest.raises(WeightsError, match="no system of the spec has the checkpoint"):
        hear(spec_of(clips, "Voice"), probes=(path,))
    with pytest.raises(WeightsError, match="second of its checkpoint"):
        hear(spec_of(clips, "Frames"), probes=(path, path))


def test_mistakes_are_refused_before_anything_is_made(tmp_path: Path, tables: Path) -> None:
    clips = noises(tmp_path / "c", 2, 1)
    spec = spec_of(clips, "Frames")
    with pytest.raises(SpecError, match="there is no variant 'meen'"):
        hear(spec, paths=("meen",))
    for seconds in (0, math.nan, 1e9):
        with pytest.raises(SpecError, match="ask for at most 60"):
            hear(spec, seconds=seconds)
    with pytest.raises(TablesError, match="fitted on"):
        hear(spec_of(tables.parent / "clips", "Frames"), tables=tables)
    with pytest.raises(TablesError, match="cannot read the entropy tables"):
        hear(spec, tables=tmp_path / "none.json")
