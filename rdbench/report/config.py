"""How a report looks and what it shows: `report.yaml`, validated. Every key may be left out.

Example:
    style: paper                      # or screen: larger type, for pages and slides
    rate: headline                    # or one kind of rate for every axis
    anchor: opus                      # the curve that BD-rates are taken against
    pairs: [[vae, rvq]]               # and those between two; by default of one adapter or family
    metrics: [pesq_wb, si_sdr]        # these alone, in this order
    domains: [speech]
    names: {pesq_wb: PESQ, speech: Speech (VCTK)}      # of metrics and domains
    systems:                          # by the name of a system, or of a curve
      vae_6: {label: VAE, β = 1, curve: VAE sweep, family: ours, colour: "#0072B2"}
      mp3: {hide: true}
    hide_variants: [mean]             # what is decoded otherwise: a mean, a stream, noise
    order: [opus, vae_6]              # the others follow in the run's order
    legend: family                    # a column per family; or plain
    labels: auto                      # names beside the curves where they fit; or legend
    arrows: true                      # kl → coded, nominal → entropy
    heading: true                     # domain, clips and remarks above each figure
    font: sans                        # serif, or the name of an installed font
    widths: {one: 3.35, two: 6.9}     # inches
    formats: [pdf, svg, png]
    data: true                        # a CSV file with the numbers of each figure
    seed: 0                           # of the draws that say how surely curves cross
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rdbench.report.cards import systems_with_streams
from rdbench.spec.complaints import sentence
from rdbench.spec.load import read_yaml
from rdbench.store.variants import variants_of
from rdbench.suggest import nearest
from rdbench.types import RateKind, SpecError

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

Format = Literal["pdf", "svg", "png"]
ALWAYS_KEPT = "residual_delay"
RATES = ("headline", *(kind.value for kind in RateKind))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SystemLook(_Strict):
    """How one system or curve is shown; None leaves a property as it is."""

    label: str | None = Field(default=None, min_length=1)
    curve: str | None = Field(default=None, min_length=1)
    family: str | None = Field(default=None, min_length=1)
    colour: str | None = Field(default=None, pattern="^#[0-9A-Fa-f]{6}$")
    marker: str | None = Field(default=None, pattern="^[os^DvPX<>phd*8]$")
    dash: Literal["solid", "dashed", "dashdot", "dotted"] | None = None
    hide: bool = False


class Widths(_Strict):
    """Widths of figures in inches."""

    one: float = Field(default=3.35, ge=2, le=20)
    two: float = Field(default=6.9, ge=4, le=40)


class ReportConfig(_Strict):
    """See the module."""

    style: Literal["paper", "screen"] = "paper"
    rate: str = "headline"
    anchor: str | None = None
    pairs: tuple[tuple[str, str], ...] | None = None
    metrics: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    names: dict[str, str] = Field(default_factory=dict)
    systems: dict[str, SystemLook] = Field(default_factory=dict)
    hide_variants: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    legend: Literal["plain", "family"] = "plain"
    labels: Literal["auto", "legend"] = "auto"
    arrows: bool = False
    heading: bool = True
    font: str = "sans"
    widths: Widths | None = None
    formats: tuple[Format, ...] = ("pdf", "svg", "png")
    data: bool = False
    seed: int = Field(default=0, ge=0)

    @field_validator("rate")
    @classmethod
    def _known_rate(cls, value: str) -> str:
        if value not in RATES:
            raise ValueError(f"{value!r} is no kind of rate; {nearest(value, list(RATES))}")
        return value

    @property
    def inches(self) -> Widths:
        """The widths that hold for the style."""
        if self.widths is not None:
            return self.widths
        return Widths() if self.style == "paper" else Widths(one=6.4, two=11.0)


def read_report_config(path: Path | None) -> ReportConfig:
    """The configuration at `path`, the defaults for None; raises SpecError in one sentence."""
    if path is None:
        return ReportConfig()
    content = read_yaml(Path(path))
    try:
        return ReportConfig.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{path}: {sentence(error, ReportConfig)}") from None


def configured(run: Run, config: ReportConfig) -> Run:
    """The run as `config` shows it: systems renamed, regrouped, ordered and hidden.

    Rows of hidden systems, of metrics and of domains that were not chosen are left out; what is
    left is as measured. Colours are given out before anything is hidden or moved, and stay.

    Raises SpecError for a name that the run does not have.
    """
    from dataclasses import replace

    systems = _all_systems(run)
    looks = _looks(systems, config)
    cards = {name: _card(card, looks[name]) for name, card in systems.items()}
    streams = set(systems_with_streams(run.rows, variants_of(run.manifest)))
    rated = [str(c["curve"]) for name, c in cards.items() if c.get("headline") or name in streams]
    rows = run.rows.assign(curve=_curves(run.rows, cards))
    hidden = {name for name, look in looks.items() if look.get("hide")}
    _require(config.hide_variants, run.rows["variant"].astype(str).unique(), "variant")
    rows = rows[~rows["variant"].isin(config.hide_variants)]
    rows = _chosen_rows(rows[~rows["system"].isin(hidden)], run, config)
    rank = {name: i for i, name in enumerate(_order(systems, cards, config.order))}
    shown = sorted((n for n in cards if n not in hidden), key=rank.__getitem__)
    metrics = _metrics(run.metrics, config)
    manifest = {
        **run.manifest,
        "systems": {name: cards[name] for name in shown},
        "metrics": metrics,
        "palette": list(dict.fromkeys(rated)),
        "domains": dict(config.names),
    }
    ratings = run.ratings
    if ratings is not None:
        ratings = ratings[~ratings["system"].isin(hidden)]
        ratings = ratings.assign(curve=_curves(ratings, cards))
    seeds = run.seeds
    if seeds is not None:
        seeds = seeds.assign(curve=_curves(seeds, cards))
        seeds = _chosen_rows(seeds[~seeds["system"].isin(hidden)], run, config)
    return replace(run, rows=rows, manifest=manifest, ratings=ratings, seeds=seeds)


def _all_systems(run: Run) -> dict[str, Mapping[str, Any]]:
    """The manifest's cards, and plain ones for systems that it does not know."""
    found = {name: card for name, card in run.systems.items() if isinstance(card, Mapping)}
    headlines = run.headlines
    for name, curve in run.rows[["system", "curve"]].drop_duplicates("system").astype(str).values:
        found.setdefault(name, {"curve": curve, "headline": headlines.get(name)})
    return found


