"""The clips of a run: the corpus that a spec names, each clip with the identity of its content."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.engine.plan.digests import clip_seed, digest
from rdbench.identity import FileHash, hash_file
from rdbench.types import SpecError

if TYPE_CHECKING:
    from rdbench.audio.clip import Clip, Corpus
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.spec.model import BenchmarkSpec, CorpusSpec


@dataclass(frozen=True)
class PlannedClip:
    """A clip with the identity of its content.

    content: digest of the file's bytes and the part that is used; "" where it cannot be read.
    failure: why it cannot be read. file: what the file held, so that whoever loads it later knows
    whether it still does. twin: an earlier clip with the same audio, "" for most.
    """

    clip: Clip
    content: str
    seed: int
    failure: str = ""
    file: FileHash | None = None
    twin: str = ""

    @property
    def name(self) -> str:
        """The clip's name."""
        return self.clip.name

    @property
    def domain(self) -> str:
        """The clip's domain."""
        return self.clip.domain


def load_corpus(spec: BenchmarkSpec) -> Corpus:
    """The clips of `spec`.

    Raises AudioError for a folder without audio, SpecError for a bad manifest, a public corpus that
    is not here, and domains that no clip has.
    """
    from rdbench.audio.corpus import embedded_corpus, folder_corpus, manifest_corpus

    wanted = spec.corpus
    path = spec.corpus_path
    if wanted.name is not None:
        from rdbench.corpora.clips import named_corpus

        return _drawn(named_corpus(wanted.name, path), wanted)
    if path is not None and not os.path.lexists(path):
        raise SpecError(
            f"the clips of {spec.name} are not there ({wanted.path}); name the folder that holds "
            "some with --data FOLDER (from Python: data=FOLDER), or mend `corpus.path`"
        )
    if path is None:
        corpus = embedded_corpus()
    elif wanted.kind == "folder":
        corpus = folder_corpus(path, domain=wanted.unnamed_domain, group_by=wanted.group_by)
    else:
        corpus = manifest_corpus(
            path,
            root=spec.corpus_root,
            allow_outside=wanted.allow_outside,
            domain=wanted.unnamed_domain,
        )
    return _drawn(corpus, wanted)


def _drawn(corpus: Corpus, wanted: CorpusSpec) -> Corpus:
    chosen = corpus.select(domains=wanted.domains, names=wanted.clips)
    drawn = wanted.sample
    return chosen.sample(drawn.clips, seed=drawn.seed, per=drawn.per) if drawn else chosen


def unread_manifest(spec: BenchmarkSpec) -> str:
    """A sentence on a manifest that lies in a folder whose files are all taken, or ""."""
    path = spec.corpus_path
    if path is None or spec.corpus.kind != "folder" or not (path / "manifest.csv").is_file():
        return ""
    return (
        f"{path} has a manifest.csv, which a corpus of the kind folder does not read: all clips "
        f"are taken as {spec.corpus.unnamed_domain!r}; set corpus.kind to manifest for its domains "
        "and groups"
    )


def plan_clips(corpus: Corpus, *, seed: int) -> list[PlannedClip]:
    """Identifies the content of every clip; a file that cannot be read becomes a failure."""
    from rdbench.audio.clip import name_problem

    hashes: dict[str, FileHash] = {}
    firsts: dict[tuple[str, int, int | None], str] = {}
    planned = []
    for clip in corpus.clips:
        path = str(clip.path)
        reason = name_problem(clip.path)
        try:
            if path not in hashes and not reason:
                hashes[path] = hash_file(clip.path)
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            planned.append(PlannedClip(clip, "", 0, f"{clip.name} cannot be read: {reason}"))
            continue
        file = hashes[path]
        content = digest([file.sha256, clip.start, clip.duration])
        first = firsts.setdefault(_part(file, clip), clip.name)
        twin = first if first != clip.name else ""
        planned.append(PlannedClip(clip, content, clip_seed(seed, content), file=file, twin=twin))
    return planned


def _part(file: FileHash, clip: Clip) -> tuple[str, int, int | None]:
    """Names the audio of a clip: times that differ by less than a microsecond are one."""
    lasts = None if clip.duration is None else round(clip.duration * 1e6)
    return file.sha256, round(clip.start * 1e6), lasts


def excerpt_protocols(spec: BenchmarkSpec, domains: Sequence[str]) -> dict[str, ExcerptProtocol]:
    """How the clips of each domain are prepared."""
    from rdbench.audio.load import ExcerptProtocol

    wanted = {domain: spec.protocol.for_domain(domain) for domain in domains}
    return {
        domain: ExcerptProtocol(p.sample_rate, p.channels, p.excerpt_seconds, p.gain)
        for domain, p in wanted.items()
    }


def batches_of(
    clips: Sequence[PlannedClip], *, seconds: float, longest: Mapping[str, float | None]
) -> list[list[PlannedClip]]:
    """Splits clips into batches of one domain, those of like duration together, long ones first.

    seconds: of audio per batch (at least one clip). longest: length of the excerpts by domain,
    None for whole clips. Exact lengths are known only after loading, so that a batch is grouped
    again then; sorting by the duration in the file's header keeps those groups full.
    """
    by_domain: dict[str, list[PlannedClip]] = {}
    for clip in clips:
        by_domain.setdefault(clip.domain, []).append(clip)
    batches: list[list[PlannedClip]] = []
    for domain, members in by_domain.items():
        limit = longest[domain] or math.inf
        hints = {clip.name: min(limit, duration_hint(clip)) for clip in members}
        room = 0.0
        for clip in sorted(members, key=lambda c: (-hints[c.name], c.name)):
            duration = hints[clip.name]
            if not batches or room < duration or batches[-1][0].domain != domain:
                batches.append([])
                room = seconds
            batches[-1].append(clip)
            room -= duration
    return batches


def duration_hint(planned: PlannedClip) -> float:
    """Seconds of a clip by its file's header; 0 where it cannot be told."""
    clip = planned.clip
    if clip.duration is not None:
        return clip.duration
    if planned.failure:
        return 0.0
    import soundfile

    try:
        return float(soundfile.info(str(clip.path)).duration)
    except (OSError, RuntimeError):
        return 0.0
