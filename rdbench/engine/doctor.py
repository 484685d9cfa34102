"""Whether rdbench works on this machine: versions, devices, extras, weights, oracles, metrics.

Nothing is written and nothing downloaded. What an optional part lacks is said, and is no fault;
a fault is a package that the base needs, an oracle that does not hold, or a metric that does not
give its known value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec

from rdbench.codecs.catalogue import CARDS
from rdbench.types import AudioBatch, MissingExtraError, RdbenchError, install_command

EXTRAS = {
    **{card.package.extra: (card.package.module,) for card in CARDS.values() if card.package},
    "pitch": ("pyworld",),
    "mos": ("distillmos", "speechmos", "onnxruntime", "torchmetrics"),
    "speaker": ("resemblyzer",),
    "asr": ("transformers", "jiwer"),
    "aesthetics": ("audiobox_aesthetics",),
    "lightning": ("lightning",),
    "train": ("lightning_fabric", "tensorboard"),
}
"""Optional packages by the extra that installs them, or by the name of their repository."""
OPTIONAL = frozenset({"ai-edge-litert"})
KNOWN_VALUE_TOLERANCE = 1e-3
"""Largest deviation from a metric's known value, beside its backend's own tolerance."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    part: the heading. fault: what to do, "" where all is well.
    """

    part: str
    name: str
    said: str
    fault: str = ""


def examine() -> Iterator[Finding]:
    """Every finding, each as soon as it is known; on one thread, as a run's metrics are."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from _examine()
    finally:
        torch.set_num_threads(threads)


def _examine() -> Iterator[Finding]:
    parts: dict[str, Callable[[], Iterator[Finding]]] = {
        "versions": _versions,
        "devices": _devices,
        "extras": _extras,
        "weights": _weights,
        "oracles": _oracles,
        "metrics": _metrics,
    }
    for part, look in parts.items():
        try:
            yield from look()
        except Exception as error:
            # A doctor that dies of what it looks for helps nobody.
            reason = (
                str(error)
                if isinstance(error, RdbenchError)
                else f"{type(error).__name__}: {error}"
            )
            yield Finding(part, part, "could not be examined", f"mend this first: {reason}")


def verdict(findings: list[Finding]) -> str:
    """The last line: "ready", or what to do."""
    faults = [finding for finding in findings if finding.fault]
    if not faults:
        return "ready"
    return "not ready:\n" + "\n".join(f"- {f.name}: {f.fault}" for f in faults)


def _versions() -> Iterator[Finding]:
    from rdbench.engine.environment import versions

    for name, found in versions().items():
        missing = found == "not installed" and name not in OPTIONAL
        fault = "install it with `pip install rdbench`" if missing else ""
        yield Finding("versions", name, found, fault)


def _devices() -> Iterator[Finding]:
    import torch

    from rdbench.engine.environment import cores, hardware

    machine = hardware("cpu")
    memory = machine["memory_bytes"] / 2**30
    yield Finding(
        "devices", "cpu", f"{machine['processor']}, {cores()} cores, {memory:.0f} GiB of memory"
    )
    if not torch.cuda.is_available():
        yield Finding("devices", "cuda", "none: models and tensor metrics run on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        said = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        fault = ""
        try:
            torch.ones(8, device=f"cuda:{index}").sum().item()
        except RuntimeError as error:
            fault = f"it does not compute ({str(error).splitlines()[0]}); use --device cpu"
        yield Finding("devices", f"cuda:{index}", said, fault)


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if find_spec(name) is None]
        said = f"not installed (`{install_command(extra)}`)" if missing else "installed"
        yield Finding("extras", extra, said)


def _weights() -> Iterator[Finding]:
    from rdbench.codecs.published import published_files
    from rdbench.models import checkpoint, shipped
    from rdbench.weights.published import cache_folder

    for name in shipped.names():
        try:
            checkpoint.read_header(shipped.find(name))
        except RdbenchError as error:
            yield Finding("weights", name, "damaged", f"install rdbench again: {error}")
        else:
            yield Finding("weights", name, "comes with rdbench")
    for name, file in published_files().items():
        there = (cache_folder() / file.filename).is_file()
        said = "downloaded" if there else f"not here; `rdbench weights fetch {name}` fetches it"
        yield Finding("weights", name, said)
    yield Finding("weights", "lyra", "given by the option `models` (docs/weights.md)")


def _oracles() -> Iterator[Finding]:
    from rdbench.rate.oracles import ORACLES

    for oracle in ORACLES:
        checks = list(oracle())
        broken = [check for check in checks if not check.passed]
        name = (oracle.__doc__ or oracle.__name__).strip().splitlines()[0].rstrip(".")
        if not broken:
            nearest = max(abs(c.measured - c.expected) / c.tolerance for c in checks)
            said = f"{len(checks)} checks hold (largest deviation {nearest:.0%} of the tolerance)"
            yield Finding("oracles", name, said)
        for check in broken:
            said = (
                f"{check.name} is {check.measured:.5g} {check.unit}, {check.expected:.5g} ± "
                f"{check.tolerance:g} was expected"
            )
            yield Finding("oracles", name, said, "do not trust rates made here; please report this")


def _metrics() -> Iterator[Finding]:
    from rdbench.metrics.registry import definition, keys

    reference = _speech()
    for key in keys():
        if not definition(key).needs_model:  # which a spec names
            yield _metric(key, reference)


def _metric(key: str, reference: AudioBatch) -> Finding:
    import torch

    from rdbench.audio.resample import resample_batch
    from rdbench.metrics.base import ChannelRule
    from rdbench.metrics.registry import backend, definition
    from rdbench.metrics.selftest import score_pair

    meant = definition(key)
    audio = resample_batch(reference, meant.sample_rate or reference.sample_rate)
    if meant.channels is ChannelRule.JOINT:
        audio = replace(audio, samples=torch.cat([audio.samples, 0.5 * audio.samples], 1))
    try:
        used = backend(key)
        score = score_pair(used, reference=audio, reconstruction=audio).value
    except (MissingExtraError, ImportError):  # `extras` says how to get it
        return Finding("metrics", key, "not installed")
    except Exception as error:  # what is looked for is whether it raises
        fault = f"it cannot be computed ({type(error).__name__}: {error})"
        return Finding("metrics", key, "failed", f"{fault}; leave it out of the spec, or install "
                       "its package again")  # fmt: skip
    name = f"{used.name} backend, reference against itself"
    known = meant.identity
    if math.isnan(known):
        fine = meant.lower <= score <= meant.upper
        said = f"{score:.6g} (within {meant.lower:g} … {meant.upper:g}; {name})"
    else:
        fine = abs(score - known) <= max(KNOWN_VALUE_TOLERANCE, used.tolerance)
        said = f"{score:.6g} (known value {known:.6g}; {name})"
    fault = "" if fine else "it does not give its known value; install its package again"
    return Finding("metrics", key, said, fault)


def _speech() -> AudioBatch:
    """An embedded clip of speech."""
    import torch

    from rdbench.audio.corpus import embedded_corpus
    from rdbench.audio.load import ExcerptProtocol, load_excerpt

    clip = embedded_corpus().select(["speech"]).clips[0]
    samples = load_excerpt(clip, ExcerptProtocol(24_000, "mono", 2.0)).samples[None]
    return AudioBatch(samples, torch.tensor([samples.shape[-1]]), 24_000)
