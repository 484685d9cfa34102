"""Files to be scored: a pair, two folders whose files are named alike, or audio alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.audio.corpus import AUDIO_SUFFIXES, folder_corpus
from rdbench.audio.places import places_of
from rdbench.codecs.elsewhere.clip_files import find_audio
from rdbench.codecs.elsewhere.places import Listing
from rdbench.engine.score import Pair
from rdbench.files import is_folder
from rdbench.types import AudioError, SpecError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FilePair:
    """One clip by its files. problem: why there is no reconstruction, or no reference, of it."""

    name: str
    reconstruction: Path | None
    reference: Path | None = None
    problem: str = ""

    @property
    def sample_rate(self) -> int:
        """Hertz, as the header of the first file says; 16 kHz where none can be read."""
        import soundfile

        try:
            return int(soundfile.info(str(self.reference or self.reconstruction)).samplerate)
        except (OSError, RuntimeError):
            return 16000

    def read(self) -> Pair:
        """Its audio; a file that cannot be read is its problem."""
        if self.problem or self.reconstruction is None:
            return self._without(self.problem)
        other: torch.Tensor | None = None
        other_rate = 0
        try:
            from rdbench.audio.load import read

            if self.reference is not None:
                other, other_rate = read(self.reference)
            samples, rate = read(self.reconstruction)
        except AudioError as error:
            return self._without(str(error))
        return Pair(self.name, samples, rate, other, other_rate)

    def _without(self, problem: str) -> Pair:
        return Pair(self.name, None, 0, problem=problem)


def find_pairs(reference: Path | None, reconstruction: Path) -> list[FilePair]:
    """The clips of two files or of two folders; reference None: of what is there alone.

    Files of folders are matched by their names without the endings; what has no match is a pair
    with its problem. Raises AudioError for a folder without audio, and SpecError where one side is
    a folder and the other is none, or a file is not there.
    """
    if is_folder(reconstruction):
        if reference is None:
            clips = folder_corpus(reconstruction).clips
            return [FilePair(clip.name, clip.path) for clip in clips]
        if is_folder(reference):
            return _of_folders(reference, reconstruction)
    for path in (reference, reconstruction):
        if path is not None and not path.is_file():
            what = "is a folder, and the other is none" if is_folder(path) else "is not there"
            raise SpecError(f"{path} {what}; give two audio files, or two folders of them")
    return [FilePair(reconstruction.name, reconstruction, reference)]


def _of_folders(reference: Path, reconstruction: Path) -> list[FilePair]:
    clips = folder_corpus(reference).clips
    listing = Listing.of(reconstruction, "RECONSTRUCTION")
    places = places_of([clip.name for clip in clips])
    found = find_audio(listing, places, {})
    pairs = []
    for clip in clips:
        own = found[clip.name]
        path = own.audio.path if own.audio else None
        pairs.append(FilePair(clip.name, path, clip.path, own.problem))
    return [*pairs, *_strangers(listing, set(places.values()))]


def _strangers(listing: Listing, known: set[str]) -> Iterator[FilePair]:
    """The audio of a folder of reconstructions that has no reference."""
    for place, paths in listing.files.items():
        for path in paths:
            if place not in known and path.name.lower().endswith(AUDIO_SUFFIXES):
                name = path.relative_to(listing.folder).as_posix()
                yield FilePair(name, path, problem="there is no reference of this name")
