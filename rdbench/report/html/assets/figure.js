/* The rate–quality figure: curves with intervals, anchors as lines, all as Python computed it. */
"use strict";

(() => {
  const { plain, short, number, kbps, interval } = rdbench;
  const SYMBOLS = {
    o: "circle",
    s: "square",
    "^": "triangle-up",
    D: "diamond",
    v: "triangle-down",
    P: "cross",
    X: "x",
    "<": "triangle-left",
    ">": "triangle-right",
    p: "pentagon",
    h: "hexagon",
  };
  const DASHES = ["solid", "dash", "dashdot", "longdash", "longdashdot"];
  const GREY = "#6e6e6e";
  /* Anchors further away than the range of the curves would flatten them. */
  const REACH = 1.0;
  /* An interval of the rate that is narrower than the marker says nothing. */
  const RATE_WORTH = 0.12;
  const FONT = { family: "system-ui, sans-serif", size: 12, color: "#222" };
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    /* Named one by one: plotly's own set has a button that uploads the figure. */
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
  };

  /* What a point has in the figure: score and rate with intervals, or null. */
  const dotOf = (state, point) => {
    if (!rdbench.onAxis(state, point)) return null;
    const domain = state.overview.domains[state.domain];
    const score = domain.metrics[state.metric]?.[point];
    if (!score) return null;
    const [value, low, high, ok, total, reason] = score;
    const [kind, rate, left, right, transmitted] = domain.rates[state.axis][point] ?? [
      "",
      null,
      null,
      null,
      false,
    ];
    return { point, value, low, high, ok, total, reason, kind, rate, left, right, transmitted };
  };

  /* The points of the chosen systems: those on curves by (curve, variant), and anchors. Of other
     amounts of noise the tables tell, as they do beside the figures of a paper. */
  const collect = (state) => {
    const curves = new Map();
    const anchors = [];
    state.overview.points.forEach((card, point) => {
      const left = state.hidden.has(card.curve) || card.diagnostic;
      const dot = left ? null : dotOf(state, point);
      if (!dot || dot.value === null) return;
      if (card.anchor) anchors.push(dot);
      else if (dot.rate !== null) {
        const key = `${card.curve}/${card.variant}`;
        if (!curves.has(key)) curves.set(key, []);
        curves.get(key).push(dot);
      }
    });
    for (const dots of curves.values()) dots.sort((one, two) => one.rate - two.rate);
    return { curves: Array.from(curves.values()), anchors };
  };

  const hover = (state, dot) => {
    const metric = state.overview.metrics[state.metric];
    const write = (value) => number(value, metric.decimals);
    const lines = [
      `<b>${plain(short(state.overview.points[dot.point].name, 60))}</b>`,
      `${plain(metric.name)} ${write(dot.value)}${interval(dot.low, dot.high, write)}`,
    ];
    if (dot.rate !== null) {
      lines.push(
        `${kbps(dot.rate)}${interval(dot.left, dot.right, kbps)} kbps ${dot.kind}`,
      );
      if (!dot.transmitted) lines.push("not a rate point");
    }
    lines.push(metric.set ? "of the set of clips" : `${dot.ok} of ${dot.total} clips`);
    return lines.join("<br>");
  };

  const bars = (middle, low, high, colour) => ({
    type: "data",
    symmetric: false,
    array: middle.map((value, i) => (high[i] === null ? 0 : Math.max(high[i] - value, 0))),
    arrayminus: middle.map((value, i) => (low[i] === null ? 0 : Math.max(value - low[i], 0))),
    color: colour,
    thickness: 1,
    width: 3,
  });

  const curveTrace = (state, dots) => {
    const card = state.overview.points[dots[0].point];
    const curve = state.overview.curves[card.curve];
    const hollow = !dots.some((dot) => dot.transmitted);
    const stated = dots.some((dot) => dot.kind === "stated");
    const of = (name) => dots.map((dot) => dot[name]);
    const wide = dots.map((p) => p.left !== null && (p.right - p.left) / p.rate > RATE_WORTH);
    const only = (name) => dots.map((p, i) => (wide[i] ? p[name] : null));
    return {
      type: "scatter",
      mode: "lines+markers",
      name: plain(
        curve.name + (hollow || card.stream ? `, ${card.variant}` : "") + (stated ? " (stated)" : ""),
      ),
      x: of("rate"),
      y: of("value"),
      customdata: of("point"),
      hovertext: dots.map((dot) => hover(state, dot)),
      hoverinfo: "text",
      error_y: bars(of("value"), of("low"), of("high"), curve.colour),
      error_x: bars(of("rate"), only("left"), only("right"), curve.colour),
      line: {
        color: curve.colour,
        width: hollow ? 1.2 : 2,
        dash: hollow ? "dot" : curve.dash,
      },
      marker: {
        color: hollow || stated ? "#fff" : curve.colour,
        /* A system of one point has no line to tell a stream from what no one can transmit. */
        gradient: { type: card.stream && !hollow ? "horizontal" : "none", color: "#fff" },
        line: { color: curve.colour, width: 1.5 },
        symbol: SYMBOLS[curve.marker] ?? "circle",
        size: 9,
      },
    };
  };

  /* A ring about the point whose clips are shown. */
  const ring = (dots, point) => {
    const chosen = dots.filter((dot) => dot.point === point);
    return {
      type: "scatter",
      mode: "markers",
      hoverinfo: "skip",
      x: chosen.map((dot) => dot.rate),
      y: chosen.map((dot) => dot.value),
      marker: { symbol: "circle-open", size: 20, color: "#222", line: { width: 2 } },
    };
  };

  /* The quality axis: all of the curves, and anchors that are near enough. */
  const qualityRange = (dots, anchors) => {
    const ends = dots.flatMap((p) => [p.value, p.low ?? p.value, p.high ?? p.value]);
    const values = ends.length ? ends : anchors.map((anchor) => anchor.value);
    let low = values.length ? Math.min(...values) : 0;
    let high = values.length ? Math.max(...values) : 1;
    const span = Math.max(high - low, 0.2 * Math.abs(high)) || 1;
    const [floor, ceiling] = [low - REACH * span, high + REACH * span];
    for (const { value } of anchors) {
      if (value < floor || value > ceiling) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const margin = 0.06 * Math.max(high - low, 0.2 * span);
    return [low - margin, high + margin];
  };

  /* Anchors as lines with their names at the right, pushed apart where they would touch. */
  const anchorMarks = (state, anchors, range, height, narrow) => {
    const share = ({ value }) =>
      Math.min(Math.max((value - range[0]) / (range[1] - range[0]), 0), 1);
    const apart = 14 / height;
    let floor = -Infinity;
    const sorted = anchors.slice().sort((one, two) => one.value - two.value);
    const labels = sorted.map((anchor) => {
      const inside = anchor.value >= range[0] && anchor.value <= range[1];
      const far = inside
        ? ""
        : ` ${number(anchor.value, 1)} ${anchor.value > range[1] ? "↑" : "↓"}`;
      const at = Math.max(share(anchor), floor + apart);
      floor = at;
      return { text: plain(short(state.overview.points[anchor.point].name, 18)) + far, at };
    });
    /* Those that were pushed beyond the top come down again. */
    let ceiling = 1;
    for (const label of labels.slice().reverse()) {
      label.at = Math.min(label.at, ceiling);
      ceiling = label.at - apart;
    }
    const annotations = labels.map(({ text, at }) => ({
      /* On a phone they stand inside, on the left, where curves are furthest from the best. */
      text,
      xref: "paper",
      yref: "paper",
      x: narrow ? 0 : 1,
      y: at,
      showarrow: false,
      xanchor: "left",
      yanchor: "middle",
      xshift: 4,
      yshift: narrow ? 7 : 0,
      font: { ...FONT, size: narrow ? 10 : 11, color: "#555" },
    }));
    const shapes = sorted
      .filter(({ value }) => value >= range[0] && value <= range[1])
      .map(({ value }, index) => ({
        type: "line",
        xref: "paper",
        x0: 0,
        x1: 1,
        y0: value,
        y1: value,
        layer: "below",
        line: { color: GREY, width: 1, dash: DASHES[(index + 1) % DASHES.length] },
      }));
    return { annotations, shapes };
  };

  /* Ticks of a logarithmic axis: fine ones where it spans little. */
  const ticksOf = (dots) => {
    const rates = dots.map((dot) => dot.rate);
    const [low, high] = [Math.min(...rates), Math.max(...rates)];
    const steps = high / low < 14 ? [1, 1.5, 2, 3, 5, 7] : [1, 2, 5];
    const ticks = [];
    for (let power = -4; power <= 6; power += 1) {
      for (const step of steps) ticks.push(step * 10 ** power);
    }
    return ticks.filter((tick) => tick >= low / 2 && tick <= high * 2);
  };

  const layoutOf = (state, dots, anchors, element) => {
    const metric = state.overview.metrics[state.metric];
    const narrow = element.clientWidth < 560;
    const range = qualityRange(dots, anchors);
    const ticks = dots.length ? ticksOf(dots) : [];
    const kinds = Array.from(new Set(dots.map((dot) => dot.kind)));
    const marks = anchorMarks(state, anchors, range, element.clientHeight - 80, narrow);
    const arrow = metric.arrow && ` ${metric.arrow} better`;
    const title = narrow ? short(metric.name, 24) : short(metric.title, 60);
    const grid = { gridcolor: "#e8e8e8", zeroline: false, linecolor: "#999" };
    return {
      ...marks,
      showlegend: false,
      font: FONT,
      hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: "#fff", font: { ...FONT, color: "#222" } },
      margin: { l: narrow ? 48 : 60, r: anchors.length && !narrow ? 118 : 16, t: 34, b: 50 },
      dragmode: narrow ? false : "zoom",
      xaxis: {
        ...grid,
        type: "log",
        title: { text: `bitrate (kbps)${kinds.length ? `, ${kinds.join(" / ")}` : ""}` },
        tickvals: ticks,
        ticktext: ticks.map((tick) => String(Number(tick.toPrecision(3)))),
      },
      yaxis: { ...grid, range, title: { text: plain(title + arrow) } },
      paper_bgcolor: "#fff",
      plot_bgcolor: "#fff",
    };
  };

  /* Draws the figure of a state; pick(point) is called for a point that was clicked. */
  const draw = async (element, state, pick) => {
    const { curves, anchors } = collect(state);
    const dots = curves.flat();
    const traces = curves.map((curve) => curveTrace(state, curve));
    traces.push(ring(dots, state.point));
    await Plotly.react(element, traces, layoutOf(state, dots, anchors, element), CONFIG);
    if (!element.dataset.listens) {
      element.dataset.listens = "true";
      element.on("plotly_click", ({ points: [point] }) => {
        if (point?.customdata !== undefined) pick(point.customdata);
      });
    }
    return { dots, anchors };
  };

  Object.assign(rdbench, { dotOf, drawFigure: draw, plotFont: FONT, plotConfig: CONFIG });
})();
