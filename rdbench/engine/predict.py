"""Latents that a probe predicts for the clips of a spec: `rdbench latent predict`.

For each task and each number of a seed a folder, as the variant `predicted` reads it:

    OUT/TASK/SEED/speech/a.npy      float32 (channels, frames), of the clip speech/a.flac
    OUT/TASK/SEED/predicted.json    of which probe, checkpoint, task and seed; written last

The noise belongs to the clip and the number, so that a latent is the same in any run, and every
task starts from the same noise. What a task sees of the clip's own latent is the sample that the
variant `sample` with this number decodes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.models.probe.checkpoint import ProbeError
from rdbench.store.atomic import make_folder, write_atomic
from rdbench.types import AudioBatch, Latent, Posterior, RdbenchError

if TYPE_CHECKING:
    import torch

    from rdbench.audio.load import ExcerptProtocol
    from rdbench.codecs.posterior.base import PosteriorCodec
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.progress import Progress
    from rdbench.models.probe.checkpoint import TrainedProbe
    from rdbench.models.probe.tasks import Task
    from rdbench.spec.model import BenchmarkSpec

FORMAT = "rdbench predicted latents"
VERSION = 1
ABOUT = "predicted.json"


@dataclass(frozen=True)
class Predicted:
    """What was written. folders: one for each task and seed. failures: a sentence for each clip."""

    folders: tuple[Path, ...]
    failures: tuple[str, ...]


def predict(
    spec: BenchmarkSpec,
    probe: Path,
    out: Path,
    progress: Progress,
    *,
    tasks: Sequence[str] = ("conditioned",),
    seeds: int = 1,
    first: int = 0,
    system: str | None = None,
    device: str = "cpu",
    allow_code: bool = False,
) -> Predicted:
    """Writes the latents that the probe at `probe` predicts for every clip of `spec`.

    first: the number of the first of the seeds; predictions of several probes that take other
    numbers have noise of their own. system: which of the spec's has the probe's checkpoint; None
    looks for it. A clip that cannot be read or encoded is said and left out.

    Raises WeightsError for a probe that cannot be read, ProbeError where no system has its
    checkpoint or a clip is one that it was trained on, SpecError for an unknown task or system.
    """
    from rdbench.audio.places import places_of
    from rdbench.engine.devices import resolve_device
    from rdbench.engine.plan.clips import excerpt_protocols, load_corpus, plan_clips
    from rdbench.models.probe import checkpoint
    from rdbench.models.probe.tasks import task

    wanted = [task(name) for name in dict.fromkeys(tasks)]
    trained = checkpoint.load(probe)
    codec = _codec(spec, trained, system, allow_code=allow_code)
    clips = plan_clips(load_corpus(spec), seed=spec.protocol.seed)
    trained.check_apart((clip.name, clip.file.sha256) for clip in clips if clip.file)
    places = places_of(clip.name for clip in clips)
    where = resolve_device(device)
    codec.to(where)
    trained.model.to(where)
    protocols = excerpt_protocols(spec, list(dict.fromkeys(clip.domain for clip in clips)))
    asked = [(one, number) for one in wanted for number in range(first, first + seeds)]
    failures = []
    progress.start(len(clips), 0)
    try:
        for clip in clips:
            progress.at(codec.info.name, "predict")
            try:
                seen = _Seen(codec, clip, protocols[clip.domain])
            except RdbenchError as error:
                failures.append(str(error))
                progress.say(f"{clip.name} is left out: {error}")
            else:
                for one, number in asked:
                    latent = seen.predicted(trained, one, number)
                    _write(_folder(out, one, number) / f"{places[clip.name]}.npy", latent)
            progress.advance()
    finally:
        progress.stop()
    for one, number in asked:
        _write_about(_folder(out, one, number), probe, trained, one, number)
    return Predicted(tuple(_folder(out, *one) for one in asked), tuple(failures))


class _Seen:
    """A clip with its posterior and its log-mel; raises RdbenchError where it has none."""

    def __init__(self, codec: PosteriorCodec, clip: PlannedClip, protocol: ExcerptProtocol) -> None:
        import torch

        from rdbench.audio.load import load_excerpt
        from rdbench.audio.resample import resample_batch
        from rdbench.models.probe.condition import coarse_log_mel
        from rdbench.types import AudioError

        if clip.failure:
            raise AudioError(clip.failure)
        excerpt = load_excerpt(clip.clip, protocol, clip.file)
        length = torch.tensor([excerpt.samples.shape[-1]])
        batch = AudioBatch(excerpt.samples[None], length, excerpt.sample_rate)
        native = resample_batch(batch, codec.info.native_rate(batch.sample_rate))
        self.codec, self.seed = codec, clip.seed
        self.encoded = codec.encode(native, codec.points[0])
        assert isinstance(self.encoded.payload, Posterior)
        frames = int(self.encoded.payload.frames[0])
        assert codec.info.frame_rate is not None
        self.condition = coarse_log_mel(
            native.samples[0], native.sample_rate, frames, codec.info.frame_rate
        )

    def predicted(self, trained: TrainedProbe, wanted: Task, number: int) -> torch.Tensor:
        """float32 (channels, frames)."""
        import torch

        from rdbench.engine.plan.digests import clip_seed, other_seed
        from rdbench.models.probe.tasks import generate
        from rdbench.types import MEAN, SAMPLE

        variant = SAMPLE if trained.model.config.target == "sample" else MEAN
        drawn = self.codec.decoder_input(self.encoded, variant, [other_seed(self.seed, number)])
        assert isinstance(drawn.payload, Latent)
        # Its own noise: the sample's would be half of what is to be predicted.
        generator = torch.Generator().manual_seed(clip_seed(number, f"probe {self.seed}"))
        return generate(
            trained.model, wanted, drawn.payload.values[0], self.condition, generator=generator
        )


def _codec(
    spec: BenchmarkSpec, trained: TrainedProbe, system: str | None, *, allow_code: bool
) -> PosteriorCodec:
    """The codec of the probe's checkpoint."""
    from rdbench.codecs.posterior.base import PosteriorCodec
    from rdbench.engine.plan.systems import build_systems
    from rdbench.suggest import nearest
    from rdbench.types import SpecError

    names = [item.name for item in spec.systems]
    if system is not None:
        if system not in names:
            raise SpecError(f"spec has no system {system!r}; {nearest(system, names)}")
        one = tuple(item for item in spec.systems if item.name == system)
        spec = spec.model_copy(update={"systems": one})
    built = [one.codec for one in build_systems(spec, allow_code=allow_code)]
    codecs = [codec for codec in built if isinstance(codec, PosteriorCodec)]
    if system is not None and codecs:
        trained.check_codec(system, codecs[0].info.weights_sha256)
    for codec in codecs:
        if codec.info.weights_sha256 == trained.codec_sha256:
            return codec
    raise ProbeError(
        f"no system of the spec has the checkpoint that the probe was trained on ({trained.codec}, "
        f"weights {trained.codec_sha256[:8]}); add it to the spec"
    )


def _folder(out: Path, wanted: Task, number: int) -> Path:
    return out / wanted.name / str(number)


def _write(path: Path, latent: torch.Tensor) -> None:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, latent.numpy(), allow_pickle=False)
    make_folder(path.parent)
    write_atomic(path, buffer.getvalue())


def _write_about(
    folder: Path, probe: Path, trained: TrainedProbe, wanted: Task, number: int
) -> None:
    from rdbench.models.probe.flow import STEPS
    from rdbench.models.probe.tasks import GAP_SECONDS

    about: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "probe": {
            "file": probe.name,
            "sha256": trained.sha256,
            **{key: trained.provenance.get(key) for key in ("seed", "steps", "parameters")},
        },
        "codec": {"name": trained.codec, "weights_sha256": trained.codec_sha256},
        "task": wanted.name,
        "seed": number,
        "target": trained.model.config.target,
        "sampler": {"method": "heun", "steps": STEPS},
    }
    if wanted.infill:
        about["gap_seconds"] = GAP_SECONDS
    make_folder(folder)
    write_atomic(folder / ABOUT, (json.dumps(about, indent=1) + "\n").encode())
