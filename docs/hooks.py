"""What is built into the pages from rdbench itself: codecs, metrics, commands, recipes, results.

A page has it between `<!-- built: NAME -->` and `<!-- end: NAME -->`, committed, so that it reads
whole as Markdown too. `python docs/hooks.py` writes it anew, a test holds it, and MkDocs fills it
in as it is now. Of the Python names the site has more than their list, and leaves that out.
Links and pictures that lead out of docs/ (`../results/…`) are published beside the pages.
"""

from __future__ import annotations

import inspect
import json
import math
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdbench.codecs.catalogue import Package

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")
UNPUBLISHED = {"quick"}  # what `make quickstart` leaves; git ignores it
BUILT = re.compile(r"^<!-- built: (\w+) -->$.*?^<!-- end: \1 -->$", re.MULTILINE | re.DOTALL)
NOT_ON_SITE = {"api"}


def on_files(files: Any, config: Any) -> Any:
    """Adds what pages link to outside of docs/, as long as it is a file of the repository."""
    from mkdocs.structure.files import File

    wanted = {target for page in files.documentation_pages() for target in _targets(page)}
    for target in sorted(wanted):
        if (ROOT / target).is_file():
            files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_others: Any) -> str:
    """Fills in what is built, and turns links out of docs/ to the published copies."""
    filled = _filled(markdown)
    return OUTSIDE.sub(r"](\1", filled) if "/" not in page.file.src_uri else filled


def _targets(page: Any) -> Iterator[str]:
    yield from OUTSIDE.findall(_filled(page.content_string))


def _filled(markdown: str) -> str:
    """A page as the site has it."""
    return BUILT.sub(lambda one: "" if one[1] in NOT_ON_SITE else _BUILDERS[one[1]](), markdown)


