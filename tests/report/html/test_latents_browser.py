"""The page to listen to latents in a real browser: its groups play in the report's player."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from report_browser import Tab

from rdbench.latent.listening.heard import Group, Heard, Sound
from rdbench.report.listening.latents import write_listening

RATE = 8000


def test_groups_play_in_step_beside_their_numbers(
    tmp_path: Path, open_report: Callable[..., Tab]
) -> None:
    rng = np.random.default_rng(0)

    def group(number: int, names: list[str]) -> Group:
        waves = rng.uniform(-0.1, 0.1, (len(names) + 1, 1, RATE)).astype(np.float32)
        sounds = [
            Sound(name, wave, {"level": -20.0 - index, "norm": 0.5})
            for index, (name, wave) in enumerate(zip(names, waves[1:], strict=True))
        ]
        title = f"<b>group</b> {number}"
        return Group("mine", "interpolation", title, RATE, waves[0], tuple(sounds), "A note.")

    made = [group(0, ["x"]), group(1, ["t = 0", "t = 1", "<i>t</i>"])]
    write_listening(Heard("Listening", (), iter(made)), tmp_path / "page")
    tab = open_report(tmp_path / "page")
    tab.waits("rdbench.clips.playerState().seconds > 0")
    tab.page.locator("#clip-list tr[data-id='1'] button").click()
    tab.waits("rdbench.clips.playerState().versions.length === 4")
    tab.waits("rdbench.clips.playerState().versions.every(({ audio }) => audio)")
    tab.waits("!document.getElementById('play').disabled")
    assert tab.page.locator("#clip-heading").inner_text() == "mine: <b>group</b> 1"
    rows = tab.page.locator("#versions tbody tr")
    assert [rows.nth(n).locator("td").nth(1).inner_text() for n in (1, 2, 3)] == [
        "−20.0", "−21.0", "−22.0",
    ]  # fmt: skip
    assert "<i>t</i>" in rows.nth(3).inner_text()
    tab.page.locator("#play").click()
    tab.waits("rdbench.clips.playerState().playing")
    starts = tab.player()["starts"]
    tab.page.locator("#versions input").nth(2).check()
    state = tab.player()
    assert (state["version"], state["starts"], state["playing"]) == ("t = 1", starts, True)
