"""Text in a spec downloads nothing: weights are fetched by name, or by a run that may."""

from __future__ import annotations

import io
import json
import pickle
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_runs import make_clips
from foreign_folders import command
from seeded_checkpoints import save_dac
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.codecs import registry
from rdbench.codecs.published import download, published_files
from rdbench.store.reader import read_manifest, read_rows
from rdbench.types import CodecError, WeightsError
from rdbench.weights import published
from rdbench.weights.configs import MAX_CONFIG_BYTES
from rdbench.weights.formats import MAX_BYTES
from rdbench.weights.hub import (
    CONFIG,
    TRANSFORMERS_WEIGHTS,
    WEIGHTS,
    HubModel,
)
from rdbench.weights.published import NotFetchedError

HUB = "stabilityai/stable-audio-open-1.0"
NAMES = sorted(published_files())


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Empty caches, and a network that notes whom it was asked for."""
    asked: list[str] = []

    def refuse(*address: Any, **_: Any) -> Any:
        asked.append(str(address))
        raise OSError("no network here")

    monkeypatch.setenv("RDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(
        "huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False
    )
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return asked


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        *((name, {}) for name in NAMES),
        *((name, {"weights": "pretrained"}) for name in NAMES),
        ("oobleck", {"weights": HUB}),
        ("oobleck", {"weights": HUB, "subfolder": "vae"}),
        ("oobleck", {"weights": HUB, "revision": "0" * 40}),
        ("mimi", {"weights": HUB}),
        ("pocket_tts", {"weights": HUB, "revision": "0" * 40}),
        ("snac", {"weights": HUB}),
        ("speechtokenizer", {"weights": f"{HUB}@{'0' * 40}", "subfolder": "hubert"}),
        ("diffusers", {"weights": HUB, "subfolder": "vae", "vocoder": "vocoder"}),
    ],
)
def test_building_a_codec_asks_no_network(
    codec: str, options: dict[str, str], offline: list[str]
) -> None:
    with pytest.raises(
        NotFetchedError, match=r"`rdbench weights fetch .*` or --allow-download"
    ) as found:
        registry.create(codec, options=options)
    assert offline == []
    assert found.value.downloads
    for one in found.value.downloads:
        assert f"`rdbench weights fetch {one.name}`" in str(found.value)
    assert len(found.value.downloads) == 1 + ("vocoder" in options)
    again = pickle.loads(pickle.dumps(found.value))
    assert str(again) == str(found.value)


@pytest.mark.parametrize(
    "weights",
    [
        "../x",
        "https://example.org/x",
        "a/b/c",
        "a",
        "",
        "~/x",
        "file:///etc/passwd",
        "a/b\n",
        "-a/b",
    ],
)
def test_what_is_no_id_of_a_model_is_one_sentence(weights: str, offline: list[str]) -> None:
    with pytest.raises((WeightsError, CodecError)) as found:
        registry.create("oobleck", options={"weights": weights})
    assert "\n" not in str(found.value)
    assert not isinstance(found.value, NotFetchedError)
    assert offline == []


# -- asked for by name


class Response(io.BytesIO):
    """What an opened address is."""

    status = 200

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Length": str(len(self.getvalue()))}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """DAC's file, of seeded weights, where its authors publish theirs; who asked for what."""
    content = save_dac(tmp_path, "dac_16khz").read_bytes()
    asked: list[str] = []

    def opened(url: str, headers: Mapping[str, str]) -> Response:
        asked.append(url)
        return Response(content)

    monkeypatch.setattr(published, "open_https", opened)
    return asked


SPEC = """
name: fetched
corpus: {kind: folder, path: clips}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 0.3}
metrics: {default: [si_sdr]}
systems:
  - {codec: dac_16khz, points: [q1]}
  - {codec: identity}
costs: {enabled: false}
"""