def committed(markdown: str) -> str:
    """A page with what is built into it as it is now."""

    def block(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- built: {name} -->\n\n{_BUILDERS[name]()}\n\n<!-- end: {name} -->"

    return BUILT.sub(block, markdown)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _codecs() -> str:
    from rdbench.codecs.catalogue import CARDS, credit, licences

    rows: list[tuple[str, ...]] = [
        (
            f"`{name}`",
            credit(name).label,
            card.family,
            card.points,
            _code(card.options),
            _brought_by(card.package),
        )
        for name, card in sorted(CARDS.items())
    ]
    owed: list[tuple[str, ...]] = [
        (f"`{name}`", *licences(name, card), credit(name).citation)
        for name, card in sorted(CARDS.items())
        if credit(name).citation
    ]
    lists = _table(("codec", "label", "family", "points (kbps)", "options", "extra"), rows)
    titles = ("codec", "licence of the code", "licence of the weights", "cite")
    return f"{lists}\n\n{_table(titles, owed)}"


def _brought_by(package: Package | None) -> str:
    if package is None:
        return ""
    from rdbench.types import REPOSITORIES

    if package.extra in REPOSITORIES:
        return f"[{package.brought_by}](#packages-with-one-model)"
    return f"`{package.extra}`"


def _metrics() -> str:
    from rdbench.metrics.registry import FAMILIES, backend_names, definition

    rows: list[tuple[str, ...]] = []
    sentences: dict[str, list[str]] = {}
    for key in (key for family in FAMILIES.values() for key in family):
        meant = definition(key)
        domains, names = ", ".join(meant.domains) or "all", ", ".join(backend_names(key))
        better, scope = meant.direction.value, meant.scope.value.replace("_", " ")
        least = f"{meant.minimum_seconds:.3g} s" if meant.minimum_seconds else "–"
        same = "–" if math.isnan(meant.identity) else f"{meant.identity:.4g}"
        values = (meant.unit or "–", _range(meant.lower, meant.upper), better, same)
        rows.append((f"`{key}`", *values, least, scope, domains, names))
        said = ". ".join(text.rstrip(".") for text in (meant.definition, meant.citation) if text)
        rate = f"{meant.sample_rate} Hz"  # a family at several rates is one definition
        sentences.setdefault(said.replace(rate, "its rate"), []).append(f"`{key}`")
    meanings = [f"- {', '.join(which)}: {said}." for said, which in sentences.items()]
    table = _table(
        ("key", "unit", "range", "better", "reference itself", "at least", "scope", "domains",
         "backends"),
        rows,
    )  # fmt: skip
    return "\n".join([table, "", *meanings])


def _range(lower: float, upper: float) -> str:
    if math.isinf(lower) and math.isinf(upper):
        return "open"
    return f"{lower:.4g} and more" if math.isinf(upper) else f"{lower:.4g} to {upper:.4g}"


def _metric_modules() -> str:
    from rdbench.metrics.registry import FAMILIES

    parts = []
    for module, family in FAMILIES.items():
        options = "{show_root_heading: false, show_root_toc_entry: false, heading_level: 4}"
        keys = ", ".join(f"`{key}`" for key in family)
        parts.append(f"### {keys}\n\n::: {module}\n    options: {options}")
    return "\n\n".join(parts)


def _commands() -> str:
    import typer

    from rdbench.cli.main import app

    return "\n\n".join(_command(name, one) for name, one in _named(typer.main.get_command(app)))


def _named(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its full name: `run`, `weights fetch`."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            if one.invoke_without_command and not above:
                yield name, one
            yield from _named(one, f"{above}{name} ")
        else:
            yield f"{above}{name}", one


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(["rdbench", name, *(_metavar(one) for one in arguments), "[OPTIONS]"])
    rows = [(f"`{_metavar(one)}`", getattr(one, "help", "") or "") for one in arguments]
    rows += [(f"`{', '.join(one.opts)}`", _help(one)) for one in options if one.name != "help"]
    text = re.sub(r"\s*\n\s*", " ", re.sub(r"\n\n+", "\0", (command.help or "").strip()))
    parts = [f"## `rdbench {name}`", text.replace("\0", "\n\n"), f"`{usage}`"]
    return "\n\n".join([*parts, _table(("option", "meaning"), rows)] if rows else parts)


def _metavar(argument: Any) -> str:
    name = str(argument.name).upper()
    return f"{name} …" if argument.nargs == -1 else name


def _help(option: Any) -> str:
    text = re.sub(r"\s*\[default: (.*)\]", r" Default: \1.", option.help or "")
    default = option.default
    if "Default:" in text or default in (None, False, 0, "", ()) or callable(default):
        return text
    return f"{text} Default: `{getattr(default, 'value', default)}`."


def _corpora() -> str:
    from rdbench.corpora.entries import entries

    known = list(entries())
    rows: list[tuple[str, ...]] = [
        (
            f"`{one.name}`",
            f"[{one.title}]({one.homepage})",
            one.all_domains,
            str(one.clips.count or "not stated"),
            one.size,
            "by hand" if one.by_hand else "fetch",
            one.licence,
        )
        for one in known
    ]
    table = _table(("corpus", "what", "domain", "clips", "size", "to be had", "licence"), rows)
    files: list[tuple[str, ...]] = [
        (f"`{one.name}`", f"`{part.name}`", part.checksum, part.found)
        for one in known
        for archive in one.archives
        for part in archive.parts
    ]
    sums = _table(("corpus", "file", "checksum", "where figures were found"), files)
    notes = [
        f"- `{one.name}`: {' '.join(text for text in (one.note, _by_hand(one)) if text)} "
        f"Cite {one.citation}."
        for one in known
    ]
    return "\n\n".join([table, "\n".join(notes), sums])


def _by_hand(entry: Any) -> str:
    """How a corpus is had that nobody may fetch."""
    said = str(entry.by_hand)
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def _results() -> str:
    runs = [path.parent for path in sorted(ROOT.glob("results/*/manifest.json"))]
    return "\n\n".join(_run(folder) for folder in runs if folder.name not in UNPUBLISHED)


def _run(folder: Path) -> str:
    spec = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["spec"]
    place = f"../results/{folder.name}"
    shown = [f"## {folder.name}", spec["description"], f"[All numbers]({place}/table.md)"]
    for picture in sorted(folder.glob("figures/overview_*.png")):
        domain = picture.stem.removeprefix("overview_").replace("_", " ")
        shown.append(f"![{folder.name}: every metric on {domain}]({place}/figures/{picture.name})")
    return "\n\n".join(shown)


def _recipes() -> str:
    """What a recipe may say: a section for each part, from the models that read it."""
    from pydantic import BaseModel

    from rdbench.training.probe.recipe import ProbeRecipe
    from rdbench.training.recipe import Recipe

    parts: list[str] = []
    seen: set[type[BaseModel]] = set()

    def tell(model: type[BaseModel], heading: str) -> None:
        if model in seen:
            return
        seen.add(model)
        text = inspect.cleandoc(model.__doc__ or "").replace("<", "\\<")
        rows, inner = [], []
        for name, field in model.model_fields.items():
            parts_of = list(_models(field.annotation))
            inner += [(one, f"{heading}.{name}" if heading else name) for one in parts_of]
            default = "required" if field.is_required() else _default(field.get_default())
            rows.append((f"`{name}`", default))
        title = f"`{heading}`, {model.__name__}" if heading else model.__name__
        parts.append("\n\n".join([f"#### {title}", text, _table(("key", "default"), rows)]))
        for one, where in inner:
            tell(one, where)

    tell(Recipe, "")
    tell(ProbeRecipe, "")
    return "\n\n".join(parts)


def _models(annotation: Any) -> Iterator[type]:
    """The models within a field's type."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def _default(value: Any) -> str:
    if hasattr(value, "model_dump"):
        return "as below"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) or value else '`""`'


def _api() -> str:
    """The Python names of the page, each with its first sentence."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows: list[tuple[str, ...]] = []
    for target, options in re.findall(r"^::: (\S+)(?:\n    options: (.*))?$", page, re.MULTILINE):
        chosen = re.search(r"members: \[([^\]]*)\]", options)
        found = pkgutil.resolve_name(target)
        if inspect.ismodule(found):
            names = chosen[1].split(", ") if chosen else _own(found)
            rows += [(f"`{target}.{name}`", _first(getattr(found, name))) for name in names]
        else:
            rows.append((f"`{target}`", _first(found)))
    return _table(("name", "what"), rows)


def _own(module: Any) -> list[str]:
    """What a module defines and documents itself."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
        and value.__doc__
    ]


def _first(value: Any) -> str:
    paragraph = inspect.cleandoc(value.__doc__ or "").split("\n\n")[0]
    return " ".join(paragraph.split())


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


_BUILDERS: dict[str, Callable[[], str]] = {
    "codecs": _codecs,
    "metrics": _metrics,
    "metric_modules": _metric_modules,
    "commands": _commands,
    "corpora": _corpora,
    "results": _results,
    "recipes": _recipes,
    "api": _api,
}


def main() -> None:
    """Writes what is built into every page of docs/."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        old = path.read_text(encoding="utf-8")
        if (new := committed(old)) != old:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
