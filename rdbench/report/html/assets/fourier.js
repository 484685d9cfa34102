/* Power spectra of short stretches: a radix-2 FFT with Hann windows. */
"use strict";

(() => {
  /* Tables for one size: bit reversal, twiddle factors, window. */
  const prepare = (size) => {
    const bits = Math.log2(size);
    const reversed = new Uint32Array(size);
    for (let i = 0; i < size; i += 1) {
      for (let bit = 0; bit < bits; bit += 1) reversed[i] |= ((i >> bit) & 1) << (bits - 1 - bit);
    }
    const turn = (i) => (-2 * Math.PI * i) / size;
    return {
      size,
      reversed,
      cos: Float64Array.from({ length: size / 2 }, (_, i) => Math.cos(turn(i))),
      sin: Float64Array.from({ length: size / 2 }, (_, i) => Math.sin(turn(i))),
      window: Float64Array.from(
        { length: size },
        (_, i) => 0.5 + 0.5 * Math.cos(turn(i) + Math.PI),
      ),
      real: new Float64Array(size),
      imaginary: new Float64Array(size),
    };
  };

  const transform = ({ size, real, imaginary, cos, sin }) => {
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k += 1) {
          const [low, high] = [start + k, start + k + half];
          const [c, s] = [cos[k * step], sin[k * step]];
          const re = real[high] * c - imaginary[high] * s;
          const im = real[high] * s + imaginary[high] * c;
          real[high] = real[low] - re;
          imaginary[high] = imaginary[low] - im;
          real[low] += re;
          imaginary[low] += im;
        }
      }
    }
  };

  /* Writes the power in dB of the stretch about `centre` into column `column` of `levels`. */
  const power = (plan, samples, centre, levels, column) => {
    const { size, reversed, window, real, imaginary } = plan;
    for (let i = 0; i < size; i += 1) {
      const at = centre - size / 2 + i;
      real[reversed[i]] = at >= 0 && at < samples.length ? samples[at] * window[i] : 0;
    }
    imaginary.fill(0);
    transform(plan);
    const bins = size / 2;
    for (let bin = 0; bin < bins; bin += 1) {
      const value = real[bin] ** 2 + imaginary[bin] ** 2;
      levels[column * bins + bin] = 10 * Math.log10(value + 1e-12);
    }
  };

  Object.assign(rdbench, { fourier: { prepare, power } });
})();
