"""Corpora hold the clips that were meant, and say in one sentence where they cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rdbench.audio.clip import Clip, Corpus
from rdbench.audio.corpus import embedded_corpus, folder_corpus, manifest_corpus
from rdbench.audio.load import ExcerptProtocol, load_excerpt
from rdbench.types import AudioError, RdbenchError, SpecError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two speakers with two files each, one file beside them, and things that are not audio."""
    home = tmp_path / "clips"
    for name in ("b/1.wav", "b/2.FLAC", "a/1.wav", "a/2.wav", "c.wav", ".hidden/x.wav"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(home / name, np.zeros(800), 16000, format=name[-4:].strip(".").upper())
    (home / "a" / "._1.wav").write_bytes(b"resource fork")
    (home / "notes.txt").write_text("nothing to hear")
    return home


def manifest(folder: Path, text: str, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, **how: object) -> str:
    with pytest.raises(SpecError) as caught:
        manifest_corpus(path, **how)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_gives_its_audio_sorted(folder: Path) -> None:
    corpus = folder_corpus(folder, domain="speech")
    assert [clip.name for clip in corpus.clips] == [
        "c.wav",
        "a/1.wav",
        "a/2.wav",
        "b/1.wav",
        "b/2.FLAC",
    ]
    assert corpus.name == "clips"
    assert {clip.domain for clip in corpus.clips} == {"speech"}
    assert [clip.group for clip in corpus.clips] == [clip.name for clip in corpus.clips]
    assert all(clip.path.is_file() for clip in corpus.clips)


def test_files_of_a_folder_can_be_one_group(folder: Path) -> None:
    corpus = folder_corpus(folder, group_by="folder")
    assert [clip.group for clip in corpus.clips] == ["clips", "a", "a", "b", "b"]


def test_folders_without_audio_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(AudioError, match="holds no audio"):
        folder_corpus(tmp_path)
    with pytest.raises(AudioError, match="there is no folder"):
        folder_corpus(tmp_path / "missing")
    with pytest.raises(SpecError, match="group_by is 'speaker'"):
        folder_corpus(tmp_path, group_by="speaker")


def test_a_csv_manifest_in_its_order(folder: Path) -> None:
    corpus = manifest_corpus(
        manifest(
            folder,
            "\ufefffile,start,duration,domain,group,licence\n"
            'b/1.wav,,,speech,bob,"CC BY, 4.0"\n'
            "\n"
            "a/1.wav,0.01,0.03,speech,ann,CC0\n"
            "./a/1.wav,0.02,,,,\n",
        )
    )
    home = folder
    assert corpus.clips == (
        Clip("b/1.wav", home / "b/1.wav", "speech", "bob"),
        Clip("a/1.wav#0.01+0.03", home / "a/1.wav", "speech", "ann", 0.01, 0.03),
        Clip("a/1.wav#0.02+end", home / "a/1.wav", "audio", "a/1.wav#0.02+end", 0.02),
    )
    assert corpus.name == "list"


def test_a_jsonl_manifest_says_the_same(folder: Path) -> None:
    rows = [
        {"file": "b/1.wav", "group": 225, "snr": 3.5},
        {"file": "a/1.wav", "start": 0.01, "duration": "0.03", "domain": "speech", "group": None},
    ]
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    corpus = manifest_corpus(manifest(folder, text, "list.jsonl"))
    name = "a/1.wav#0.01+0.03"
    assert corpus.clips == (
        Clip("b/1.wav", folder / "b/1.wav", "audio", "225"),
        Clip(name, folder / "a/1.wav", "speech", name, 0.01, 0.03),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("file\n", "lists no clips"),
        ("path,start\na/1.wav,0\n", "has no column 'file'"),
        ("files\na/1.wav\n", "has a column 'files'; did you mean 'file'?"),
        ("file,durations\na/1.wav,1\n", "did you mean 'duration'?"),
        ("file,gruop\na/1.wav,1\n", "did you mean 'group'?"),
        ("file,file\na/1.wav,a/1.wav\n", "'file' twice"),
        ("file,start\na/1.wav,0\nb/1.wav,soon\n", "line 3 of list.csv has start 'soon'"),
        ("file,start\na/1.wav,-1\n", "line 2 of list.csv has start '-1'"),
        ("file,start\na/1.wav,nan\n", "has start 'nan'"),
        ("file,duration\na/1.wav,0\n", "duration of 0"),
        ("file,duration\na/1.wav,inf\n", "has duration 'inf'"),
        ("file,start\n,0\n", "names no file"),
        ("file,start\na/1.wav\n", "line 2 of list.csv has 1 cells where the header has 2"),
        ("file\na/1.wav\nb/1.wav\na/1.wav\n", "line 4 of list.csv lists 'a/1.wav', as line 2 did"),
        ("file\na/1.wav\n./b/../a/1.wav\n", "lists 'a/1.wav', as line 2 did"),
        ("file\na/1.wav\nmissing.wav\n", "line 3 of list.csv names 'missing.wav', which does not"),
        ('file\n"a/1.wav\n', "is not valid CSV"),
    ],
)
def test_bad_csv_manifests_name_the_line(folder: Path, text: str, said: str) -> None:
    assert said in refusal(manifest(folder, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"file": "a/1.wav"}\n{"file": \n', "line 2 of list.jsonl is not valid JSON"),
        ('["a/1.wav"]\n', "line 1 of list.jsonl is not an object"),
        ('{"file": 3}\n', "has file 3"),
        ('{"file": "a/1.wav", "start": true}\n', "has start True"),
        ('{"file": "a/1.wav", "start": NaN}\n', "has start nan"),
        ('{"file": "a/1.wav", "start": [1]}\n', "has start [1]"),
        ('{"fiel": "a/1.wav"}\n', "did you mean 'file'?"),
        ('{"file": "a/1.wav", "domain": ["x"]}\n', "has domain ['x']"),
    ],
)
def test_bad_jsonl_manifests_name_the_line(folder: Path, text: str, said: str) -> None:
    assert said in refusal(manifest(folder, text, "list.jsonl"))


