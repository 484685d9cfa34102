"""The report in a real browser, from `file://`: what a reader does, and what no name may do."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from report_browser import REQUIRED, Tab, browser_program
from report_runs import HOSTILE, Strange

from rdbench.analysis.aggregate import points
from rdbench.report.cards import MetricCard
from rdbench.report.html.write import write_html
from rdbench.report.numbers import kbps_text, score_text
from rdbench.store.reader import read_rows
from rdbench.types import Status

REPOSITORY = Path(__file__).resolve().parents[3]
Open = Callable[..., Tab]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the published run, with its report."""
    run = tmp_path_factory.mktemp("speech") / "speech_16k"
    shutil.copytree(REPOSITORY / "results" / "speech_16k", run)
    write_html(run)
    return run


def test_a_reader_picks_a_metric_and_a_point_of_the_published_run(
    speech: Path, open_report: Open
) -> None:
    tab = open_report(speech / "report")
    table = points(read_rows(speech))
    stoi = table[(table["key"] == "stoi") & (table["system"] == "opus")].set_index("point")
    tab.page.select_option("#metric", label="STOI ↑")
    tab.waits("document.querySelector('#figure .ytitle').textContent.includes('STOI')")
    for point in ("6", "12", "32"):
        cell = (
            tab.page.locator("#points tr", has_text=f"Opus audio 20 ms {point}")
            .locator("td")
            .nth(2)
        )
        shown = float(cell.get_attribute("data-value"))
        assert shown == pytest.approx(stoi.loc[point, "value"], abs=1e-5)
        assert f"[{stoi.loc[point, 'low']:.3f}, {stoi.loc[point, 'high']:.3f}]" in cell.inner_text()

    tab.click_point(2)
    tab.waits(
        "document.querySelector('#clips-heading').textContent.includes('Opus audio 20 ms 10')"
    )
    tab.waits("document.querySelectorAll('#clip-list tbody tr').length === 43")
    tab.waits("document.querySelectorAll('#versions tbody tr').length > 1")
    versions = tab.page.locator("#versions tbody tr th").all_inner_texts()
    # Of every system the point nearest to 9.61 kbps, and the anchors, which have no rate.
    assert versions == [
        "Reference", "Opus audio 20 ms 10", "Opus voip 40 ms 10", "MP3 8", "AAC-LC 12",
        "Lyra v2 9.2", "VAE (target KL) 12", "RVQ, nested 8", "RVQ, one model per rate 12",
        "Identity", "Low-pass 3.5kHz", "Low-pass 7kHz",
    ]  # fmt: skip
    assert "No audio of this clip was kept" in tab.page.locator("#player-note").inner_text()


def test_what_else_was_decoded_of_a_point_stands_beside_it(speech: Path, open_report: Open) -> None:
    tab = open_report(speech / "report")
    tab.page.locator("#points button.link", has_text="VAE (target KL) 6").first.click()
    tab.waits("document.querySelectorAll('#versions tbody tr').length > 1")
    versions = tab.page.locator("#versions tbody tr th").all_inner_texts()
    own = [name for name in versions if name.startswith("VAE")]
    assert own[0] == "VAE (target KL) 6"
    assert "VAE (target KL) 6, mean" in own
    assert all(name.startswith("VAE (target KL) 6, ") for name in own[1:])
    mean = tab.page.locator("#versions tbody tr", has_text="6, mean").locator("td").first
    assert mean.inner_text().endswith("kl°")


def test_hovering_gives_numbers_and_interval(speech: Path, open_report: Open) -> None:
    tab = open_report(speech / "report")
    marker = tab.page.locator("#figure .scatterlayer .points path").nth(0)
    box = marker.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.page.wait_for_selector("#figure .hoverlayer .hovertext")
    text = tab.page.locator("#figure .hoverlayer .hovertext").text_content()
    rows = points(read_rows(speech))
    first = rows[(rows["system"] == "opus") & (rows["point"] == "6")].set_index("key")
    for key in ("payload", "pesq_wb"):
        low, high = first.loc[key, ["low", "high"]]
        assert f"{first.loc[key, 'value']:.2f} [{low:.2f}, {high:.2f}]" in text
    assert "43 of 43 clips" in text


