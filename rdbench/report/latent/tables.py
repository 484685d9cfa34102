"""The tables of the report on latents, of one domain each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.latent.truncation import ALLOWED, ORDERS
from rdbench.latent.summary import ALL
from rdbench.report.cards import ordered, records
from rdbench.report.latent.content import Latent, LatentContent
from rdbench.report.names import clean
from rdbench.report.numbers import Write, kbps_text, score_text, signed
from rdbench.report.tables.table import Cell, Table, TableColumn, words

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.report.cards import MetricCard

RUNGS = {
    "N(0, I)": "N(0, I)",
    "Gaussian prior": "diagonal",
    "full-covariance Gaussian": "full",
    "AR(4) Gaussian": "AR(4)",
    "flow-matching probe": "probe",
}
"""What tables call a rung."""


def _tiny(value: float) -> str:
    return f"{value:.1e}" if value else "0"


STATISTICS: dict[str, tuple[str, Callable[[float], str]]] = {
    "effective_rank": ("effective rank", "{:.1f}".format),
    "active_kl": ("active (KL)", "{:.0f}".format),
    "active_variance": ("active (Var μ)", "{:.0f}".format),
    "norm": ("E‖z‖²/D", "{:.3f}".format),
    "kl_silence": ("KL silence", "{:.1f}".format),
    "kl_transient": ("KL transient", "{:.1f}".format),
    "kl_steady": ("KL steady", "{:.1f}".format),
    "outlier_rate": ("4σ rate", _tiny),
    "wasserstein": ("W1", "{:.3f}".format),
    "autocorrelation": ("lag-1 corr.", "{:.2f}".format),
    "time_slope": ("time slope", "{:.2f}".format),
    "channel_slope": ("channel slope", "{:.2f}".format),
}
COPIED = ("kl_silence", "kl_transient", "kl_steady", "norm", "effective_rank", "active_kl")
"""The statistics that are shown of copies; all are in the CSV."""
LONGEST_REASON = 200
_WARNED = ("collapse_all", "rolled")


def ladder(content: LatentContent, domain: str) -> Table | None:
    """Kbps under each prior, and what the last leaves."""
    table = content.ladder[content.ladder["domain"] == domain]
    latents = content.latents(table)
    rungs = [rung for rung in RUNGS if rung in set(table["rung"])]
    if not latents:
        return None
    found = {(row.system, row.point, row.rung): row for row in records(table)}
    columns = []
    for rung in rungs:
        rows = [found.get((*latent, rung)) for latent in latents]
        columns.append(TableColumn(RUNGS[rung], [_rate(row) for row in rows]))
    for rung in rungs[1:]:
        rows = [found.get((*latent, rung)) for latent in latents]
        columns.append(TableColumn(f"learnt by {RUNGS[rung]}", [_fall(row) for row in rows]))
    return Table(
        "ladder", "Prior ladder (kbps)",
        "kbps that a generator must model under each prior, and what each learns: what falls away "
        "against the prior to its left. What stays under the last must be stored, as far as these "
        "priors go.",
        _head(content, latents), columns,
    )  # fmt: skip


def statistics(content: LatentContent, domain: str) -> Table | None:
    """One row for each latent."""
    table = content.statistics
    table = table[table["domain"] == domain] if len(table) else table
    if table.empty:
        return None
    latents = content.latents(table)
    columns = []
    for key, (title, write) in STATISTICS.items():
        if key in table:
            values = [float(content.of(table, one)[key].iloc[0]) for one in latents]
            cells = [Cell(_plain(write(v)) if math.isfinite(v) else "") for v in values]
            columns.append(TableColumn(title, cells))
    return Table(
        "statistics", "Statistics",
        "KL in nats per frame to N(0, I). Active (KL): channels of at least 0.01 nat per frame; "
        "active (Var μ): of Var μ > 0.01. 4σ rate: 6.3e-5 of a Gaussian. Slopes: ln power of μ "
        "over ln frequency, 0 is white.",
        _head(content, latents), columns,
    )  # fmt: skip


def copies(content: LatentContent, domain: str) -> Table | None:
    """The statistics of degraded copies of the clips beside those of the clips."""
    table = content.copies
    table = table[table["domain"] == domain] if len(table) else table
    if table.empty:
        return None
    rows = [(one, str(copy)) for one in content.latents(table)
            for copy in dict.fromkeys(content.of(table, one)["copy"])]  # fmt: skip
    head = [
        *_head(content, [one for one, _ in rows]),
        words("clips", [clean(copy) if copy else "clean" for _, copy in rows]),
    ]
    columns = []
    for key in COPIED:
        title, write = STATISTICS[key]
        if key in table:
            found = (content.of(table[table["copy"] == copy], one)[key] for one, copy in rows)
            values = [float(cells.iloc[0]) for cells in found]
            cells = [Cell(_plain(write(v)) if math.isfinite(v) else "") for v in values]
            columns.append(TableColumn(title, cells))
    return Table(
        "copies", "Clean, noisy and reverberant clips",
        "The same clips with white noise (noise_20: 20 dB below the clip) and in a room (room_0.5: "
        "a reverberation time of 0.5 s). Places are those of the clean clips. What the KL in "
        "silence gains, the latent spends on noise and reverberation.",
        head, columns,
    )  # fmt: skip


def unmeasured(content: LatentContent, domain: str) -> list[str]:
    """Why latents have no statistics at all, a sentence each."""
    rows = content.points[content.points["domain"] == domain]
    rows = rows[(rows["kind"] == "latent") & (rows["backend"] == ALL)]
    return [
        f"{content.name(one)} has no statistics: "
        f"{clean(str(content.of(rows, one)['reason'].iloc[0]), longest=LONGEST_REASON)}."
        for one in content.latents(rows)
        if content.of(rows, one)["value"].isna().all()
    ]


def least(content: LatentContent, domain: str) -> Table | None:
    """k* of each latent, order and metric."""
    table = content.least[content.least["domain"] == domain]
    latents = content.latents(table)
    rows = [(one, order) for one in latents for order in ORDERS.values()
            if order in set(content.of(table, one)["order"])]  # fmt: skip
    if not rows:
        return None
    head = [*_head(content, [one for one, _ in rows]), words("by", [order for _, order in rows])]
    columns = []
    for key, backend in content.metrics(table):
        part = table[(table["key"] == key) & (table["backend"] == backend)]
        found = {((row.system, row.point), row.order): row for row in records(part)}
        cells = [_least(found.get(row)) for row in rows]
        columns.append(TableColumn(content.card.metrics[key].name, cells))
    return Table(
        "least_channels", "Channels that suffice (k*)",
        f"k*: the least number of channels, of those that were decoded, with an error of at most "
        f"{ALLOWED:g} times that of the full sample; > k where the largest number does not "
        "suffice. An error is the distance to the reference's own score, and for a ratio in dB "
        "the power of the noise.",
        head, columns,
    )  # fmt: skip


def decoded(
    content: LatentContent, table: pd.DataFrame, domain: str, *, name: str, title: str, caption: str
) -> Table | None:
    """Scores of variants with intervals of what they differ from the sample by."""
    table = table[table["domain"] == domain]
    rows = [
        (one, name)
        for one in content.latents(table)
        for name in ordered(list(content.of(table, one)["variant"]), content.variants)
    ]
    if not rows:
        return None
    head = [
        *_head(content, [one for one, _ in rows]),
        words("decoded", [clean(v) for _, v in rows]),
    ]
    columns = []
    for key, backend in content.metrics(table):
        metric = content.card.metrics[key]
        part = table[(table["key"] == key) & (table["backend"] == backend)]
        found = {((row.system, row.point), row.variant): row for row in records(part)}
        cells = [_score(found.get(row), score_text(metric)) for row in rows]
        columns.append(TableColumn(f"{metric.name} {metric.arrow}".strip(), cells))
    return Table(name, title, caption, head, columns)


def gap(content: LatentContent, domain: str) -> Table | None:
    """The gap's terms."""
    table = content.gap[content.gap["domain"] == domain]
    rows = [(one, str(term)) for one in content.latents(table)
            for term in dict.fromkeys(content.of(table, one)["term"])]  # fmt: skip
    if not rows:
        return None
    head = [*_head(content, [one for one, _ in rows]), words("term", [term for _, term in rows])]
    columns = []
    for key, backend in content.metrics(table):
        metric = content.card.metrics[key]
        write = signed(score_text(metric))
        part = table[(table["key"] == key) & (table["backend"] == backend)]
        found = {((row.system, row.point), row.term): row for row in records(part)}
        cells = [_interval(found.get(row), "difference", write) for row in rows]
        columns.append(TableColumn(metric.name, cells))
    return Table(
        "gap", "The gap of predicted latents",
        "What is lost, paired over clips, positive where it is a loss: by the posterior's noise "
        "(mean against sample), by the generator (sample against prediction), in total; and what "
        "a projection wins back.",
        head, columns,
    )  # fmt: skip


