"""Opens the corpus that a spec names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.types import AudioError

if TYPE_CHECKING:
    from rdbench.audio.clip import Corpus
    from rdbench.spec.model import BenchmarkSpec


def load_corpus(spec: BenchmarkSpec) -> Corpus:
    """The clips of `spec`; raises AudioError where none are left, SpecError for a bad manifest."""
    from rdbench.audio.corpus import embedded_corpus, folder_corpus, manifest_corpus

    wanted = spec.corpus
    path = spec.corpus_path
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
    chosen = corpus.select(domains=wanted.domains, limit=wanted.limit)
    if not chosen.clips:
        domains = ", ".join(wanted.domains or ())
        raise AudioError(
            f"corpus {corpus.name!r} has no clip of the domains {domains}; change corpus.domains"
        )
    return chosen


def unread(spec: BenchmarkSpec) -> str:
    """A sentence on a manifest that lies in a folder whose files are all taken, or ""."""
    path = spec.corpus_path
    if path is None or spec.corpus.kind != "folder" or not (path / "manifest.csv").is_file():
        return ""
    return (
        f"{path} has a manifest.csv, which a corpus of the kind folder does not read: all clips "
        f"are taken as {spec.corpus.unnamed_domain!r}; set corpus.kind to manifest for its domains "
        "and groups"
    )
