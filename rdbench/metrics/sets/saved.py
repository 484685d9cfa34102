"""Statistics of a set of references that are saved, named and used again.

One safetensors file, which is data: the moments of all windows (what a Fréchet distance needs),
some windows as they are with the clip that each is of (what a kernel distance needs), and as text
which embedding made them. Its SHA-256 is part of the key of every value that is measured against
it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.identity import read_hashed
from rdbench.types import SpecError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.metrics.sets.embedding import Embedding, Features

    Array = npt.NDArray[np.float64]

FORMAT = "rdbench reference statistics 1"
MAX_BYTES = 2**31
MOST_WINDOWS = 10_000
"""Windows that are kept as they are, drawn evenly over all clips."""


@dataclass(frozen=True)
class Origin:
    """What statistics are of.

    name: what people call them. embedding, identity: which features. sample_rate: hertz, at which
    they were made. clips, windows: how many.
    """

    name: str
    embedding: str
    identity: str
    sample_rate: int
    clips: int
    windows: int


@dataclass(frozen=True)
class Saved:
    """Statistics as they were read.

    count, mean, scatter: of all windows (`rdbench.metrics.sets.frechet.Moments`). groups: some of
    the windows of each clip, float64 (windows, dimensions). sha256: of the file.
    """

    origin: Origin
    mean: Array
    scatter: Array
    groups: Sequence[Array]
    sha256: str

    @property
    def name(self) -> str:
        """What people call them."""
        return self.origin.name

    @property
    def sample_rate(self) -> int:
        """Hertz, at which they were made."""
        return self.origin.sample_rate

    @property
    def count(self) -> int:
        """How many windows the moments are of."""
        return self.origin.windows

    def check(self, embedding: Embedding, *, key: str, fewest: int) -> None:
        """Raises SpecError unless they are of this embedding, by the same weights and code, and of
        so many clips as the metric needs.
        """
        found = (self.origin.embedding, self.origin.identity)
        if found != (embedding.name, embedding.identity):
            raise SpecError(
                f"metric {key!r}: the reference {self.name!r} is of {found[0]} ({found[1]}), not "
                f"of {embedding.name} ({embedding.identity}); save it again with "
                f"`rdbench reference-stats --metric {key}`"
            )
        if self.origin.clips < fewest:
            raise SpecError(
                f"metric {key!r}: the reference {self.name!r} is of {self.origin.clips} clips, and "
                f"{fewest} are needed; save it again of more"
            )


def write_saved(path: Path, origin: Origin, clips: Sequence[Features], *, fewest: int) -> Origin:
    """Saves the statistics of clips (windows, dimensions) each; returns what they are of.

    origin: its numbers of clips and windows are filled in. Raises SpecError for fewer than `fewest`
    clips with windows.
    """
    import numpy as np
    from safetensors.numpy import save

    from rdbench.metrics.sets.frechet import Moments
    from rdbench.store.atomic import write_atomic

    used = [clip for clip in clips if len(clip)]
    if len(used) < fewest:
        raise SpecError(
            f"{len(used)} of {len(clips)} clips are long enough for {origin.embedding}, and the "
            f"metric needs references of {fewest}; give more, or longer ones"
        )
    moments = Moments.of(used)
    windows = np.concatenate(used)
    owner = np.repeat(np.arange(len(used)), [len(clip) for clip in used])
    kept = np.unique(
        np.linspace(0, len(windows) - 1, min(len(windows), MOST_WINDOWS)).round().astype(int)
    )
    made = Origin(**{**asdict(origin), "clips": len(used), "windows": moments.count})
    arrays = {
        "mean": moments.mean,
        "scatter": moments.scatter,
        "windows": windows[kept].astype(np.float32),
        "clip": owner[kept].astype(np.int64),
    }
    text = {"format": FORMAT, "origin": json.dumps(asdict(made), sort_keys=True)}
    write_atomic(path, save(arrays, metadata=text))
    return made


def read_saved(path: Path, *, key: str) -> Saved:
    """The statistics in a file; raises SpecError for one that is absent or none of ours."""
    try:
        content, digest = read_hashed(path, limit=MAX_BYTES)
    except OSError as error:
        raise SpecError(
            f"metric {key!r}: the reference statistics {path} cannot be read ({error.strerror}); "
            f"save them with `rdbench reference-stats --metric {key}`"
        ) from error
    try:
        return _parsed(content, digest)
    except Exception as error:  # of a file that may be anybody's
        raise SpecError(
            f"metric {key!r}: {path} holds no reference statistics that can be used; save them "
            f"again with `rdbench reference-stats --metric {key}`"
        ) from error


def _parsed(content: bytes, digest: str) -> Saved:
    import numpy as np
    from safetensors.numpy import load

    text: Any = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    if text["format"] != FORMAT:
        raise ValueError(text["format"])
    origin = Origin(**json.loads(text["origin"]))
    arrays = load(content)
    mean, scatter, windows, clip = (arrays[name] for name in ("mean", "scatter", "windows", "clip"))
    size = len(mean)
    shapes = (mean.shape, scatter.shape, windows.shape, clip.shape)
    if shapes != ((size,), (size, size), (len(windows), size), (len(windows),)):
        raise ValueError(shapes)
    if not all(np.isfinite(one).all() for one in (mean, scatter, windows)):
        raise ValueError("not finite")
    groups = [windows[clip == number].astype(np.float64) for number in np.unique(clip)]
    return Saved(origin, mean, scatter, groups, digest)
