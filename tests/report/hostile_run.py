"""Runs that a report must survive: names that are markup, TeX, paths or endless, and runs of which
little or nothing could be measured.
"""

from __future__ import annotations

from typing import Any

import make_run
import pandas as pd

from rdbench.analysis.runs import Run

NAMES = (
    r"100% & a_b # $x^2$ \input{/etc/passwd} ~ {}",
    "<img src=x onerror=alert(1)> \"quoted\" 'single' `tick`",
    "javascript:alert(1)",
    "../../../escape",
    "[draft] *bold* |pipe| \U0001f3b5\u202e",
    "w" * 300,
    "β-VAE, σ = 0.5 → 日本",
    "_hidden\n\x1b[31m",
)
# Enough to see every kind of row, few enough to draw quickly.
SOME = ("opus", "mp3", "lyra", "vae_6", "identity")
FEWER = ("pesq_wb", "si_sdr", "mel_dac_16k")


def hostile_names() -> Run:
    """Eight systems, each with a name that someone could give; clips and points likewise."""
    frame = make_run.make_frame()
    frame = frame[(frame["system"] == "opus") & ~frame["key"].isin(FEWER)]
    parts, systems = [], {}
    for number, name in enumerate(NAMES):
        part = frame.copy()
        scores = part["kind"] == "metric"
        part["value"] = part["value"].where(~scores, part["value"] * (1 - 0.03 * number))
        part["system"], part["curve"] = name, name
        part["point"] = part["point"] + NAMES[(number + 1) % len(NAMES)][:40]
        part["clip"] = part["clip"].where(part["clip"] == "", part["clip"] + "<b>&_/../x")
        parts.append(part)
        systems[name] = {"label": name, "curve": name, "headline": "payload", "family": name}
    frame = pd.concat(parts, ignore_index=True)
    frame["domain"] = frame["domain"].replace({"speech": "../sp&ee_ch<b>%", "music": "mu\\sic$"})
    manifest = {**make_run.make_manifest(), "systems": systems}
    manifest["corpus"] = {"description": "50% of <b>my</b> clips_& $\\LaTeX$"}
    return Run("hostile", frame, manifest)


def little(what: str) -> Run:
    """A run of which little was measured: "one point", "one clip", "failed" or "undefined"."""
    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(SOME) & ~frame["key"].isin(FEWER)]
    frame = frame[frame["domain"] != "music"]
    manifest: dict[str, Any] = make_run.make_manifest()
    if what == "one point":
        first = frame.groupby("system")["point"].transform("first")
        frame = frame[frame["point"] == first]
    elif what == "one clip":
        frame = frame[frame["clip"].isin(["s00", "m00", ""])]
    else:
        status = "failed" if what == "failed" else "undefined"
        hit = (frame["kind"] == "metric") & (frame["key"] != "residual_delay")
        if what == "failed":  # of one system everything, of another one point
            hit = (frame["system"] == "opus") | (
                (frame["system"] == "mp3") & (frame["point"] == "24") & (frame["kind"] != "cost")
            )
        frame = frame.copy()
        frame.loc[hit, ["value", "status", "reason"]] = [float("nan"), status, f"it is {status}"]
    return Run(what, frame.copy(), manifest)


def hostile() -> tuple[pd.DataFrame, dict]:
    name = 'a|b $x$ <script>alert(1)</script> "q" ../../e \n\x1b[31m \U0001f3b5 ' + "w" * 300
    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(["opus", "identity"])].copy()
    frame["system"] = frame["system"].replace("opus", name)
    frame["curve"] = frame["curve"].replace("Opus", name)
    frame["domain"] = frame["domain"].replace("music", "../mu|sic")
    manifest = make_run.make_manifest()
    manifest["systems"] = {name: {"headline": "payload"}, "identity": {"headline": None}}
    return frame, manifest