def test_rate_kinds_and_systems_are_chosen(speech: Path, open_report: Open) -> None:
    tab = open_report(speech / "report")
    # Eight curves, and of the VAEs one stream and the mean besides.
    assert tab.page.locator("#figure .scatterlayer .trace .points").count() == 10
    tab.page.select_option("#axis", label="container")
    tab.waits("document.querySelector('#figure .xtitle').textContent.includes('container')")
    # Lyra has no container: it is said, and not drawn.
    assert "without score or rate: Lyra v2 2;" in tab.page.locator("#figure-note").inner_text()
    cell = tab.page.locator("#points tr", has_text="Lyra v2 2").locator("td").nth(1)
    assert cell.inner_text().startswith("–")
    tab.page.uncheck("#curves label:has-text('Opus audio') input")
    tab.waits("!document.querySelector('#points').textContent.includes('Opus audio')")
    assert tab.page.locator("#points tr", has_text="MP3 8").count() == 1


def test_domains_are_never_mixed(tmp_path: Path, open_report: Open) -> None:
    run = Strange(domains=("speech", "music"), clips=tuple("abcde"), audio=True)
    report = tmp_path / "report"
    write_html(run.write(tmp_path / "run"), report)
    tab = open_report(report)
    for domain, clips in (("music", ["b", "d"]), ("speech", ["a", "c", "e"])):
        tab.page.select_option("#domain", label=domain)
        assert tab.page.locator("#listening").is_hidden()
        tab.page.locator("#points button.link").nth(1).click()
        tab.waits("rdbench.clips.playerState().seconds > 0.4")
        assert tab.page.locator("#clip-list button.link").all_inner_texts() == clips
        assert f"{domain}, {len(clips)} clips" in tab.page.locator("#figure-note").inner_text()


def test_the_page_rounds_as_the_tables_do(tmp_path: Path, open_report: Open) -> None:
    run = Strange(systems=("one",), points=("8",), clips=("a",), first=5.6249996)
    report = tmp_path / "report"
    write_html(run.write(tmp_path / "run"), report)
    tab = open_report(report)
    scores = tab.page.locator("table.sortable:not(#points)").filter(has_text="si_sdr").first
    assert "5.62" in scores.locator("tbody tr").first.inner_text().split()
    assert tab.page.locator("#points tr td").nth(2).inner_text().strip() == "5.62"
    metric = MetricCard("si_sdr", "SI-SDR", "dB")
    ties = (5.625, -5.625, 0.125, 0.375, 1e6 + 0.125)
    for value in (*ties, 5.635, 2.675, 1.005, 99.995, -0.001, 0.0):
        assert tab.asks(f"rdbench.number({value!r}, 2)") == score_text(metric)(value), value
        if value >= 0:
            assert tab.asks(f"rdbench.kbps({value!r})") == kbps_text(value), value


def test_other_amounts_of_noise_are_told_and_not_drawn(tmp_path: Path, open_report: Open) -> None:
    run = Strange(systems=("one",), variants=("sample", "mean", "noise_0.5", "noise_2"))
    report = tmp_path / "report"
    write_html(run.write(tmp_path / "run"), report)
    tab = open_report(report)
    # The curve of samples and that of means.
    assert tab.page.locator("#figure .scatterlayer .trace .points .point").count() == 2 * 2
    note = tab.page.locator("#figure-note").inner_text()
    assert "dotted: mean, not a rate point" in note
    assert "Not drawn" not in note
    names = tab.page.locator("#points button.link").all_inner_texts()
    assert "one 8, noise_0.5" in names


def test_a_stream_and_a_mean_of_one_point_look_unlike(tmp_path: Path, open_report: Open) -> None:
    run = Strange(systems=("one",), points=("8",), variants=("sample", "mean", "coded"))
    report = tmp_path / "report"
    write_html(run.write(tmp_path / "run"), report)
    tab = open_report(report)
    drawn = tab.asks(
        "document.getElementById('figure').data.filter(t => t.name)"
        ".map(t => [t.name, t.marker.gradient.type, t.marker.color === '#fff'])"
    )
    assert sorted(drawn) == [
        ["one", "none", False], ["one, coded", "horizontal", False], ["one, mean", "none", True]
    ]  # fmt: skip
    note = tab.page.locator("#figure-note").inner_text()
    assert "Half-filled markers: coded, at the rate of its own stream" in note
    assert "dotted: mean, not a rate point" in note


