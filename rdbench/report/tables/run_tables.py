"""The tables of a run, before they are Markdown, LaTeX or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rdbench.analysis.posterior import channel_kl, no_channels
from rdbench.analysis.seeds import seed_table
from rdbench.report.cards import RunCard, clips_text, describe, few_groups
from rdbench.report.names import slug
from rdbench.report.tables.bd_rates import BdRates, bd_rates, bd_tables, refusals
from rdbench.report.tables.bold import LEVEL, best_scores
from rdbench.report.tables.costs import cost_table
from rdbench.report.tables.notes import notes_table
from rdbench.report.tables.points import NOT_A_RATE, headline_columns, rate_table, score_table
from rdbench.report.tables.posteriors import posterior_tables
from rdbench.report.tables.rows import point_keys
from rdbench.report.tables.seeds import seeds_table
from rdbench.report.tables.table import Table
from rdbench.types import RateKind

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

MEAN_NOTE = (
    f"{NOT_A_RATE} not a rate point: the mean of the latent, or another amount of noise, is "
    "decoded, but the\nrate is that of a sample, and no one can transmit what is decoded at this "
    "price."
)


@dataclass(frozen=True)
class DomainTables:
    """The tables of one domain; missing: sentences on curves without a BD-rate.

    posteriors: diagnostics, None where no posterior was sampled and its mean decoded. seeds: how
    scores spread over seeds, None where nothing was drawn with several.
    """

    domain: str
    inside: pd.DataFrame
    rates: Table
    scores: Table
    bd: list[Table]
    missing: list[str]
    posteriors: Table | None = None
    seeds: Table | None = None


@dataclass(frozen=True)
class RunTables:
    """All tables of a run, before they are Markdown, LaTeX or HTML.

    seeds: of `rdbench.analysis.seeds.seed_table`. notes: on clips. caveats: sentences on the run
    (`rdbench.report.text.status.caveats`).
    """

    card: RunCard
    points: pd.DataFrame
    domains: list[DomainTables]
    costs: Table | None
    bd: BdRates
    channels: pd.DataFrame
    seeds: pd.DataFrame | None = None
    notes: Table | None = None
    caveats: tuple[str, ...] = ()

    @property
    def all(self) -> list[Table]:
        """In the order of a page, but for notes on clips; names are unlike each other."""
        found = []
        for part in self.domains:
            for table in (part.scores, part.rates, *part.bd, part.posteriors, part.seeds):
                if table is not None and table.columns:
                    found.append(replace(table, name=f"{table.name}_{slug(part.domain)}"))
        return [*found, *([self.costs] if self.costs and self.costs.columns else [])]


def run_tables(
    points: pd.DataFrame,
    manifest: Mapping[str, Any],
    *,
    run: Run | None = None,
    reference: str | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    traces: pd.DataFrame | None = None,
    notes: pd.DataFrame | None = None,
    caveats: tuple[str, ...] = (),
    seed: int = 0,
) -> RunTables:
    """The tables of a run.

    points: of `rdbench.analysis.aggregate.run_points`, with 95 % intervals. manifest: what
    `rdbench.report.cards` says. run: its rows, for BD-rates against the curve `reference` and
    between `pairs` of curves, and for what is in bold; neither without it. traces: of
    `rdbench.store.traces`, for what is said of latent channels. notes: of
    `rdbench.report.text.status.read_notes`. caveats: as in `RunTables`. seed: of
    the draws that say how surely curves cross. Raises RdbenchError for a
    curve that is not there.
    """
    card = describe(points, manifest)
    about = f"Corpus: {card.corpus.rstrip('.')}. Protocol: {card.protocol_brief}."
    measured = run is not None and not points.empty
    bd = BdRates(None, {}, "")
    if run and measured:
        bd = bd_rates(run, card, reference, pairs=pairs, seed=seed)
    scores = card.rate_distortion(points) if len(points) else points
    best = best_scores(run, scores, card) if run and measured else {}
    channels = channel_kl(traces, run) if run and traces is not None else no_channels()
    posteriors = posterior_tables(run, card, channels, about=about) if run and measured else {}
    spread = seed_table(run) if run else None
    domains = []
    for domain in domains_of(points):
        inside = points[points["domain"] == domain]
        bold, tests = best.get(domain, (set(), 0))
        clips = f"{clips_text(inside)}. {few_groups(inside)}".rstrip()
        caption = f"{_score_caption(inside, card)} {about}"
        if bold:
            kinds = set(scores.loc[scores["domain"] == domain, "rate_kind"])
            at_kl = ", points at a KL, a bound, left out" * (RateKind.KL in kinds)
            at_kl += ", points at a stated rate left out" * (RateKind.STATED in kinds)
            caption += (
                " Bold: better than every other point that can be transmitted at no more "
                f"bits{at_kl} (paired over groups of the same clips, Holm over {tests} tests, "
                f"{100 * LEVEL:g} %)."
            )
        domains.append(
            DomainTables(
                domain, inside,
                rate_table(inside, card, caption=f"Rates in kbps by kind, {clips} {about}"),
                score_table(inside, card, bold=bold, caption=caption),
                bd_tables(bd, card, domain, about=about) if run else [],
                refusals(bd, card, domain),
                posteriors.get(domain),
                None if spread is None else seeds_table(spread, card, domain, about=about),
            )
        )  # fmt: skip
    costs = cost_table(points, card, caption=f"Costs per point and variant. {about}")
    noted = None if notes is None or notes.empty else notes_table(notes)
    return RunTables(card, points, domains, costs, bd, channels, spread, noted, caveats)


def domains_of(points: pd.DataFrame) -> list[str]:
    return [d for d in dict.fromkeys(points.loc[points["kind"] != "cost", "domain"]) if d]


def _score_caption(inside: pd.DataFrame, card: RunCard) -> str:
    """What a table says that is taken out of the page."""
    rates = card.rate_distortion(inside)
    kinds = [kind for kind in dict.fromkeys(rates.loc[rates["kbps"].notna(), "rate_kind"]) if kind]
    domain = card.domain_label(str(inside["domain"].iloc[0]))
    text = (
        f"Scores on {domain}, {clips_text(inside)}, with 95 % intervals over "
        "groups of clips; fractions count the clips with a score where not all have "
        f"one. Rates in kbps, by kind: {', '.join(kinds) or 'none'}."
    )
    if has_dots(inside, card):
        text += " " + MEAN_NOTE.replace("\n", " ")
    return text


def has_dots(inside: pd.DataFrame, card: RunCard) -> bool:
    """Whether a rate of these aggregates is marked as that of no rate point."""
    _, kinds = headline_columns(point_keys(inside, card), inside, card)
    return any(cell.mark == NOT_A_RATE for cell in kinds.cells)