def test_weights_fetch_says_size_and_hash_and_the_codec_then_builds(
    served: list[str], tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["weights", "fetch", "dac_16khz"])
    assert done.exit_code == 0, done.output
    assert len(served) == 1
    (file,) = (tmp_path / "cache" / "weights").iterdir()
    assert f"{file.stat().st_size} bytes" in done.output
    assert "SHA-256" in done.output
    assert served[0] in done.output
    info = registry.create("dac_16khz", options={"check": False}).info
    assert info.weights_sha256 in done.output
    assert info.details["weights_bytes"] == file.stat().st_size
    assert info.details["weights_from"] == served[0]
    assert len(served) == 1


def test_a_run_downloads_only_where_it_may(
    served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rdbench.codecs.neural.published.check_pretrained", lambda *_: [])
    make_clips(tmp_path / "clips", ["a"])
    (tmp_path / "spec.yaml").write_text(SPEC)
    line = ["run", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "run"), "--workers", "1"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 1
    assert served == []
    rows = read_rows(tmp_path / "run").set_index("system")
    assert set(rows.loc["identity", "status"]) == {"ok"}
    assert "rdbench weights fetch dac_16khz" in rows.loc[["dac_16khz"], "reason"].iloc[0]
    done = CliRunner().invoke(app, [*line, "--allow-download"])
    assert done.exit_code == 0, done.output
    assert len(served) == 1
    assert "bytes, SHA-256" in done.output + done.stderr
    card = read_manifest(tmp_path / "run")["systems"]["dac_16khz"]
    assert len(card["weights_sha256"]) == 64
    assert card["details"]["weights_from"] == served[0]
    assert int(card["details"]["weights_bytes"]) > 100_000


def test_a_spec_fetches_what_it_lacks_and_its_systems_are_then_ready(
    served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rdbench.codecs.neural.published.check_pretrained", lambda *_: [])
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    before = CliRunner().invoke(app, ["doctor", "--weights", str(spec)])
    assert before.exit_code == 1
    assert " ! dac_16khz: weights file" in before.output
    assert "   identity: ready\n" in before.output
    assert "   metric si_sdr: ready\n" in before.output
    assert f"1 of 3 are not ready; `rdbench weights fetch {spec}`" in before.output
    told = CliRunner().invoke(app, ["weights", "fetch", str(spec), "--list"])
    assert told.exit_code == 0
    assert "weights_16khz.pth, of a size that was not told, its authors" in told.output
    assert served == []
    for number in (1, 1):  # the second time it is there
        assert CliRunner().invoke(app, ["weights", "fetch", str(spec)]).exit_code == 0
        assert len(served) == number
    after = CliRunner().invoke(app, ["doctor", "--weights", str(spec)])
    assert (after.exit_code, after.output.splitlines()[-1]) == (0, "ready")


def test_a_folder_of_files_serves_a_machine_without_a_network(
    offline: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "usb"
    folder.mkdir()
    save_dac(tmp_path, "dac_16khz").rename(folder / published_files()["dac_16khz"].filename)
    line = ["weights", "fetch", "encodec_24khz", "dac_16khz", "--from", str(folder)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 1
    assert "usb has no encodec_24khz-d7cc33bc.th; fetch https://" in done.stderr
    assert registry.create("dac_16khz", options={"check": False}).info.weights_sha256 in done.output
    assert offline == []


def test_a_name_without_published_weights_is_one_sentence() -> None:
    with pytest.raises(CodecError, match=r"no published weights of 'encodec_24'.*encodec_24khz"):
        download("encodec_24")
    command("weights", "fetch", "nobody")


# -- the hub


class Hub:
    """Stands in for the Hugging Face hub: files by name, of one commit."""

    commit = "c0ffee" * 6 + "c0ff"

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self.folder = folder / "models--a--b" / "snapshots" / self.commit
        self.files = files
        self.listed: dict[str, Any] = {}
        self.fetched: list[str] = []

    def model_info(self, repository: str, *, revision: str, files_metadata: bool) -> Any:
        import hashlib

        siblings = [
            SimpleNamespace(
                rfilename=name,
                size=self.listed.get(name, len(content)),
                lfs=SimpleNamespace(sha256=hashlib.sha256(content).hexdigest())
                if name.endswith("safetensors")
                else None,
            )
            for name, content in self.files.items()
        ]
        card = SimpleNamespace(license="mit")
        return SimpleNamespace(sha=self.commit, siblings=siblings, card_data=card)

    def download(self, repository: str, name: str, *, revision: str) -> str:
        self.fetched.append(name)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.files[name])
        return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path, {f"vae/{CONFIG}": b"{}", f"vae/{WEIGHTS}": b"x" * 100})
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: made)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", made.download)
    return made


def fetched(hub: Hub, **options: str) -> list[str]:
    said: list[str] = []
    HubModel("a/b", **{"subfolder": "vae", **options}).fetch(said.append)
    return said


def test_a_model_of_the_hub_is_told_without_fetching_it(hub: Hub) -> None:
    said: list[str] = []
    HubModel("a/b", "vae").tell(said.append)
    assert len(said) == 2
    assert f"vae/{WEIGHTS} at {hub.commit}" in said[1]
    assert "100 bytes, SHA-256 " in said[1]
    assert said[1].endswith("licence: mit")
    assert hub.fetched == []
    with pytest.raises(WeightsError, match="as weights: FOLDER"):
        HubModel("a/b").take(Path("usb"), said.append)


def test_a_model_of_the_hub_is_fetched_with_size_revision_and_hash(hub: Hub) -> None:
    said = fetched(hub)
    assert hub.fetched == [f"vae/{CONFIG}", f"vae/{WEIGHTS}"]
    assert f"100 bytes, revision {hub.commit}, SHA-256" in said[-1]


def test_the_weights_of_a_model_of_transformers_have_another_name(hub: Hub) -> None:
    hub.files = {CONFIG: b"{}", TRANSFORMERS_WEIGHTS: b"x" * 100}
    said = fetched(hub, subfolder="")
    assert hub.fetched == [CONFIG, TRANSFORMERS_WEIGHTS]
    assert f"100 bytes, revision {hub.commit}, SHA-256" in said[-1]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "SpeechTokenizer.pt"])
