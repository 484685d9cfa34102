"""A folder that is not the corpus, or not all of it, is told in one sentence that names why."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from imitations import BY_HAND, archives_of, imitated, sound, written

from rdbench.corpora.check import check
from rdbench.corpora.clips import corpus_of
from rdbench.corpora.entries import Entry, entries, entry
from rdbench.corpora.fetch import fetch
from rdbench.corpora.places import RECORD
from rdbench.types import SpecError


def silent(*_: object) -> None:
    pass


def brought(name: str, folder: Path) -> tuple[Entry, Path]:
    """The imitation of a corpus, unpacked."""
    archives = archives_of(name)
    known = imitated(name, archives)
    folder.mkdir(exist_ok=True)
    for archive in known.archives:
        for part in archive.parts:
            (folder / part.name).write_bytes(archives[part.url])
    return known, fetch(known, folder=folder / name, source=folder, say=silent)


def refused(known: Entry, folder: Path) -> str:
    with pytest.raises(SpecError) as caught:
        corpus_of(known, folder)
    said = str(caught.value)
    assert "\n" not in said
    assert list(check(known, folder, silent).findings)[:1] == [said]
    return said


def test_another_version_is_told_by_its_files(tmp_path: Path) -> None:
    old = written(tmp_path / "old", {"wav48/p225/p225_001.wav": sound("1.wav")})
    assert "not VCTK 0.92, microphone 1 but VCTK 0.80" in refused(entry("vctk"), old)
    stems = written(tmp_path / "stems", {"test/A - B.stem.wav": sound("1.wav")})
    assert "but MUSDB18 decoded from its stems" in refused(entry("musdb18-hq-test"), stems)


def test_another_folder_is_told_by_what_it_holds(tmp_path: Path) -> None:
    known, place = brought("librispeech-test-clean", tmp_path / "here")
    said = refused(entry("libritts-test-clean"), place / "LibriSpeech" / "test-clean")
    assert "it holds 3 audio files such as 1089/134686/1089-134686-0000.flac" in said
    assert "LibriTTS/test-clean/{group}/{chapter}/{id}.wav" in said
    (tmp_path / "empty").mkdir()
    assert "it holds no audio" in refused(known, tmp_path / "empty")


def test_how_clips_lie_is_told_without_regular_expressions(tmp_path: Path) -> None:
    told = {}
    for known in entries():
        told[known.name] = refused(known, tmp_path).partition("lie as ")[2].partition("; give")[0]
        assert not set(told[known.name]) & set("()?+[]\\^"), told[known.name]
    assert told["audioset-eval"] == "{id}.wav|flac|mp3|ogg|opus"
    assert told["daps"] == "daps/clean/{group}_scriptN_clean.wav"
    assert told["sqam"] == "NN.flac"
    assert told["moisesdb"] == "moisesdb/moisesdb_v0.1/{group}/*/*.wav"


def test_one_clip_of_a_table_under_two_files_is_refused(tmp_path: Path) -> None:
    known, place = entry("audioset-eval"), written(tmp_path / "as", BY_HAND["audioset-eval"])
    shutil.copyfile(place / "zzzzzzzzzzz_30.000.wav", place / "segments" / "zzzzzzzzzzz.wav")
    said = refused(known, place)
    assert "segments/zzzzzzzzzzz.wav and zzzzzzzzzzz_30.000.wav are both 'zzzzzzzzzzz' of" in said


def test_a_file_more_or_fewer_is_named(tmp_path: Path) -> None:
    known, place = brought("librispeech-test-clean", tmp_path)
    chapter = place / "LibriSpeech" / "test-clean" / "1089" / "134686"
    shutil.copyfile(chapter / "1089-134686-0000.flac", chapter / "mine.flac")
    assert "1089/134686/mine.flac is no part of it; move what is not" in refused(known, place)
    (chapter / "mine.flac").unlink()
    (chapter / "1089-134686-0001.flac").unlink()
    said = refused(known, place)
    assert "but 2 clips of 3 (1089/134686/1089-134686-0001.flac is missing)" in said
    (place / RECORD).unlink()  # of a folder that was unpacked by hand the count alone is known
    assert "but 2 clips of 3; unpack" in refused(known, place)
    (chapter / "1089-134686.trans.txt").unlink()
    assert "has no text (1089/134686/1089-134686.trans.txt is missing)" in refused(known, place)


def test_of_a_corpus_that_nobody_counted_the_record_tells(tmp_path: Path) -> None:
    known, place = brought("vctk", tmp_path)
    assert known.clips.count is None
    (place / "wav48_silence_trimmed" / "s5" / "s5_001_mic1.flac").unlink()
    assert "but 2 clips (wav48_silence_trimmed/s5/s5_001_mic1.flac is missing)" in refused(
        known, place
    )


def test_what_is_no_audio_and_what_was_changed_is_found(tmp_path: Path) -> None:
    known, place = brought("vctk", tmp_path)
    (place / "wav48_silence_trimmed" / "s5" / "s5_001_mic1.flac").write_bytes(b"fLaC no more")
    (place / "txt" / "p225" / "p225_001.txt").write_text("Another sentence.")
    (place / "txt" / "s5" / "s5_001.txt").unlink()
    findings = check(known, place, silent).findings
    assert [one.split(";")[0] for one in findings] == [
        "cannot be read as audio: wav48_silence_trimmed/s5/s5_001_mic1.flac",
        "missing: txt/s5/s5_001.txt",
        "changed since it was fetched: wav48_silence_trimmed/s5/s5_001_mic1.flac, "
        "txt/p225/p225_001.txt",
    ]


def test_a_corpus_that_was_fetched_under_another_name_is_found(tmp_path: Path) -> None:
    known, place = brought("librispeech-test-clean", tmp_path)
    record = place / RECORD
    record.write_text(record.read_text().replace(known.name, "vctk").replace(known.digest, "1"))
    assert [one.split(";")[0] for one in check(known, place, silent).findings] == [
        "a fetch brought vctk there",
        "it was fetched by another version of rdbench's entry of vctk, which may be why",
    ]
    record.write_text(record.read_text().replace("vctk", known.name))
    assert check(known, place, silent).findings == ()  # an entry may change in words alone


def test_tables_must_be_there_and_fit(tmp_path: Path) -> None:
    known, place = entry("common-voice"), written(tmp_path / "cv", BY_HAND["common-voice"])
    table = place / "test.tsv"
    whole = table.read_text()
    table.write_text(whole + "ef\tcommon_voice_de_9.mp3\tWeg.\t1\n")
    assert "lists common_voice_de_9.mp3, which is not there" in refused(known, place)
    table.write_text(whole.replace("path", "file", 1))
    assert "test.tsv cannot be read (it has no column 'path')" in refused(known, place)
    table.write_bytes(b"\xff\xfe")
    assert "test.tsv cannot be read" in refused(known, place)
    table.unlink()
    assert "lacks test.tsv, which says what its clips are" in refused(known, place)
    known, place = brought("esc-50", tmp_path / "esc")
    (place / known.clips.root / "meta" / "esc50.csv").write_text("filename,category\nx.wav,dog\n")
    assert "says nothing of '1-100032-A-0.wav'; take the table of this version" in refused(
        known, place
    )
