"""One manifest of several: what was asked for is the union, and nothing in it is said twice.

A protocol, a metric, a variant, a clip and a system mean the same wherever they are named: what two
runs say otherwise of one is a refusal that names both. The plan asks for every clip of all runs of
every step of all runs, as the spec would that names them together; what none of them measured is
missing then, and the next `rdbench run` measures it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rdbench.store.merge.sources import Source
from rdbench.types import StoreError

_CODES = ("codec", "version", "weights_sha256", "curve", "headline")
"""What a system of one name has in every run in which it could be built."""
_MEASURES = (
    "version", "backend", "backend_version", "unit", "direction", "scope", "channels",
)  # fmt: skip
_FILES = ("weights", "reference")
"""Options that say where a file lies; what it holds, `model_file` and `backend_version` say."""
_PLACE = ("kind", "name", "path", "root")
"""Of a corpus: a spec has one, and who runs it elsewhere says where the clips are."""
_LONGEST = 60


def joined_manifest(sources: Sequence[Source]) -> dict[str, Any]:
    """The manifest of all runs together, as `RunWriter.write_manifest` takes it.

    Raises StoreError where they were not measured alike, or call different things by one name.
    """
    try:
        return _joined(sources)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        names = ", ".join(source.name for source in sources)
        raise StoreError(
            f"a manifest of {names} is damaged ({type(error).__name__}: {error}); `rdbench "
            "validate` says which; restore it from a copy, or run its spec again in it"
        ) from error


def _joined(sources: Sequence[Source]) -> dict[str, Any]:
    first = sources[0].manifest
    _check_protocols(sources)
    ended = [source.manifest.get("finished") for source in sources]
    return {
        **{key: first.get(key) for key in ("name", "description", "protocol", "execution")},
        **{key: first.get(key) for key in ("versions", "hardware")},
        "started": min(str(source.manifest.get("started") or "") for source in sources),
        "finished": max(map(str, ended)) if all(ended) else None,
        "spec": _specs(sources),
        "costs": next((found for s in sources if (found := s.manifest.get("costs"))), {}),
        "corpus": _corpora(sources),
        "metrics": _union(sources, "metrics", _check_metric),
        "systems": _systems(sources),
        "variants": _union(sources, "variants", _check_variant),
        "plan": _plans(sources),
        "provenance": {
            source.said(name): told
            for source in sources
            for name, told in source.provenance().items()
        },
        "merged": {k: told for source in sources for k, told in _origins(source).items()},
    }


def _origins(source: Source) -> dict[str, Any]:
    """What a run was, and the runs that it was merged from."""
    said = source.manifest
    keys = ("name", "started", "finished", "spec", "execution", "hardware", "versions")
    own = {key: said.get(key) for key in keys} | {"clips": len(list(source.clips()))}
    return {**(said.get("merged") or {}), source.origin: own}


def _check_protocols(sources: Sequence[Source]) -> None:
    first = sources[0]
    mine = first.manifest["protocol"]
    for other in sources[1:]:
        its = other.manifest["protocol"]
        if mine.get("fingerprint") == its.get("fingerprint"):
            continue
        names = [k for k in (*mine, *its) if k != "fingerprint" and mine.get(k) != its.get(k)]
        what = (
            f" ({names[0]} is {_shown(mine.get(names[0]))}, and {_shown(its.get(names[0]))})"
            if names
            else ""
        )
        raise StoreError(
            f"{first.name} and {other.name} were measured under two protocols{what}, so that their "
            "numbers belong in no one table; run one of them again under the other's"
        )


def _union(sources: Sequence[Source], section: str, check: Any) -> dict[str, Any]:
    found: dict[str, tuple[Source, Mapping[str, Any]]] = {}
    for source in sources:
        for name, card in (source.manifest.get(section) or {}).items():
            if name in found:
                check(name, *found[name], source, card)
            else:
                found[name] = source, card
    return {name: card for name, (_, card) in found.items()}


def _check_metric(
    key: str, first: Source, mine: Mapping[str, Any], other: Source, its: Mapping[str, Any]
) -> None:
    was, now = _measured_with(mine), _measured_with(its)
    name = next((name for name in was if was[name] != now[name]), None)
    if name is not None:
        raise StoreError(
            f"metric {key} was measured with {name} {_shown(was[name])} in {first.name} and "
            f"{_shown(now[name])} in {other.name}; run the older of them again with this rdbench, "
            f"which measures {key} alone anew"
        )


def _measured_with(card: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: card.get(name) for name in _MEASURES}, **options_of(card)}


def options_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """The options and files that a metric's values depend on, wherever these files lie.

    card: of a manifest. Raises AttributeError for one that is none.
    """
    model, options = card.get("model_file") or {}, card.get("options") or {}
    return {
        "options": {name: value for name, value in options.items() if name not in _FILES},
        "model": model.get("sha256"),
        "reference": card.get("backend_version") if "reference" in options else None,
    }


def _check_variant(
    name: str, first: Source, mine: Mapping[str, Any], other: Source, its: Mapping[str, Any]
) -> None:
    # Each system's predicted latents have a digest of their own, which is in the keys of its units.
    meant = [{k: v for k, v in card.items() if k != "digest"} for card in (mine, its)]
    if meant[0] != meant[1]:
        raise StoreError(
            f"the variant {name} means {_shown(meant[0])} in {first.name} and {_shown(meant[1])} "
            f"in {other.name}; leave it out of one of them"
        )


def _corpora(sources: Sequence[Source]) -> dict[str, Any]:
    found: dict[str, tuple[Source, Mapping[str, Any]]] = {}
    for source in sources:
        for clip in source.clips():
            name = str(clip.get("name"))
            first, known = found.setdefault(name, (source, clip))
            for key in ("content", "domain", "group"):
                if known.get(key) != clip.get(key):
                    what = "audio" if key == "content" else key
                    raise StoreError(
                        f"clip {name} is of one {what} in {first.name} and of another in "
                        f"{source.name} ({_shown(known.get(key))}, {_shown(clip.get(key))}); call "
                        "the clips differently, or take it out of one run"
                    )
    said = [source.manifest["corpus"] for source in sources]
    described = [str(one.get("description", "")) for one in said]
    alike = len(set(described)) == 1
    return {
        "name": " + ".join(dict.fromkeys(str(one.get("name", "")) for one in said)),
        "description": described[0] if alike else f"{len(found)} clips of {len(said)} runs",
        "clips": [clip for _, clip in found.values()],
    }


def _systems(sources: Sequence[Source]) -> dict[str, Any]:
    found: dict[str, tuple[Source, dict[str, Any]]] = {}
    for source in sources:
        for name, card in source.manifest["systems"].items():
            if name not in found:
                found[name] = source, dict(card)
                continue
            first, known = found[name]
            _check_system(name, first, known, source, card)
            built = known if _is_built(known) or not _is_built(card) else dict(card)
            targets = {**(known.get("target_kbps") or {}), **(card.get("target_kbps") or {})}
            listed = {key: _listed(known, card, key) for key in ("points", "variants", "rates")}
            points = listed["points"]
            if all(targets.get(point) is not None for point in points):
                listed["points"] = sorted(points, key=targets.__getitem__)
            found[name] = first, {**built, **listed, "target_kbps": targets}
    return {name: card for name, (_, card) in found.items()}


def _check_system(
    name: str, first: Source, mine: Mapping[str, Any], other: Source, its: Mapping[str, Any]
) -> None:
    both = _is_built(mine) and _is_built(its)
    keys = _CODES if both else ("codec", "curve")
    differs: list[tuple[str, Any, Any]] = [
        (key, mine.get(key), its.get(key)) for key in keys if mine.get(key) != its.get(key)
    ]
    options = [_system_spec(source, name).get("options") for source in (first, other)]
    if options[0] != options[1]:
        differs.append(("options", options[0], options[1]))
    if differs:
        key, was, now = differs[0]
        raise StoreError(
            f"system {name} is not the same in {first.name} and {other.name} ({key}: "
            f"{_shown(was)}, {_shown(now)}); give it another `name` in the spec of one and run "
            "that again, which renames its rows and measures nothing"
        )


def _is_built(card: Mapping[str, Any]) -> bool:
    return "family" in card


def _listed(mine: Mapping[str, Any], its: Mapping[str, Any], key: str) -> list[Any]:
    return list(dict.fromkeys([*(mine.get(key) or ()), *(its.get(key) or ())]))


def _system_spec(source: Source, name: str) -> Mapping[str, Any]:
    systems = (source.manifest.get("spec") or {}).get("systems") or ()
    return next((one for one in systems if one.get("name") == name), {})


def _specs(sources: Sequence[Source]) -> dict[str, Any]:
    """What the specs have in common, with the systems and the metrics of all.

    A section that they say otherwise is in none: `merged` has each spec whole. Of corpora the place
    is the first's, and the clips are those of all, by their names.
    """
    specs = [source.manifest.get("spec") or {} for source in sources]
    joined = {
        key: value
        for key, value in specs[0].items()
        if all(spec.get(key) == value for spec in specs[1:])
    }
    systems: dict[str, dict[str, Any]] = {}
    metrics: dict[str, dict[str, Any]] = {}
    for spec in specs:
        for system in spec.get("systems") or ():
            name = str(system.get("name"))
            systems[name] = _wider(systems[name], system) if name in systems else dict(system)
        for domain, chosen in (spec.get("metrics") or {}).items():
            for one in chosen:
                metrics.setdefault(domain, {}).setdefault(str(one.get("key")), one)
    corpora = [spec.get("corpus") for spec in specs]
    if "corpus" not in joined and all(isinstance(corpus, Mapping) for corpus in corpora):
        joined["corpus"] = _corpus_spec(sources, corpora)
    return joined | {
        "systems": list(systems.values()),
        "metrics": {domain: list(chosen.values()) for domain, chosen in metrics.items()},
    }


def _corpus_spec(sources: Sequence[Source], corpora: Sequence[Any]) -> dict[str, Any]:
    first = corpora[0]
    place = {key: first[key] for key in _PLACE if first.get(key) is not None}
    common = {
        key: value
        for key, value in first.items()
        if key not in ("sample", "limit") and all(one.get(key) == value for one in corpora)
    }
    clips = {str(clip.get("name")): None for source in sources for clip in source.clips()}
    return {**common, **place, "clips": list(clips)}


def _wider(mine: Mapping[str, Any], its: Mapping[str, Any]) -> dict[str, Any]:
    """A system with the points, variants and domains of both; None is all."""
    keys = ("points", "variants", "domains")
    return {
        **mine,
        **{k: _listed(mine, its, k) if mine.get(k) and its.get(k) else None for k in keys},
    }


def _plans(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Every step and domain once, with every quantity that a run asks of it."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    names = ("system", "point", "variant", "domain")
    for source in sources:
        for entry in source.manifest["plan"]:
            place = tuple(str(entry.get(name)) for name in names)
            known = found.setdefault(place, {**dict(zip(names, place, strict=True))})
            for key in ("each", "whole"):
                listed = known.setdefault(key, [])
                listed += [one for one in entry.get(key) or () if one not in listed]
    return list(found.values())


def _shown(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