def test_models_of_packages_have_names_of_their_own(hub: Hub, name: str) -> None:
    hub.files = {CONFIG: b"{}", name: b"x" * 100}
    fetched(hub, subfolder="")
    assert hub.fetched == [CONFIG, name]
    said: list[str] = []
    HubModel("a/b").tell(said.append)
    assert [line.split()[1] for line in said] == [CONFIG, name]


@pytest.mark.parametrize(("codec", "file"), [("mimi", TRANSFORMERS_WEIGHTS), ("oobleck", WEIGHTS)])
def test_a_model_without_the_codecs_own_file_is_told_by_that_files_name(
    hub: Hub, codec: str, file: str
) -> None:
    hub.files = {CONFIG: b"{}", "pytorch_model.bin": b"x"}
    with pytest.raises(NotFetchedError) as absent:
        registry.create(codec, options={"weights": "a/b"})
    (wanted,) = absent.value.downloads
    with pytest.raises(WeightsError, match=f"a/b has no {file} on the hub; give"):
        wanted.fetch(print)


def test_a_model_without_any_file_of_weights_is_told_by_all_their_names(hub: Hub) -> None:
    hub.files = {CONFIG: b"{}"}
    with pytest.raises(WeightsError, match=f"no {WEIGHTS} and no {TRANSFORMERS_WEIGHTS} and no"):
        HubModel("a/b").fetch(print)


