"""Clips, corpora, loading, resampling, channels and alignment.

- `rdbench.audio.clip`: `Clip`, `Corpus`.
- `rdbench.audio.corpus`: `folder_corpus`, `manifest_corpus`, `embedded_corpus`.
- `rdbench.audio.load`: `read`, and `load_excerpt` under an `ExcerptProtocol`.
- `rdbench.audio.resample`: the one resampler, `resample` and `resample_batch`; `fit_lengths`.
- `rdbench.audio.align`: `residual_delay` between reference and reconstruction.
"""