def best(content: LatentContent, domain: str) -> Table | None:
    """In what share of draws each latent of a sweep is the best for samples and predictions."""
    table = content.generation
    table = table[table["domain"] == domain]
    places = table[["curve", "system", "point"]].drop_duplicates()
    sweeps = places["curve"].value_counts()
    table = table[table["curve"].map(sweeps) > 1]
    if table.empty:
        return None
    latents = content.latents(table)
    kinds = list(dict.fromkeys(table["decoded"]))
    rows = [(one, kind) for kind in kinds for one in latents]
    rates = [float(content.of(table, one)["kbps"].iloc[0]) for one, _ in rows]
    head = [
        *_head(content, [one for one, _ in rows]),
        words("decoded", [kind for _, kind in rows]),
        words("kbps", [kbps_text(rate) for rate in rates], right=True),
    ]
    columns = []
    for key, backend in content.metrics(table):
        part = table[(table["key"] == key) & (table["backend"] == backend)]
        found = {((row.system, row.point), row.decoded): row for row in records(part)}
        write = _telling_apart(content.card.metrics[key], part)
        cells = [_share(found.get(row), write) for row in rows]
        columns.append(TableColumn(content.card.metrics[key].name, cells))
    return Table(
        "generation", "Which is best",
        "The score, and in brackets in what share of draws (of groups of clips, and of the "
        "generator's seeds) the latent is the best of its sweep. Bold: the best.",
        head, columns,
    )  # fmt: skip


