"""The outcome of a check as terminal text, Markdown for a pull request, JUnit XML and JSON."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from rdbench.report.names import clean
from rdbench.report.numbers import NONE, p_text, plain_text, with_interval
from rdbench.report.text.columns import Column, aligned, markdown_table
from rdbench.report.text.outputs import json_text, write_text
from rdbench.store.variants import BUILT_IN

if TYPE_CHECKING:
    from rdbench.analysis.gate.check import GateResult

VERDICTS = {
    0: "pass: nothing is worse than the baseline",
    1: "regression: something is worse than in the baseline, or missing",
    3: "not comparable: the run was not measured like the baseline",
    4: "failed units: the run is incomplete",
    5: "too little to judge: a loss on too few groups of clips to tell from chance",
}
NOTABLE = (
    "not_comparable",
    "regression",
    "vanished",
    "failed",
    "undecided",
    "new",
    "improvement",
    "skipped",
)
HEADINGS = {
    "not_comparable": "Not comparable",
    "regression": "Regressions",
    "vanished": "Vanished",
    "failed": "Failed units",
    "new": "New",
    "improvement": "Improvements",
    "undecided": "Too little to judge",
    "skipped": "Not tested",
}
LONGEST = 20
# XML 1.0 has no place for these.
NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_text(result: GateResult, *, layout: str = "text") -> str:
    """The verdict and what stands behind it; layout: "text" or "markdown"."""
    markdown = layout == "markdown"
    title = f"rdbench check: {VERDICTS[int(result.exit_code)]}"
    parts = [f"### {title}" if markdown else title, _counts(result)]
    rows = _rows(result)
    for verdict in NOTABLE:
        chosen = [row for row in rows if row["verdict"] == verdict]
        if not chosen:
            continue
        # The largest losses first, as seen from their own uncertainty.
        chosen.sort(key=lambda row: row["p"] if math.isfinite(row["p"]) else 2.0)
        heading = HEADINGS[verdict]
        parts.append(f"#### {heading}" if markdown else heading)
        columns = _columns(chosen[:LONGEST])
        parts.append(markdown_table(columns) if markdown else aligned(columns))
        if len(chosen) > LONGEST:
            parts.append(f"and {len(chosen) - LONGEST} more")
    return "\n\n".join(parts) + "\n"


def gate_json(result: GateResult) -> str:
    """Verdict, exit code and all findings; a NaN is null."""
    return json_text(
        {
            "verdict": VERDICTS[int(result.exit_code)].split(":")[0],
            "exit_code": int(result.exit_code),
            "findings": result.findings,
        }
    )


def gate_junit(result: GateResult) -> str:
    """One test case per finding: failures are regressions, errors have no verdict."""
    rows = _rows(result)
    suite = ElementTree.Element("testsuite", name="rdbench check")
    counts = {"tests": len(rows), "failures": 0, "errors": 0, "skipped": 0}
    for row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(_where(row) or row["what"]), name=_xml(_what(row))
        )
        kind = {
            "regression": "failure", "vanished": "failure", "failed": "error",
            "not_comparable": "error", "undecided": "error", "skipped": "skipped",
        }.get(row["verdict"])  # fmt: skip
        if kind:
            plural = {"failure": "failures", "error": "errors"}.get(kind, kind)
            counts[plural] += 1
            ElementTree.SubElement(case, kind, message=_xml(_message(row)))
    for name, count in counts.items():
        suite.set(name, str(count))
    ElementTree.indent(suite)
    body = ElementTree.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def write_outputs(
    result: GateResult,
    *,
    junit: Path | None = None,
    markdown: Path | None = None,
    json_path: Path | None = None,
) -> list[str]:
    """Writes the forms that were asked for; returns what `write_text` says. Raises StoreError."""
    said = []
    if junit is not None:
        said.append(write_text(junit, gate_junit(result)))
    if markdown is not None:
        said.append(write_text(markdown, gate_text(result, layout="markdown")))
    if json_path is not None:
        said.append(write_text(json_path, gate_json(result)))
    return [sentence for sentence in said if sentence]


def _rows(result: GateResult) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in result.findings.to_dict("records")]


def _counts(result: GateResult) -> str:
    tests = int(result.findings["p"].notna().sum())
    counted = {name: result.count(name) for name in ("pass", *NOTABLE)}
    shown = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in counted.items() if count
    )
    return f"{shown or 'nothing was checked'}; {tests} tests, corrected together"


def _columns(rows: list[dict[str, Any]]) -> list[Column]:
    columns = [
        Column("where", [_where(row) or "–" for row in rows]),
        Column("what", [_what(row) for row in rows]),
    ]
    if any(math.isfinite(row["loss"]) for row in rows):
        columns += [
            Column("baseline", [_number(row["baseline"]) for row in rows], right=True),
            Column("run", [_number(row["value"]) for row in rows], right=True),
            Column("worse by (−: better)", [_loss(row) for row in rows], right=True),
            Column("tolerated", [row["tolerance"] or "–" for row in rows], right=True),
            Column("p, Holm", [p_text(row["p_holm"]) for row in rows], right=True),
        ]
    if any(row["message"] for row in rows):
        columns.append(Column("", [clean(row["message"], longest=120) for row in rows]))
    return columns


def _where(row: dict[str, Any]) -> str:
    names = [row["domain"], row["system"] or row["curve"], row["point"]]
    variant = BUILT_IN.get(row["variant"])
    if variant is None or not variant.headline:
        names.append(row["variant"])
    return clean(" ".join(name for name in names if name), longest=80)


def _what(row: dict[str, Any]) -> str:
    name = {"bd_rate": f"BD-rate, {row['key']}", "rate": f"{row['key']} rate"}.get(
        row["what"], row["key"] or row["what"]
    )
    if row["clip"]:
        name = f"{name}, {row['clip']}" if row["key"] else row["clip"]
    return clean(name, longest=100)


def _message(row: dict[str, Any]) -> str:
    if not math.isfinite(row["loss"]):
        return str(row["message"])
    text = f"worse by {_loss(row)} {row['unit']}".rstrip()
    if math.isfinite(row["baseline"]):
        text += f" (baseline {_number(row['baseline'])}, run {_number(row['value'])})"
    text += f"; tolerated: {row['tolerance']}"
    if math.isfinite(row["p_holm"]):
        text += f"; p {p_text(row['p_holm'])} after correction"
    return text if not row["message"] else f"{text}; {row['message']}"


def _loss(row: dict[str, Any]) -> str:
    return with_interval(_number, row["loss"], row["low"], row["high"])


def _number(value: float) -> str:
    return plain_text(value).replace("-", "−") if math.isfinite(value) else NONE


def _xml(text: str) -> str:
    return NO_XML.sub("�", str(text))
