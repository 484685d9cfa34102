"""`report.yaml`: what is shown and how, and what is said about a file that is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import make_run
import pytest

from rdbench.analysis.runs import Run
from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig, SystemLook, configured, read_report_config
from rdbench.report.figures.style import card_styles, colours
from rdbench.types import RdbenchError, SpecError


@pytest.fixture(scope="module")
def run() -> Run:
    frame = make_run.make_frame()
    return Run("synthetic", frame[frame["clip"].isin(["", "s00", "s01", "m00"])],
               make_run.make_manifest())  # fmt: skip


def card_of(run: Run):
    return describe(run.rows, run.manifest)


def test_a_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "report.yaml"
    path.write_text(
        'style: screen\nsystems:\n  opus: {label: "Opus 1.5", colour: "#123456", dash: dotted}\n'
        "order: [mp3]\nwidths: {one: 3.5}\narrows: true\n"
    )
    config = read_report_config(path)
    assert config.style == "screen"
    assert config.systems["opus"].colour == "#123456"
    assert (config.inches.one, config.inches.two) == (3.5, 6.9)
    assert config.formats == ("pdf", "svg", "png")
    assert read_report_config(None).inches.one == 3.35


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stile: paper", "did you mean 'style'"),
        ("systems: {opus: {color: '#123456'}}", "did you mean 'colour'"),
        ("systems: {opus: {colour: blue}}", "systems.opus.colour"),
        ("rate: payloads", "did you mean 'payload'"),
        ("formats: [gif]", "formats.0"),
        ("widths: {one: 900}", "widths.one"),
        ("a: [", "not valid YAML"),
        ("- a", "mapping"),
        ("!!python/object/apply:os.system [echo]", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "report.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=said) as caught:
        read_report_config(path)
    assert "\n" not in str(caught.value)
    assert "report.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ReportConfig(systems={"opsu": SystemLook(hide=True)}), "did you mean 'opus'"),
        (ReportConfig(order=("Lira v2",)), "did you mean 'Lyra v2'"),
        (ReportConfig(metrics=("pesq",)), "no metric 'pesq'"),
        (ReportConfig(domains=("speach",)), "did you mean 'speech'"),
    ],
)
def test_names_that_the_run_lacks_are_said(run: Run, config: ReportConfig, said: str) -> None:
    with pytest.raises(RdbenchError, match=said):
        configured(run, config)


def test_systems_are_renamed_ordered_hidden_and_keep_their_colours(run: Run) -> None:
    before = colours(card_of(run).curves)
    shown = configured(
        run,
        ReportConfig(
            systems={"lyra": SystemLook(label="Lyra"), "opus": SystemLook(hide=True)},
            order=("rvq", "lyra"),
        ),
    )
    card = card_of(shown)
    assert list(card.systems)[:2] == ["rvq", "lyra"]
    assert card.curve_label("Lyra v2") == "Lyra"
    assert "opus" not in set(shown.rows["system"])
    assert "opus" not in card.systems
    styles = card_styles(card)
    assert styles["MP3"].colour == before["MP3"]
    assert styles["RVQ nested"].colour == before["RVQ nested"]
    assert len(run.rows) > len(shown.rows)  # and the run itself is as it was
    assert "opus" in set(run.rows["system"])


def test_a_curve_of_several_systems_is_named_and_systems_become_one_sweep(run: Run) -> None:
    shown = configured(
        run,
        ReportConfig(
            systems={
                "VAE": SystemLook(label="ours", colour="#112233"),
                "rvq": SystemLook(curve="RVQ"),
                "rvq_6": SystemLook(curve="RVQ"),
            }
        ),
    )
    card = card_of(shown)
    assert {c.curve for n, c in card.systems.items() if n.startswith("vae")} == {"ours"}
    assert {c.curve for n, c in card.systems.items() if n.startswith("rvq")} == {"RVQ"}
    assert set(shown.rows.loc[shown.rows["system"] == "rvq_6", "curve"]) == {"RVQ"}
    assert card_styles(card)["ours"].colour == "#112233"


@pytest.mark.parametrize("look", [{}, {"curve": "sweep"}])
def test_a_label_of_a_curve_beats_one_that_its_systems_share(
    run: Run, look: dict[str, str]
) -> None:
    shared = {
        name: {**card, "label": "VAE"} if card["curve"] == "VAE" else card
        for name, card in run.systems.items()
    }
    alike = replace(run, manifest={**run.manifest, "systems": shared})
    asked = ReportConfig(systems={"VAE": SystemLook(label="ours", **look)})
    card = card_of(configured(alike, asked))
    (curve,) = {one.curve for name, one in card.systems.items() if name.startswith("vae")}
    assert (curve, card.curve_label(curve)) == (look.get("curve", "ours"), "ours")


def test_a_colour_that_is_asked_for_is_that_curves_alone(run: Run) -> None:
    before = colours(card_of(run).curves)
    wanted = before["opus"] if "opus" in before else next(iter(before.values()))
    other = next(name for name, colour in before.items() if colour != wanted)
    system = next(n for n, card in card_of(run).systems.items() if card.curve == other)
    shown = configured(run, ReportConfig(systems={system: SystemLook(colour=wanted.lower())}))
    found = {curve: style.colour.upper() for curve, style in card_styles(card_of(shown)).items()}
    assert found[other] == wanted
    assert list(found.values()).count(wanted) == 1
    moved = [curve for curve, colour in found.items() if colour != before[curve] and curve != other]
    assert [before[curve] for curve in moved] == [wanted]
    assert len(set(found.values())) == len(set(before.values()))


def test_means_are_hidden_where_they_are_not_wanted(run: Run) -> None:
    assert "mean" in set(run.rows["variant"])
    shown = configured(run, ReportConfig(hide_variants=("mean",)))
    assert "mean" not in set(shown.rows["variant"])
    assert "sample" in set(shown.rows["variant"])
    with pytest.raises(RdbenchError, match="there is no variant 'maen' in this run; did you mean"):
        configured(run, ReportConfig(hide_variants=("maen",)))


def test_metrics_and_domains_are_chosen_ordered_and_renamed(run: Run) -> None:
    shown = configured(
        run,
        ReportConfig(
            metrics=("si_sdr", "stoi"), domains=("speech",),
            names={"si_sdr": "SI-SDR of ours", "speech": "VCTK"},
        ),
    )  # fmt: skip
    card = card_of(shown)
    scores = shown.rows[shown.rows["kind"] == "metric"]
    assert set(scores["key"]) == {"si_sdr", "stoi", "residual_delay"}
    assert list(card.metrics)[:2] == ["si_sdr", "stoi"]
    assert card.metrics["si_sdr"].name == "SI-SDR of ours"
    assert card.domain_label("speech") == "VCTK"
    assert set(shown.rows["domain"]) == {"speech", ""}
