"""How well metrics agree with listeners: statistics by hand and by SciPy, and whole runs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rdbench.analysis.listeners.agreement import agreement, paired_scores, statistics
from rdbench.analysis.listeners.mapping import monotone_cubic
from rdbench.analysis.runs import Run, with_ratings
from rdbench.types import RdbenchError

ONES = np.ones(30)
CLIPS, POINTS, PEOPLE = 12, ("a", "b", "c", "d", "e", "f"), 8


def pairs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(30).round(1)  # with ties
    return values, values + generator.standard_normal(30).round(1)


def test_correlations_are_those_of_scipy() -> None:
    values, scores = pairs()
    found = statistics(values, scores, ONES)
    assert found[0] == pytest.approx(stats.pearsonr(values, scores).statistic)
    assert found[1] == pytest.approx(stats.spearmanr(values, scores).statistic)
    assert found[2] == pytest.approx(stats.kendalltau(values, scores).statistic)


def test_a_weight_is_how_often_a_pair_stands_there() -> None:
    values, scores = pairs()
    weights = np.random.default_rng(1).integers(0, 4, 30).astype(float)
    repeated = [np.repeat(one, weights.astype(int)) for one in (values, scores)]
    found = statistics(values, scores, weights)
    assert found == pytest.approx(statistics(*repeated, np.ones(len(repeated[0]))), rel=1e-9)


def test_a_rising_cubic_is_found_and_leaves_nothing() -> None:
    values = np.linspace(-2, 3, 30)
    scores = 40 + (values + 0.5) ** 3
    assert statistics(values, scores, ONES)[3] == pytest.approx(0.0, abs=0.02)
    np.testing.assert_allclose(monotone_cubic(values, scores)(values), scores, atol=0.05)


def test_the_residual_has_four_degrees_of_freedom_less() -> None:
    values, noise = np.linspace(0, 1, 30), np.random.default_rng(0).standard_normal(30)
    scores = 10 * values + 0.1 * noise  # steep: the best cubic has no turn, so it is the free one
    free = np.polynomial.Polynomial.fit(values, scores, 3)
    expected = math.sqrt(np.square(scores - free(values)).sum() / (30 - 4))
    assert statistics(values, scores, ONES)[3] == pytest.approx(expected, rel=1e-3)


def test_the_mapping_never_falls_even_where_scores_do() -> None:
    values = np.linspace(0, 1, 30)
    mapped = monotone_cubic(values, np.sin(7 * values))(np.linspace(-0.5, 1.5, 500))
    assert (np.diff(mapped) >= -1e-9).all()
    falling = monotone_cubic(values, -values)(values)
    np.testing.assert_allclose(falling, -0.5, atol=1e-9)


@pytest.mark.parametrize(
    ("values", "scores"),
    [([1.0, 2], [1.0, 2]), ([1.0, 1, 1], [1.0, 2, 3]), ([1.0, 2, 3], [2.0, 2, 2])],
)
def test_what_has_no_order_has_no_agreement(values: list[float], scores: list[float]) -> None:
    found = statistics(np.array(values), np.array(scores), np.ones(len(values)))
    assert all(math.isnan(value) for value in found)


def listening(noise: float = 4.0, people: int = PEOPLE) -> Run:
    """Six points on twelve clips: `good` and `distance` say what people hear, `chance` nothing."""
    generator = np.random.default_rng(3)
    heard = 20 + 10 * np.arange(6)[:, None] + 5 * generator.standard_normal((6, CLIPS))
    values = {
        "good": np.exp(heard / 30),
        "distance": -heard + 0.5 * generator.standard_normal((6, CLIPS)),
        "chance": generator.standard_normal((6, CLIPS)),
    }
    rows, given = [], []
    for p, point in enumerate(POINTS):
        for c in range(CLIPS):
            labels = {"system": "s", "curve": "s", "point": point, "variant": "codes"}
            of_clip = {"clip": f"clip{c:02}", "domain": "speech", "group": f"g{c // 2}"}
            rows += [
                {"unit_key": f"{key}{p}-{c}", **labels, **of_clip, "seconds": 3.0,
                 "kind": "metric", "key": key, "value": value[p, c], "unit": "", "backend": "x",
                 "status": "ok", "reason": "", "provenance": ""}
                for key, value in values.items()
            ]  # fmt: skip
            given += [
                {"metric": "mushra", **labels, "clip": of_clip["clip"], "listener": f"p{one}",
                 "score": float(np.clip(heard[p, c] + noise * generator.standard_normal(), 0, 100))}
                for one in range(people)
            ]  # fmt: skip
    cards = {key: {"name": key, "direction": "higher"} for key in values}
    cards["distance"]["direction"] = "lower"
    run = Run("listening", pd.DataFrame(rows), {"metrics": cards})
    return with_ratings(run, pd.DataFrame(given))


def row(table: pd.DataFrame, level: str, metric: str) -> pd.Series:
    return table[(table["level"] == level) & (table["metric"] == metric)].iloc[0]


def test_a_metric_that_hears_agrees_whichever_way_of_it_is_better() -> None:
    table = agreement(listening(), resamples=100)
    for level, pairs_there in (("system", 6), ("clip", 6 * CLIPS)):
        for metric in ("good", "distance"):
            found = row(table, level, metric)
            assert found["n"] == pairs_there
            assert found["spearman"] > 0.9
            assert found["spearman_low"] <= found["spearman"] <= found["spearman_high"] <= 1
            assert found["rmse"] < 5
        assert abs(row(table, level, "chance")["pearson"]) < 0.8
    by_clip = row(table, "clip", "chance")
    assert by_clip["pearson_low"] < 0 < by_clip["pearson_high"]
    assert list(table[table["level"] == "clip"]["metric"])[-1] == "chance"


def test_pairs_are_of_means_over_the_clips_that_have_both() -> None:
    run = listening()
    mask = (run.rows["key"] == "good") & (run.rows["point"] == "a")
    lost = run.rows[mask].index[:3]
    run.rows.loc[lost, ["value", "status", "reason"]] = [math.nan, "undefined", "silent"]
    found = paired_scores(run, metrics=["good"])
    of_a = found[found["point"] == "a"]
    by_clip, by_system = (of_a[of_a["level"] == level] for level in ("clip", "system"))
    assert len(by_clip) == CLIPS - 3
    assert by_system["value"].iloc[0] == pytest.approx(by_clip["value"].mean())
    assert by_system["score"].iloc[0] == pytest.approx(by_clip["score"].mean())


def test_few_listeners_who_differ_make_wider_intervals() -> None:
    widths = []
    for noise, people in ((1.0, 12), (25.0, 3)):
        found = row(agreement(listening(noise, people), resamples=150), "clip", "good")
        widths.append(found["pearson_high"] - found["pearson_low"])
    assert widths[1] > 2 * widths[0]


def test_a_run_without_listeners_or_such_a_metric_is_told_so() -> None:
    run = listening()
    with pytest.raises(RdbenchError, match="has no metric 'pesq' beside the listeners' scores"):
        agreement(run, metrics=["pesq"])
    with pytest.raises(RdbenchError, match="holds no listeners' scores; import them with"):
        agreement(Run("plain", run.rows, run.manifest))


def test_tables_fit_the_terminal_and_the_figure_is_drawn() -> None:
    from rdbench.report.cards import describe
    from rdbench.report.figures.agreement import draw_agreement
    from rdbench.report.figures.style import figure_style
    from rdbench.report.figures.write import figure_png
    from rdbench.report.tables.agreement import agreement_page, agreement_tables, agreement_text

    run = listening()
    table, card = agreement(run, resamples=100), describe(run.rows, run.manifest)
    text = agreement_text(agreement_tables(table, card), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "speech: MUSHRA by clip" in text
    page = agreement_page(agreement_tables(table, card))
    assert page.count("| distance") == 2
    with figure_style():
        figure = draw_agreement(paired_scores(run), table, card)
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles == list(dict.fromkeys(table["metric"]))
        assert figure_png(figure).startswith(b"\x89PNG")
