"""The runs that are merged: each whole, at rest, of this schema, and named by what it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.store.lock import session_of
from rdbench.store.manifest import read_manifest, stored_manifest
from rdbench.store.schema import SCHEMA_VERSION
from rdbench.types import StoreError


@dataclass(frozen=True)
class Source:
    """One of the runs.

    name: how errors call it, its folder. origin: how rows call it, its folder's name with the first
    digits of the hash of its manifest. manifest: as read.
    """

    folder: Path
    name: str
    origin: str
    manifest: Mapping[str, Any]

    def clips(self) -> Iterator[Mapping[str, Any]]:
        """What its manifest says of its clips."""
        yield from (self.manifest.get("corpus") or {}).get("clips", ())

    def domains(self) -> dict[str, set[str]]:
        """The names of its clips by domain."""
        found: dict[str, set[str]] = {}
        for clip in self.clips():
            found.setdefault(str(clip.get("domain")), set()).add(str(clip.get("name")))
        return found

    def said(self, name: str) -> str:
        """How the merged manifest names an entry of its `provenance`."""
        told = self.provenance().get(name)
        if told is None:
            return name
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def provenance(self) -> dict[str, dict[str, Any]]:
        """What it says under `provenance`, each entry with the run that its rows come from.

        What it was merged from itself stays the run that they come from.
        """
        known = self.manifest.get("provenance") or {}
        return {name: {"run": self.origin, **entry} for name, entry in known.items()}


def read_sources(folders: Sequence[Path]) -> list[Source]:
    """The runs in `folders`; raises StoreError where one is no run, or cannot be merged yet."""
    if len(folders) < 2:
        raise StoreError("one run alone is not merged; name two or more")
    seen: dict[Path, Path] = {}
    sources = []
    for folder in map(Path, folders):
        if (place := folder.resolve()) in seen:
            raise StoreError(f"{folder} is named twice ({seen[place]}); name each run once")
        seen[place] = folder
        sources.append(_read(folder))
    return sources


def _read(folder: Path) -> Source:
    version = stored_manifest(folder)["schema_version"]
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{folder} is of schema {version}, and this rdbench writes {SCHEMA_VERSION}; run its "
            "spec again in it, which brings it up and measures nothing twice, and merge then"
        )
    session = session_of(folder)
    if session is not None and session.running:
        raise StoreError(
            f"{folder} is being written by process {session.pid} on {session.host}; merge it when "
            "that has ended"
        )
    manifest = read_manifest(folder)
    missing = [key for key in ("protocol", "plan", "corpus", "systems") if not manifest.get(key)]
    if missing:
        raise StoreError(
            f"the manifest of {folder} has no {missing[0]}, so that nobody can tell whether it "
            "belongs to the others; run its spec again in it, and merge then"
        )
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:8]
    return Source(folder, str(folder), f"{folder.resolve().name} {digest}", manifest)
