"""What was written out by a codec scores and costs through `files` as through the codec itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from engine_runs import RATE, make_clips, retired, rows, run
from made_elsewhere import write_out

from rdbench.codecs.elsewhere.clip_files import (
    BITSTREAM,
    LATENT,
    TOKENS,
    ClipFiles,
    Kind,
    add_coded,
)
from rdbench.codecs.elsewhere.codec import Files
from rdbench.codecs.elsewhere.places import Listing
from rdbench.codecs.registry import create
from rdbench.rate import rates
from rdbench.store.reader import read_manifest
from rdbench.types import (
    CODES,
    SAMPLE,
    AudioBatch,
    AudioError,
    ChangedError,
    CodecError,
    RateKind,
    SpecError,
    Variant,
)

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("elsewhere") / "reference", NAMES)


@pytest.fixture
def decoded(clips: Path, tmp_path: Path) -> Path:
    """A folder of FLAC files that are the clips with a little noise."""
    folder = tmp_path / "decoded"
    folder.mkdir()
    for name in NAMES:
        write(folder / f"{name}.flac", tone(clips, name) + 0.01)
    return folder


def tone(clips: Path, name: str) -> np.ndarray[Any, Any]:
    samples: np.ndarray[Any, Any] = soundfile.read(clips / f"{name}.wav")[0]
    return samples


def write(path: Path, samples: np.ndarray[Any, Any], rate: int = RATE) -> None:
    soundfile.write(path, samples, rate)


def files(name: str = "mine", **options: Any) -> dict[str, Any]:
    return {"codec": "files", "name": name, "options": options}


def values(folder: Path, system: str, kinds: tuple[str, ...]) -> Mapping[Any, float]:
    found = rows(folder, system=system, status="ok")
    found = found[found["kind"].isin(kinds)]
    keys = found[["point", "clip", "key", "backend"]].itertuples(index=False, name=None)
    return dict(zip(keys, found["value"], strict=True))


def failures(folder: Path, system: str = "mine") -> dict[str, str]:
    """Reasons by clip; all rows of a clip have the same."""
    failed = rows(folder, system=system, status="failed")
    assert (failed.groupby("clip")["reason"].nunique() == 1).all()
    return dict(zip(failed["clip"], failed["reason"], strict=True))


CODED: list[tuple[str, dict[str, Any], Variant, str, dict[str, Any]]] = [
    ("opus", {"points": [12, 24]}, CODES, "bitstreams", {}),
    ("mp3", {"points": [16]}, CODES, "bitstreams", {}),
    ("vae", {"options": {"weights": "rvq_6k"}}, CODES, "tokens", {"codebook_sizes": 32}),
    ("vae", {"options": {"weights": "vae_6k"}}, SAMPLE, "latents", {"decoded_from": "sample"}),
]


@pytest.mark.parametrize("case", CODED, ids=lambda case: f"{case[0]}, {case[3]}")
def test_what_a_codec_wrote_out_is_what_the_codec_has(
    tmp_path: Path, case: tuple[str, dict[str, Any], Variant, str, dict[str, Any]]
) -> None:
    codec, how, variant, source, more = case
    rate = 16000
    clips = make_clips(tmp_path / "reference", NAMES[:2], seconds=0.6)
    for path in clips.iterdir():  # tones at the rate of the models
        samples, _ = soundfile.read(path)
        soundfile.write(path, np.repeat(samples, 2), rate, subtype="PCM_16")
    built = create(codec, **how)
    folders = write_out(built, clips, tmp_path, variant)
    coded = {point: str(tmp_path / "coded" / point) for point in folders}
    mine = files(folders=folders, **{source: coded}, **more)
    spec = {
        "protocol": {"sample_rate": rate, "channels": "mono", "excerpt_seconds": None},
        "entropy": {"enabled": True},
    }
    theirs = {"codec": codec, "name": "theirs", "variants": [variant.name], **how}
    summary = run(clips, tmp_path / "run", theirs, mine, metrics=["snr", "mel_dac_16k"], spec=spec)
    assert summary.failed == 0, failures(tmp_path / "run")
    for kind in ("metric", "rate"):
        expected = values(tmp_path / "run", "theirs", (kind,))
        found = values(tmp_path / "run", "mine", (kind,))
        # What surrounds packets is known of a codec alone.
        expected = {key: value for key, value in expected.items() if key[2] != "container"}
        assert found.keys() == expected.keys()
        exact = codec != "vae" or kind == "rate"
        for key, value in expected.items():
            tolerance = 1e-9 if exact else 1e-4  # a batch of models has its own rounding
            assert found[key] == pytest.approx(value, rel=tolerance, abs=tolerance), key


def test_a_rate_that_is_stated_is_a_kind_of_its_own(
    clips: Path, decoded: Path, tmp_path: Path
) -> None:
    run(clips, tmp_path / "run", files(folders={"6 kbps": str(decoded)}, stated_kbps=6.5))
    found = rows(tmp_path / "run", kind="rate")
    assert set(found["key"]) == {"stated"}
    assert found["value"].tolist() == [6500.0] * 3  # of one second each
    card = read_manifest(tmp_path / "run")["systems"]["mine"]
    assert (card["headline"], card["points"]) == ("stated", ["6 kbps"])


def test_two_folders_are_enough(clips: Path, decoded: Path, tmp_path: Path) -> None:
    spec = {"costs": {"clips": 1, "repeats": 1}}
    assert run(clips, tmp_path / "run", files(folders=str(decoded)), spec=spec).failed == 0
    assert set(rows(tmp_path / "run", kind="metric")["clip"]) == {f"{n}.wav" for n in NAMES}
    assert rows(tmp_path / "run", kind="rate").empty
    costs = rows(tmp_path / "run", kind="cost")
    assert set(costs["status"]) == {"undefined"}
    assert set(costs["reason"]) == {"it was made elsewhere, so that nothing is timed here"}


def test_bytes_may_come_from_a_table(clips: Path, decoded: Path, tmp_path: Path) -> None:
    lines = ["file,point,bytes", "a.wav,decoded,100", "b,decoded,200", "c,other,300"]
    (tmp_path / "sizes.csv").write_text("\n".join(lines))
    system = files(folders=str(decoded), byte_counts=str(tmp_path / "sizes.csv"), container=True)
    run(clips, tmp_path / "run", system)
    assert values(tmp_path / "run", "mine", ("rate",)) == {
        ("decoded", "a.wav", "container", ""): 800.0,
        ("decoded", "b.wav", "container", ""): 1600.0,
    }
    assert "has no row for the clip 'c.wav'" in failures(tmp_path / "run")["c.wav"]


def test_what_is_wrong_with_a_clip_costs_that_clip_alone(clips: Path, tmp_path: Path) -> None:
    names = ["good", "absent", "two", "long", "stereo", "slow", "nan", "link", "text", "pipe"]
    reference, folder = make_clips(tmp_path / "reference", names), tmp_path / "decoded"
    folder.mkdir()
    wave = {name: tone(reference, name) for name in names}
    write(folder / "good.wav", wave["good"])
    write(folder / "two.wav", wave["two"])
    write(folder / "two.flac", wave["two"])
    write(folder / "long.wav", np.concatenate([wave["long"], np.zeros(RATE)]))
    write(folder / "stereo.wav", np.stack([wave["stereo"]] * 2, axis=1))
    write(folder / "slow.wav", wave["slow"], rate=2 * RATE)
    soundfile.write(folder / "nan.wav", wave["nan"] * np.nan, RATE, subtype="FLOAT")
    write(tmp_path / "outside.wav", wave["link"])
    (folder / "link.wav").symlink_to(tmp_path / "outside.wav")
    (folder / "text.wav").write_text("no audio")
    os.mkfifo(folder / "pipe.wav")
    run(reference, tmp_path / "run", files(folders=str(folder)))
    scored = rows(tmp_path / "run", key="snr", status="ok")
    assert scored["clip"].tolist() == ["good.wav"]
    found = failures(tmp_path / "run")
    for name, sentence in {
        "absent": "there is no reconstruction of the clip 'absent.wav': put absent.* into",
        "two": "has 2 files for the clip 'two.wav' (two.flac and two.wav); keep the one",
        "long": "lasts 2.0000 s, and the clip 'long.wav' 1.0000 s; write it of the clip's length",
        "stereo": "has 2 channels where the protocol gives 1",
        "slow": "lasts 0.5000 s",
        "nan": "NaN or infinite samples",
        "link": "is a link out of its folder",
        "text": "cannot be read",
        "pipe": "it is no regular file",
    }.items():
        assert sentence in found[f"{name}.wav"], found[f"{name}.wav"]
    assert len(found) == len(names) - 1


@pytest.mark.parametrize("kind", [BITSTREAM, TOKENS, LATENT], ids=lambda kind: kind.option)
def test_a_link_is_followed_within_its_folder_alone(kind: Kind, tmp_path: Path) -> None:
    end = (*kind.ends, ".bin")[0]
    own = tmp_path / "own"
    own.mkdir()
    (tmp_path / f"outside{end}").write_bytes(b"1")
    (own / f"inside{end}").write_bytes(b"22")
    (own / f"a{end}").symlink_to(own / f"inside{end}")
    (own / f"b{end}").symlink_to(tmp_path / f"outside{end}")
    (tmp_path / "named").symlink_to(own)
    places = {"a.wav": "a", "b.wav": "b"}
    empty = {clip: ClipFiles(clip) for clip in places}
    found = add_coded(empty, Listing.of(tmp_path / "named", kind.option), places, kind)
    assert found["a.wav"].coded[kind.option].read() == b"22"
    assert "is a link out of its folder; put the file itself there" in found["b.wav"].problem
    assert not found["b.wav"].coded


def test_only_changed_clips_are_measured_again(clips: Path, decoded: Path, tmp_path: Path) -> None:
    folder, system = tmp_path / "run", files(folders={"6": str(decoded)}, stated_kbps={"6": 6.0})
    first = run(clips, folder, system)
    assert run(clips, folder, system).written == 0
    before = values(folder, "mine", ("metric",))
    write(decoded / "b.flac", tone(clips, "b") + 0.02)
    assert 0 < run(clips, folder, system).written < first.written / 2
    after = values(folder, "mine", ("metric",))
    assert {key[1] for key, value in after.items() if before[key] != value} == {"b.wav"}
    assert retired(folder) > 0
    # Another point, and the same files elsewhere, cost no more than what is new.
    moved = decoded.rename(tmp_path / "moved")
    (tmp_path / "more").mkdir()
    for name in NAMES:
        write(tmp_path / "more" / f"{name}.wav", tone(clips, name) + 0.001)
    two = {"6": str(moved), "12": str(tmp_path / "more")}
    more = files(folders=two, stated_kbps={"6": 6.0, "12": 12.0})
    assert run(clips, folder, more).written == first.written
    assert values(folder, "mine", ("metric",)).items() >= after.items()


def test_paths_start_at_the_spec(clips: Path, decoded: Path, tmp_path: Path) -> None:
    from rdbench.engine.run import RunOptions, run_benchmark
    from rdbench.spec.load import load_spec

    (tmp_path / "spec.yaml").write_text(
        f"""
