"""One row of a run: what was measured, on what, how, and how it ended.

A row belongs to a unit of work, named by `unit_key`, the hash of everything that could change the
value (see `rdbench.engine.plan.keys`). Rates are stored in bits with the clip's unpadded `seconds`
beside them: the rate of a point over many clips is total bits over total seconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from rdbench.types import Status

SCHEMA_VERSION = 4
ONE_STREAM = "one stream"
"""How the backend of a rate ends that counts all clips as one stream (clip "")."""

LISTENERS = "subjective"
"""The folder of a run that holds listeners' answers, a table for each scale."""


class Kind(StrEnum):
    """What a row measures."""

    RATE = "rate"
    METRIC = "metric"
    COST = "cost"
    USAGE = "usage"
    LATENT = "latent"
    """A statistic of a continuous latent."""
    AUDIO = "audio"
    """A kept file (`rdbench.store.audio`); no reader of measurements sees these rows."""
    TRACE = "trace"
    """A trace (`rdbench.store.traces`); likewise."""
    FEATURE = "feature"
    """An array that a value of a set of clips is made of (`rdbench.store.features`); likewise."""
    NOTE = "note"
    """Something worth knowing of a clip, in the row's reason (clipped, silent, upsampled)."""


BESIDE = (Kind.AUDIO, Kind.TRACE, Kind.FEATURE, Kind.NOTE)
"""Kinds of rows that tell of something beside the measurements, whose readers do not see them."""


@dataclass(frozen=True, order=True)
class Quantity:
    """What is measured: one value for each unit that asks for it.

    kind, key: as in `Row`. model: under which probability model or prior bits are counted, on which
    machine a cost was measured; it is the row's `backend` then. "" where any will do.
    """

    kind: Kind
    key: str
    model: str = ""


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    unit_key: hash of the unit of work. clip: the clip's name; "" for quantities of a whole point.
    group: the unit of sampling (speaker, session, …). seconds: unpadded seconds of the excerpt
    (0 where there is no clip). kind, key: for example rate/payload, metric/pesq_wb,
    cost/encode_rtf. unit: "bit", "dB", … backend: which program computed it (for rates, the
    probability model). value is NaN unless status is ok. provenance: names, in the manifest, the
    versions and the processor that it was measured with; "" in rows of earlier schemas.
    """

    unit_key: str
    system: str
    curve: str
    point: str
    variant: str
    clip: str
    domain: str
    group: str
    seconds: float
    kind: Kind
    key: str
    value: float
    unit: str
    backend: str
    status: Status
    reason: str
    provenance: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values by column name."""
        return {k: str(v) if isinstance(v, StrEnum) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Labels:
    """What a row is called, and its value does not depend on; fields as in `Row`."""

    system: str
    curve: str
    point: str
    variant: str
    clip: str
    domain: str
    group: str


LABELS: tuple[str, ...] = tuple(field.name for field in fields(Labels))
COLUMNS: tuple[str, ...] = tuple(Row.__dataclass_fields__)
MEASURED: tuple[str, ...] = tuple(column for column in COLUMNS if column != "provenance")
"""The columns that tell of the measurement itself."""
TEXT_COLUMNS: tuple[str, ...] = tuple(c for c in COLUMNS if c not in ("seconds", "value"))
