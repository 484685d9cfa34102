"""Listening tests from the audio that a run has kept, for webMUSHRA (Schoeffler et al., 2018).

Three tests:

    mushra   ITU-R BS.1534-3: every chosen point of one clip on a scale from 0 to 100, with the
             hidden reference (which webMUSHRA adds) and low-pass versions at 3.5 and 7 kHz
    ab       one point against the reference: which of A and B is the reference?
    abx      two points against each other: which of A and B is X? X is either, by chance

A test is a folder:

    webmushra/configs/NAME.yaml    what webMUSHRA shows
    webmushra/configs/NAME/*.wav   what it plays: excerpts of one length and loudness
    key.csv                        which file is what; never to be served

Names in what is served are random letters. They, the trials and their order are drawn from the seed
and from what is tested (points, settings and the kept audio), and so is the end of NAME, which the
answers carry: those to one test are never read with the key of another (`rdbench import-scores`).
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rdbench.report.listening.audio import best_window, faded, levelled, low_pass_versions
from rdbench.report.listening.webmushra import configuration, mushra_page, pair_page
from rdbench.store.atomic import make_folder, trusted, write_atomic
from rdbench.store.audio import kept_audio, read_audio
from rdbench.store.variants import variants_of
from rdbench.suggest import nearest
from rdbench.text import cell
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    Samples = npt.NDArray[np.float32]

Kind = Literal["mushra", "ab", "abx"]
REFERENCE = "reference"
MOST_SIGNALS = 12
"""BS.1534-3: of a trial, hidden reference and low-pass versions among them."""
LONGEST = 12.0
LETTERS = "abcdefghjkmnpqrstuvwxyz"
KEY_COLUMNS = (
    "test", "trial", "stimulus", "clip", "condition", "against", "file", "gain_db",
)  # fmt: skip


@dataclass(frozen=True)
class ListeningTest:
    """What is asked for.

    points: SYSTEM/POINT or SYSTEM/POINT/VARIANT; empty for all that were kept but anchors, of which
    the test has its own. pairs: of such names, for abx. clips: how many trials' clips. seconds:
    longest excerpt. loudness: LUFS. domain: "" for all.
    """

    kind: Kind = "mushra"
    points: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    clips: int = 10
    seconds: float = 10.0
    loudness: float = -23.0
    domain: str = ""
    seed: int = 0
    title: str = "Listening test"


@dataclass
class _Folder:
    """The files of a test as they are made."""

    kind: str
    digest: str
    random: np.random.Generator
    used: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    key: list[dict[str, object]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the configuration; says nothing of what is tested."""
        return f"rdbench_{self.kind}_{self.digest}"

    def token(self) -> str:
        """Six letters that were not used yet."""
        while True:
            letters = self.random.choice(list(LETTERS), 6)
            if (word := "".join(letters)) not in self.used:
                self.used.add(word)
                return word

    def add(self, token: str, samples: Samples, sample_rate: int) -> str:
        """Keeps a WAV file and returns its path as webMUSHRA names it."""
        import soundfile

        sink = io.BytesIO()
        soundfile.write(sink, faded(samples, sample_rate).T, sample_rate, format="WAV",
                        subtype="PCM_24")  # fmt: skip
        path = f"configs/{self.name}/{token}.wav"
        self.files[path] = sink.getvalue()
        return path


def write_test(run: Path, out: Path, asked: ListeningTest) -> list[Path]:
    """Writes a listening test on the audio kept in `run` into the new folder `out`.

    Returns the configuration, the key, then the WAV files. The same arguments give the same files.
    Raises RdbenchError for points that are not there, for a run without kept audio, for more
    signals than a MUSHRA trial may have, and for an `out` that is not empty.
    """
    _check(asked)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RdbenchError(
            f"{out} is not empty, and a test that someone takes must not change; choose another "
            "folder with --out"
        )
    kept = _kept(run, asked.domain)
    trials = _pairs(kept, asked) if asked.kind == "abx" else _points(kept, asked)
    digest = _digest(kept, trials, asked)
    random = np.random.default_rng([asked.seed, int(digest, 16)])
    made = _Folder(asked.kind, digest, random)
    clips = _clips(kept, {name for trial in trials for name in trial}, asked, made.random)
    pages: list[dict[str, object]] = []
    for clip in clips:
        if asked.kind == "mushra":
            pages.append(_mushra(kept, clip, [name for (name,) in trials], asked, made))
        else:
            pages += [_pair(kept, clip, trial, asked, made) for trial in trials]
    order = made.random.permutation(len(pages))
    made.files[f"configs/{made.name}.yaml"] = configuration(
        asked.kind, asked.title, made.name, [pages[i] for i in order]
    )
    return _write(run, out, made)