def test_tables_sort_by_number(speech: Path, open_report: Open) -> None:
    tab = open_report(speech / "report")
    table = tab.page.locator("table.sortable").filter(has_text="SI-SDR (dB)").first
    head = table.locator("th button", has_text="SI-SDR")
    column = "(e) => e.closest('th').cellIndex"
    index = head.evaluate(column)
    for order in (1, -1):
        head.click()
        cells = table.locator("tbody tr").evaluate_all(
            f"(rows) => rows.map((row) => Number(row.cells[{index}].dataset.value))"
        )
        assert len(cells) > 20
        assert cells == sorted(cells, reverse=order < 0)


def test_playing_goes_on_where_it_was_when_the_system_is_switched(
    heard: Path, open_report: Open
) -> None:
    tab = open_report(heard)
    assert not [url for url in tab.requests if "/audio/" in url]  # audio is read when needed
    tab.click_point(1)
    tab.waits("rdbench.clips.playerState().seconds > 1.9")
    assert tab.player()["version"] == "Opus 16"
    assert all(version["audio"] for version in tab.player()["versions"])

    tab.page.click("#play")
    tab.waits("rdbench.clips.playerState().position > 0.1")
    before = tab.player()
    tab.page.click("#versions label:has-text('MP3')")
    after = tab.player()
    assert after["version"].startswith("MP3")
    assert after["playing"]
    assert after["starts"] == before["starts"] == 1  # nothing was started anew
    # It moves on; it may have gone round by now.
    tab.waits(f"Math.abs(rdbench.clips.playerState().position - {after['position']}) > 0.02")
    assert "Playing: MP3" in tab.page.locator("#player-note").inner_text()

    tab.page.keyboard.press("ArrowUp")
    assert tab.player()["version"] == "Opus 16"
    tab.page.keyboard.press("0")
    assert tab.player()["version"] == "Reference"
    tab.page.keyboard.press("Space")
    assert not tab.player()["playing"]
    tab.page.keyboard.press("Home")
    assert tab.player()["position"] == 0
    tab.page.keyboard.press("ArrowRight")
    assert tab.player()["position"] == pytest.approx(0.5)
    assert tab.player()["starts"] == 1


def test_switching_between_equal_signals_changes_no_sample(heard: Path, open_report: Open) -> None:
    tab = open_report(heard)
    most = tab.asks(
        """(async () => {
          const rate = 16000;
          const length = rate;
          const context = new OfflineAudioContext(1, length, rate);
          const samples = Float32Array.from({length}, (_, i) => Math.sin(i * 0.07));
          const buffer = new AudioBuffer({length, sampleRate: rate, numberOfChannels: 1});
          buffer.copyToChannel(samples, 0);
          const graph = rdbench.audioGraph(context, [buffer, buffer, buffer],
            {when: 0, offset: 0, loop: false, gains: [1, 1, 1], chosen: 0});
          const switches = [[0.2, 1], [0.4, 2], [0.6, 0]];
          for (const [time, index] of switches) {
            context.suspend(time).then(() => { graph.fade(index); context.resume(); });
          }
          const heard = (await context.startRendering()).getChannelData(0);
          return Math.max(...heard.map((value, i) => Math.abs(value - samples[i])));
        })()"""
    )
    assert most < 1e-5


def test_a_fade_leads_from_one_signal_to_the_other_without_a_gap(
    heard: Path, open_report: Open
) -> None:
    tab = open_report(heard)
    heard_samples = tab.asks(
        """(async () => {
          const rate = 16000;
          const context = new OfflineAudioContext(1, rate / 2, rate);
          const constant = (value) => {
            const made = new AudioBuffer({length: rate, sampleRate: rate, numberOfChannels: 1});
            made.copyToChannel(new Float32Array(rate).fill(value), 0);
            return made;
          };
          const graph = rdbench.audioGraph(context, [constant(0.2), constant(0.8)],
            {when: 0, offset: 0, loop: true, gains: [1, 1], chosen: 0});
          context.suspend(0.248).then(() => { graph.fade(1); context.resume(); });
          return Array.from((await context.startRendering()).getChannelData(0));
        })()"""
    )
    assert heard_samples[100] == pytest.approx(0.2, abs=1e-6)
    assert heard_samples[-1] == pytest.approx(0.8, abs=1e-6)
    steps = [b - a for a, b in pairwise(heard_samples)]
    assert min(steps) > -1e-6  # it only rises,
    assert max(steps) < 0.01  # and in small steps


