"""Predicted latents: from folders and plugins to rows; what is wrong with one costs its clip."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import RATE, make_clips, retired, rows, run
from numpy.typing import NDArray

from rdbench.audio.corpus import folder_corpus
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.variants import variant
from rdbench.engine.measure.code import _given
from rdbench.engine.plan import predicted
from rdbench.engine.plan.clips import plan_clips
from rdbench.engine.plan.predicted import FolderPredictions, PluginPredictions
from rdbench.store.reader import read_manifest
from rdbench.types import SAMPLE, AudioBatch, ChangedError, CodecError, Latent, SpecError

HOP = 8
NAMES = ["a", "b", "c"]
SHAPE = (HOP, 250)


class Blurred(PosteriorCodec):
    """The samples themselves, known but for some noise: E∘D is the identity."""

    def __init__(self, *, points: object = None) -> None:
        super().__init__(
            name="blurred", sample_rate=RATE, frame_rate=RATE / HOP,
            modules=torch.nn.Linear(1, 1), weights_sha256="ff",
        )  # fmt: skip

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        padded = torch.nn.functional.pad(audio[:, 0], (0, -audio.shape[-1] % HOP))
        mean = padded.unflatten(-1, (-1, HOP)).transpose(1, 2)
        return mean, torch.full_like(mean, 0.05)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return z.transpose(1, 2).flatten(1)[:, None]


def generate(clip: str, *, shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """A generator that cannot do one clip."""
    if clip == "c.wav":
        raise RuntimeError("no luck")
    return 0.1 * np.random.default_rng([seed, len(clip)]).standard_normal(shape)


def blurred(*variants: str, **more: Any) -> dict[str, Any]:
    return {"codec": f"{__name__}:Blurred", "name": "blurred", "variants": variants, **more}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("predicted") / "clips", NAMES, seconds=0.25)


def samples(clips: Path) -> dict[str, NDArray[np.float32]]:
    """What the variant `sample` decodes of each clip."""
    import soundfile

    codec, found = Blurred(), {}
    for clip in plan_clips(folder_corpus(clips, domain="audio", group_by="file"), seed=0):
        wave = torch.from_numpy(soundfile.read(clip.clip.path, dtype="float32")[0])[None, None]
        audio = AudioBatch(wave, torch.tensor([wave.shape[-1]]), RATE)
        encoded = codec.encode(audio, codec.points[0])
        latent = codec.decoder_input(encoded, SAMPLE, [clip.seed]).payload
        assert isinstance(latent, Latent)
        found[clip.name] = latent.values[0].numpy()
    return found


def folder(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(path / f"{Path(name).stem}.npy", values)
    return path


def snr(run_folder: Path) -> dict[tuple[str, str], float]:
    found = rows(run_folder, key="snr", status="ok")
    return {(v, c): x for v, c, x in zip(found["variant"], found["clip"], found["value"],
                                         strict=True)}  # fmt: skip


def test_a_prediction_that_is_the_sample_scores_as_the_sample(clips: Path, tmp_path: Path) -> None:
    made = samples(clips)
    first = folder(tmp_path / "first", made)
    second = folder(tmp_path / "second", {name: one + 0.1 for name, one in made.items()})
    system = blurred("mean", "sample", "predicted", "predicted_reencode", "sample_reencode",
                     "calibrated_noise", predicted=[str(first), str(second)])  # fmt: skip
    summary = run(clips, tmp_path / "run", system)
    assert summary.failed == 0, rows(tmp_path / "run", status="failed")["reason"].tolist()
    found = snr(tmp_path / "run")
    for clip in made:
        sample = found["sample", clip]
        assert found["predicted", clip] == sample
        assert found["sample_reencode", clip] == pytest.approx(sample, abs=1e-4)
        assert found["predicted_reencode", clip] == pytest.approx(sample, abs=1e-4)
        assert found["predicted@1", clip] < sample - 1
        # No error is no noise, as the mean has none.
        assert found["calibrated_noise", clip] == found["mean", clip]
        assert found["calibrated_noise@1", clip] < found["mean", clip]
    cards = read_manifest(tmp_path / "run")["variants"]
    assert cards["predicted@1"]["of"] == "predicted"
    assert cards["predicted"]["digest"] != cards["predicted@1"]["digest"]

    # A file that is written anew is measured anew, and no other.
    np.savez(first / "b.npz", latent=made["b.wav"])
    (first / "b.npy").unlink()
    np.save(second / "b.npy", made["b.wav"] + 0.2)
    again = blurred("mean", "predicted", predicted=[str(first), str(second)])
    assert run(clips, tmp_path / "run", again).failed == 0
    after = snr(tmp_path / "run")
    assert {where for where, value in after.items() if value != found[where]} == {
        ("predicted@1", "b.wav")
    }
    assert after["predicted", "b.wav"] == found["sample", "b.wav"]
    assert retired(tmp_path / "run") > 0
    assert run(clips, tmp_path / "run", again).written == 0


def test_what_is_wrong_with_a_prediction_costs_its_clip_alone(clips: Path, tmp_path: Path) -> None:
    made = samples(clips)
    first = folder(tmp_path / "first", made | {"b.wav": made["b.wav"][:, 1:]})
    (first / "c.npy").unlink()
    system = blurred("predicted", "mean", predicted=[str(first), f"{__name__}:generate"])
    summary = run(clips, tmp_path / "run", system, spec={"costs": {"clips": 1, "repeats": 1}})
    assert rows(tmp_path / "run", kind="cost").empty  # a prediction costs the codec nothing
    found = rows(tmp_path / "run", key="snr").set_index(["variant", "clip"])
    assert summary.failed == len(rows(tmp_path / "run", status="failed"))
    ok = found[found["status"] == "ok"].index
    assert set(ok) == {("predicted", "a.wav"), *(("mean", f"{n}.wav") for n in NAMES),
                       ("predicted@1", "a.wav"), ("predicted@1", "b.wav")}  # fmt: skip
    reasons = found["reason"].to_dict()
    assert (
        "has the shape (8, 249), and the encoder's latent is (8, 250)"
        in (reasons["predicted", "b.wav"])
    )
    assert "no predicted latent of the clip 'c.wav'" in reasons["predicted", "c.wav"]
    assert "raised RuntimeError on the clip 'c.wav': no luck" in reasons["predicted@1", "c.wav"]


def _zip(*members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for number, member in enumerate(members):
            packed.writestr(f"{number}.npy", member)
    return file.getvalue()


def _npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


GOOD = np.arange(6, dtype=np.float64).reshape(2, 3)


@pytest.mark.parametrize(
    ("end", "content", "sentence"),
    [
        (".npy", b"", "holds no latent"),
        (".npy", b"no array at all", "holds no latent"),
        (".npy", _npy(np.array([{}], object)), "its values are object"),
        (".npy", _npy(GOOD.astype(int)), "its values are int64"),
        (".npy", _npy(GOOD)[:-1], r"47 bytes are no array \(2, 3\)"),
        (".npy", _npy(GOOD).replace(b"(2, 3)", b"(9**9, 3)"), "holds no latent"),
        (".npy", _npy(GOOD).replace(b"(2, 3), ", b"(99999999999, 3), ")[:-9], "holds no latent"),
        (".npy", _npy(np.full((2, 3), np.inf)), "not finite"),
        (".npy", _npy(GOOD * 1e300), "beyond float32"),
        (".npy", _npy(GOOD.T), r"has the shape \(3, 2\)"),
        (".npz", _zip(), "it has 0 arrays"),
        (".npz", _zip(_npy(GOOD), _npy(GOOD)), "it has 2 arrays"),
        (".npz", _zip(_npy(GOOD))[:-8], "holds no latent"),
    ],
)
def test_a_file_that_holds_no_latent_is_a_sentence(
    tmp_path: Path, end: str, content: bytes, sentence: str
) -> None:
    (tmp_path / f"a{end}").write_bytes(content)
    predictions = FolderPredictions.of(tmp_path, ["a.wav"])
    with pytest.raises(CodecError, match=sentence):
        predictions.latent("a.wav", (2, 3))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_an_array_is_read_as_it_was_saved(tmp_path: Path, kind: Any, order: Any) -> None:
    values = np.asarray(GOOD, kind, order=order)
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "b.npz", values)
    predictions = FolderPredictions.of(tmp_path, ["a.wav", "b.flac"])
    for clip in ("a.wav", "b.flac"):
        found = predictions.latent(clip, (2, 3))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, GOOD)


def test_no_more_is_read_than_an_array_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicted, "MOST_BYTES", 4000)
    (tmp_path / "a.npz").write_bytes(_zip(_npy(np.zeros((100, 100)))))
    np.save(tmp_path / "b.npy", np.zeros((100, 100)))
    os.mkfifo(tmp_path / "c.npy")
    predictions = FolderPredictions.of(tmp_path, ["a.wav", "b.wav", "c.wav"])
    with pytest.raises(CodecError, match="more than 4000 bytes"):
        predictions.latent("a.wav", (100, 100))
    with pytest.raises(CodecError, match="more than 4000 bytes"):
        predictions.latent("b.wav", (100, 100))
    assert "b.wav" not in predictions.files  # what is not read is not hashed either
    with pytest.raises(CodecError, match="no regular file"):
        predictions.latent("c.wav", (100, 100))


def test_a_file_that_was_changed_since_it_was_hashed_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GOOD)
    predictions = FolderPredictions.of(tmp_path, ["a.wav", "b.wav"])
    np.save(tmp_path / "a.npy", GOOD + 1)
    with pytest.raises(ChangedError, match="changed while the run went on"):
        predictions.latent("a.wav", (2, 3))
    np.save(tmp_path / "b.npy", GOOD)  # which came too late
    with pytest.raises(ChangedError):
        predictions.latent("b.wav", (2, 3))


def test_files_are_named_by_clip_and_lie_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in" / "speech").mkdir(parents=True)
    names = {"speech/a.flac": "speech/a.npy", "speech/a.flac#1.5+2": "speech/a#1.5+2.npy",
             "../b.wav": "b.npy"}  # fmt: skip
    for number, place in enumerate(names.values()):
        np.save(tmp_path / "in" / place, GOOD + number)
    found = FolderPredictions.of(tmp_path / "in", list(names))
    for number, clip in enumerate(names):
        assert found.latent(clip, (2, 3))[0, 0] == number
    with pytest.raises(SpecError, match=r"'a\.wav' and 'a\.flac' would have one file"):
        FolderPredictions.of(tmp_path / "in", ["a.wav", "a.flac"])
    with pytest.raises(SpecError, match="there is no folder"):
        FolderPredictions.of(tmp_path / "out", ["a.wav"])


def test_a_plugin_is_code_or_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="add --allow-code"):
        predicted._target(f"{__name__}:generate", allow_code=False)
    entry = EntryPoint("mine", f"{__name__}:generate", predicted.ENTRY_POINT_GROUP)
    monkeypatch.setattr(predicted, "entry_points", lambda group: [entry])
    assert predicted._target("mine", allow_code=False) == entry.value
    assert predicted._target("./mine", allow_code=False) == ""
    one, other = (PluginPredictions("mine", entry.value, seed, "s") for seed in (0, 1))
    assert one.latent("a.wav", (2, 3)).shape == (2, 3)
    assert (one.latent("a.wav", (2, 3)) != other.latent("a.wav", (2, 3))).any()
    for target in ("no_such_module:x", f"{__name__}:absent", f"{__name__}:HOP"):
        with pytest.raises(SpecError, match="the generator 'mine'"):
            predicted._behind("mine", target)


@pytest.mark.parametrize("code", ["def (", "raise RuntimeError('no')", "1 / 0"])
def test_a_plugin_that_cannot_be_imported_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    name = f"generator_{len(code)}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError, match="cannot be imported"):
        predicted._behind("mine", f"{name}:generate")


def test_what_is_wrong_is_told_shortly_and_the_same_way_each_time(tmp_path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {'(1 + ' * 300}1{')' * 300}}}"
    raw = header.encode()
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw)
    predictions = FolderPredictions.of(tmp_path, ["a.wav"])
    with pytest.raises(CodecError) as told:
        predictions.latent("a.wav", (2, 3))
    assert " at 0x" not in str(told.value)
    assert len(str(told.value)) < 400


def test_channels_that_are_coded_one_by_one_have_no_prediction() -> None:
    codec = Blurred()
    encoded = codec.encode(AudioBatch(torch.zeros(2, 1, 16), torch.tensor([16, 16]), RATE),
                           codec.points[0])  # fmt: skip
    step = SimpleNamespace(predictions=PluginPredictions("mine", "mine:it", 0, ""))
    work: Any = SimpleNamespace(step=step, clips=["one clip"])
    encoding: Any = SimpleNamespace(encoded=encoded, codec=codec)
    with pytest.raises(CodecError, match=r"set protocol\.channels to mono"):
        _given(work, encoding)


def test_a_spec_that_names_one_without_the_other_is_told(clips: Path, tmp_path: Path) -> None:
    for system, sentence in (
        (blurred("predicted_clamp"), "the variant predicted_clamp needs latents; name the folder"),
        (blurred("mean", predicted="there"), "no variant that decodes them"),
        (blurred("predicted", predicted="there", seeds={"predicted": 2}), "draws at random"),
    ):
        with pytest.raises(CodecError, match=sentence):
            run(clips, tmp_path, system)
    with pytest.raises(SpecError, match="there is no folder"):
        run(clips, tmp_path, blurred("predicted", predicted=str(tmp_path / "absent")))
    assert variant("predicted").source == "predicted"