def test_a_spec_with_a_model_of_two_parts_fetches_both_at_once(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    names = [f"{part}/{file}" for part in ("vae", "vocoder") for file in (CONFIG, WEIGHTS)]
    hub.files = dict.fromkeys(names, b"{}")
    (tmp_path / "spec.yaml").write_text(
        "name: two\ncorpus: {kind: embedded}\nprotocol: {sample_rate: 16000}\n"
        "metrics: {default: [si_sdr]}\nsystems:\n"
        "  - {codec: diffusers, options: {weights: a/b@v1, subfolder: vae, vocoder: vocoder}}\n"
    )
    done = CliRunner().invoke(app, ["weights", "fetch", str(tmp_path / "spec.yaml")])
    assert done.exit_code == 0, done.output
    assert hub.fetched == names


def altered(hub: Hub) -> None:
    hub.download = lambda *a, **k: str(_written(hub, b"y" * 100))  # type: ignore[method-assign]


def _written(hub: Hub, content: bytes) -> Path:
    path = hub.folder / "other"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hub: hub.listed.update({f"vae/{WEIGHTS}": MAX_BYTES + 1}), "more than the"),
        (lambda hub: hub.listed.update({f"vae/{CONFIG}": MAX_CONFIG_BYTES + 1}), "more than the"),
        (lambda hub: hub.listed.update({f"vae/{WEIGHTS}": 99}), "is not the file that the hub"),
        (lambda hub: hub.listed.update({f"vae/{WEIGHTS}": None}), "has no vae/"),
        (lambda hub: hub.files.pop(f"vae/{WEIGHTS}"), "has no vae/"),
        (lambda hub: setattr(hub, "model_info", None), "could not be fetched"),
    ],
)
def test_what_is_not_what_the_hub_tells_of_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, change: Callable[[Hub], Any], said: str
) -> None:
    change(hub)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub.download)
    with pytest.raises(WeightsError, match=said) as found:
        fetched(hub)
    assert "\n" not in str(found.value)
    if "more than" in said:
        assert f"vae/{WEIGHTS}" not in hub.fetched


def test_other_bytes_than_were_published_are_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered(hub)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub.download)
    hub.listed[f"vae/{CONFIG}"] = 100
    with pytest.raises(WeightsError, match="is not the file that the hub tells of"):
        fetched(hub)


# -- sizes that a configuration asks for


CONFIGURATION = {
    "encoder_hidden_size": 8, "downsampling_ratios": [2, 4], "channel_multiples": [1, 2],
    "decoder_channels": 8, "decoder_input_channels": 4, "audio_channels": 1, "sampling_rate": 16000,
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder_hidden_size", 8192), ("encoder_hidden_size", 65_536),
        ("decoder_channels", 65_536),
        ("decoder_input_channels", 65_536), ("channel_multiples", [1024, 1024]),
        ("encoder_hidden_size", 10**9), ("downsampling_ratios", [1024, 1024]),
        ("downsampling_ratios", [2] * 1000), ("channel_multiples", [1]),
        ("channel_multiples", [1] * 10_000), ("downsampling_ratios", []),
        ("downsampling_ratios", [0, 4]), ("downsampling_ratios", [-2, 4]),
        ("audio_channels", 10**6),
        ("sampling_rate", 0), ("sampling_rate", 10**12), ("encoder_hidden_size", "8"),
        ("encoder_hidden_size", 8.5), ("encoder_hidden_size", None), ("downsampling_ratios", "24"),
    ],
)  # fmt: skip
def test_a_configuration_that_asks_for_much_takes_no_memory(
    tmp_path: Path, key: str, value: Any
) -> None:
    """A `config.json` of a few bytes took 5.8 GB."""
    import resource

    from diffusers import AutoencoderOobleck

    AutoencoderOobleck(**CONFIGURATION).save_pretrained(tmp_path)
    registry.create("oobleck", options={"weights": str(tmp_path)})
    (tmp_path / CONFIG).write_text(json.dumps(CONFIGURATION | {key: value}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError) as found:
        registry.create("oobleck", options={"weights": str(tmp_path)})
    assert "\n" not in str(found.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 5000, '{"a": ' * 5000, " " * 70_000, '"x"'])
def test_a_configuration_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / CONFIG).write_text(text)
    (tmp_path / WEIGHTS).write_bytes(b"x")
    with pytest.raises(WeightsError, match="is no configuration of such a model") as found:
        registry.create("oobleck", options={"weights": str(tmp_path)})
    assert "\n" not in str(found.value)


def test_the_weights_of_a_folder_are_those_of_the_file(tmp_path: Path) -> None:
    from diffusers import AutoencoderOobleck

    torch.manual_seed(0)
    model = AutoencoderOobleck(**CONFIGURATION)
    model.save_pretrained(tmp_path)
    codec: Any = registry.create("oobleck", options={"weights": str(tmp_path)})
    for name, tensor in model.state_dict().items():
        assert torch.equal(codec.model.state_dict()[name], tensor)
