"""The pass that counts streams: rows per clip and for the corpus, resumed, and refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rdbench.analysis.aggregate import points, rate_distortion
from rdbench.cli.options import read_spec
from rdbench.codecs.base import Codec
from rdbench.engine.fit import fit_tables
from rdbench.engine.progress import Progress
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.rate.tables import TablesError
from rdbench.store.reader import read_rows
from rdbench.types import (
    AudioBatch,
    CodecInfo,
    DecoderInput,
    Encoded,
    OperatingPoint,
    RateKind,
    RunsOn,
    Tokens,
    TokenStream,
)

RATE = 8000
HOP = 80
SPEC = """
name: bits
corpus: {kind: folder, path: %s}
protocol: {sample_rate: 8000, channels: mono, excerpt_seconds: 1.0}
metrics: {default: [snr]}
systems:
  - {codec: "test_entropy_pass:Levels", name: levels}
  - {codec: "test_entropy_pass:Levels", name: broken, options: {broken: true}}
  - {codec: opus, points: [12]}
costs: {enabled: false}
"""


class Levels(Codec):
    """Two codebooks: a hop's loudness in 16 steps, and a constant. Decodes to silence."""

    def __init__(self, *, points: object = None, broken: bool = False) -> None:
        self.broken = broken
        self.points = (OperatingPoint("only", 0.8),)
        self.info = CodecInfo(
            "levels", "test", (RATE,), (1,), RateKind.NOMINAL, RunsOn.DEVICE, weights_sha256="ee"
        )

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        hops = audio.samples[:, 0].unflatten(-1, (-1, HOP)).square().mean(-1).sqrt()
        loud = (hops * 100).long().clamp(0, 15)
        if self.broken:
            loud[:, 3] = 16
        codes = torch.stack([loud, torch.zeros_like(loud)], 1)
        stream = TokenStream(codes, audio.lengths // HOP, (16, 16), RATE / HOP)
        return Encoded(Tokens((stream,)), audio.lengths, RATE, 1)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        longest = int(decoder_input.lengths.max())
        silence = torch.zeros(len(decoder_input.lengths), 1, longest)
        return AudioBatch(silence, decoder_input.lengths, RATE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two folders of clips: `score` and `fit`."""
    generator = np.random.default_rng(0)
    for folder, count in (("score", 3), ("fit", 2)):
        (tmp_path / folder).mkdir()
        for index in range(count):
            loudness = np.repeat(0.05 + 0.05 * generator.random(100), HOP)
            samples = loudness * generator.standard_normal(RATE)
            soundfile.write(tmp_path / folder / f"{index}.wav", samples, RATE)
        (tmp_path / f"{folder}.yaml").write_text(SPEC % folder)
    return tmp_path


def run(project: Path, name: str = "score") -> None:
    spec = read_spec(project / f"{name}.yaml", data=None, limit=None, options=[])
    options = RunOptions(device="cpu", workers=1, allow_code=True)
    run_benchmark(spec, project / "out", options)


def test_bits_per_clip_and_as_one_stream_beside_nominal(project: Path) -> None:
    fit = read_spec(project / "fit.yaml", data=None, limit=None, options=[])
    (project / "t.json").write_bytes(
        fit_tables(fit, Progress(), device="cpu", allow_code=True).dumps()
    )
    with (project / "score.yaml").open("a") as file:
        file.write("entropy: {enabled: true, tables: ./t.json}\n")
    run(project)
    rows = read_rows(project / "out")
    levels = rows[rows["system"] == "levels"]
    entropy = levels[(levels["kind"] == "rate") & (levels["key"] == "entropy")]
    models = {backend.split(",")[0] for backend in entropy["backend"]}
    assert models == {"adaptive order-0", "adaptive context", "static order-0"}
    nominal = levels.loc[levels["key"] == "nominal", "value"].sum()
    for model in models:
        part = entropy[entropy["backend"].str.startswith(model)]
        whole, clips = part[part["clip"] == ""], part[part["clip"] != ""]
        assert len(whole) == 1
        assert len(clips) == 3
        assert whole["seconds"].item() == pytest.approx(3.0)
        # Half of the tokens are constant.
        assert 0 < whole["value"].item() <= clips["value"].sum() < 0.6 * nominal
    usage = levels[levels["kind"] == "usage"].set_index("key")["value"]
    assert 1 / 16 < usage["codebook_use"] < 17 / 32
    assert 1 < usage["codebook_perplexity"] <= 17 / 2

    # A token outside its codebook costs its own rows, with the clip's name.
    broken = rows[(rows["system"] == "broken") & (rows["key"] == "entropy")]
    assert set(broken["status"]) == {"failed"}
    assert broken["reason"].str.contains("token 16 of codebook 0").all()
    assert broken["value"].isna().all()

    table = points(rows)
    for rate, expected in (("headline", "nominal"), ("entropy", "entropy")):
        axis = rate_distortion(table, {"levels": "nominal", "opus": "payload"}, rate=rate)
        snr = axis[(axis["key"] == "snr") & (axis["system"] == "levels")]
        assert len(snr) == 1
        assert snr["rate_kind"].item() == expected
        assert math.isfinite(snr["kbps"].item())

    before = sorted(path.name for path in (project / "out" / "measurements").iterdir())
    run(project)  # broken units are tried again, nothing else
    again = read_rows(project / "out")
    assert len(again) == len(rows)
    assert before != []


def test_tables_fitted_again_on_the_same_files_renew_their_own_rows_alone(project: Path) -> None:
    with (project / "score.yaml").open("a") as file:
        file.write("entropy: {enabled: true, tables: ./t.json}\n")
    found = []
    for seconds in ("1.0", "0.5"):
        text = (SPEC % "fit").replace("excerpt_seconds: 1.0", f"excerpt_seconds: {seconds}")
        (project / "fit.yaml").write_text(text)
        fit = read_spec(project / "fit.yaml", data=None, limit=None, options=[])
        (project / "t.json").write_bytes(
            fit_tables(fit, Progress(), device="cpu", allow_code=True).dumps()
        )
        run(project)
        rows = read_rows(project / "out")
        levels = rows[(rows["system"] == "levels") & (rows["status"] == "ok")]
        found.append(levels.set_index(["kind", "key", "backend", "clip"]).sort_index())
    before, after = found
    assert list(before.index) == list(after.index)  # the label tells the files, which are the same
    static = before.index.get_level_values("backend").str.startswith("static")
    assert static.sum() == 4
    renewed = before["unit_key"].to_numpy() != after["unit_key"].to_numpy()
    np.testing.assert_array_equal(renewed, static)
    assert (before["value"].to_numpy() != after["value"].to_numpy())[static].any()


def test_scoring_what_was_fitted_on_is_refused_before_any_work(project: Path) -> None:
    fit = read_spec(project / "fit.yaml", data=None, limit=None, options=[])
    (project / "t.json").write_bytes(
        fit_tables(fit, Progress(), device="cpu", allow_code=True).dumps()
    )
    with (project / "fit.yaml").open("a") as file:
        file.write("entropy: {enabled: true, tables: ./t.json}\n")
    with pytest.raises(TablesError, match=r"'0.wav' is one of the 2 clips"):
        run(project, "fit")
    assert not (project / "out").exists()


def test_the_pass_is_asked_for_by_name(project: Path) -> None:
    run(project)
    assert not (read_rows(project / "out")["key"] == "entropy").any()
