"""`rdbench fit-entropy`: tables of what codecs make of clips, with the hash of those clips."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rdbench.audio.channels import ChannelPolicy, spread_seeds
from rdbench.audio.load import ExcerptProtocol, load_excerpt
from rdbench.cli.options import read_spec
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.testing import check_codec
from rdbench.codecs.variants import latent_coder, variant
from rdbench.engine.fit import entry_of, fit_tables
from rdbench.engine.plan.clips import load_corpus, plan_clips
from rdbench.engine.progress import Progress
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.rate.coded import SentCoder
from rdbench.rate.coded.fitted import FittedLatent
from rdbench.rate.measure import coded_rates, entropy_rates, prior_rates, rates
from rdbench.rate.tables import Tables, TablesError
from rdbench.store.reader import read_manifest, read_rows
from rdbench.store.status import run_status
from rdbench.types import (
    AudioBatch,
    CodecError,
    Encoded,
    Posterior,
    RateKind,
    SideInformation,
    Status,
    Tokens,
    TokenStream,
)

RATE = 16000
HOP = 320
SPEC = """
name: fit
corpus: {kind: folder, path: clips}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 1.0}
metrics: {default: [si_sdr]}
systems:
  - {codec: "%s", name: tiny}
  - {codec: opus, points: [12]}
