"""RMS of gammatone bands over windowed frames, without filtering.

Band b of Slaney's gammatone filterbank is a cascade of four biquads with one pair of poles
ρ e^{±iθ}, ρ = exp(−2π · 1.019 · ERB(f) / rate), θ = 2π f / rate, and the zeros
ρ (cos θ ± sqrt(3 ± 2^{3/2}) sin θ), scaled to unit gain at its centre f. The bandwidth is
ERB(f) = f / 9.26449 + 24.7 (Glasberg and Moore), and the centres divide the interval from the
lowest to the highest frequency evenly on the scale of ERBs, the highest excluded.

A frame x of N samples (Hann window applied) starts every filter from rest, and the spectrogram
holds sqrt(E_b / N), where E_b is the energy of y = h_b * x over the N samples of the frame alone:

    E_b = Σ_{n<N} y[n]² = Σ_{all n} y[n]² − Σ_{m≥0} y[N + m]²

Filtering takes 4 · 5 operations per sample and band, one after the other. Both sums can be had
without it:

- The energy of the whole response depends on autocorrelations alone, r_x of the frame and r_h of
  the impulse response: Σ_l r_x[l] r_h[l]. Since r_x vanishes for |l| ≥ N, a DFT X of 2N points
  gives it exactly, as (1 / 2N) Σ_k |X[k]|² W[k] with W the DFT of r_h cut to |l| < N.
- After the frame the filter rings freely: y[N + m] = Σ_{p≥1} h[m + p] x[N − p] lies, for any x, in
  the space of the eight sequences m^j ρ^m cos θm, m^j ρ^m sin θm, j = 0…3. With U an orthonormal
  basis of that space the energy of the tail is ‖A x‖², A[i, p] = Σ_m U[m, i] h[m + p]: at most
  eight inner products with the end of the frame, fewer where a singular value is negligible.

So a spectrogram is one FFT and a few matrix products, and agrees with the recursive filters to
rounding (about 1e-12).

Sources: M. Slaney, "An efficient implementation of the Patterson–Holdsworth auditory filter
bank", Apple TR 35, 1993; B. R. Glasberg, B. C. J. Moore, Hearing Research 47, 1990.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from rdbench.metrics.perceptual.visqol_torch.modes import Mode

EAR_Q = 9.26449
MINIMUM_BANDWIDTH = 24.7  # Hz
BANDWIDTH = 1.019
TAIL_RANK = 8  # order of the filter
TAIL_SHARES = (2, 6, 16)  # sixteenths of a frame that groups of bands look back
NEGLIGIBLE = 1e-7  # amplitude, relative to the largest: 1e-14 in energy

Array = npt.NDArray[np.float64]


def centre_frequencies(mode: Mode) -> Array:
    """Centres in hertz, ascending, (bands,)."""
    offset = EAR_Q * MINIMUM_BANDWIDTH
    top, bottom = mode.highest + offset, mode.lowest + offset
    steps = np.arange(mode.bands, 0, -1) / mode.bands
    centres: Array = top * (bottom / top) ** steps - offset
    return centres


def frequency_response(mode: Mode, points: int) -> npt.NDArray[np.complex128]:
    """Responses at the frequencies of a real DFT of `points` points, (bands, points // 2 + 1)."""
    centres = centre_frequencies(mode)[:, None]
    radius = np.exp(-2.0 * math.pi * BANDWIDTH * _bandwidth(centres) / mode.rate)
    theta = 2.0 * math.pi * centres / mode.rate
    delay = np.exp(-2j * math.pi * np.arange(points // 2 + 1) / points)[None, :]
    response = _cascade(radius, theta, delay)
    return response / np.abs(_cascade(radius, theta, np.exp(-1j * theta)))


def _bandwidth(frequency: Array) -> Array:
    return frequency / EAR_Q + MINIMUM_BANDWIDTH


def _cascade(
    radius: Array, theta: Array, delay: npt.NDArray[np.complex128]
) -> npt.NDArray[np.complex128]:
    poles = 1.0 - 2.0 * radius * np.cos(theta) * delay + (radius * delay) ** 2
    response = np.ones_like(poles)
    for inner in (1.0, -1.0):
        for outer in (1.0, -1.0):
            spread = outer * math.sqrt(3.0 + inner * 2.0**1.5)
            zero = radius * (np.cos(theta) + spread * np.sin(theta))
            response = response * (1.0 - zero * delay) / poles
    return response


@dataclass(frozen=True)
class Filterbank:
    """The matrices of a mode, on a device.

    window: (N,) Hann. hop: samples between frames. weights: (2 (N + 1), bands), for squared real
    and imaginary parts. tails: for groups of bands, the samples of the frame's end that matter, a
    matrix (samples, functionals) and the matrix of zeros and ones (functionals, bands) that adds
    them up.
    frames_at_once: frames that are transformed together.
    """

    window: torch.Tensor
    hop: int
    weights: torch.Tensor
    tails: tuple[tuple[int, torch.Tensor, torch.Tensor], ...]
    frames_at_once: int

    @classmethod
    def build(cls, mode: Mode, device: torch.device) -> Filterbank:
        """The filterbank of `mode` for tensors on `device`."""
        window, weights, tails = _matrices(mode)
        return cls(
            window=torch.as_tensor(window, device=device),
            hop=mode.hop,
            weights=torch.as_tensor(weights, device=device),
            tails=tuple(
                (
                    length,
                    torch.as_tensor(matrix, device=device),
                    torch.as_tensor(member, device=device),
                )
                for length, matrix, member in tails
            ),
            frames_at_once=8192 if device.type == "cuda" else 32,
        )

    def rms(self, frames: torch.Tensor) -> torch.Tensor:
        """RMS per band of frames before windowing, float64 (frames, N) to (frames, bands)."""
        step = self.frames_at_once
        parts = [self._rms(frames[i : i + step]) for i in range(0, len(frames), step)]
        return torch.cat(parts) if parts else frames.new_zeros((0, self.weights.shape[1]))

    def _rms(self, frames: torch.Tensor) -> torch.Tensor:
        length = len(self.window)
        windowed = frames * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(windowed, n=2 * length)).flatten(1)
        energy = spectrum.square_() @ self.weights
        for samples, matrix, member in self.tails:
            energy -= (windowed[:, length - samples :] @ matrix).square_() @ member
        return energy.clamp_(min=0.0).div_(length).sqrt_()

    def spectrogram(self, signal: torch.Tensor, frames: int) -> torch.Tensor:
        """RMS of the first `frames` frames of signals (rows, time), (rows, bands, frames)."""
        window, hop = len(self.window), self.hop
        short = (frames - 1) * hop + window - signal.shape[-1]
        if short > 0:
            signal = torch.nn.functional.pad(signal, (0, short))
        view = signal.unfold(-1, window, hop)[:, :frames]
        step = max(1, self.frames_at_once // frames)
        parts = [self.rms(part.flatten(0, 1)) for part in torch.split(view, step)]
        return torch.cat(parts).view(*view.shape[:2], -1).transpose(1, 2).contiguous()


@lru_cache(maxsize=2)
def _matrices(mode: Mode) -> tuple[Array, Array, tuple[tuple[int, Array, Array], ...]]:
    length = mode.window
    window: Array = 0.5 - 0.5 * np.cos(2.0 * math.pi * np.arange(length) / (length - 1))
    points = 2 ** math.ceil(math.log2(32 * length))  # the impulse responses have died away
    response = frequency_response(mode, points)
    return window, _energy_weights(response, points, length), _tails(mode, response, window, points)


def _energy_weights(response: npt.NDArray[np.complex128], points: int, length: int) -> Array:
    """Weights W of the bins, doubled for the conjugate half, once for each part of a bin."""
    correlation = np.fft.irfft(np.abs(response) ** 2, points)[:, :length]
    mirrored = np.zeros((len(response), 2 * length))
    mirrored[:, :length] = correlation
    mirrored[:, length + 1 :] = correlation[:, :0:-1]
    weights = np.fft.rfft(mirrored).real / (2 * length)
    weights[:, 1:-1] *= 2.0
    return np.ascontiguousarray(np.repeat(weights.T, 2, axis=0))


def _tails(
    mode: Mode, response: npt.NDArray[np.complex128], window: Array, points: int
) -> tuple[tuple[int, Array, Array], ...]:
    """The functionals of all bands, in groups that look equally far back."""
    impulse = np.fft.irfft(response, points)
    centres = centre_frequencies(mode)
    radius = np.exp(-2.0 * math.pi * BANDWIDTH * _bandwidth(centres) / mode.rate)
    theta = 2.0 * math.pi * centres / mode.rate
    lengths = [-(-len(window) * share // 16) for share in TAIL_SHARES]
    groups: dict[int, list[tuple[int, Array]]] = {}
    for band in range(mode.bands):
        matrix = _tail_matrix(impulse[band], radius[band], theta[band], window)
        size = np.abs(matrix * window).max(axis=0)
        reach = len(window) - int(np.argmax(size > NEGLIGIBLE * size.max()))
        length = next(n for n in lengths if n >= reach)
        groups.setdefault(length, []).append((band, matrix))
    return tuple(_group(length, members, mode.bands) for length, members in groups.items())


def _group(length: int, members: list[tuple[int, Array]], bands: int) -> tuple[int, Array, Array]:
    matrix = np.concatenate([functionals[:, -length:] for _, functionals in members])
    owner = np.concatenate([np.full(len(functionals), band) for band, functionals in members])
    member = (owner[:, None] == np.arange(bands)).astype(np.float64)
    return length, np.ascontiguousarray(matrix.T), member


def _tail_matrix(impulse: Array, radius: float, theta: float, window: Array) -> Array:
    """A of one band: what remains in the filter after a frame, (functionals, N)."""
    length = len(window)
    decay = -1.0 / math.log(radius)  # samples to 1/e
    count = min(len(impulse) - length, max(64, round(45.0 * decay)))
    time = np.arange(count)
    modes = [
        (time / decay) ** power * radius**time * wave(theta * time)
        for power in range(TAIL_RANK // 2)
        for wave in (np.cos, np.sin)
    ]
    basis, _ = np.linalg.qr(np.stack(modes, axis=1))
    transform = len(impulse)
    spectrum = np.fft.rfft(impulse) * np.fft.rfft(basis.T, transform).conj()
    matrix = np.fft.irfft(spectrum, transform)[:, length:0:-1]  # p = N, …, 1: order of time
    left, size, _ = np.linalg.svd(matrix * window, full_matrices=False)
    strong: Array = left[:, size > NEGLIGIBLE * size[0]].T @ matrix
    return strong