def _check(asked: ListeningTest) -> None:
    if not 0.5 <= asked.seconds <= LONGEST:
        raise RdbenchError(
            f"excerpts of {asked.seconds:g} s are not what listeners compare; choose 0.5 to "
            f"{LONGEST:g} s (BS.1534-3: about 10)"
        )
    if asked.clips < 1:
        raise RdbenchError("a test needs at least one clip; give --clips 1 or more")
    if not -70 <= asked.loudness <= -10:
        raise RdbenchError(f"{asked.loudness:g} LUFS is no level to listen at; choose −70 to −10")
    if (asked.kind == "abx") != bool(asked.pairs):
        raise RdbenchError(
            "an abx test compares pairs of points: give --pair SYSTEM/POINT=SYSTEM/POINT with "
            "--test abx, and with no other test"
        )


def _kept(run: Path, domain: str) -> pd.DataFrame:
    """Kept audio with the columns condition ("" for a reference), clip, group and path.

    Besides, whether it is of an anchor, and whether of a system's own point (`headline`).
    """
    from rdbench.store.reader import read_manifest, read_rows

    found = kept_audio(run).astype(str)
    if found.empty:
        raise RdbenchError(f"{run} has kept no audio; make it with `rdbench run SPEC --keep-audio`")
    rows = read_rows(run)
    sides = rows.loc[rows["clip"] != "", ["clip", "domain", "group"]].astype(str)
    found = found.merge(sides.drop_duplicates("clip"), on="clip", how="inner")
    if domain:
        known = sorted(set(found["domain"]))
        if domain not in known:
            raise RdbenchError(f"no audio of the domain {domain!r}; there is {', '.join(known)}")
        found = found[found["domain"] == domain]
    names = found["system"] + "/" + found["point"] + "/" + found["variant"]
    manifest = read_manifest(run)
    variants = variants_of(manifest)
    rated = {name for name, card in variants.items() if card.rate}
    own = {name for name, card in variants.items() if card.headline}
    systems = manifest.get("systems")
    cards = systems if isinstance(systems, dict) else {}
    anchors = {name for name, card in cards.items() if card.get("headline", "") is None}
    return found.assign(
        condition=names.where(found["system"] != "", ""),
        anchor=found["system"].isin(anchors) & ~found["variant"].isin(rated),
        headline=found["variant"].isin(own),
    )


def _points(kept: pd.DataFrame, asked: ListeningTest) -> list[tuple[str, ...]]:
    """The chosen conditions, each alone; all but the run's anchors where none is chosen."""
    known = _conditions(kept)
    anchors = set(kept.loc[kept["anchor"], "condition"])
    chosen = [_condition(name, known) for name in asked.points]
    chosen = chosen or [name for name in known if name not in anchors]
    if not chosen:
        raise RdbenchError("no audio of a system with a rate was kept; choose points with --point")
    if asked.kind == "mushra" and len(chosen) > MOST_SIGNALS - 3:
        raise RdbenchError(
            f"{len(chosen)} points are too many for one MUSHRA trial (at most {MOST_SIGNALS - 3} "
            "beside the hidden reference and two low-pass versions, BS.1534-3); choose some with "
            "--point"
        )
    return [(name,) for name in dict.fromkeys(chosen)]


def _pairs(kept: pd.DataFrame, asked: ListeningTest) -> list[tuple[str, ...]]:
    known = _conditions(kept)
    pairs = [(_condition(one, known), _condition(two, known)) for one, two in asked.pairs]
    for one, two in pairs:
        if one == two:
            raise RdbenchError(f"a pair needs two different points, and not {one} twice")
    return list(dict.fromkeys(pairs))


def _conditions(kept: pd.DataFrame) -> dict[str, bool]:
    """The conditions by name, and whether each is a system's own point."""
    fields = kept[["condition", "headline"]].drop_duplicates()
    return {name: own for name, own in fields.itertuples(index=False, name=None) if name}


def _condition(name: str, known: Mapping[str, bool]) -> str:
    """SYSTEM/POINT/VARIANT of what SYSTEM/POINT may leave out."""
    found = [full for full in known if full == name or full.rpartition("/")[0] == name]
    if name in found:
        return name
    headline = [full for full in found if known[full]]
    if len(headline) == 1:
        return headline[0]
    shorter = [full.rpartition("/")[0] for full in known]
    raise RdbenchError(
        f"no audio was kept of the point {name!r}; {nearest(name, [*known, *shorter])}"
    )


