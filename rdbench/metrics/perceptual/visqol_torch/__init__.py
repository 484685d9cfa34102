"""ViSQOL v3 (audio and speech mode) as a batched tensor program.

ViSQOL compares spectro-temporal patches of the reference with the most similar patches of the
reconstruction and maps their similarity to a mean opinion score. In order:

`alignment`    the reconstruction is shifted by the lag at which the envelopes correlate best,
               and scaled to the power of the reference;
`filterbank`   both become gammatone spectrograms: RMS of each band in frames of 80 ms, every 20;
`spectrogram`  decibels over a floor that both share;
`patches`      where the reference's patches lie (in speech mode, only where there is voice);
`nsim`         the similarity of two patches, band by band;
`matching`     the sequence of the reconstruction's patches with the largest total similarity;
`refinement`   each matched pair is cut out, aligned anew in time, and compared again;
`mapping`      similarity per band to MOS-LQO: support vectors (audio), a lattice network or an
               exponential (speech);
`backend`      all of it for a batch, the reference's side prepared once.

Everything is float64: NSIM takes differences of squares of decibels against a constant of
4.5e-4, which float32 does not resolve.

Sources: A. Hines, J. Skoglund, A. C. Kokaram, N. Harte, "ViSQOL: an objective speech quality
model", EURASIP JASMP 2015:13; A. Hines et al., "ViSQOLAudio: an objective audio quality metric
for low bitrate codecs", JASA 137(6), 2015; M. Chinen et al., "ViSQOL v3: an open source
production ready objective speech and audio metric", QoMEX 2020; constants, framing and order of
operations as documented and observed in visqol-python 3.8.0, which follows Google's program.
"""
