/* Pictures of a clip: spectrograms, their difference, and bits over time. */
"use strict";

(() => {
  const { short } = rdbench;
  const $ = (id) => document.getElementById(id);

  /* Spectrograms of the reference and of version `index`, and their difference. */
  const drawPictures = (versions, index) => {
    const reference = versions[0]?.spectrum;
    const version = versions[index];
    const shown = version?.spectrum;
    $("pictures").hidden = !shown;
    if (!shown) return;
    const { draw, drawDifference, RANGE, CHANGE } = rdbench.spectrogram;
    const name = short(version.name, 40);
    const isReference = version === versions[0];
    const top = reference ?? shown;
    $("spectrogram-reference").parentElement.hidden = !reference;
    $("spectrogram-version").parentElement.hidden = isReference;
    const comparable =
      reference &&
      !isReference &&
      reference.bins === shown.bins &&
      reference.columns === shown.columns;
    $("spectrogram-difference").parentElement.hidden = !comparable;
    $("spectrogram-name").textContent = name;
    $("difference-name").textContent = `${name} minus reference`;
    const canvases = {
      reference: "Spectrogram of the reference",
      version: `Spectrogram of ${name}`,
      difference: `Difference of the spectrograms, ${name} minus reference`,
    };
    for (const [id, text] of Object.entries(canvases)) {
      $(`spectrogram-${id}`).setAttribute("aria-label", text);
    }
    if (reference) draw($("spectrogram-reference"), reference, top);
    if (!isReference) draw($("spectrogram-version"), shown, top);
    if (comparable) drawDifference($("spectrogram-difference"), shown, reference);
    $("spectrogram-note").textContent =
      `Colours span ${RANGE} dB below the ${reference ? "reference’s" : "clip’s"} loudest level` +
      (comparable ? `; in the difference, red is up to ${CHANGE} dB more, blue less.` : ".");
  };

  /* Rates in kbps from shares of the highest, see rdbench/report/html/traces.py. */
  const ratesOf = ({ top, levels }) => {
    const bytes = Uint8Array.from(atob(levels), (sign) => sign.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 2 }, (_, i) =>
      Number(((top * view.getUint16(2 * i, true)) / 65535).toPrecision(3)),
    );
  };

  /* Bits over time of the versions whose codec says when it spends them. */
  const drawTraces = (state, versions, traces) => {
    const { curves, points } = state.overview;
    const traced = versions.filter((version) => traces[version.point]);
    $("rate-over-time").hidden = !traced.length;
    if (!traced.length) return;
    const lines = traced.map((version) => {
      const { step, kind } = traces[version.point];
      const values = ratesOf(traces[version.point]);
      const times = values.map((_, i) => i * step).concat(values.length * step);
      return {
        type: "scatter",
        mode: "lines",
        x: times,
        y: values.concat(values.at(-1)),
        name: rdbench.plain(short(`${version.name} (${kind})`, 40)),
        line: { shape: "hv", width: 1.5, color: curves[points[version.point].curve].colour },
        hoverinfo: "name+x+y",
      };
    });
    const grid = { gridcolor: "#e8e8e8", zeroline: false, linecolor: "#999" };
    const layout = {
      font: rdbench.plotFont,
      margin: { l: 60, r: 10, t: 40, b: 44 },
      showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      dragmode: false,
      xaxis: { ...grid, title: { text: "time (s)" } },
      yaxis: { ...grid, rangemode: "tozero", title: { text: "kbps" } },
    };
    Plotly.react($("traces"), lines, layout, rdbench.plotConfig);
  };

  Object.assign(rdbench, { drawPictures, drawTraces });
})();
