"""Names become codecs; wrong names, options and permissions become one sentence."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from rdbench.codecs import registry
from rdbench.codecs.anchors import Identity
from rdbench.codecs.base import Codec
from rdbench.types import CodecError


def no_codec(**options: object) -> dict[str, object]:
    return options


def opens(*, points: object, file: str) -> bytes:
    return Path(file).read_bytes()


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN))
def test_every_built_in_name_leads_to_a_factory_with_points(name: str) -> None:
    factory = registry._factory(name, allow_code=False)
    parameters = inspect.signature(factory).parameters
    assert "points" in parameters
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())


@pytest.mark.parametrize("name", ["identity", "lowpass", "opus", "mp3", "aac"])
def test_codecs_without_weights_are_built_by_name(name: str) -> None:
    codec = registry.create(name)
    assert isinstance(codec, Codec)
    assert codec.info.name == name


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(CodecError, match="did you mean 'opus'"):
        registry.create("opsu")
    with pytest.raises(CodecError, match="known codecs:"):
        registry.create("quite something else")


def test_an_unknown_option_gets_a_suggestion() -> None:
    with pytest.raises(CodecError, match="has no option 'aplication'; did you mean 'application'"):
        registry.create("opus", options={"aplication": "voip"})


def test_an_option_without_a_default_is_asked_for() -> None:
    with pytest.raises(CodecError, match="codec 'files' needs the option 'folders'; give it"):
        registry.create("files")


def test_module_and_class_needs_permission() -> None:
    name = "rdbench.codecs.anchors:Identity"
    with pytest.raises(CodecError, match="--allow-code"):
        registry.create(name)
    assert isinstance(registry.create(name, allow_code=True), Identity)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "no.such.module:X",
            "cannot be imported .*; rdbench looks beside the spec, in the current",
        ),
        ("rdbench.codecs.anchors:Identiti", "did you mean 'Identity'?"),
        ("rdbench.codecs.anchors:torch", "has no 'torch'"),
    ],
)
def test_code_that_cannot_be_imported_is_one_sentence(name: str, said: str) -> None:
    with pytest.raises(CodecError, match=said):
        registry.create(name, allow_code=True)


def test_code_that_raises_is_one_sentence() -> None:
    with pytest.raises(CodecError, match=r"cannot be built \(FileNotFoundError: .*gone"):
        registry.create(f"{__name__}:opens", allow_code=True, options={"file": "gone.pt"})


def test_what_makes_no_codec_is_refused() -> None:
    for factory in ("argparse:Namespace", "rdbench.types:AudioBatch"):
        with pytest.raises(CodecError, match=r"is no codec; derive it from rdbench\.codecs\.base"):
            registry.create(factory, allow_code=True)
    with pytest.raises(CodecError, match="takes no argument `points`"):
        registry.create("math:hypot", allow_code=True)
    with pytest.raises(CodecError, match="made a dict; it must make an rdbench Codec"):
        registry.create(f"{__name__}:no_codec", allow_code=True)


def test_an_installed_entry_point_is_a_codec_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = EntryPoint("theirs", "rdbench.codecs.anchors:LowPass", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert "theirs" in registry.names()
    codec = registry.create("theirs", points=[4000])
    assert [point.name for point in codec.points] == ["4kHz"]
