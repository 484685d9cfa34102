"""Builds the HTML report of a run: a folder that opens from `file://`.

    index.html               the page: text, tables, controls
    assets/                  plotly, and the page's own scripts and style
    data/overview.js         aggregates, read at opening
    data/scores/D-M.js       every clip's score: domain D, metric M
    data/clips/C.js          all scores and rates of clip C
    data/audio/C/P.js        audio of clip C at point P (or reference)
    data/latents/D-P-N.png   pictures of latents: domain D, part P

All but the first is read when it is asked for, so that opening does not grow with the clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rdbench.analysis.runs import fingerprint
from rdbench.report.config import ReportConfig
from rdbench.report.html.content import Content, clip_scores, overview, read_content, scores_of
from rdbench.report.html.files import ASSETS, DATA, PAGE, ReportFolder
from rdbench.report.html.latents import write_latents
from rdbench.report.html.sound import Sounds, kept_files, write_sounds
from rdbench.report.html.tables import sections, sort_value
from rdbench.report.html.traces import Traces, read_binned
from rdbench.report.names import clean
from rdbench.store.atomic import trusted
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import jinja2

FOLDER = "report"
# In the order in which they are run; each adds to the namespace `rdbench`.
SCRIPTS = (
    "data.js", "format.js", "tables.js", "figure.js", "scatter.js", "fourier.js",
    "spectrogram.js", "pictures.js", "player.js", "clips.js", "page.js",
)  # fmt: skip
STYLE = "report.css"
TEMPLATE = "report.html.j2"
LONGEST_TEXT = 400


def write_html(
    run: Path, out: Path | None = None, *, config: ReportConfig | None = None
) -> list[Path]:
    """Writes the report of `run` into `out` (by default RUN/report); returns the files, page first.

    config: which systems, metrics and domains are shown, and their names (`rdbench.report.config`).
    Raises StoreError for a folder that is no run, and for an
    `out` that cannot be written or holds something else.
    """
    config = config or ReportConfig()
    content = read_content(Path(run), config=config)
    tables = sections(content, config=config)
    target = Path(run) / FOLDER if out is None else Path(out)
    folder = ReportFolder(target, trusted(target, Path(run)))
    folder.open()
    sounds = write_sounds(kept_files(content.folder, content.numbers), folder)
    traces = read_binned(content)
    write_data(content, folder.data, sounds, traces)
    write_assets(folder)
    # The page comes last: where it is, all that it needs is there.
    latents = write_latents(content, folder)
    told = _context(content, sounds) | {"sections": tables, "latents": latents}
    folder.write(PAGE, environment().get_template(TEMPLATE).render(told).encode())
    return [folder.written[-1], *folder.written[:-1]]


def write_data(
    content: Content,
    take: Callable[[str, Any], None],
    sounds: Sounds,
    traces: Traces,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Hands all data of a page to `take`, by name; more: of the overview."""
    numbers = content.numbers
    take("overview", overview(content) | {"audio": sounds.any} | dict(more))
    for domain in range(len(numbers.domains)):
        for metric in range(len(numbers.metrics)):
            scores = scores_of(content, domain, metric)
            if scores:
                take(f"scores/{domain}-{metric}", scores)
    for clip in range(len(numbers.clips)):
        take(
            f"clips/{clip}",
            clip_scores(content, clip)
            | {
                "reference": clip in sounds.reference,
                "audio": sorted(sounds.points.get(clip, ())),
                "traces": traces.get(clip, {}),
            },
        )


def write_assets(folder: ReportFolder) -> None:
    """Writes plotly, and the scripts and the style that pages share."""
    own = files("rdbench.report.html") / "assets"
    for name in (*SCRIPTS, STYLE):
        folder.write(f"{ASSETS}/{name}", (own / name).read_bytes())
    folder.write(f"{ASSETS}/plotly.min.js", plotly_script())


def plotly_script() -> bytes:
    """The plotly.js that comes with the Python package, which is not imported for it.

    Raises RdbenchError where it is missing.
    """
    spec = find_spec("plotly")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    for folder in folders:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_bytes()
    raise RdbenchError(
        "the HTML report needs plotly.js from the Python package plotly, which is not there; "
        "run `pip install plotly`"
    )


def environment() -> jinja2.Environment:
    """Where the templates of pages are found, and every value is escaped."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("rdbench.report.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["sort_value"] = sort_value
    return made


def _context(content: Content, sounds: Sounds) -> dict[str, Any]:
    from rdbench.version import __version__

    manifest, card = content.run.manifest, content.card
    return {
        "title": clean(str(manifest.get("name") or content.folder.resolve().name)),
        "description": clean(str(manifest.get("description") or ""), longest=LONGEST_TEXT),
        "corpus": card.corpus.rstrip("."),
        "protocol": card.protocol,
        "fingerprint": clean(fingerprint(manifest))[:12],
        "finished": clean(str(manifest.get("finished") or manifest.get("updated") or ""))[:10],
        "version": __version__,
        "missing": _missing(content, sounds),
        "kinds": _kinds(content),
        "scripts": ("plotly.min.js", *SCRIPTS),
        "root": "",
        "data": DATA,
    }


def _kinds(content: Content) -> list[tuple[str, str]]:
    from rdbench.report.cards import RATE_MEANING

    return [(kind, RATE_MEANING.get(kind, kind)) for kind in content.axes[1:]]


def _missing(content: Content, sounds: Sounds) -> list[str]:
    """What a reader may look for and will not find, a sentence each."""
    points, numbers = content.points, content.numbers
    said = list(content.caveats)
    if not sounds.any:
        said.append(
            "No audio was kept in this run, so there is nothing to hear; "
            "rdbench run SPEC --keep-audio keeps it."
        )
    failed = int(points.loc[points["kind"] != "cost", "n_failed"].sum())
    undefined = int(points.loc[points["kind"] != "cost", "n_undefined"].sum())
    counts = [f"{failed} failed"] * (failed > 0) + [f"{undefined} are undefined"] * (undefined > 0)
    if counts:
        said.append(
            f"Of the measurements, {' and '.join(counts)}; the reasons stand under "
            "“Clips without a value”."
        )
    scores = points[points["kind"] == "metric"]
    if not numbers.metrics:
        said.append("No metric was scored.")
    elif scores["value"].isna().all():
        said.append("No clip has a score: there is nothing to draw.")
    if len(numbers.clips) == 1:
        said.append("There is one clip: no intervals, and nothing to say about other clips.")
    return said