def test_unreadable_manifests(folder: Path) -> None:
    assert "cannot be read" in refusal(folder / "missing.csv")
    assert "cannot be read" in refusal(_made(folder / "folder.csv"))
    assert "neither .csv nor .jsonl" in refusal(manifest(folder, "file\n", "list.txt"))
    binary = folder / "binary.csv"
    binary.write_bytes(b"file\n\xff\xfe\x00\n")
    assert "is not text" in refusal(binary)


def _made(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["relative", "absolute", "link"])
def test_a_manifest_cannot_name_files_elsewhere(folder: Path, kind: str) -> None:
    secret = folder.parent / "secret.wav"
    soundfile.write(secret, np.zeros(800), 16000)
    (folder / "link.wav").symlink_to(secret)
    file = {"relative": "a/../../secret.wav", "absolute": str(secret), "link": "link.wav"}[kind]
    path = manifest(folder, f"file\n{file}\n")
    assert "outside the manifest's folder" in refusal(path)
    absent = manifest(folder, "file\n../absent.wav\n", "other.csv")
    assert "outside the manifest's folder" in refusal(absent)  # and not whether it exists
    (clip,) = manifest_corpus(path, allow_outside=True).clips
    assert clip.path.resolve() == secret
    (clip,) = manifest_corpus(path, root=folder.parent).clips
    assert clip.path.resolve() == secret


def test_files_are_looked_for_in_the_root_too(folder: Path, tmp_path: Path) -> None:
    lists = _made(tmp_path / "lists")
    path = manifest(lists, "file\na/1.wav\n")
    assert "does not exist" in refusal(path)
    (clip,) = manifest_corpus(path, root=folder).clips
    assert (clip.name, clip.path) == ("a/1.wav", folder / "a/1.wav")