def test_levelling_brings_a_softer_version_to_the_reference(
    tmp_path: Path, open_report: Open
) -> None:
    report = tmp_path / "report"
    write_html(Strange(audio=True).write(tmp_path / "run"), report)
    tab = open_report(report)
    tab.click_point()
    tab.waits("rdbench.clips.playerState().seconds > 0.4")
    gains = tab.asks(
        """(async () => {
          const name = (n) => `audio/0/${n}`;
          const buffers = [];
          for (const n of ["reference", "0"]) {
            buffers.push(await rdbench.decodeAudio(await rdbench.load(name(n))));
          }
          const player = new rdbench.Player(buffers, () => {});
          const before = player.gains;
          player.setLevel(true);
          return [before, player.gains];
        })()"""
    )
    assert gains[0] == [1, 1]  # as is, unless asked for
    assert gains[1][0] == 1
    # The system's audio is the reference at 0.9 of its level.
    assert gains[1][1] == pytest.approx(1 / 0.9, rel=1e-3)


def test_pictures_are_drawn_from_the_audio(heard: Path, open_report: Open) -> None:
    tab = open_report(heard)
    tab.click_point(0)
    tab.waits("!document.querySelector('#pictures').hidden")
    tab.page.wait_for_selector("#traces .scatterlayer .js-line")
    assert "Opus 8 (payload)" in tab.page.locator("#traces").text_content()
    for name in ("reference", "version", "difference"):
        colours = tab.asks(
            f"""(() => {{
              const canvas = document.querySelector('#spectrogram-{name}');
              const data = canvas.getContext('2d')
                .getImageData(60, 10, canvas.width - 80, canvas.height - 40).data;
              const found = new Set();
              for (let i = 0; i < data.length; i += 4) found.add(data.slice(i, i + 3).join());
              return found.size;
            }})()"""
        )
        assert colours > 20


def test_the_scatter_shows_clips_that_both_have_and_leads_to_one(
    heard: Path, open_report: Open
) -> None:
    tab = open_report(heard)
    tab.page.locator("#scatter").scroll_into_view_if_needed()
    tab.page.wait_for_selector("#scatter .points path")
    assert tab.page.locator("#scatter .points path").count() == 3
    assert "3 of 3 clips" in tab.page.locator("#scatter-note").inner_text()
    box = tab.page.locator("#scatter .points path").nth(1).bounding_box()
    tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.waits("rdbench.clips.playerState().seconds > 1.9")


def test_no_name_runs_as_script_or_leaves_the_folder(tmp_path: Path, open_report: Open) -> None:
    run = Strange(
        systems=HOSTILE, points=(HOSTILE[0], HOSTILE[8]), clips=HOSTILE, metrics=HOSTILE[:3],
        domains=HOSTILE[1:2], audio=True,
    ).write(tmp_path / "run")  # fmt: skip
    before = {path for path in tmp_path.rglob("*") if "report" not in path.parts}
    report = tmp_path / "report"
    files = write_html(run, report)
    assert {path for path in tmp_path.rglob("*") if "report" not in path.parts} == before
    assert all(path.resolve().is_relative_to(report.resolve()) for path in files)

    tab = open_report(report)
    assert tab.page.locator("h1").inner_text() == HOSTILE[0]
    for metric in range(3):
        tab.page.select_option("#metric", index=metric)
    for point in (0, 9, len(HOSTILE)):
        tab.page.locator("#points button.link").nth(point).click()
        tab.waits("rdbench.clips.playerState().seconds > 0.4")
    for clip in range(len(HOSTILE)):
        tab.page.locator("#clip-list button.link").nth(clip).click()
        tab.waits("rdbench.clips.playerState().seconds > 0.4")
    tab.page.locator("#scatter").scroll_into_view_if_needed()
    tab.page.wait_for_selector("#scatter .points path")
    box = tab.page.locator("#scatter .points path").first.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.page.wait_for_selector("#scatter .hoverlayer .hovertext")
    assert tab.asks("typeof window.ran") == "undefined"
    # Names are text: nothing of theirs has become an element.
    assert tab.page.locator("img, main b, main a[href]").count() == 0
    assert tab.asks("document.documentElement.scrollWidth <= innerWidth")


