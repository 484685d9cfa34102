"""What a spec may say, and the sentence that a mistake gets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rdbench.codecs import registry as codecs
from rdbench.metrics import registry as metrics
from rdbench.spec import shipped
from rdbench.spec.load import MAX_BYTES, load_spec, with_limit, with_option
from rdbench.spec.model import BenchmarkSpec, CorpusSpec, MetricSpec, SampleSpec
from rdbench.types import GoingWarning, SpecError

BENCHMARKS = shipped.FOLDER


def minimal(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "trial",
        "corpus": {"kind": "embedded"},
        "protocol": {"sample_rate": 16000, "channels": "mono"},
        "metrics": {"speech": ["pesq_wb"]},
        "systems": [{"codec": "opus", "points": [6, 12]}],
    }
    return content | changes


def load(path: Path, content: Any, *, data: Path | None = None) -> BenchmarkSpec:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read(path, data=data)


def read(path: Path, *, data: Path | None = None) -> BenchmarkSpec:
    return load_spec(path, metric_keys=metrics.keys(), codec_names=codecs.names(), data=data)


def complaint(tmp_path: Path, content: Any, **options: Any) -> str:
    path = tmp_path / "spec.yaml"
    with pytest.raises(SpecError) as caught:
        load(path, content, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith((f"spec {path}", "--data"))
    return text.removeprefix(f"spec {path}").lstrip(": ")


def test_a_short_spec_gets_the_documented_defaults(tmp_path: Path) -> None:
    spec = load(tmp_path / "s.yaml", minimal())
    system = spec.systems[0]
    assert (system.name, system.curve, system.label, system.points) == (
        "opus",
        "opus",
        "opus",
        (6, 12),
    )
    assert system.options == {}
    assert system.variants is None
    assert spec.protocol.excerpt_seconds == 3.0
    assert (spec.protocol.gain, spec.protocol.alignment) == ("none", "declared")
    assert (spec.protocol.seed, spec.protocol.dtype, spec.protocol.threads) == (0, "float32", 1)
    assert spec.costs.enabled
    assert spec.timeouts.unit_seconds == 120
    assert spec.corpus_path is None


def test_names_curves_and_labels_follow_each_other(tmp_path: Path) -> None:
    systems = [
        {"codec": "opus", "curve": "Opus VBR"},
        {"codec": "opus", "name": "cbr", "options": {"mode": "cbr"}},
        {"codec": "dac_44khz", "name": "v1", "curve": "vae", "label": "VAE", "variants": ["mean"]},
        {"codec": "mine.models:Vae", "curve": "vae", "points": ["q9", 2.5]},
        {"codec": "mine.models:Other"},
    ]
    spec = load(tmp_path / "s.yaml", minimal(systems=systems[:3] + systems[4:]))
    assert [(s.name, s.curve, s.label) for s in spec.systems] == [
        ("Opus VBR", "Opus VBR", "Opus VBR"),
        ("cbr", "cbr", "cbr"),
        ("v1", "vae", "VAE"),
        ("Other", "Other", "Other"),
    ]
    assert spec.systems[2].variants == ("mean",)
    spec = load(tmp_path / "s.yaml", minimal(systems=systems[2:4]))
    assert [s.curve for s in spec.systems] == ["vae", "vae"]
    assert spec.systems[1].points == ("q9", 2.5)


def test_protocol_and_metrics_are_routed_by_domain(tmp_path: Path) -> None:
    spec = load(
        tmp_path / "s.yaml",
        minimal(
            protocol={
                "sample_rate": {"speech": 16000, "*": 44100},
                "channels": {"speech": "mono", "default": "stereo"},
                "excerpt_seconds": None,
            },
            metrics={"speech": ["pesq_wb", {"key": "stoi", "backend": "reference"}], "*": ["lsd"]},
        ),
    )
    assert spec.protocol.for_domain("speech").sample_rate == 16000
    other = spec.protocol.for_domain("music")
    assert (other.sample_rate, other.channels, other.excerpt_seconds) == (44100, "stereo", None)
    assert spec.metrics_for("speech") == (
        MetricSpec(key="pesq_wb"),
        MetricSpec(key="stoi", backend="reference"),
    )
    assert spec.metrics_for("sound") == (MetricSpec(key="lsd"),)


def test_a_domain_that_the_spec_forgets_is_an_error(tmp_path: Path) -> None:
    spec = load(tmp_path / "s.yaml", minimal())
    with pytest.raises(SpecError, match=r"`metrics` says nothing for the domain 'music'.*speech"):
        spec.metrics_for("music")


def test_the_fingerprint_depends_on_protocol_and_resampler_alone(tmp_path: Path) -> None:
    one = load(tmp_path / "a.yaml", minimal())
    same = load(
        tmp_path / "b.yaml",
        minimal(
            name="other",
            protocol={"channels": {"*": "mono"}, "sample_rate": {"default": 16000}, "seed": 0},
        ),
    )
    other = load(tmp_path / "c.yaml", minimal(protocol={"sample_rate": 24000, "channels": "mono"}))
    assert one.protocol.fingerprint("sinc") == same.protocol.fingerprint("sinc")
    assert one.protocol.fingerprint("sinc") != one.protocol.fingerprint("linear")
    assert one.protocol.fingerprint("sinc") != other.protocol.fingerprint("sinc")
    assert len(one.protocol.fingerprint("sinc")) == 64


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"systems": [{"codec": "opus"}, {"codec": "mp3"}, {"codec": "aac", "poinst": [8]}]},
            "`systems[2].poinst` is not a known key; did you mean 'points'?",
        ),
        ({"metrcis": {}}, "`metrcis` is not a known key; did you mean 'metrics'?"),
        (
            {"systems": [{"codec": "opsu"}]},
            "`systems[0].codec`: there is no codec 'opsu'; did you mean 'opus'?",
        ),
        (
            {"metrics": {"speech": ["stoi", "pesq_bw"]}},
            "`metrics.speech[1]`: there is no metric 'pesq_bw'; did you mean 'pesq_wb'?",
        ),
        (
            {"metrics": {"speech": ["stoi", "residual_delay"]}},
            "`metrics.speech[1]`: 'residual_delay' is always measured, and never named; "
            "leave it out",
        ),
        (
            {"metrics": {"speech": [{"key": "stoi", "bakend": "torch"}]}},
            "`metrics.speech[0].bakend` is not a known key; did you mean 'backend'?",
        ),
        (
            {"protocol": {"sample_rate": 16000, "channels": "setreo"}},
            "`protocol.channels` is 'setreo'; did you mean 'stereo'?",
        ),
        (
            {"protocol": {"sample_rate": 16000, "gain": "match"}},
            "`protocol.gain` is 'match'; choose from: none",
        ),
        (
            {"systems": [{"codec": "opus", "variants": []}]},
            "`systems[0].variants` is empty; name at least one, or leave the key out",
        ),
        (
            {"protocol": {"sample_rate": 4000}},
            "`protocol.sample_rate` is 4000, but it should be greater than or equal to 8000",
        ),
        ({"protocol": {}}, "`protocol.sample_rate` is missing; add it"),
        (
            {"timeouts": {"unit_seconds": 1e12}},
            "`timeouts.unit_seconds` is 1000000000000.0, but it should be less than or equal to "
            "604800",
        ),
        (
            {"timeouts": {"unit_seconds": 0}},
            "`timeouts.unit_seconds` is 0, but it should be greater than or equal to 0.1",
        ),
        (
            {"timeouts": {"unit_seconds": float("inf")}},
            "`timeouts.unit_seconds` is inf, but it should be a finite number",
        ),
        (
            {"costs": {"repeats": 10**9}},
            "`costs.repeats` is 1000000000, but it should be less than or equal to 1000",
        ),
        ({"systems": {"codec": "opus"}}, "`systems` must be a list, not a mapping"),
        (
            {"systems": [{"codec": "opus", "points": [6, 6.0]}]},
            "`systems[0].points`: '6.0' is listed twice; list it once",
        ),
        (
            {"systems": [{"codec": "opus", "points": [6, True]}]},
            "`systems[0].points[1]`: a point is a number of kbps or the name of a point",
        ),
        (
            {"systems": [{"codec": "opus", "points": [-6]}]},
            "`systems[0].points[0]`: a rate in kbps must be a positive number",
        ),
        (
            {"systems": [{"codec": "opus"}, {"codec": "opus"}]},
            "`systems`: two systems are called 'opus'; give each its own `name`",
        ),
        (
            {"metrics": {"speech": ["stoi", "stoi"]}},
            "`metrics`: speech: 'stoi' is listed twice; list it once",
        ),
        (
            {"corpus": {"kind": "manifest"}},
            "`corpus`: a manifest corpus needs a `path`",
        ),
        (
            {"name": "../other"},
            "`name` is '../other'; use a name without slashes, and without a dot at its end",
        ),
    ],
)
def test_a_mistake_names_its_place_and_what_is_near(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    assert complaint(tmp_path, minimal(**changes)) == expected


@pytest.mark.parametrize(
    ("system", "end"),
    [
        (
            {"codec": "rvq_6k"},
            "; a checkpoint is `{codec: vae, options: {weights: rvq_6k}}`",
        ),
        (
            {"codec": "opus", "application": "voip"},
            "; what a codec is given stands under `options`",
        ),
        (
            {"codec": "__main__:MyVae"},
            "; put the class into a file beside the spec and name it module:Class",
        ),
    ],
)
def test_what_stands_elsewhere_in_a_spec_is_said(
    tmp_path: Path, system: dict[str, Any], end: str
) -> None:
    assert complaint(tmp_path, minimal(systems=[system])).endswith(end)


def test_a_misspelt_key_is_said_before_what_it_leaves_missing(tmp_path: Path) -> None:
    text = complaint(tmp_path, minimal(protocol={"sample_rte": 16000, "channels": "x"}))
    assert text.startswith("`protocol.sample_rte` is not a known key; did you mean 'sample_rate'?")
    assert text.endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nname: b\n", "line 2: the key 'name' is there twice"),
        ("systems:\n  - {codec: opus, codec: mp3}\n", "line 2: the key 'codec' is there twice"),
        ("- a\n- b\n", "must be a mapping of keys, not a list"),
        ("", "must be a mapping of keys, not nothing"),
        ("name: [", "is not valid YAML in line 1"),
        ("name: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("name: !!int ''\n", "is not valid YAML"),
        ("name: !!timestamp x\n", "is not valid YAML"),
        ("a: " + "[" * 5000, "is not valid YAML"),
        ("? [a]\n: b\n", "is not valid YAML"),
        ("a: &a [*a]\n", "expands to more than"),
        (
            "a0: &a0 {"
            + ",".join(f"x{i}: 1" for i in range(501))
            + "}\n"
            + "".join(  # PyYAML from 6.0.4 on merges a key only once, however often it is named
                f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
            ),
            "merges more than",
        ),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{n}: &{n} [{','.join([f'*{m}'] * 9)}]\n"
                for m, n in zip("abcdefg", "bcdefgh", strict=True)
            ),
            "expands to more than",
        ),
    ],
)
def test_broken_or_hostile_yaml_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_files_that_are_no_specs(tmp_path: Path) -> None:
    for path, reason in [
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "Is a directory"),
    ]:
        with pytest.raises(SpecError, match=reason):
            read(path)
    assert "larger than" in complaint(tmp_path, "#" * (MAX_BYTES + 1))
    (tmp_path / "b.yaml").write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(SpecError, match="not valid YAML"):
        read(tmp_path / "b.yaml")


def test_paths_start_at_the_spec_and_data_replaces_the_folder(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "clips.csv").write_text("file\n")
    corpus = {"kind": "manifest", "path": "../theirs/clips.csv", "root": "../audio"}
    systems = [{"codec": "lyra", "options": {"models": "../lyra", "mode": "x"}}]
    path = tmp_path / "specs" / "s.yaml"
    spec = load(path, minimal(corpus=corpus, systems=systems))
    assert spec.corpus_path == tmp_path / "theirs" / "clips.csv"
    assert spec.corpus_root == tmp_path / "audio"
    assert spec.options_for(spec.systems[0]) == {"models": str(tmp_path / "lyra"), "mode": "x"}

    for data in (tmp_path / "mine", tmp_path / "mine" / "clips.csv"):
        moved = read(path, data=data)
        assert moved.corpus_path == tmp_path / "mine" / "clips.csv"
        assert moved.corpus_root is None
        assert str(tmp_path) not in json.dumps(moved.model_dump(mode="json"))
    bare = read(path, data=tmp_path / "specs")
    assert (bare.corpus.kind, bare.corpus_path) == ("folder", tmp_path / "specs")
    with pytest.raises(SpecError, match=r"there is neither a folder nor a manifest .*none"):
        read(path, data=tmp_path / "none")

    folder = load(path, minimal(corpus={"kind": "folder", "path": "x"}), data=tmp_path / "mine")
    assert folder.corpus_path == tmp_path / "mine"
    assert folder.corpus.unnamed_domain == "audio"
    assert "embedded corpus" in complaint(tmp_path, minimal(), data=tmp_path)


def test_a_metric_takes_options_whose_paths_start_at_the_spec(tmp_path: Path) -> None:
    metrics = [{"key": "snr", "options": {"weights": "../net.pt", "scale": 2}}, "lsd"]
    (tmp_path / "specs").mkdir()
    spec = load(tmp_path / "specs" / "s.yaml", minimal(metrics=metrics))
    first, second = spec.metrics_for("speech")
    assert spec.options_for(first) == {"weights": str(tmp_path / "net.pt"), "scale": 2}
    assert spec.options_for(second) == {}
    assert str(tmp_path) not in json.dumps(spec.model_dump(mode="json"))


def test_the_command_line_replaces_limit_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "specs").mkdir()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "specs" / "s.yaml"
    spec = load(path, minimal(systems=[{"codec": "lyra", "options": {"a": 1}}, {"codec": "mp3"}]))
    assert with_limit(spec, 3).corpus.sample == SampleSpec(clips=3)
    drawn = load(path, minimal(corpus={"sample": {"clips": 9, "seed": 4, "per": "group"}}))
    fewer = with_limit(drawn, 3).corpus.sample
    assert fewer == SampleSpec(clips=3, seed=4, per=("group",))
    with pytest.raises(SpecError, match="ask for 1 or more"):
        with_limit(spec, 0)
    changed = with_option(with_option(spec, "lyra", "b", "10"), "lyra", "models", "./lyra")
    options = changed.options_for(changed.systems[0])
    assert options == {"a": 1, "b": 10, "models": str(tmp_path / "lyra")}
    assert changed.systems[1] == spec.systems[1]
    assert spec.systems[0].options == {"a": 1}
    assert with_option(spec, "mp3", "mode", "[").systems[1].options == {"mode": "["}
    with pytest.raises(SpecError, match="no system and no metric 'lyar'; did you mean 'lyra'"):
        with_option(spec, "lyar", "models", "x")
    (metric,) = spec.metrics_for("speech")
    (heard,) = with_option(spec, metric.key, "weights", "./model.pt").metrics_for("speech")
    assert heard.key == metric.key
    assert spec.options_for(heard) == {"weights": str(tmp_path / "model.pt")}


def test_a_limit_is_a_sample_and_says_that_it_goes(tmp_path: Path) -> None:
    with pytest.warns(GoingWarning, match=r"write `sample: \{clips: 2\}`"):
        spec = load(tmp_path / "s.yaml", minimal(corpus={"limit": 2}))
    assert spec.corpus.sample == SampleSpec(clips=2)
    for corpus, said in (
        ({"limit": 2, "sample": {"clips": 2}}, "has both `limit` and `sample`"),
        ({"sample": {"clips": 0}}, "`corpus.sample.clips` is 0"),
        ({"sample": {"clips": 2, "per": "grup"}}, "is 'grup'; did you mean 'group'?"),
        ({"kind": "named"}, "`kind: named` and a `name`"),
        ({"name": "vctk"}, "`kind: named` and a `name`"),
    ):
        with pytest.raises(SpecError, match=re.escape(said)):
            load(tmp_path / "s.yaml", minimal(corpus=corpus))


def test_a_spec_survives_json(tmp_path: Path) -> None:
    spec = read(BENCHMARKS / "speech_16k.yaml")
    again = BenchmarkSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))
    assert again.model_dump() == spec.model_dump()


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.yaml")), ids=lambda path: path.stem)
def test_our_specs_are_valid_and_route_every_metric_where_it_holds(path: Path) -> None:
    spec = read(path)
    assert spec.name == path.stem
    domains = spec.corpus.domains or [d for d in spec.metrics if d != "default"]
    for domain in domains:
        assert spec.protocol.for_domain(domain).sample_rate >= 8000
        assert spec.metrics_for(domain)
        if domain != "speech":
            keys = {metric.key for metric in spec.metrics_for(domain)}
            assert not keys & {"pesq_wb", "pesq_nb", "stoi", "estoi", "visqol_speech"}


def test_reading_a_spec_loads_nothing_heavy() -> None:
    code = (
        "import sys, rdbench.spec.load, rdbench.codecs.registry, rdbench.metrics.registry;"
        "print(sorted({'torch','pandas','pyarrow','numpy','av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_clips_without_a_domain_are_of_the_only_one_that_is_asked_for() -> None:
    speech = {"kind": "manifest", "path": "m.csv", "domains": ["speech"]}
    assert CorpusSpec(**speech).unnamed_domain == "speech"
    assert CorpusSpec(**speech | {"domains": ["speech", "music"]}).unnamed_domain == "audio"
    assert CorpusSpec(kind="folder", path="x", domain="sound").unnamed_domain == "sound"


def test_one_list_of_metrics_is_for_all_domains() -> None:
    """As one sample rate and one layout of channels are."""
    content = {
        "name": "t", "corpus": {}, "protocol": {"sample_rate": 16000, "channels": "mono"},
        "systems": [{"codec": "opus", "points": [12]}], "metrics": ["si_sdr", "stoi"],
    }  # fmt: skip
    spec = BenchmarkSpec.model_validate(content)
    assert [metric.key for metric in spec.metrics_for("music")] == ["si_sdr", "stoi"]
    assert spec == BenchmarkSpec.model_validate(
        content | {"metrics": {"default": content["metrics"]}}
    )