def _digest(kept: pd.DataFrame, trials: Sequence[Sequence[str]], asked: ListeningTest) -> str:
    """Eight hexadecimal digits of what is tested: points, settings, and the audio behind them.

    A kept file is named by its unit key, which names codec, weights, clip and protocol; where the
    run lies does not count, and neither does the title.
    """
    conditions = {name for trial in trials for name in trial}
    heard = kept[kept["condition"].isin([*conditions, ""])]
    audio = sorted(
        (condition, clip, Path(path).stem)
        for condition, clip, path in heard[["condition", "clip", "path"]].itertuples(index=False)
    )
    settings = (asked.kind, asked.clips, asked.seconds, asked.loudness, asked.seed)
    content = repr((settings, [tuple(trial) for trial in trials], audio))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _clips(
    kept: pd.DataFrame, conditions: set[str], asked: ListeningTest, random: np.random.Generator
) -> list[str]:
    """Clips that all conditions have, of as many groups as there are, by chance."""
    wanted = kept[kept["condition"].isin([*conditions, ""])]
    counts = wanted.groupby("clip")["condition"].nunique()
    whole = sorted(counts.index[counts == len(conditions) + 1])
    if not whole:
        raise RdbenchError(
            "no clip has kept audio of the reference and of all chosen points; run again with "
            "--keep-audio, or choose fewer points with --point"
        )
    groups: dict[str, str] = dict(
        kept[["clip", "group"]].drop_duplicates("clip").itertuples(index=False)
    )
    by_group: dict[str, list[str]] = {}
    for index in random.permutation(len(whole)):
        clip = whole[index]
        by_group.setdefault(groups.get(clip) or clip, []).append(clip)
    chosen: list[str] = []
    for names in cycle(list(by_group.values())):
        if len(chosen) == min(asked.clips, len(whole)):
            break
        if names:
            chosen.append(names.pop())
    return chosen


def _versions(
    kept: pd.DataFrame, clip: str, conditions: Sequence[str], asked: ListeningTest
) -> tuple[dict[str, Samples], dict[str, float], int]:
    """The versions of one clip, trimmed and levelled; the reference has the name ""."""
    here = kept.loc[kept["clip"] == clip, ["condition", "path"]]
    paths: dict[str, str] = dict(here.itertuples(index=False))
    read = {name: read_audio(Path(paths[name])) for name in ("", *conditions)}
    rate = read[""][1]
    if any(other != rate for _, other in read.values()):
        raise RdbenchError(f"the audio of {clip} has several sample rates; run it again")
    shortest = min(samples.shape[-1] for samples, _ in read.values())
    window = best_window(read[""][0][..., :shortest], rate, asked.seconds)
    versions = {name: samples[..., window] for name, (samples, _) in read.items()}
    if asked.kind == "mushra":
        versions |= low_pass_versions(versions[""], rate)
    scaled, gains = levelled(versions, rate, reference="", target=asked.loudness)
    return scaled, gains, rate


def _mushra(
    kept: pd.DataFrame,
    clip: str,
    conditions: Sequence[str],
    asked: ListeningTest,
    made: _Folder,
) -> dict[str, object]:
    versions, gains, rate = _versions(kept, clip, conditions, asked)
    trial = made.token()
    reference = made.add(made.token(), versions.pop(""), rate)
    made.key.append(_key(made, trial, REFERENCE, clip, REFERENCE, "", reference, gains[""]))
    stimuli = {}
    names = list(versions)
    for index in made.random.permutation(len(names)):
        name, token = names[index], made.token()
        stimuli[token] = made.add(token, versions[name], rate)
        made.key.append(_key(made, trial, token, clip, name, "", stimuli[token], gains[name]))
    return mushra_page(trial, reference, stimuli)


def _pair(
    kept: pd.DataFrame, clip: str, trial: tuple[str, ...], asked: ListeningTest, made: _Folder
) -> dict[str, object]:
    """One condition against the reference (ab), or two against each other (abx)."""
    versions, gains, rate = _versions(kept, clip, trial, asked)
    shown, other = ("", trial[0]) if len(trial) == 1 else trial
    if len(trial) == 2 and made.random.random() < 0.5:
        shown, other = other, shown
    name, token = made.token(), made.token()
    reference = made.add(made.token(), versions[shown], rate)
    stimulus = made.add(token, versions[other], rate)
    against = shown or REFERENCE
    made.key.append(_key(made, name, REFERENCE, clip, against, "", reference, gains[shown]))
    made.key.append(_key(made, name, token, clip, other, against, stimulus, gains[other]))
    return pair_page(asked.kind, name, reference, {token: stimulus})


def _key(made: _Folder, *values: object) -> dict[str, object]:
    *most, gain = values
    assert isinstance(gain, float)
    return dict(zip(KEY_COLUMNS, (made.name, *most, round(gain, 2)), strict=True))


def _write(run: Path, out: Path, made: _Folder) -> list[Path]:
    served = out / "webmushra"
    sink = io.StringIO()
    writer = csv.DictWriter(sink, KEY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: cell(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in made.key
    )
    key, config = out / "key.csv", served / f"configs/{made.name}.yaml"
    contents: Mapping[Path, bytes] = {
        config: made.files.pop(f"configs/{made.name}.yaml"),
        key: sink.getvalue().encode(),
        **{served / name: content for name, content in sorted(made.files.items())},
    }
    for path, content in contents.items():
        make_folder(path.parent, within=trusted(out, run))
        write_atomic(path, content, within=trusted(out, run))
    return list(contents)
