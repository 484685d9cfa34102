/* Spectrograms and their differences, drawn from decoded audio when a clip is looked at. */
"use strict";

(() => {
  const COLUMNS = 640;
  const SECONDS = 0.032; // of a window
  const RANGE = 80; // dB shown below the loudest
  const CHANGE = 20; // dB of difference at full colour
  const LEFT = 44;
  const RIGHT = 6;
  const BOTTOM = 20;
  const HEAT = [
    [8, 6, 20],
    [66, 15, 110],
    [140, 42, 125],
    [222, 73, 104],
    [254, 160, 110],
    [252, 250, 200],
  ];
  const COLD_WARM = [
    [33, 102, 172],
    [146, 197, 222],
    [247, 247, 247],
    [244, 165, 130],
    [178, 24, 43],
  ];

  const mixed = (buffer) => {
    const samples = new Float32Array(buffer.length);
    for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
      const data = buffer.getChannelData(channel);
      for (let i = 0; i < data.length; i += 1) samples[i] += data[i] / buffer.numberOfChannels;
    }
    return samples;
  };

  /* Levels in dB by column and bin; the channels are averaged. */
  const analyse = (buffer) => {
    const size = 2 ** Math.round(Math.log2(buffer.sampleRate * SECONDS));
    const plan = rdbench.fourier.prepare(size);
    const samples = mixed(buffer);
    const columns = Math.max(1, Math.min(COLUMNS, Math.floor(samples.length / 64)));
    const bins = size / 2;
    const levels = new Float32Array(columns * bins);
    for (let column = 0; column < columns; column += 1) {
      const centre = Math.floor(((column + 0.5) * samples.length) / columns);
      rdbench.fourier.power(plan, samples, centre, levels, column);
    }
    let loudest = -Infinity;
    for (const level of levels) loudest = Math.max(loudest, level);
    return { columns, bins, levels, loudest, seconds: buffer.duration, rate: buffer.sampleRate };
  };

  /* A colour of a map, at 0 … 1. */
  const colourAt = (map, share) => {
    const at = Math.min(Math.max(share, 0), 1) * (map.length - 1);
    const low = Math.min(Math.floor(at), map.length - 2);
    return map[low].map((part, i) => part + (at - low) * (map[low + 1][i] - part));
  };

  const paint = (canvas, spectrum, shareOf, map) => {
    const { columns, bins } = spectrum;
    const table = Array.from({ length: 256 }, (_, i) => colourAt(map, i / 255));
    const image = new ImageData(columns, bins);
    for (let column = 0; column < columns; column += 1) {
      for (let bin = 0; bin < bins; bin += 1) {
        const share = Math.min(Math.max(shareOf(column * bins + bin), 0), 1);
        const at = 4 * ((bins - 1 - bin) * columns + column);
        image.data.set(table[Math.round(share * 255)], at);
        image.data[at + 3] = 255;
      }
    }
    const sheet = document.createElement("canvas");
    [sheet.width, sheet.height] = [columns, bins];
    sheet.getContext("2d").putImageData(image, 0, 0);
    frame(canvas, sheet, spectrum);
  };

  /* The picture with its axes, as sharp as the screen. */
  const frame = (canvas, sheet, { seconds, rate }) => {
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth || 600, canvas.clientHeight || 150];
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const [right, bottom] = [width - LEFT - RIGHT, height - BOTTOM];
    pen.imageSmoothingQuality = "high";
    pen.drawImage(sheet, LEFT, 4, right, bottom - 4);
    pen.fillStyle = "#444";
    pen.font = "11px system-ui, sans-serif";
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    const top = rate / 2000;
    for (const share of [0, 0.5, 1]) {
      const y = bottom - share * (bottom - 4);
      pen.fillText(
        `${Number((share * top).toPrecision(3))}${share === 1 ? " kHz" : ""}`,
        LEFT - 5,
        Math.min(Math.max(y, 10), bottom - 5),
      );
    }
    pen.textBaseline = "top";
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60].find((s) => seconds / s <= 6) ?? 120;
    for (let time = 0; time <= seconds + 1e-9; time += step) {
      const x = LEFT + (time / seconds) * right;
      pen.textAlign = time === 0 ? "left" : x > width - 22 ? "right" : "center";
      pen.fillText(`${Number(time.toFixed(1))} s`, x, bottom + 5);
    }
  };

  /* reference: whose loudest level is the top of the colours, so that pictures compare. */
  const draw = (canvas, spectrum, reference) =>
    paint(canvas, spectrum, (i) => 1 + (spectrum.levels[i] - reference.loudest) / RANGE, HEAT);

  /* What neither of the two holds within the range is no difference. */
  const drawDifference = (canvas, spectrum, reference) => {
    const floor = reference.loudest - RANGE;
    const change = (i) =>
      Math.max(spectrum.levels[i], floor) - Math.max(reference.levels[i], floor);
    paint(canvas, reference, (i) => 0.5 + change(i) / (2 * CHANGE), COLD_WARM);
  };

  /* The time under a pointer, as a share of the clip, or null beside the picture. */
  const shareAt = (canvas, clientX) => {
    const box = canvas.getBoundingClientRect();
    const share = (clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    return share >= 0 && share <= 1 ? share : null;
  };

  Object.assign(rdbench, {
    spectrogram: { analyse, draw, drawDifference, shareAt, RANGE, CHANGE },
  });
})();