"""


class Tiny(PosteriorCodec):
    """An orthonormal transform of each hop: no training, an exact inverse."""

    def __init__(self, *, points: object = None, prior: bool = True) -> None:
        super().__init__(
            name="tiny", sample_rate=RATE, frame_rate=RATE / HOP, prior=prior,
            modules=torch.nn.Linear(1, 1), weights_sha256="ff",
        )  # fmt: skip
        self.prior = prior
        generator = torch.Generator().manual_seed(0)
        self.basis = torch.linalg.qr(torch.randn(HOP, HOP, generator=generator))[0]

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        padded = torch.nn.functional.pad(audio[:, 0], (0, -audio.shape[-1] % HOP))
        mean = (padded.unflatten(-1, (-1, HOP)) @ self.basis).transpose(1, 2)
        return mean, torch.full_like(mean, 0.01) if self.prior else None

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return (z.transpose(1, 2) @ self.basis.T).flatten(1)[:, None]


class Other(Tiny):
    """The same under another name."""

    def __init__(self, *, points: object = None) -> None:
        super().__init__(points=points)
        self.info = replace(self.info, name="other")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    generator = np.random.default_rng(0)
    for name in "ab":
        samples = 0.1 * generator.standard_normal(RATE)
        soundfile.write(tmp_path / "clips" / f"{name}.wav", samples, RATE)
    (tmp_path / "spec.yaml").write_text(SPEC % f"{__name__}:Tiny")
    return tmp_path


def audio(seed: int = 1, clips: int = 2) -> AudioBatch:
    samples = 0.1 * torch.randn(clips, 1, RATE, generator=torch.Generator().manual_seed(seed))
    return AudioBatch(samples, torch.tensor([RATE, RATE - 100][:clips]), RATE)


def test_fitted_tables_code_other_clips_and_refuse_their_own(project: Path) -> None:
    spec = read_spec(project / "spec.yaml", data=None, limit=None, options=[])
    (project / "t.json").write_bytes(
        fit_tables(spec, Progress(), device="cpu", allow_code=True).dumps()
    )
    tables = Tables.load(project / "t.json")
    files = [(project / "clips" / f"{name}.wav").read_bytes() for name in "ab"]
    assert tables.fitted_on == tuple(sorted(hashlib.sha256(f).hexdigest() for f in files))
    with pytest.raises(TablesError, match="clips that the entropy tables were fitted on"):
        tables.check_apart([("a.wav", tables.fitted_on[0])])

    (entry,) = tables.entries  # packets have nothing to fit
    codec = Tiny()
    assert tables.get("tiny", "ff", [codec.points[0].name]) is not None
    encoded = codec.encode(audio(), codec.points[0])
    assert entry.prior is not None
    assert entry.latent is not None
    fitted = prior_rates(encoded, entry.prior, tables.label)
    for own, standard in zip(fitted, rates(encoded)[RateKind.KL], strict=True):
        assert own.bits < standard.bits
        assert own.model == tables.label
    for name in ("coded", "coded_rd", "coded_dither", "coded_trellis"):
        coder = latent_coder(variant(name), entry.latent)
        without = SentCoder() if name == "coded_rd" else latent_coder(variant(name), FittedLatent())
        found = [coded_rates(encoded, one, seeds=[1, 2]) for one in (coder, without)]
        for one, other in zip(*found, strict=True):
            assert one.kind is RateKind.CODED
            assert one.bits < other.bits
            assert one.model != other.model


def test_a_prior_fitted_again_renews_its_rows_and_the_plan_tells_priors_apart(
    project: Path,
) -> None:
    (project / "score").mkdir()
    noise = 0.1 * np.random.default_rng(1).standard_normal(RATE)
    soundfile.write(project / "score" / "c.wav", noise, RATE)
    text = (project / "spec.yaml").read_text()
    (project / "score.yaml").write_text(
        text.replace("path: clips", "path: score") + "entropy: {enabled: true, tables: ./t.json}\n"
    )
    found = []
    for seconds in ("1.0", "0.5"):
        (project / "fit.yaml").write_text(text.replace("excerpt_seconds: 1.0",
                                                       f"excerpt_seconds: {seconds}"))  # fmt: skip
        spec = read_spec(project / "fit.yaml", data=None, limit=None, options=[])
        (project / "t.json").write_bytes(
            fit_tables(spec, Progress(), device="cpu", allow_code=True).dumps()
        )
        spec = read_spec(project / "score.yaml", data=None, limit=None, options=[])
        run_benchmark(spec, project / "out", RunOptions("cpu", workers=1, allow_code=True))
        rows = read_rows(project / "out")
        found.append(rows[rows["key"] == "kl"].set_index("backend")["value"].to_dict())
    before, after = found
    titles = ("Gaussian prior", "full-covariance Gaussian", "AR(4) Gaussian")
    labels = [f"{title}, {Tables.load(project / 't.json').label}" for title in titles]
    assert before.keys() == after.keys() == {"N(0, I)", *labels}
    assert before["N(0, I)"] == after["N(0, I)"]
    for label in labels:
        assert before[label] != after[label]
    asked = [what for entry in read_manifest(project / "out")["plan"] for what in entry["each"]]
    assert {model for kind, key, model in asked if (kind, key) == ("rate", "kl")} == set(after)
    counts = run_status(project / "out").counts
    assert counts.done == counts.asked


def test_tables_are_extended_by_what_they_lack_and_stay_as_they_are(project: Path) -> None:
    text = (project / "spec.yaml").read_text()

    def fitted(spec: str, known: Tables | None) -> Tables:
        (project / "spec.yaml").write_text(spec)
        read = read_spec(project / "spec.yaml", data=None, limit=None, options=[])
        return fit_tables(read, Progress(), device="cpu", allow_code=True, known=known)

    first = fitted(text, None)
    assert fitted(text, first) is first
    more = text + f'  - {{codec: "{__name__}:Other", name: other}}\n'
    both = fitted(more, first)
    assert both.entries[0] is first.entries[0]
    assert [entry.codec for entry in both.entries] == ["tiny", "other"]
    assert (both.fitted_on, both.label) == (first.fitted_on, first.label)
    (entry,) = first.entries
    old = replace(first, entries=(replace(entry, full=None, linear=None),))
    (new,) = fitted(text, old).entries
    assert [one.digest for one in new.priors] == [one.digest for one in entry.priors]
    assert new.latent is entry.latent
    (project / "clips" / "b.wav").unlink()
    with pytest.raises(TablesError, match=r"other clips \(2 files, here 1\)"):
        fitted(more, first)


def test_nothing_to_fit_is_said(project: Path) -> None:
    text = (project / "spec.yaml").read_text().splitlines()
    (project / "spec.yaml").write_text("\n".join(line for line in text if "tiny" not in line))
    spec = read_spec(project / "spec.yaml", data=None, limit=None, options=[])
    with pytest.raises(CodecError, match="nothing to fit"):
        fit_tables(spec, Progress(), device="cpu")


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("name", ["coded", "coded_rd", "coded_dither", "coded_trellis"])
def test_a_coded_variant_is_decoded_from_the_stream(name: str, prior: bool) -> None:
    codec = Tiny(prior=prior)
    encoded = codec.encode(audio(), codec.points[0])
    chosen, fitted = variant(name), entry_of(codec, "posterior", [encoded]).latent
    for codec.fitted in (fitted, *([None] if name != "coded_rd" else [])):
        latent = codec.decoder_input(encoded, chosen, [4, 5])
        back = codec.decode(latent)
        assert isinstance(encoded.payload, Posterior)
        coded = codec.latent_coder(chosen).code(encoded.payload, seeds=[4, 5])
        for index, clip in enumerate(coded):
            frames = clip.values.shape[1]
            values = latent.payload.values[index, :, :frames]  # type: ignore[union-attr]
            np.testing.assert_array_equal(values.numpy(), clip.values)
        error = (back.samples - audio().samples)[0].square().mean()
        assert 0.2e-4 < float(error) < 2.5e-4  # a latent of noise 0.01, or 20 dB down


def test_an_unregularized_latent_has_no_kl_and_a_coded_rate() -> None:
    codec = Tiny(prior=False)
    encoded = codec.encode(audio(), codec.points[0])
    assert rates(encoded)[RateKind.KL][0].status is Status.UNDEFINED
    assert coded_rates(encoded, codec.latent_coder())[0].bits > 0
    assert codec.can_decode(variant("coded"))
    assert not codec.can_decode(variant("coded_sample"))
    assert "coded_sample" not in codec.variant_names


def test_steps_that_were_not_fitted_are_asked_for_before_any_work(project: Path) -> None:
    text = (project / "spec.yaml").read_text().replace("name: tiny", "variants: [sample, coded_rd]")
    (project / "spec.yaml").write_text(text)
    spec = read_spec(project / "spec.yaml", data=None, limit=None, options=[])
    with pytest.raises(CodecError, match=r"coded_rd needs steps .*fit-entropy"):
        run_benchmark(spec, project / "out", RunOptions("cpu", workers=1, allow_code=True))


def test_moments_are_asked_for_before_any_work_and_in_the_keys(project: Path) -> None:
    (project / "score").mkdir()
    noise = 0.1 * np.random.default_rng(1).standard_normal(RATE)
    soundfile.write(project / "score" / "c.wav", noise, RATE)
    text = (project / "spec.yaml").read_text().split("  - {codec: opus")[0]

    def run(spec: str) -> dict[str, float]:
        (project / "score.yaml").write_text(spec.replace("path: clips", "path: score"))
        read = read_spec(project / "score.yaml", data=None, limit=None, options=[])
        run_benchmark(read, project / "out", RunOptions("cpu", workers=1, allow_code=True))
        rows = read_rows(project / "out")
        rows = rows[(rows["key"] == "si_sdr") & (rows["status"] == "ok")]
        return dict(zip(rows["variant"], rows["value"], strict=True))

    asked = text.replace("name: tiny", "name: tiny, variants: [mean, keep_160, keep_999]")
    with pytest.raises(CodecError, match=r"keep_160 needs the moments .*fit-entropy"):
        run(asked)
    found = []
    for seconds in ("1.0", "0.5"):
        (project / "spec.yaml").write_text(text.replace("seconds: 1.0", f"seconds: {seconds}"))
        spec = read_spec(project / "spec.yaml", data=None, limit=None, options=[])
        (project / "t.json").write_bytes(
            fit_tables(spec, Progress(), device="cpu", allow_code=True).dumps()
        )
        found.append(run(asked + "entropy: {tables: ./t.json}\ncosts: {enabled: false}\n"))
    first, second = found
    assert first.keys() == second.keys() == {"mean", "keep_160"}  # the latent has 320 channels
    assert first["mean"] == second["mean"] > first["keep_160"] != second["keep_160"]
    failed = read_rows(project / "out").query("status == 'failed'")
    assert set(failed["variant"]) == {"keep_999"}
    assert failed["reason"].str.contains("the latent has 320 channels").all()


def test_the_rate_of_a_dithered_stream_is_of_the_stream_that_is_decoded(project: Path) -> None:
    text = (project / "spec.yaml").read_text()
    text = text.replace("name: tiny", "name: tiny, variants: [coded_trellis]")
    (project / "spec.yaml").write_text(text.replace("channels: mono", "channels: stereo"))
    found = []
    for seed in (0, 1):
        again = (project / "spec.yaml").read_text().replace("excerpt", f"seed: {seed}, excerpt")
        (project / "seed.yaml").write_text(again)
        spec = read_spec(project / "seed.yaml", data=None, limit=None, options=[])
        run_benchmark(spec, project / "out", RunOptions("cpu", workers=1, allow_code=True))
        rows = read_rows(project / "out")
        rates = rows[(rows["system"] == "tiny") & (rows["key"] == "coded")].set_index("clip")
        assert set(rates["backend"]) == {"dithered trellis, sent Gaussians"}
        codec = Tiny()
        for clip in plan_clips(load_corpus(spec), seed=seed):
            samples = load_excerpt(clip.clip, ExcerptProtocol(RATE, "stereo", 1.0)).samples
            each = AudioBatch(samples[:, None], torch.full((2,), RATE), RATE)
            encoded = codec.encode(each, codec.points[0])
            seeds = spread_seeds([clip.seed], ChannelPolicy.PER_CHANNEL, 2)
            coder = codec.latent_coder(variant("coded_trellis"))
            bits = sum(one.bits for one in coder.code(encoded.payload, seeds=seeds))  # type: ignore[arg-type]
            assert rates.loc[clip.name, "value"] == bits
        found.append(rates["value"].to_dict())
    assert found[0] != found[1]


def test_check_codec_still_passes() -> None:
    check_codec(Tiny())


def test_entropy_rates_count_side_information_and_name_the_model() -> None:
    codes = torch.zeros(2, 3, 40, dtype=torch.int64)
    payload = Tokens((TokenStream(codes, torch.tensor([40, 30]), (16,) * 3, 50.0),))
    lengths = torch.tensor([12800, 9600])
    bare = Encoded(payload, lengths, RATE, 1)
    side = {"scale": SideInformation(torch.zeros(2, 1), torch.tensor([96, 32]))}
    loud = Encoded(payload, lengths, RATE, 1, side)
    for model in ("adaptive order-0", "adaptive context"):
        for one, other, extra in zip(
            entropy_rates(bare, model), entropy_rates(loud, model), (96, 32), strict=True
        ):
            assert other.bits == one.bits + extra
            assert one.model == model
            assert one.kind is RateKind.ENTROPY
    with pytest.raises(CodecError, match="no latent"):
        coded_rates(bare, SentCoder())
