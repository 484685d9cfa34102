"""A corpus comes whole, as it was published, with the clips that its entry says, or not at all."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from imitations import (
    BY_HAND,
    EXPECTED,
    Server,
    archives_of,
    imitated,
    serving,
    sound,
    tarred,
    written,
    zipped,
)

from rdbench.audio.clip import Corpus
from rdbench.corpora.check import check
from rdbench.corpora.clips import corpus_of, named_corpus
from rdbench.corpora.entries import Entry, entries, entry, names
from rdbench.corpora.fetch import fetch
from rdbench.corpora.places import place_of, read_record
from rdbench.corpora.unpack import unpack
from rdbench.types import DownloadError, SpecError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


def silent(*_: object) -> None:
    pass


def told(corpus: Corpus) -> list[tuple[str, str, str, str]]:
    return [(clip.name, clip.group, clip.domain, clip.text) for clip in corpus.clips]


@pytest.mark.parametrize("name", [one.name for one in entries() if one.archives])
def test_every_entry_brings_the_clips_of_its_layout(name: str, tmp_path: Path, cache: Path) -> None:
    archives = archives_of(name)
    known, said = imitated(name, archives), list[str]()
    if known.by_hand:
        for archive in known.archives:
            (tmp_path / archive.name).write_bytes(archives[archive.url])
        with pytest.raises(DownloadError, match=r"had by hand alone .*`--from FOLDER` takes and"):
            fetch(known, say=silent)
        place = fetch(known, source=tmp_path, say=said.append)
    else:
        with serving(archives) as server:
            place = fetch(known, say=said.append, opener=server.open)
            asked = len(server.asked)
            assert fetch(known, say=said.append, opener=server.open) == place
            assert asked == len(server.asked) == len(archives)
    assert place == cache / name
    assert list(cache.iterdir()) == [place]
    assert told(corpus_of(known, place)) == EXPECTED[name]
    checked = check(known, place, silent)
    assert checked.findings == ()
    assert checked.recorded
    record = read_record(place)
    assert record is not None
    assert (record.corpus, set(record.archives)) == (name, set(archives))
    published = [part.sha256 or part.md5 for one in known.archives for part in one.parts]
    assert ("no checksum is published: recorded" in " ".join(said)) == (None in published)
    # The same clips under the same names where a folder of the archive lies elsewhere.
    root = place / known.clips.root  # which some archives lack
    inner = shutil.copytree(root if root.is_dir() else place, tmp_path / "elsewhere")
    assert told(corpus_of(known, inner)) == EXPECTED[name]
    assert check(known, inner, silent).identity == checked.identity


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_what_is_had_by_hand_is_taken_from_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"corpus '{name}' is not in .*it is had by hand \("):
        named_corpus(name)
    with pytest.raises(DownloadError, match="name its folder with `path`"):
        fetch(entry(name), source=tmp_path, say=silent)
    assert told(named_corpus(name, written(tmp_path / "mine", BY_HAND[name]))) == EXPECTED[name]


def test_every_entry_has_an_imitation_and_none_was_fetched_for_real() -> None:
    assert set(EXPECTED) == set(names())
    assert [one.name for one in entries() if one.fetched] == []
    with pytest.raises(SpecError, match="no corpus 'vctk2'; did you mean 'vctk'"):
        entry("vctk2")
    with pytest.raises(SpecError, match="`rdbench corpora fetch vctk` brings it"):
        named_corpus("vctk")


@pytest.fixture
def libri() -> Iterator[tuple[Entry, Server]]:
    archives = archives_of("librispeech-test-clean")
    with serving(archives) as server:
        yield imitated("librispeech-test-clean", archives), server


def test_what_broke_off_is_taken_up(libri: tuple[Entry, Server]) -> None:
    known, server = libri
    server.breaks = 300
    with pytest.raises(DownloadError, match=r"could not be fetched .*what came is kept"):
        fetch(known, say=silent, opener=server.open)
    assert not place_of(known.name).exists()
    tenths: list[tuple[int, int]] = []
    place = fetch(known, say=silent, opener=server.open,
                  progress=lambda name: lambda *have: tenths.append(have))  # fmt: skip
    assert server.asked == [("test-clean.tar.gz", None), ("test-clean.tar.gz", "bytes=300-")]
    assert tenths[-1] == (known.bytes, known.bytes)
    assert check(known, place, silent).findings == ()


def test_another_file_than_was_published_is_refused_and_asked_for_again(
    libri: tuple[Entry, Server],
) -> None:
    known, server = libri
    (address,) = server.files
    right = server.files[address]
    server.files[address] = bytes([right[0] ^ 1]) + right[1:]
    with pytest.raises(DownloadError, match=r"has SHA-256 [0-9a-f]{64}, and [0-9a-f]{64} is publ"):
        fetch(known, say=silent, opener=server.open)
    server.files[address] = right[:-1]
    with pytest.raises(DownloadError, match=r"test-clean.tar.gz has \d+ bytes, and \d+ is publ"):
        fetch(known, say=silent, opener=server.open)
    server.files[address] = right
    fetch(known, say=silent, opener=server.open)
    assert len(server.asked) == 3


def test_what_nobody_published_a_checksum_of_is_asked_for_again_where_it_is_none() -> None:
    archives = archives_of("sqam")
    known, (address,) = imitated("sqam", archives), archives
    with serving(archives | {address: b"<html>log in</html>".ljust(known.bytes or 0)}) as server:
        with pytest.raises(DownloadError, match="is damaged or no archive"):
            fetch(known, say=silent, opener=server.open)
        server.files[address.removeprefix("https:/")] = archives[address]
        assert told(corpus_of(known, fetch(known, say=silent, opener=server.open)))
        assert len(server.asked) == 2


def test_what_lies_in_the_place_of_a_corpus_stays(
    libri: tuple[Entry, Server], tmp_path: Path
) -> None:
    known, server = libri
    (tmp_path / "mine").mkdir()
    with pytest.raises(DownloadError, match="mine is there and no fetch has made it"):
        fetch(known, folder=tmp_path / "mine", say=silent, opener=server.open)
    new = fetch(known, folder=tmp_path / "new", say=silent, opener=server.open)
    with pytest.raises(DownloadError, match="new is there and holds the corpus librispeech-test-c"):
        fetch(entry("daps"), folder=new, say=silent, opener=server.open)


def test_room_is_looked_for_before_anything_is_fetched(
    libri: tuple[Entry, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, server = libri
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 100))
    with pytest.raises(DownloadError, match=r"has room for 100 bytes; make room, or name another"):
        fetch(known, say=silent, opener=server.open)
    assert server.asked == []
    # What broke off is there in part, and that needs no room again.
    whole, server.breaks = known.bytes or 0, 300
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 2 * whole))
    with pytest.raises(DownloadError, match="could not be fetched"):
        fetch(known, say=silent, opener=server.open)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 2 * whole - 300))
    assert fetch(known, say=silent, opener=server.open).is_dir()


def test_archives_stay_where_a_corpus_is_laid_out_otherwise(cache: Path) -> None:
    archives = {url: tarred({"test-clean/1.flac": sound("1.flac")})
                for url in archives_of("librispeech-test-clean")}  # fmt: skip
    with (
        serving(archives) as server,
        pytest.raises(DownloadError, match=r"is not laid out as rdbench knows it: .*please report"),
    ):
        fetch(imitated("librispeech-test-clean", archives), say=silent, opener=server.open)
    (part,) = cache.iterdir()
    assert [path.name for path in part.iterdir()] == ["test-clean.tar.gz"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_is_one_whatever_its_last_member_is(mode: str, tmp_path: Path) -> None:
    content = {"a/1.wav": b"RIFF", "a/texts.zip": zipped({"x.txt": b"hi"})}
    (tmp_path / "corpus.tar").write_bytes(tarred(content, mode))
    (tmp_path / "new").mkdir()
    found = unpack([tmp_path / "corpus.tar"], tmp_path / "new", lambda path: True)
    assert set(found.files) == set(content)


def linked(kind: bytes) -> bytes:
    """A tar with a link to a file outside, and one below it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("LibriSpeech/test-clean/link")
        info.type, info.linkname = kind, "../../../../outside"
        archive.addfile(info)
        data = sound("a.flac")
        info = tarfile.TarInfo("LibriSpeech/test-clean/link/1.flac")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("LibriSpeech/test-clean/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "../../../../outside")
    return out.getvalue()


def twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/1.wav", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/1.wav", b"2")
    return out.getvalue()


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (lambda: tarred({"../../outside": b"x"}), "leads out of its folder"),
        (lambda: tarred({"/tmp/rdbench-outside": b"x"}), "leads out of its folder"),
        (lambda: zipped({"a/../../../outside": b"x"}), "leads out of its folder"),
        (lambda: zipped({"C:\\outside": b"x"}), "leads out of its folder"),
        (lambda: linked(tarfile.SYMTYPE), "is not laid out"),
        (lambda: linked(tarfile.LNKTYPE), "is not laid out"),
        (zip_link, "nothing of the corpus"),
        (twice, "holds '1.wav' twice"),
        (lambda: zipped({"a/silence.wav": bytes(2**20)}), "more than 20 times its size"),
        (lambda: tarred({"a/silence.wav": bytes(2**20)}), "more than 20 times its size"),
        (lambda: zipped({"a/1.wav": sound("1.wav")})[:-30], "is damaged or no archive"),
        (lambda: archives_of("librispeech-test-clean").popitem()[1][:-400], "is damaged"),
        (lambda: b"<html>log in</html>", "is damaged or no archive"),
    ],
)
def test_nothing_leads_out_of_the_folder_or_grows_without_end(
    archive: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rdbench.corpora.unpack.SPARE_BYTES", 2**16)
    data = archive()  # type: ignore[operator]
    archives = dict.fromkeys(archives_of("librispeech-test-clean"), data)
    known = imitated("librispeech-test-clean", archives)
    with serving(archives) as server, pytest.raises(DownloadError, match=said):
        fetch(known, say=silent, opener=server.open)
    assert not place_of(known.name).exists()
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == ["test-clean.tar.gz"]
    assert not list(Path("/tmp").glob("rdbench-outside"))