PARTIAL = {
    "only undefined scores": (
        Strange(status=Status.UNDEFINED, reason="the clip is silent"),
        "No clip has a score",
    ),
    "only failed units": (
        Strange(status=Status.FAILED, reason="the codec died"),
        "failed",
    ),
    "one clip": (Strange(clips=("a.wav",)), "There is one clip"),
    "one point per system": (Strange(points=("8",)), "No audio was kept"),
}


@pytest.mark.parametrize("name", PARTIAL)
def test_a_partial_run_says_what_is_missing(name: str, tmp_path: Path, open_report: Open) -> None:
    run, sentence = PARTIAL[name]
    report = tmp_path / "report"
    write_html(run.write(tmp_path / "run"), report)
    tab = open_report(report)
    assert sentence in tab.page.locator(".notice").inner_text()
    assert tab.page.locator("#points tbody tr").count() == len(run.systems) * len(run.points)
    tab.page.locator("#points button.link").first.click()
    tab.waits("document.querySelectorAll('#versions tbody tr').length > 1")
    if run.reason:
        assert run.reason in tab.page.locator("main").inner_text()


def test_everything_fits_a_phone(heard: Path, open_report: Open) -> None:
    tab = open_report(heard, width=390, height=844, has_touch=True, is_mobile=True)
    tab.page.locator("#points button.link").nth(1).tap()
    tab.waits("rdbench.clips.playerState().seconds > 1.9")
    tab.page.locator("#scatter").scroll_into_view_if_needed()
    tab.page.wait_for_selector("#scatter .points path")
    assert tab.asks("document.documentElement.scrollWidth") == 390
    tab.page.locator("#play").tap()
    tab.waits("rdbench.clips.playerState().position > 0.05")


def test_the_keyboard_is_enough(heard: Path, open_report: Open) -> None:
    tab = open_report(heard)
    order = []
    for _ in range(60):
        tab.page.keyboard.press("Tab")
        order.append(tab.asks("document.activeElement.id || document.activeElement.textContent"))
        if order[-1] == "Opus 16":
            break
    # The link that skips, the controls, then the points: in the order of the page.
    assert order.index("metric") < order.index("axis") < order.index("Opus 16")
    tab.page.keyboard.press("Enter")
    tab.waits("rdbench.clips.playerState().seconds > 1.9")
    assert tab.asks("document.activeElement.id") == "clips-heading"
    for _ in range(30):
        tab.page.keyboard.press("Tab")
        if tab.asks("document.activeElement.id") == "play":
            break
    tab.page.keyboard.press("Enter")
    tab.waits("rdbench.clips.playerState().playing")
    unnamed = tab.asks(
        """Array.from(document.querySelectorAll('button, input, select, [role="img"], [tabindex]'))
          .filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
            || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []


def test_numbers_are_as_python_computed_them(heard: Path, open_report: Open) -> None:
    tab = open_report(heard)
    frame = read_rows(heard.parent)
    rows = frame[(frame["system"] == "opus") & (frame["point"] == "16") & (frame["key"] == "lsd")]
    shown = tab.asks(
        """(async () => {
          const overview = await rdbench.load("overview");
          const point = overview.points.findIndex(({name}) => name === "Opus 16");
          const metric = overview.metrics.length - 1;
          const found = {};
          for (const [clip, name] of overview.clips.entries()) {
            found[name] = (await rdbench.load(`clips/${clip}`)).scores[point]?.[metric] ?? null;
          }
          return found;
        })()"""
    )
    assert set(shown) == set(rows["clip"])
    for clip, value in rows[["clip", "value"]].itertuples(index=False):
        assert math.isclose(shown[clip], value, abs_tol=1e-4)


def test_a_missing_browser_fails_where_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="chromium is not installed"):
        browser_program()
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="chromium is not installed"):
        browser_program()
    ci = (REPOSITORY / ".ci" / "run").read_text()
    assert f"{REQUIRED}=1 make test" in ci
    assert " chromium " in ci