def _corpus(*domains: str) -> Corpus:
    clips = [Clip(f"{i}", Path(f"{i}"), domain, "g") for i, domain in enumerate(domains)]
    return Corpus("c", tuple(clips), "")


def test_selection_keeps_order_and_sees_every_domain() -> None:
    corpus = _corpus("speech", "speech", "speech", "music", "sound", "music")
    assert corpus.domains == ("speech", "music", "sound")
    chosen = corpus.select(domains=["music", "speech"])
    assert [clip.name for clip in chosen.clips] == ["0", "1", "2", "3", "5"]


def test_groups_are_parts_of_file_names(tmp_path: Path) -> None:
    for name in ("p225_001.wav", "p225_002.wav", "p226_001.wav", "x/1089-1-0.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def groups(form: str) -> list[str]:
        return [clip.group for clip in folder_corpus(tmp_path / "x", group_by=form).clips]

    assert groups("{group}-*") == ["1089"]
    assert groups("*-{group}-*") == ["1"]
    with pytest.raises(SpecError, match=r"group_by is '\{group\}_\*', and 'x/1089-1-0.wav' has no"):
        folder_corpus(tmp_path, group_by="{group}_*")
    (tmp_path / "x" / "1089-1-0.wav").unlink()
    found = folder_corpus(tmp_path, group_by="{group}_*").clips
    assert [clip.group for clip in found] == ["p225", "p225", "p226"]
    for wrong in ("*_*", "{group}{group}", "{group}*-*-*"):
        with pytest.raises(SpecError, match=r"with \{group\} once and at most 2 \*"):
            folder_corpus(tmp_path, group_by=wrong)


def test_selections_of_nothing_are_refused() -> None:
    corpus = _corpus("speech", "music")
    with pytest.raises(SpecError, match="did you mean 'speech'"):
        corpus.select(domains=["speach"])
    with pytest.raises(SpecError, match="it has: speech, music"):
        corpus.select(domains=["birds"])
    with pytest.raises(SpecError, match="sample of 0"):
        corpus.sample(0)
    with pytest.raises(SpecError, match="holds no clips"):
        corpus.select(domains=[])
    with pytest.raises(RdbenchError, match="'x' 2 times"):
        Corpus("c", (Clip("x", Path("x"), "d", "g"), Clip("x", Path("y"), "d", "g")), "")


def test_the_shared_manifest_is_read(shared_data: Path) -> None:
    corpus = manifest_corpus(shared_data / "clips" / "manifest.csv")
    assert (corpus.name, len(corpus.clips)) == ("clips", 89)
    groups: dict[str, list[str]] = {}
    for clip in corpus.clips:
        groups.setdefault(clip.domain, []).append(clip.group)
    assert {domain: len(members) for domain, members in groups.items()} == {
        "speech": 43,
        "music": 24,
        "sound": 22,
    }
    assert {domain: len(set(members)) for domain, members in groups.items()} == {
        "speech": 31,
        "music": 18,
        "sound": 21,
    }
    protocol = ExcerptProtocol(16000, "mono", 2.0)
    excerpts = [load_excerpt(clip, protocol) for clip in corpus.clips]
    assert len({excerpt.samples.numpy().tobytes() for excerpt in excerpts}) == 89
    full = [excerpt for excerpt in excerpts if not excerpt.notes]
    assert {excerpt.samples.shape for excerpt in full} == {(1, 32000)}


def test_the_embedded_corpus_is_whole() -> None:
    corpus = embedded_corpus()
    assert corpus.name == "embedded"
    assert 8 <= len(corpus.clips) <= 10
    assert set(corpus.domains) == {"speech", "music", "sound"}
    for domain in corpus.domains:
        assert len({clip.group for clip in corpus.select([domain]).clips}) >= 3
    channels = set()
    for clip in corpus.clips:
        excerpt = load_excerpt(clip, ExcerptProtocol(22050, "native", 3.0))
        assert excerpt.samples.shape[-1] == 66150
        assert excerpt.notes == ()
        channels.add(len(excerpt.samples))
    assert channels == {1, 2}