def _looks(
    systems: Mapping[str, Mapping[str, Any]], config: ReportConfig
) -> dict[str, dict[str, Any]]:
    """What is asked for each system; what names it beats what names its curve."""
    members: dict[str, list[str]] = {}
    for name, card in systems.items():
        members.setdefault(str(card.get("curve") or name), []).append(name)
    _require([*config.systems, *config.order], [*systems, *members], "system or curve")
    looks: dict[str, dict[str, Any]] = {name: {} for name in systems}
    for curve, names in members.items():
        if curve in config.systems:
            look = _asked(config.systems[curve])
            if len(names) > 1 and "label" in look:  # the label of several is their curve's name
                look.setdefault("curve", look["label"])
                if len({str(systems[name].get("label") or name) for name in names}) > 1:
                    del look["label"]  # each keeps its own; a label that all share is the curve's
            for name in names:
                looks[name] |= look
    for name in systems:
        if name in config.systems:
            looks[name] |= _asked(config.systems[name])
    return looks


def _asked(look: SystemLook) -> dict[str, Any]:
    return look.model_dump(exclude_none=True, exclude_unset=True)


def _card(card: Mapping[str, Any], look: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in look.items() if key != "hide"}
    return {**card, **kept}


def _order(
    systems: Mapping[str, Mapping[str, Any]],
    cards: Mapping[str, Mapping[str, Any]],
    order: Sequence[str],
) -> list[str]:
    first: list[str] = []
    for wanted in order:
        first += [
            name for name in cards if wanted in (name, str(systems[name].get("curve") or name))
        ]
    return list(dict.fromkeys([*first, *cards]))


def _curves(rows: pd.DataFrame, cards: Mapping[str, Mapping[str, Any]]) -> pd.Series[Any]:
    named = {name: str(card.get("curve") or name) for name, card in cards.items()}
    return rows["system"].astype(str).map(named).fillna(rows["curve"].astype(str))


def _chosen_rows(rows: pd.DataFrame, run: Run, config: ReportConfig) -> pd.DataFrame:
    scores = rows["kind"] == "metric"
    if config.metrics:
        known = run.rows.loc[run.rows["kind"] == "metric", "key"].astype(str).unique()
        _require(config.metrics, [*run.metrics, *known], "metric")
        rows = rows[~scores | rows["key"].isin([*config.metrics, ALWAYS_KEPT])]
    if config.domains:
        _require(config.domains, run.rows["domain"].astype(str).unique(), "domain")
        rows = rows[rows["domain"].isin([*config.domains, ""])]
    return rows


def _metrics(metrics: Mapping[str, Any], config: ReportConfig) -> dict[str, Any]:
    order = [key for key in config.metrics if key in metrics]
    keys = list(dict.fromkeys([*order, *metrics]))
    renamed = {key: {"name": config.names[key]} for key in keys if key in config.names}
    return {
        key: {**metrics[key], **renamed.get(key, {})} if isinstance(metrics[key], Mapping)
        else metrics[key]
        for key in keys
    }  # fmt: skip


def _require(names: Iterable[str], known: Iterable[str], what: str) -> None:
    there = [name for name in dict.fromkeys(map(str, known)) if name]
    for name in names:
        if name not in there:
            raise SpecError(f"there is no {what} {name!r} in this run; {nearest(name, there)}")