def ignored(content: LatentContent, domain: str) -> list[str]:
    """A warning for each latent that its decoder seems to ignore."""
    said = []
    table = content.collapse[content.collapse["domain"] == domain]
    intervals = {
        (row.system, row.point, row.variant, row.key, row.backend): (row.low, row.high)
        for row in records(content.points[content.points["domain"] == domain])
    }
    for one in content.latents(table):
        for variant in _WARNED:
            rows = content.of(table, one)
            within = []
            for row in records(rows[rows["variant"] == variant]):
                low, high = intervals.get(
                    (*one, row.reference_variant, row.key, row.backend), (np.nan, np.nan)
                )
                within += [row.key] * (low <= row.value <= high)
            names = [content.card.metrics[key].name for key, _ in content.metrics(rows)
                     if key in within]  # fmt: skip
            if names:
                said.append(
                    f"Warning: {content.name(one)} may ignore its latent: {variant} scores "
                    f"within the interval of the sample by {', '.join(names)}."
                )
    return said


def _head(content: LatentContent, latents: Sequence[Latent]) -> list[TableColumn]:
    return [words("latent", [content.name(one) for one in latents])]


def _rate(row: Any) -> Cell:
    if row is None or not math.isfinite(row.kbps):
        return Cell("")
    ends = (kbps_text(row.low), kbps_text(row.high)) if math.isfinite(row.low) else ("", "")
    return Cell(kbps_text(row.kbps), *ends)


def _fall(row: Any) -> Cell:
    def write(value: float) -> str:
        return _plain(f"{value + 0.0:.2f}")

    if row is None or not math.isfinite(row.falls):
        return Cell("")
    known = math.isfinite(row.falls_low)
    return Cell(write(row.falls), *((write(row.falls_low), write(row.falls_high)) if known else ()))


def _least(row: Any) -> Cell:
    if row is None or not (math.isfinite(row.least) or row.reason.startswith("more")):
        return Cell("")
    return Cell(f"{row.least:.0f}" if math.isfinite(row.least) else f"> {row.most:.0f}")


def _score(row: Any, write: Callable[[float], str]) -> Cell:
    """The score; in brackets the interval of its difference from the reference's."""
    if row is None or not math.isfinite(row.value):
        return Cell("")
    own = row.variant == row.reference_variant
    ends = (signed(write)(row.low), signed(write)(row.high))
    return Cell(write(row.value), *(ends if math.isfinite(row.low) and not own else ()))


def _interval(row: Any, column: str, write: Callable[[float], str]) -> Cell:
    value = math.nan if row is None else getattr(row, column)
    if not math.isfinite(value):
        return Cell("")
    ends = (write(row.low), write(row.high)) if math.isfinite(row.low) else ()
    return Cell(write(value), *ends)


def _telling_apart(metric: MetricCard, rows: pd.DataFrame) -> Write:
    """With a decimal more than usual where the best of a sweep would look like another."""
    usual = score_text(metric)
    for _, sweep in rows.groupby(["decoded", "curve"]):
        texts = [usual(value) for value in sweep["value"]]
        if any(texts.count(usual(value)) > 1 for value in sweep.loc[sweep["best"], "value"]):
            return score_text(metric, more=1)
    return usual


def _share(row: Any, write: Callable[[float], str]) -> Cell:
    if row is None or not math.isfinite(row.value):
        return Cell("")
    return Cell(write(row.value), count=f"({100 * row.share:.0f} %)", bold=bool(row.best))


def _plain(text: str) -> str:
    """With a minus for a hyphen, and none before a rounded zero."""
    zero = not text.strip("-0.")
    return text.lstrip("-") if zero else text.replace("-", "−") if text[0] == "-" else text
