"""Reads a benchmark spec from YAML, and says in one sentence what is wrong with it.

YAML comes from other people: only the safe loader reads it, duplicate keys are refused (YAML would
silently keep the last), and the size of the file and of what its aliases expand to are limited.

The names of metrics and codecs belong to registries of other rooms, so the caller hands them in;
`rdbench.read_spec` does.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from rdbench.files import read_file
from rdbench.identity import names_class
from rdbench.spec import shipped
from rdbench.spec.complaints import sentence, shown, type_name
from rdbench.spec.model import BenchmarkSpec, CorpusSpec, MetricSpec, SystemSpec
from rdbench.suggest import nearest
from rdbench.types import SpecError

MAX_BYTES = 64 * 1024
MAX_NODES = 20_000
MAX_MERGED = 500
MAX_DIGITS = 24
RESIDUAL_DELAY = "residual_delay"  # measured with every metric

# What PyYAML raises on broken documents beside its own errors (a bad `!!int`, a huge number, …).
_YAML_ERRORS = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    ArithmeticError,
    RecursionError,
)


def load_spec(
    path: str | os.PathLike[str],
    *,
    metric_keys: Collection[str] | None = None,
    codec_names: Collection[str] | None = None,
    data: str | os.PathLike[str] | None = None,
) -> BenchmarkSpec:
    """Reads and validates a spec.

    Args:
        path: a YAML file, or the name of a spec that comes with rdbench
            (`rdbench.spec.shipped`).
        metric_keys: every metric key there is; `module:Class` is accepted as well. None leaves it
            to the run to find unknown ones.
        codec_names: every codec name there is; `module:Class` is accepted as well. None as above.
        data: what replaces the corpus's own clips: a folder (by its manifest, where the spec
            names one and the folder holds a file of that name), or a manifest. Of a public corpus
            by name, the folder that holds it.

    Raises:
        SpecError: one sentence with the file, the place in it, and the nearest valid name.
    """
    content, folder, where = read_content(path)
    return make_spec(
        content,
        where=where,
        folder=folder,
        metric_keys=metric_keys,
        codec_names=codec_names,
        data=data,
    )


def read_content(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Path, str]:
    """What a file, or a spec that comes with rdbench, says; unvalidated.

    Beside it the folder in which its paths start (that of the file, and for a name the current
    one), and how errors begin. Raises SpecError.
    """
    file = shipped.find(path)
    folder = Path.cwd() if shipped.is_name(path) else file.parent.absolute()
    return read_yaml(file), folder, f"spec {os.fspath(path)}"


def make_spec(
    content: Mapping[str, Any],
    *,
    where: str = "spec",
    folder: Path | None = None,
    metric_keys: Collection[str] | None = None,
    codec_names: Collection[str] | None = None,
    data: str | os.PathLike[str] | None = None,
) -> BenchmarkSpec:
    """Validates what a spec says.

    content: as YAML gives it. where: begins the sentence of an error. folder: in which its relative
    paths start; None is the current one. The others, and errors, as in `load_spec`.
    """
    try:
        spec = BenchmarkSpec.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{where}: {sentence(error, BenchmarkSpec, 'the spec')}") from None
    try:
        _check_names(spec, metric_keys, codec_names)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    spec._folder = (folder or Path()).absolute()
    return spec if data is None else with_data(spec, data, where=where)


def with_data(
    spec: BenchmarkSpec, data: str | os.PathLike[str], *, where: str = "the spec"
) -> BenchmarkSpec:
    """The spec with other clips, as `load_spec` takes them; `where` begins an error's sentence."""
    corpus = spec.corpus
    if corpus.kind == "embedded":
        raise SpecError(f"{where} uses the embedded corpus, so --data has nothing to replace")
    target = Path(data).absolute()
    if corpus.kind == "named":
        return _with_corpus(spec, {"path": os.path.relpath(target, spec.folder)})
    assert corpus.path is not None
    manifest = target / Path(corpus.path).name if target.is_dir() else target
    if corpus.kind == "manifest" and manifest.is_file():
        target, kind = manifest, "manifest"
    elif target.is_dir():
        kind = "folder"
    else:
        raise SpecError(
            f"--data: there is neither a folder nor a manifest {target}; name the folder that "
            "holds the clips"
        )
    outside = corpus.allow_outside and kind == "manifest"
    update = {"kind": kind, "root": None, "allow_outside": outside}
    # Relative, so that a results manifest does not carry the paths of the machine that made it.
    return _with_corpus(spec, update | {"path": os.path.relpath(target, spec.folder)})


