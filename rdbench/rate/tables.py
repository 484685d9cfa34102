"""The file of `rdbench fit-entropy`: what was fitted, for which codec, on which clips.

JSON. Every entry belongs to one codec with its weights and one operating point (for a nested codec
its highest, the lower ones being cut from it) and holds static token tables, or fitted priors and
what latents are coded with. `fitted_on` are the SHA-256 of the files that were used: whoever scores
one of them with these tables is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rdbench.files import read_file
from rdbench.rate.coded.fitted import FittedLatent
from rdbench.rate.linear import LinearGaussian
from rdbench.rate.prior import GaussianPrior
from rdbench.rate.static import StaticTables
from rdbench.types import RdbenchError

FORMAT = "rdbench entropy tables"
VERSION = 2
"""Version 1 had no priors but the factorised one; what it lacks was not fitted."""
MAX_BYTES = 256 * 1024 * 1024
MAX_VALUES = 8_000_000
"""In memory, a small value takes some 60 bytes; the tables of our benchmarks have 40,000."""


class TablesError(RdbenchError):
    """A tables file that cannot be read, is not for this codec, or was fitted on these clips."""


@dataclass(frozen=True)
class Entry:
    """What was fitted for one codec at one point.

    codec, weights_sha256: as in `CodecInfo`. point: the name of the operating point. prior, full,
    linear: Gaussians that are factorised, of full covariance, and autoregressive.
    """

    codec: str
    weights_sha256: str
    point: str
    tokens: StaticTables | None = None
    prior: GaussianPrior | None = None
    full: LinearGaussian | None = None
    linear: LinearGaussian | None = None
    latent: FittedLatent | None = None

    @property
    def priors(self) -> tuple[GaussianPrior | LinearGaussian, ...]:
        """Those that were fitted; each knows more than the one before."""
        return tuple(p for p in (self.prior, self.full, self.linear) if p is not None)


@dataclass(frozen=True)
class Tables:
    """A tables file: entries, and the SHA-256 of the audio files that they were fitted on."""

    entries: tuple[Entry, ...]
    fitted_on: tuple[str, ...]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def fitted_digest(self) -> str:
        """One hash of the files that were used, in any order."""
        return hashlib.sha256("\n".join(sorted(self.fitted_on)).encode()).hexdigest()

    @property
    def label(self) -> str:
        """How rows name these tables: the first digits of the hash of what they were fitted on."""
        return f"fit {self.fitted_digest[:8]}"

    def get(self, codec: str, weights_sha256: str, points: Sequence[str]) -> Entry | None:
        """The entry of a codec at the first of `points` that there is; None where there is none."""
        for point in points:
            for entry in self.entries:
                if (entry.codec, entry.weights_sha256, entry.point) == (
                    codec, weights_sha256, point,
                ):  # fmt: skip
                    return entry
        return None

    def check_apart(self, scored: Iterable[tuple[str, str]]) -> None:
        """Refuses clips that the tables were fitted on; `scored` are (name, SHA-256 of the file).

        Raises TablesError, naming the first such clip.
        """
        known = set(self.fitted_on)
        same = [name for name, digest in scored if digest in known]
        if same:
            raise TablesError(
                f"clip {same[0]!r} is one of the {len(known)} clips that the entropy tables were "
                f"fitted on ({len(same)} such clips): rates would be too low; fit on other clips"
            )

    def dumps(self) -> bytes:
        """The file, for `load`."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "about": self.about,
            "fitted_on": sorted(self.fitted_on),
            "entries": [_entry_json(entry) for entry in self.entries],
        }
        return f"{json.dumps(content, separators=(',', ':'))}\n".encode()

    @classmethod
    def load(cls, path: Path) -> Tables:
        """Reads a file; raises TablesError for anything but what `dumps` made."""
        try:
            raw = read_file(path, MAX_BYTES)
        except OSError as error:
            raise TablesError(
                f"cannot read the entropy tables {path} ({error.strerror}); make them with "
                "`rdbench fit-entropy`"
            ) from None
        if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_VALUES:
            raise TablesError(f"{path} holds more than {MAX_VALUES} values; fit fewer systems")
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise TablesError(f"{path} is not a file of `rdbench fit-entropy`; give one that is")
        if content.get("version") not in range(1, VERSION + 1):
            raise TablesError(
                f"{path} is of version {content.get('version')}, this rdbench reads 1 to "
                f"{VERSION}; fit again"
            )
        try:
            return cls(
                tuple(_entry(item) for item in content["entries"]),
                tuple(str(digest) for digest in content["fitted_on"]),
                dict(content.get("about", {})),
            )
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RdbenchError):
            raise TablesError(f"{path} is damaged; run `rdbench fit-entropy` again") from None


def _entry_json(entry: Entry) -> dict[str, Any]:
    prior = entry.prior
    return {
        "codec": entry.codec,
        "weights_sha256": entry.weights_sha256,
        "point": entry.point,
        "tokens": entry.tokens.as_json() if entry.tokens else None,
        "prior": [prior.mean.tolist(), prior.scale.tolist()] if prior else None,
        "full": entry.full.as_json() if entry.full else None,
        "linear": entry.linear.as_json() if entry.linear else None,
        **(entry.latent or FittedLatent()).as_json(),
    }


def _entry(item: dict[str, Any]) -> Entry:
    tokens, prior = item["tokens"], item["prior"]
    return Entry(
        str(item["codec"]),
        str(item["weights_sha256"]),
        str(item["point"]),
        None if tokens is None else StaticTables.from_json(tokens),
        None if prior is None else _prior(*prior),
        _linear(item.get("full")),
        _linear(item.get("linear")),
        None if item["latent"] is None else FittedLatent.from_json(item),
    )


def _linear(content: Any) -> LinearGaussian | None:
    return None if content is None else LinearGaussian.from_json(content)


def _prior(mean: Any, scale: Any) -> GaussianPrior:
    found = GaussianPrior(np.array(mean, np.float64), np.array(scale, np.float64))
    fine = found.mean.ndim == 1 and found.mean.shape == found.scale.shape
    if not (fine and np.isfinite(found.mean).all() and (found.scale > 0).all()):
        raise ValueError("an impossible prior")
    return found
