"""Writes the report on latents: `latent.md`, the numbers as CSV, the figures as PDF and PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rdbench.report.config import ReportConfig
from rdbench.report.figures.style import figure_style
from rdbench.report.figures.write import figure_files
from rdbench.report.latent import tables
from rdbench.report.latent.bars import draw_ladder
from rdbench.report.latent.content import LatentContent, read_content
from rdbench.report.latent.lines import draw_generation, draw_truncation, metrics_of
from rdbench.report.latent.page import Part, html_page, markdown_page
from rdbench.report.latent.pictures import draw_heat, draw_norms, draw_spectra
from rdbench.report.latent.waves import draw_waves
from rdbench.report.names import clean, slug
from rdbench.report.spreadsheet import spreadsheet
from rdbench.store.atomic import make_folder, trusted, write_atomic

FOLDER = "latent"
PAGE, HTML = "latent.md", "latent.html"
CONFIG = ReportConfig(formats=("pdf", "png"))


def write_latent(
    runs: Sequence[Path], out: Path | None = None, *, html: bool = False
) -> list[Path]:
    """Writes what runs say of their latents into `out`; returns the files, the page first.

    out: by default `latent` in the first run. html: latent.html too. What the runs lack is a line
    of the page. Raises RdbenchError as `rdbench.report.latent.content.read_content` does, and
    StoreError where the folder cannot be written.
    """
    content = read_content(runs)
    target = Path(runs[0]) / FOLDER if out is None else Path(out)
    within = trusted(target, Path(runs[0]))
    make_folder(target / "figures", within=within)
    written: list[Path] = []

    def write(name: str, text: str) -> None:
        written.append(target / name)
        write_atomic(written[-1], text.encode("utf-8", errors="replace"), within=within)

    for name, table in content.tables.items():
        if len(table):
            write(f"{name}.csv", spreadsheet(table))
    with figure_style(CONFIG.style, CONFIG.font):
        parts = {domain: list(parts_of(content, domain)) for domain in content.domains}
        figures = {
            name: figure
            for part in (part for sections in parts.values() for part in sections)
            for name, (_, figure) in part.drawn.items()
        }
        for name, figure in figures.items():
            stem = target / "figures" / name
            written += figure_files(figure, stem, [], CONFIG, within=within)
    if html:
        pictures = {name: (target / "figures" / f"{name}.png").read_bytes() for name in figures}
        write(HTML, html_page(content, parts, pictures))
    write(PAGE, markdown_page(content, parts))
    return [written[-1], *written[:-1]]


def parts_of(content: LatentContent, domain: str) -> Iterator[Part]:
    """The sections of a domain, with their figures drawn; some may be empty."""
    width, end = CONFIG.inches.two, slug(domain)
    yield Part(
        "Prior ladder", tables.ladder(content, domain),
        {f"ladder_{end}": ("Learnt and stored", draw_ladder(content, domain, width=width))},
    )  # fmt: skip
    yield Part(
        "Statistics", tables.statistics(content, domain),
        {
            f"kl_{end}": ("KL by channel and place", draw_heat(content, domain, width=width)),
            f"norms_{end}": ("Norms by place", draw_norms(content, domain, width=width)),
            f"spectra_{end}": ("Spectra of μ", draw_spectra(content, domain, width=width)),
        },
        tables.unmeasured(content, domain),
    )  # fmt: skip
    waves = {
        f"frames_{end}_{number}": (
            f"KL over the waveform of {clean(clip)}",
            draw_waves(content, domain, clip, width=width),
        )
        for number, clip in enumerate(content.clips(domain), start=1)
    }
    yield Part("Frame by frame", figures=waves)
    yield Part("Copies", tables.copies(content, domain))
    kept = {
        f"truncation_{end}_{slug('_'.join(filter(None, metric)))}": (
            f"{content.card.metrics[metric[0]].name} over the channels kept",
            draw_truncation(content, domain, metric, width=width),
        )
        for metric in metrics_of(content, content.truncation, domain)
    }
    yield Part("Truncation", tables.least(content, domain), kept)
    shown = tables.decoded(
        content, content.collapse, domain, name="collapse", title="Collapse",
        caption="Scores with parts of the latent replaced by draws of its fitted distribution, or "
        "moved by half of the clip (rolled). In brackets: 95 % intervals of the difference from "
        "the sample. A decoder whose score does not change does not listen there.",
    )  # fmt: skip
    yield Part("Collapse", shown, warnings=tables.ignored(content, domain))
    shown = tables.decoded(
        content, content.paths, domain, name="paths", title="Decode paths",
        caption="Scores by what the decoder was given; of predictions, and of noise like theirs, "
        "by the first seed alone. In brackets: 95 % intervals of the "
        "difference from the sample, paired over clips.",
    )  # fmt: skip
    yield Part("Decode paths", shown)
    yield Part("Gap", tables.gap(content, domain))
    figure = draw_generation(content, domain, width=width)
    yield Part(
        "Rate against generation", tables.best(content, domain),
        {f"generation_{end}": ("Reconstruction and generation over the rate", figure)},
    )  # fmt: skip
