"""Several kinds of rate of the same audio, parts of clips, and tables fitted to others' tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from engine_runs import RATE, make_clips, rows, run

from rdbench.engine.fit import fit_tables
from rdbench.engine.progress import Progress
from rdbench.rate.static import STATIC
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.reader import read_manifest
from rdbench.types import SpecError

FRAMES = 20  # in a second
PROTOCOL = {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": 0.5}


def made(root: Path, names: list[str], *, skewed: bool = False) -> Path:
    """Clips of a second, copies of them, tokens of two codebooks of 16, and 100 bytes of each."""
    clips = make_clips(root / "reference", names)
    for folder in ("decoded", "tokens", "bits"):
        (root / folder).mkdir()
    for number, name in enumerate(names):
        soundfile.write(root / "decoded" / f"{name}.wav", soundfile.read(clips / f"{name}.wav")[0],
                        RATE, subtype="FLOAT")  # fmt: skip
        codes = np.random.default_rng(number).integers(0, 16, (2, FRAMES))
        np.save(root / "tokens" / f"{name}.npy", codes // 12 if skewed else codes)
        (root / "bits" / f"{name}.bin").write_bytes(bytes(100))
    return clips


def system(root: Path, **more: Any) -> dict[str, Any]:
    options = {"folders": str(root / "decoded"), "tokens": str(root / "tokens"),
               "codebook_sizes": 16}  # fmt: skip
    return {"codec": "files", "name": "mine", "options": options | more}


def bits(folder: Path, clip: str = "a.wav") -> dict[str, float]:
    found = rows(folder, kind="rate", clip=clip, status="ok")
    return dict(zip(found["key"], found["value"], strict=True))


def test_tokens_their_bitstream_and_a_stated_rate_stand_beside_each_other(tmp_path: Path) -> None:
    clips = made(tmp_path, ["a", "b"])
    mine = system(tmp_path, bitstreams=str(tmp_path / "bits"), stated_kbps=0.5)
    spec = {"entropy": {"enabled": True}}
    assert run(clips, tmp_path / "run", mine, spec=spec).failed == 0
    found = bits(tmp_path / "run")
    entropy = found.pop("entropy")
    assert found == {"nominal": 2 * FRAMES * 4.0, "payload": 800.0, "stated": 500.0}
    assert entropy > 0
    card = read_manifest(tmp_path / "run")["systems"]["mine"]
    assert (card["headline"], card["rates"]) == ("nominal", ["nominal", "payload", "stated"])
    (tmp_path / "bits" / "b.bin").unlink()  # costs that clip, whatever else there is of it
    run(clips, tmp_path / "run", mine, spec=spec)
    failed = rows(tmp_path / "run", status="failed")
    assert set(failed["clip"]) >= {"b.wav"}
    assert bits(tmp_path / "run", "b.wav") == {}
    assert "there is no bitstream of the clip 'b.wav'" in failed["reason"].iloc[0]


def test_a_part_of_what_was_made_of_whole_clips_is_taken(tmp_path: Path) -> None:
    clips = made(tmp_path, ["a", "b"])
    mine = system(tmp_path, bitstreams=str(tmp_path / "bits"), made_of="clip")
    assert run(clips, tmp_path / "run", mine, spec={"protocol": PROTOCOL}).failed == 0
    assert bits(tmp_path / "run") == {"nominal": FRAMES * 4.0, "payload": 400.0}
    assert set(rows(tmp_path / "run", key="snr")["value"]) == {100.0}  # the cap: the same samples
    assert set(rows(tmp_path / "run", kind="rate")["seconds"]) == {0.5}


def test_what_was_made_of_excerpts_is_taken_as_it_is(tmp_path: Path) -> None:
    clips = made(tmp_path, ["a", "b"])
    for path in (tmp_path / "decoded").iterdir():
        samples, _ = soundfile.read(path)
        soundfile.write(path, samples[RATE // 4 : 3 * RATE // 4], RATE, subtype="FLOAT")
    mine = system(tmp_path, made_of="excerpt")
    assert run(clips, tmp_path / "run", mine, spec={"protocol": PROTOCOL}).failed == 0
    assert bits(tmp_path / "run") == {"nominal": 2 * FRAMES * 4.0}
    assert set(rows(tmp_path / "run", key="snr")["value"]) == {100.0}
    wrong = system(tmp_path, made_of="clip")
    run(clips, tmp_path / "wrong", wrong, spec={"protocol": PROTOCOL})
    reasons = rows(tmp_path / "wrong", status="failed")["reason"]
    assert reasons.str.contains("lasts 0.5000 s, and the clip").all()


def test_of_what_it_was_made_must_be_said(tmp_path: Path) -> None:
    clips = made(tmp_path, ["a"])
    with pytest.raises(SpecError, match="say with the option made_of of what the files were made"):
        run(clips, tmp_path / "run", system(tmp_path), spec={"protocol": PROTOCOL})
    long = {"protocol": {**PROTOCOL, "excerpt_seconds": 1.0}}  # all of it is no part
    assert run(clips, tmp_path / "run", system(tmp_path), spec=long).failed == 0


def test_tables_fitted_to_tokens_of_other_clips_count_those_of_a_system_of_that_name(
    tmp_path: Path,
) -> None:
    for folder in ("fit", "score"):
        (tmp_path / folder).mkdir()
    other = made(tmp_path / "fit", ["d", "e", "f"], skewed=True)
    fitted = fit_tables(
        BenchmarkSpec.model_validate(
            {
                "name": "fit",
                "corpus": {"kind": "folder", "path": str(other)},
                "protocol": {**PROTOCOL, "excerpt_seconds": None},
                "metrics": {"default": ["snr"]},
                "systems": [system(tmp_path / "fit")],
            }
        ),
        Progress(),
        device="cpu",
    )
    assert [(entry.codec, entry.point) for entry in fitted.entries] == [("files: mine", "decoded")]
    (tmp_path / "t.json").write_bytes(fitted.dumps())
    clips = made(tmp_path / "score", ["a", "b"], skewed=True)
    mine = system(tmp_path / "score")
    yours = {**mine, "name": "yours"}
    spec = {"entropy": {"enabled": True, "tables": str(tmp_path / "t.json")}}
    run(clips, tmp_path / "run", mine, yours, spec=spec)
    found = rows(tmp_path / "run", key="entropy", clip="a.wav")
    label = f"{STATIC}, {fitted.label}"
    assert label in set(found[found["system"] == "mine"]["backend"])
    assert label not in set(found[found["system"] == "yours"]["backend"])
    own = found[(found["system"] == "mine") & (found["backend"] == label)]["value"].item()
    assert own < 0.5 * 2 * FRAMES * 4  # two of sixteen entries are used