name: five
corpus: {{kind: folder, path: "{clips}"}}
protocol: {{sample_rate: {RATE}, excerpt_seconds: null}}
metrics: {{default: [snr]}}
systems: [{{codec: files, options: {{folders: decoded}}}}]
costs: {{enabled: false}}
"""
    )
    spec = load_spec(tmp_path / "spec.yaml", metric_keys=["snr"], codec_names=["files"])
    done = run_benchmark(spec, tmp_path / "run", RunOptions(device="cpu", workers=1))
    assert done.failed == 0
    assert done.written


def test_a_declared_delay_is_removed_at_the_rate_of_the_files(clips: Path, tmp_path: Path) -> None:
    late, other = tmp_path / "late", tmp_path / "other"
    for folder in (late, other):
        folder.mkdir()
    for name in NAMES:
        write(late / f"{name}.wav", np.concatenate([np.zeros(40), tone(clips, name)]))
    run(clips, tmp_path / "run", files(folders=str(late), delay=40), metrics=["snr"])
    found = values(tmp_path / "run", "mine", ("metric",))
    assert min(v for (_, _, key, _), v in found.items() if key == "snr") == 100.0  # the cap


def test_reconstructions_at_another_rate_are_brought_to_the_protocols(
    clips: Path, tmp_path: Path
) -> None:
    import torch

    from rdbench.audio.resample import resample

    (tmp_path / "high").mkdir()
    for name in NAMES:
        high = resample(torch.from_numpy(tone(clips, name)).float(), RATE, 3 * RATE)
        write(tmp_path / "high" / f"{name}.wav", high.numpy(), rate=3 * RATE)
    system = files(folders=str(tmp_path / "high"), tolerance_seconds=0)
    assert run(clips, tmp_path / "run", system).failed == 0
    assert rows(tmp_path / "run", key="snr")["value"].min() > 20


def test_excerpts_of_clips_that_are_coded_whole_are_refused(
    clips: Path, decoded: Path, tmp_path: Path
) -> None:
    protocol = {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": 0.5}
    with pytest.raises(SpecError, match=r"set protocol\.excerpt_seconds to null"):
        run(clips, tmp_path / "r", files(folders=str(decoded)), spec={"protocol": protocol})


def batch(length: int = 100) -> AudioBatch:
    import torch

    return AudioBatch(torch.zeros(1, 1, length), torch.tensor([length]), RATE)


def found(tmp_path: Path, **options: Any) -> tuple[Files, Any]:
    (tmp_path / "a.wav").write_bytes(b"not read here")
    codec = Files(folders=str(tmp_path), **options)
    return codec, codec.find(codec.points[0], ["a.flac"], Path)["a.flac"]


def test_a_file_that_is_changed_after_it_was_found_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bits").mkdir()
    (tmp_path / "bits" / "a.bin").write_bytes(b"1234")
    codec, given = found(tmp_path, bitstreams=str(tmp_path / "bits"))
    encoded = codec.encode(batch(), codec.points[0], [given])
    assert rates(encoded)[RateKind.PAYLOAD][0].bits == 32
    (tmp_path / "bits" / "a.bin").write_bytes(b"12345")
    with pytest.raises(ChangedError, match=r"a\.bin was changed while the run went on"):
        codec.encode(batch(), codec.points[0], [given])
    with pytest.raises(AudioError, match="cannot be read"):  # and what was found is no audio
        codec.decoder_input(encoded, CODES, [0], [given])
    write(tmp_path / "a.wav", np.zeros(RATE))
    with pytest.raises(ChangedError, match=r"a\.wav was changed while the run went on"):
        codec.decoder_input(encoded, CODES, [0], [given])


@pytest.mark.parametrize(
    ("values", "sizes", "sentence"),
    [
        (np.array([[0, 3], [1, 4]]), 4, "token 4 of codebook 1 at frame 1 is outside its 4"),
        (np.array([[0, -1]]), 4, "token -1 of codebook 0"),
        (np.zeros((2, 3), int), [4], "has the shape (2, 3), where 1 codebooks are expected"),
        (np.zeros((300, 2), int), 4, "at most 128 rows"),
        (np.zeros((2, 3)), 4, "holds no such array (its values are float64)"),
        (np.zeros((2, 2, 3), int), 4, "has the shape (2, 2, 3)"),
        (np.zeros((2, 0), int), 4, "has the shape (2, 0)"),
        (np.full((1, 1), 2**64 - 1, np.uint64), 4, "beyond 63 bits"),
        (np.array([[{}]], object), 4, "holds no such array"),
        (np.zeros((1, 3), int), {"coarse": 4}, "and `codebook_sizes` is of coarse"),
    ],
)
def test_tokens_that_are_none_are_a_sentence(
    tmp_path: Path, values: Any, sizes: Any, sentence: str
) -> None:
    np.save(tmp_path / "a.npy", values)
    codec, given = found(tmp_path, tokens=str(tmp_path), codebook_sizes=sizes)
    with pytest.raises(CodecError) as error:
        codec.encode(batch(), codec.points[0], [given])
    assert sentence in str(error.value)


def test_tokens_of_several_rates_add_up(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", coarse=np.zeros(5, int), fine=np.zeros((2, 10), int))
    codec, given = found(
        tmp_path, tokens=str(tmp_path), codebook_sizes={"coarse": 16, "fine": [4, 2]}
    )
    encoded = codec.encode(batch(), codec.points[0], [given])
    assert rates(encoded)[RateKind.NOMINAL][0].bits == 5 * 4 + 10 * (2 + 1)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"mean": np.zeros((2, 3))}, "has the arrays mean; save mean and scale"),
        ({"mean": np.zeros((2, 3)), "scale": np.zeros((2, 3))}, "not finite and positive"),
        ({"mean": np.full((2, 3), np.inf), "scale": np.ones((2, 3))}, "mean that is not finite"),
        ({"mean": np.zeros((2, 3)), "scale": np.ones((3, 2))}, "a scale of (3, 2)"),
    ],
)
def test_latents_that_are_none_are_a_sentence(tmp_path: Path, arrays: Any, sentence: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    codec, given = found(tmp_path, latents=str(tmp_path), decoded_from="sample")
    with pytest.raises(CodecError) as error:
        codec.encode(batch(), codec.points[0], [given])
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bitstreams": "b", "byte_counts": "c"}, "bitstreams and byte_counts are given"),
        (
            {"tokens": "t", "codebook_sizes": 4, "latents": "l", "decoded_from": "mean"},
            "tokens and latents are given",
        ),
        ({"tokens": "t"}, "tokens and codebook_sizes go together"),
        ({"latents": "l"}, "latents and decoded_from go together"),
        ({"container": True}, "container says what bitstreams"),
        ({"stated_kbps": 0.0}, "more than 0"),
        ({"stated_kbps": float("nan")}, "more than 0"),
        ({"stated_kbps": {"8": 8.0}}, "stated_kbps is of the points 8, and folders of decoded"),
        ({"tokens": "t", "codebook_sizes": 0}, "codebook_sizes has 0"),
        ({"delay": -1}, "delay is -1"),
        ({"tolerance_seconds": float("nan")}, "tolerance_seconds is nan"),
        ({"folders": {}}, "name a folder"),
        ({"folders": {"6": "a", "12": "b"}, "bitstreams": "c"}, "for each of the points 6, 12"),
        ({"codebook_sizes": "many"}, "which is no"),
    ],
)
def test_options_that_do_not_go_together_are_a_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(CodecError) as error:
        create("files", options={"folders": "decoded"} | options)
    assert sentence in str(error.value)


def test_points_are_in_the_order_of_the_numbers_in_their_names() -> None:
    folders = {"24 kbps": "c", "6 kbps": "a", "plain": "d", "12 kbps": "b"}
    codec = create("files", options={"folders": folders})
    assert [point.name for point in codec.points] == ["plain", "6 kbps", "12 kbps", "24 kbps"]
    assert [p.name for p in create("files", points=[12], options={"folders": folders}).points] == [
        "12 kbps"
    ]


@pytest.mark.parametrize("lines", [["name,size", "a,1"], [""], ["file,bytes", '"a']])
def test_a_table_that_is_none_is_refused_before_any_work(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "sizes.csv").write_text("\n".join(lines))
    with pytest.raises(CodecError, match="the table"):
        found(tmp_path, byte_counts=str(tmp_path / "sizes.csv"))


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [(["a,1.5"], "no whole number"), (["a,-1"], "no whole number"), (["a,1", "a,2"], "twice")],
)
def test_a_row_that_is_wrong_costs_its_clip(
    tmp_path: Path, cells: list[str], sentence: str
) -> None:
    (tmp_path / "sizes.csv").write_text("\n".join(["file,bytes", *cells]))
    _, given = found(tmp_path, byte_counts=str(tmp_path / "sizes.csv"))
    assert sentence in given.problem


def test_a_stated_rate_is_compared_as_such_and_has_no_stream(
    clips: Path, decoded: Path, tmp_path: Path
) -> None:
    from rdbench.analysis.curves.bd_rate import bd_table
    from rdbench.analysis.runs import read_run

    systems = [
        files("said", folders={"6": str(decoded), "7": str(decoded)},
              stated_kbps={"6": 6.0, "7": 7.0}),
        {"codec": "opus", "name": "opus", "points": [8, 12]},
    ]  # fmt: skip
    run(clips, tmp_path / "run", *systems)
    table: pd.DataFrame = bd_table(read_run(tmp_path / "run"), reference="opus")
    streams = table[(table["basis"] == "decodable") & (table["curve"] == "said")]
    assert set(streams["reason"]) == {"not measured: the rate of said is stated"}
    assert set(table["rate_kind"]) == {"stated"}


def test_what_was_decoded_from_the_mean_is_no_rate_point(
    clips: Path, decoded: Path, tmp_path: Path
) -> None:
    from rdbench.analysis.curves.bd_rate import bd_table
    from rdbench.analysis.runs import read_run

    for name in NAMES:
        np.savez(tmp_path / f"{name}.npz", mean=np.ones((2, 5)), scale=np.full((2, 5), 0.5))
    folders, latents = {"6": str(decoded)}, {"6": str(tmp_path)}
    mine = files(folders=folders, latents=latents, decoded_from="mean")
    opus = {"codec": "opus", "name": "opus", "points": [8, 12]}
    assert run(clips, tmp_path / "run", mine, opus).failed == 0
    kl = 10 * 0.5 * (0.25 + 1 - 1 - np.log(0.25)) / np.log(2)
    assert rows(tmp_path / "run", key="kl")["value"].tolist() == pytest.approx([kl] * 3)
    table: pd.DataFrame = bd_table(read_run(tmp_path / "run"), reference="opus", curves=["mine"])
    assert (table["reason"] != "").all()
    headline = table.loc[table["basis"] == "headline", "reason"]
    assert headline.str.contains("it is no rate point").all()