def with_limit(spec: BenchmarkSpec, limit: int) -> BenchmarkSpec:
    """The spec with a sample of at most `limit` clips; raises SpecError for less than one."""
    if limit < 1:
        raise SpecError(f"a limit of {limit} clips leaves nothing; ask for 1 or more")
    own = spec.corpus.sample
    drawn = {} if own is None else own.model_dump()
    return _with_corpus(spec, {"sample": drawn | {"clips": limit}})


Changed = TypeVar("Changed", SystemSpec, MetricSpec)


def option_value(text: str) -> Any:
    """What the text of an option would be in a spec: `10` is a number, `FILE` is text."""
    try:
        return yaml.load(text, Loader=_Loader)
    except _YAML_ERRORS:
        return text


def with_option(spec: BenchmarkSpec, name: str, key: str, value: str) -> BenchmarkSpec:
    """The spec with one option of a system, or of a metric by its key, replaced.

    value: as it would stand in the spec (see `option_value`), but a path that starts with `./` or
    `../` is meant from the current folder.

    Raises:
        SpecError: for a name that neither a system of the spec nor a metric has.
    """
    systems = [item.name for item in spec.systems]
    metrics = list(dict.fromkeys(one.key for some in spec.metrics.values() for one in some))
    if name not in (*systems, *metrics):
        near = nearest(name, [*systems, *metrics])
        raise SpecError(f"the spec has no system and no metric {name!r}; {near}")
    parsed = option_value(value)
    if isinstance(parsed, str) and parsed.startswith(("./", "../")):
        parsed = "./" + os.path.relpath(parsed, spec.folder)

    def changed(item: Changed) -> Changed:
        return item.model_copy(update={"options": {**item.options, key: parsed}})

    if name in systems:
        update = {"systems": tuple(changed(s) if s.name == name else s for s in spec.systems)}
        return _with(spec, update)
    found = {
        domain: tuple(changed(one) if one.key == name else one for one in some)
        for domain, some in spec.metrics.items()
    }
    return _with(spec, {"metrics": found})


def read_yaml(path: Path, what: str = "spec") -> dict[str, Any]:
    """The mapping in a YAML file, read as data only; raises SpecError with one sentence."""
    content = yaml_data(path, what)
    if not isinstance(content, dict):
        raise SpecError(f"{what} {path} must be a mapping of keys, not {type_name(content)}")
    return content


