"""Small imitations of public corpora, in their layouts, and a server that has them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import struct
import tarfile
import threading
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from rdbench.corpora.entries import Archive, Entry, File, entry

Tree = Mapping[str, bytes]

ENDS = {".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3"}


@cache
def sound(name: str, rate: int = 16000, seconds: float = 0.1) -> bytes:
    """Noise that the name decides, in the format of its ending."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, round(rate * seconds))
    out = io.BytesIO()
    soundfile.write(out, noise, rate, format=ENDS[Path(name).suffix])
    return out.getvalue()


def tree(*sounds: str, **texts: str) -> Tree:
    """Files by path: noises, and texts (a double underscore is a slash, a single a dot)."""
    return {name: sound(name) for name in sounds} | {
        name.replace("__", "/").replace("_DOT_", "."): text.encode() for name, text in texts.items()
    }


def zipped(content: Tree) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(content: Tree, mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def split(whole: bytes, at: int) -> tuple[bytes, bytes]:
    """A zip in two parts, as Info-ZIP splits one: places are counted within their part."""
    size, start = struct.unpack("<II", whole[-10:-2])
    table, end = bytearray(whole[start : start + size]), bytearray(whole[start + size :])
    place = 0
    while place < len(table):
        name, extra, comment = struct.unpack("<HHH", table[place + 28 : place + 34])
        (offset,) = struct.unpack("<I", table[place + 42 : place + 46])
        part, offset = (1, offset - at) if offset >= at else (0, offset)
        table[place + 34 : place + 36] = struct.pack("<H", part)
        table[place + 42 : place + 46] = struct.pack("<I", offset)
        place += 46 + name + extra + comment
    end[4:8] = struct.pack("<HH", 1, 1)
    end[16:20] = struct.pack("<I", start - at)
    return whole[:at], bytes(whole[at:start] + table + end)


def archives_of(name: str) -> dict[str, bytes]:
    """The files of a corpus's imitation, by their addresses (in order, as its entry has them)."""
    known = entry(name)
    made = _CONTENTS[name]()
    urls = [part.url for archive in known.archives for part in archive.parts]
    return dict(zip(urls, made, strict=True)) if urls else {}


def imitated(name: str, archives: Mapping[str, bytes]) -> Entry:
    """The entry with sizes and checksums of the imitation, and as many clips."""
    known = entry(name)

    def told(file: File, data: bytes) -> dict[str, Any]:
        keep = {"sha256": hashlib.sha256(data).hexdigest()} if file.sha256 else {}
        keep |= {"md5": hashlib.md5(data).hexdigest()} if file.md5 else {}
        return keep | ({"bytes": len(data)} if file.bytes else {})

    changed: list[Archive] = []
    for one in known.archives:
        earlier = [e.model_copy(update=told(e, archives[e.url])) for e in one.earlier]
        update = told(one, archives[one.url]) | {"earlier": tuple(earlier)}
        changed.append(one.model_copy(update=update))
    count = len(EXPECTED[name]) if known.clips.count else None
    clips = known.clips.model_copy(update={"count": count})
    return known.model_copy(update={"archives": tuple(changed), "clips": clips})


def _librispeech(part: str) -> list[bytes]:
    chapter = f"LibriSpeech/{part}/1089/134686"
    files = [f"{chapter}/1089-134686-000{n}.flac" for n in range(2)]
    files += [f"LibriSpeech/{part}/121/1/121-1-0000.flac"]
    texts = {
        f"{chapter}/1089-134686.trans.txt": (
            b"1089-134686-0000 HE HOPED\n1089-134686-0001 STUFF IT\n"
        ),
        f"LibriSpeech/{part}/121/1/121-1.trans.txt": b"121-1-0000 ALSO\n",
        "LibriSpeech/README.TXT": b"readme",
    }
    return [tarred({name: sound(name) for name in files} | texts)]


def _libritts(part: str) -> list[bytes]:
    one = f"LibriTTS/{part}/1089/134686/1089_134686_000001_000001"
    return [
        tarred({
            f"{one}.wav": sound("a.wav"), f"{one}.normalized.txt": b"He hoped.",
            f"{one}.original.txt": b"He hoped .",
        })
    ]  # fmt: skip


def _vctk() -> list[bytes]:
    sounds = [f"wav48_silence_trimmed/{speaker}/{speaker}_001_mic{mic}.flac"
              for speaker in ("p225", "p315", "s5") for mic in (1, 2)]  # fmt: skip
    texts = {"txt/p225/p225_001.txt": b"Please call Stella.\n", "txt/s5/s5_001.txt": b"Six\n"}
    return [zipped({name: sound(name) for name in sounds} | texts)]


def _daps() -> list[bytes]:
    names = [f"daps/{where}/{who}_script1_{where}.wav" for where in ("clean", "ipad_office1")
             for who in ("f1", "m10")]  # fmt: skip
    return [
        tarred({name: sound(name) for name in names} | {"daps/clean/._f1_script1_clean.wav": b"x"})
    ]


def _ears() -> list[bytes]:
    speakers = [f"p10{n}" for n in range(2, 8)]
    parts = [
        zipped(tree(f"{one}/emo_fear_sentences.wav", f"{one}/freeform_speech_01.wav"))
        for one in speakers
    ]
    return [*parts, json.dumps({"emo_fear_sentences": "Did you hear that?"}).encode()]


def _fsd50k() -> list[bytes]:
    whole = zipped(tree("FSD50K.eval_audio/37199.wav", "FSD50K.eval_audio/175151.wav",
                        "FSD50K.eval_audio/253463.wav"))  # fmt: skip
    first, last = split(whole, len(whole) // 2)
    known = (("37199", "ann", "rain"), ("175151", "bob", "dog"), ("253463", "ann", "bell"))
    facts = {key: {"uploader": who, "title": title} for key, who, title in known}
    table = {"FSD50K.metadata/eval_clips_info_FSD50K.json": json.dumps(facts).encode()}
    return [first, last, zipped(table)]


def _esc50() -> list[bytes]:
    root = "ESC-50-33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
    sounds = tree(f"{root}/audio/1-100032-A-0.wav", f"{root}/audio/1-100032-B-0.wav")
    table = b"filename,fold,target,category\n1-100032-A-0.wav,1,0,dog\n1-100032-B-0.wav,1,0,dog\n"
    return [zipped({**sounds, f"{root}/meta/esc50.csv": table})]


def _musdb() -> list[bytes]:
    songs = ("Al James - Schoolboy", "A-B - One - Two")
    names = [f"{part}/{song}/{stem}.wav" for part in ("train", "test") for song in songs
             for stem in ("mixture", "drums")]  # fmt: skip
    return [zipped(tree(*names))]


MOISES = "0ef0bc8f-4f5a-4b9f-9cf9-3d1b2d0a7b1e"


def _jamendo() -> list[bytes]:
    table = (
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
        "track_1100\tartist_7\talbum_1\t00/1100.mp3\t31.0\tgenre---pop\tinstrument---piano\n"
        "track_200\tartist_9\talbum_2\t00/200.mp3\t31.0\tgenre---rock\n"
        "track_201\tartist_9\talbum_2\t01/201.mp3\t31.0\tgenre---rock\n"
    )
    return [tarred(tree("00/1100.mp3", "00/200.mp3"), "w"), table.encode()]


def _song_describer() -> list[bytes]:
    table = (
        "caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration\n"
        '1,1004034,"A calm, slow song",True,0,451601,1,34/1004034.mp3,309.8\n'
        "2,1004034,Another caption,True,0,451601,1,34/1004034.mp3,309.8\n"
    )
    return [zipped(tree("audio/34/1004034.2min.mp3")), table.encode()]


def answers(listener: str, scores: Mapping[str, Mapping[str, float]]) -> bytes:
    """What the listening test app writes of a listener."""
    trials = "".join(
        f'<trial trialName="{trial}" trialSeconds="9" referencePlays="1">'
        + "".join(f'<testFile fileName="{file}" plays="1" score="{score}"/>'
                  for file, score in given.items())
        + "</trial>"
        for trial, given in scores.items()
    )  # fmt: skip
    return f'<MUSHRA><info subjectName="{listener}"/><session>{trials}</session></MUSHRA>'.encode()


ODAQ = {
    f"{method}_{item}": {
        "LP35.wav": 20.0, f"{method}_16.wav": 50.0, f"{method}_64.wav": 80.0, "reference.wav": 99.0
    }
    for method in ("LP", "TM") for item in ("bells", "talk")
}  # fmt: skip


def _odaq() -> list[bytes]:
    root = "ODAQ/ODAQ_listening_test"
    files = {f"{root}/{trial}/{file}": sound(f"{trial}/{file}", 44100, 0.6)
             for trial, given in ODAQ.items() for file in given}  # fmt: skip
    for n in range(3):
        moved = {trial: {file: score + n / 10 for file, score in given.items()}
                 for trial, given in ODAQ.items()}  # fmt: skip
        files[f"{root}/listener{n}.xml"] = answers(f"listener{n}", moved)
    return [zipped({**files, "ODAQ/ODAQ_unprocessed/bells.wav": sound("bells.wav")})]


_CONTENTS: dict[str, Callable[[], list[bytes]]] = {
    "librispeech-test-clean": lambda: _librispeech("test-clean"),
    "librispeech-test-other": lambda: _librispeech("test-other"),
    "libritts-test-clean": lambda: _libritts("test-clean"),
    "libritts-test-other": lambda: _libritts("test-other"),
    "vctk": _vctk,
    "daps": _daps,
    "ears-test": _ears,
    "fsd50k-eval": _fsd50k,
    "esc-50": _esc50,
    "musdb18-hq-test": _musdb,
    "moisesdb": lambda: [
        zipped(tree(*(f"moisesdb/moisesdb_v0.1/{MOISES}/{place}.wav" for place in
                      ("vocals/1a", "drums/2b"))))
    ],
    "mtg-jamendo-00": _jamendo,
    "song-describer": _song_describer,
    "sqam": lambda: [zipped(tree("01.flac", "27.flac", "49.flac"))],
    "odaq": _odaq,
}  # fmt: skip

BY_HAND: dict[str, Tree] = {
    "common-voice": tree(
        "clips/common_voice_de_1.mp3", "clips/common_voice_de_2.mp3", "clips/common_voice_de_3.mp3",
        test_DOT_tsv="client_id\tpath\tsentence\tup_votes\n"
        'ab\tcommon_voice_de_1.mp3\tEr sagte: "Ja\t2\n'
        "cd\tcommon_voice_de_3.mp3\tNein.\t2\n",
    ),
    "audioset-eval": tree(
        "Y-0RWZT-miFs.wav", "segments/YYQWZT-miFsa.wav", "zzzzzzzzzzz_30.000.wav",
        eval_segments_DOT_csv="# Segments csv created Sun Mar  5 10:54:25 2017\n# num_ytids=3\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '-0RWZT-miFs, 420.000, 430.000, "/m/0,/m/1"\n'
        'YYQWZT-miFs, 30.000, 40.000, "/m/0"\ngone_forever, 30.000, 40.000, "/m/0"\n'
        'zzzzzzzzzzz, 30.000, 40.000, "/m/0"\n',
    ),
}  # fmt: skip

_SPOKEN = [("1089/134686/1089-134686-0000.flac", "1089", "speech", "HE HOPED"),
           ("1089/134686/1089-134686-0001.flac", "1089", "speech", "STUFF IT"),
           ("121/1/121-1-0000.flac", "121", "speech", "ALSO")]  # fmt: skip
_READ = [("1089/134686/1089_134686_000001_000001.wav", "1089", "speech", "He hoped.")]

EXPECTED: dict[str, list[tuple[str, str, str, str]]] = {
    "librispeech-test-clean": _SPOKEN,
    "librispeech-test-other": _SPOKEN,
    "libritts-test-clean": _READ,
    "libritts-test-other": _READ,
    "vctk": [
        (f"wav48_silence_trimmed/{who}/{who}_001_mic1.flac", who, "speech", text)
        for who, text in (("p225", "Please call Stella."), ("p315", ""), ("s5", "Six"))
    ],
    "daps": [(f"clean/{who}_script1_clean.wav", who, "speech", "") for who in ("f1", "m10")],
    "ears-test": [
        (f"p10{n}/{what}.wav", f"p10{n}", "speech", text) for n in range(2, 8)
        for what, text in (("emo_fear_sentences", "Did you hear that?"), ("freeform_speech_01", ""))
    ],
    "common-voice": [("common_voice_de_1.mp3", "ab", "speech", 'Er sagte: "Ja'),
                     ("common_voice_de_3.mp3", "cd", "speech", "Nein.")],
    "esc-50": [(f"1-100032-{take}-0.wav", "100032", "sound", "dog") for take in "AB"],
    "fsd50k-eval": [("175151.wav", "bob", "sound", "dog"), ("253463.wav", "ann", "sound", "bell"),
                    ("37199.wav", "ann", "sound", "rain")],
    "audioset-eval": [(name, name, "sound", "") for name in
                      ("Y-0RWZT-miFs.wav", "zzzzzzzzzzz_30.000.wav")],
    "musdb18-hq-test": [("test/A-B - One - Two/mixture.wav", "A-B", "music", ""),
                        ("test/Al James - Schoolboy/mixture.wav", "Al James", "music", "")],
    "moisesdb": [(f"{MOISES}/{place}.wav", MOISES, "music", "") for place in
                 ("drums/2b", "vocals/1a")],
    "mtg-jamendo-00": [("00/1100.mp3", "artist_7", "music", ""),
                       ("00/200.mp3", "artist_9", "music", "")],
    "song-describer": [("34/1004034.2min.mp3", "451601", "music", "A calm, slow song")],
    "sqam": [("01.flac", "01.flac", "sound", ""), ("27.flac", "27.flac", "music", ""),
             ("49.flac", "49.flac", "speech", "")],
    "odaq": [(f"{trial}/reference.wav", trial[3:], "audio", "") for trial in sorted(ODAQ)],
}  # fmt: skip


def written(folder: Path, content: Tree) -> Path:
    """A folder with these files."""
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


class Server:
    """Serves files by host and path, and goes on from where it is asked to.

    asked: what was asked for, with the range. breaks: bytes after which the next answer breaks off.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = {url.removeprefix("https:/"): data for url, data in files.items()}
        self.asked: list[tuple[str, str | None]] = []
        self.breaks: int | None = None
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def open(self, url: str, headers: Mapping[str, str]) -> Any:
        """An opener of `rdbench.download` that finds here what lies elsewhere."""
        parts = urllib.parse.urlsplit(url)
        address = f"http://127.0.0.1:{self._server.server_port}/{parts.netloc}{parts.path}"
        return urllib.request.urlopen(urllib.request.Request(address, headers=dict(headers)))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.owner.asked.append((self.path.rpartition("/")[2], wanted))
        data = self.owner.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        mark = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        start = 0
        if wanted and self.headers.get("If-Range") == mark:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", mark)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop, self.owner.breaks = self.owner.breaks, None
        with contextlib.suppress(OSError):
            self.wfile.write(data[start : stop or len(data)])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    server = Server(files)
    try:
        yield server
    finally:
        server.close()
