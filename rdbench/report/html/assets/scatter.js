/* Scores of every clip for two points against each other. */
"use strict";

(() => {
  const { plain, short, number } = rdbench;

  const axis = (text, range) => ({
    title: { text: plain(text) },
    range,
    gridcolor: "#e8e8e8",
    zeroline: false,
    linecolor: "#999",
  });

  /* Draws the clips that both points have; pick(clip, point) is called for a clicked one. */
  const draw = async (element, note, state, pick) => {
    const { overview, domain, metric, across, up } = state;
    const card = overview.metrics[metric];
    const clips = overview.domains[domain].clips;
    const scores = await rdbench.load(`scores/${domain}-${metric}`).catch(() => []);
    const [x, y] = [scores[across] ?? [], scores[up] ?? []];
    const both = clips
      .map((_, i) => i)
      .filter((i) => (x[i] ?? null) !== null && (y[i] ?? null) !== null);
    const values = both.flatMap((i) => [x[i], y[i]]);
    const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const margin = 0.05 * (high - low || 1);
    const range = [low - margin, high + margin];
    const write = (value) => number(value, card.decimals);
    const names = [across, up].map((point) => overview.points[point]?.name ?? "");
    const room = element.clientWidth < 480 ? 18 : 34;
    const titles = names.map((name) => `${short(name, room)}, ${short(card.name, room)}`);
    const points = {
      type: "scatter",
      mode: "markers",
      x: both.map((i) => x[i]),
      y: both.map((i) => y[i]),
      customdata: both.map((i) => clips[i]),
      hoverinfo: "text",
      hovertext: both.map((i) =>
        [
          `<b>${plain(short(overview.clips[clips[i]], 60))}</b>`,
          `${plain(short(names[0]))}: ${write(x[i])}`,
          `${plain(short(names[1]))}: ${write(y[i])}`,
        ].join("<br>"),
      ),
      marker: { color: "#0072B2", size: 8, opacity: 0.7 },
    };
    const equal = {
      type: "scatter",
      mode: "lines",
      x: range,
      y: range,
      hoverinfo: "skip",
      line: { color: "#999", width: 1, dash: "dash" },
    };
    const layout = {
      showlegend: false,
      font: rdbench.plotFont,
      hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: "#fff", font: { color: "#222" } },
      margin: { l: 60, r: 16, t: 34, b: 50 },
      dragmode: element.clientWidth < 560 ? false : "zoom",
      xaxis: axis(titles[0], range),
      yaxis: { ...axis(titles[1], range), scaleanchor: "x" },
    };
    await Plotly.react(element, [equal, points], layout, rdbench.plotConfig);
    if (!element.dataset.listens) {
      element.dataset.listens = "true";
      element.on("plotly_click", ({ points: [point] }) => {
        if (point?.customdata !== undefined) pick(point.customdata);
      });
    }
    const better = { higher: "above", lower: "below" }[card.better];
    const side = better
      ? ` A clip ${better} the dashed line is better with ${short(names[1])}.`
      : "";
    const none = card.set
      ? "one value for the set of clips, and none for a clip."
      : "no clip has both scores.";
    note.textContent = values.length
      ? `${card.title}: ${both.length} of ${clips.length} clips have both scores.${side} ` +
        "Choose a clip to see and hear it."
      : `${card.title}: ${none}`;
  };

  Object.assign(rdbench, { drawScatter: draw });
})();