def yaml_data(path: Path, what: str) -> Any:
    """What a YAML file of other people holds, as data only; `what` names it in messages.

    Raises SpecError where it cannot be read, is no YAML, or is larger than any such file.
    """
    try:
        raw = read_file(path, MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise SpecError(
                f"{what} {path} is larger than {MAX_BYTES // 1024} KiB; it is no {what}"
            ) from None
        raise SpecError(
            f"{what} {path} cannot be read ({error.strerror}); give the path of a YAML file"
        ) from None
    try:
        content = yaml.load(raw.decode("utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise SpecError(f"{what} {path} is not valid YAML{where}: {error.problem}") from None
    except _YAML_ERRORS as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise SpecError(f"{what} {path} is not valid YAML: {reason}") from None
    if not _small(content):
        raise SpecError(f"{what} {path} expands to more than {MAX_NODES} values; it is no {what}")
    return content


class _Loader(yaml.SafeLoader):
    """The safe loader, without what YAML makes of a text and its author did not mean.

    `1:30` is 90 to it, `010` is 8, `2024-05-01` is a date, a key `on` is true. Sets, binaries and
    ordered maps are no part of any file here; neither are numbers of more digits than are counted
    with. Duplicate keys are refused.
    """

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number, as it is written."""
        self._check_number(node)
        if re.match(r"[-+]?0[0-9_]", node.value):
            raise _refusal(node, f"{node.value} is read as octal; leave the first 0 out")
        return int(super().construct_yaml_int(node))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """A number, as it is written."""
        self._check_number(node)
        return float(super().construct_yaml_float(node))

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        """Text that a file can hold."""
        text = str(super().construct_yaml_str(node))
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _refusal(
                node, "half of a surrogate pair, which no file can hold; write the other"
            )
        return text

    def refuse(self, node: yaml.Node) -> Any:
        """Of a tag that no file here has: one sentence."""
        kind = _NO_DATA[node.tag]
        shown = (
            f"{node.value} is {kind}" if isinstance(node, yaml.ScalarNode) else f"this is {kind}"
        )
        raise _refusal(node, f"{shown[:80]}; put it in quotes, or write it as text or as a list")

    def _check_number(self, node: yaml.ScalarNode) -> None:
        if ":" in node.value:
            raise _refusal(node, f"{node.value[:20]} is read as minutes; put it in quotes")
        if len(node.value) > MAX_DIGITS:
            raise _refusal(node, f"a number of {len(node.value)} characters; write a shorter one")

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Expands merge keys (`<<`), which nested aliases could let grow without end."""
        before = len(node.value)
        super().flatten_mapping(node)
        if len(node.value) > max(before, MAX_MERGED):
            raise _refusal(node, f"`<<` merges more than {MAX_MERGED} keys")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key: Any = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal(
                    key_node, f"the key {shown(key)} is {type_name(key)}; put it in quotes"
                )
            if key in seen:
                raise _refusal(key_node, f"the key {shown(key)} is there twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _refusal(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_NO_DATA = {
    f"tag:yaml.org,2002:{name}": kind
    for name, kind in (
        ("timestamp", "a date"),
        ("binary", "binary data"),
        ("set", "a set"),
        ("omap", "an ordered map"),
        ("pairs", "a list of pairs"),
    )
}
for _tag in _NO_DATA:
    _Loader.add_constructor(_tag, _Loader.refuse)
for _name in ("int", "float", "str"):
    _Loader.add_constructor(
        f"tag:yaml.org,2002:{_name}", getattr(_Loader, f"construct_yaml_{_name}")
    )


def _small(content: Any) -> bool:
    """Whether `content` has at most MAX_NODES values, aliases (also circular ones) expanded."""
    pending = [content]
    count = 0
    while pending:
        item = pending.pop()
        count += 1
        if count + len(pending) > MAX_NODES:
            return False
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list | tuple | set):
            pending += item
    return True


def _check_names(
    spec: BenchmarkSpec, metric_keys: Collection[str] | None, codec_names: Collection[str] | None
) -> None:
    for domain, metrics in spec.metrics.items():
        for index, metric in enumerate(metrics):
            if metric.key == RESIDUAL_DELAY:
                raise SpecError(
                    f"`metrics.{domain}[{index}]`: {RESIDUAL_DELAY!r} is always measured, and "
                    "never named; leave it out"
                )
            known = metric_keys is None or metric.key in metric_keys
            if not known and not names_class(metric.key):
                raise SpecError(
                    f"`metrics.{domain}[{index}]`: there is no metric {metric.key!r}; "
                    f"{nearest(metric.key, list(metric_keys or ()))}"
                )
    for index, system in enumerate(spec.systems):
        where, codec = f"`systems[{index}].codec`", system.codec
        if codec.startswith("__main__:"):
            raise SpecError(
                f"{where}: {codec!r} is not to be found in other processes; put the class into a "
                "file beside the spec and name it module:Class"
            )
        if codec_names is None or codec in codec_names or names_class(codec):
            continue
        hint = nearest(codec, list(codec_names))
        if not hint.startswith("did you mean"):
            hint += f"; a checkpoint is `{{codec: vae, options: {{weights: {codec}}}}}`"
        raise SpecError(f"{where}: there is no codec {codec!r}; {hint}")


def _with_corpus(spec: BenchmarkSpec, update: dict[str, Any]) -> BenchmarkSpec:
    return _with(spec, {"corpus": CorpusSpec(**spec.corpus.model_dump() | update)})


def _with(spec: BenchmarkSpec, update: dict[str, Any]) -> BenchmarkSpec:
    changed = spec.model_copy(update=update)
    changed._folder = spec.folder
    return changed
