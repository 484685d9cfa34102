/* The page's state and what changes it: controls, the figure, the chosen point and clip. */
"use strict";

(() => {
  const { make, number, kbps, interval, options } = rdbench;
  const $ = (id) => document.getElementById(id);
  const state = {
    overview: null,
    domain: 0,
    metric: 0,
    axis: "headline",
    hidden: new Set(), // curves that are not shown
    point: null,
    clip: null,
    across: null,
    up: null,
  };

  const domain = () => state.overview.domains[state.domain];

  const metricChoices = () =>
    state.overview.metrics
      .map((metric, index) => [index, `${metric.title} ${metric.arrow}`.trim()])
      .filter(([index]) => domain().metrics[index]);

  const fillControls = () => {
    const { overview } = state;
    options(
      $("domain"),
      overview.domains.map(({ name }, index) => [index, name]),
      state.domain,
    );
    if (!domain()?.metrics[state.metric]) state.metric = metricChoices()[0]?.[0] ?? null;
    options($("metric"), metricChoices(), state.metric ?? undefined);
    const axes = overview.axes.map((axis) => [
      axis,
      axis === "headline" ? "each system’s headline" : axis,
    ]);
    options($("axis"), axes, state.axis);
  };

  /* A box for each curve and anchor, with its colour: the figure's legend. */
  const fillCurves = () => {
    const inside = new Set(pointsHere().map((point) => state.overview.points[point].curve));
    const chips = state.overview.curves.map((curve, index) => {
      if (!inside.has(index)) return "";
      const box = make("input", {
        type: "checkbox",
        onchange: () => {
          if (box.checked) state.hidden.delete(index);
          else state.hidden.add(index);
          drawFigure();
          if (state.clip !== null) rdbench.clips.open(state, state.clip);
        },
      });
      box.checked = !state.hidden.has(index);
      const swatch = make("span", { class: curve.anchor ? "swatch anchor" : "swatch" });
      swatch.style.backgroundColor = curve.colour;
      return make("label", {}, box, swatch, rdbench.short(curve.name));
    });
    $("curves").replaceChildren(...chips);
  };

  const pointsHere = () => {
    const found = new Set();
    for (const scores of Object.values(domain()?.metrics ?? {})) {
      for (const point of Object.keys(scores)) found.add(Number(point));
    }
    return Array.from(found)
      .filter((point) => rdbench.onAxis(state, point))
      .sort((one, two) => one - two);
  };

  const drawFigure = async () => {
    if (state.metric === null || !domain()) {
      $("figure").hidden = true;
      $("figure-note").textContent = "There is nothing to draw.";
      return;
    }
    const { dots, anchors } = await rdbench.drawFigure($("figure"), state, choosePoint);
    $("figure-note").textContent = figureNote(dots, anchors);
    fillPoints();
    document.dispatchEvent(new Event("rdbench:drawn"));
  };

  const figureNote = (dots, anchors) => {
    const { name, note, caution } = domain();
    const notes = [`${name}, ${note}; bars: 95 % intervals.`, caution];
    const shown = new Set([...dots, ...anchors].map(({ point }) => point));
    const missing = pointsHere().filter((point) => {
      const { curve, diagnostic } = state.overview.points[point];
      return !shown.has(point) && !state.hidden.has(curve) && !diagnostic;
    });
    const named = missing.slice(0, 3).map((point) => state.overview.points[point].name);
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : "";
    if (missing.length) notes.push(`Not drawn, without score or rate: ${named.join("; ")}${more}.`);
    const variants = (chosen) => {
      const found = dots.filter(chosen).map(({ point }) => state.overview.points[point].variant);
      return Array.from(new Set(found)).join(", ");
    };
    const unsent = variants(({ transmitted }) => !transmitted);
    if (unsent) {
      notes.push(`White markers, dotted: ${unsent}, not a rate point; the rate is a sample’s.`);
    }
    const streams = variants(({ point, transmitted }) => transmitted && isCoded(point));
    if (streams) {
      notes.push(`Half-filled markers: ${streams}, at the rate of its own stream.`);
    }
    return notes.filter(Boolean).join(" ");
  };

  const isCoded = (point) => state.overview.points[point].stream;

  const pointRow = (point) => {
    const dot = rdbench.dotOf(state, point);
    const card = state.overview.points[point];
    const metric = state.overview.metrics[state.metric];
    const write = (value) => number(value, metric.decimals);
    if (!dot) return null;
    const clips = metric.set ? "set" : `${dot.ok}/${dot.total}`;
    const count = dot.ok < dot.total ? `${clips} ${dot.reason}` : "";
    const spread = interval(dot.low, dot.high, write);
    const mark = dot.rate !== null && !dot.transmitted ? "°" : "";
    const choose = make("button", {
      type: "button",
      class: "link",
      text: card.name,
      onclick: () => choosePoint(point),
    });
    return {
      current: point === state.point,
      id: point,
      cells: [
        { child: choose },
        {
          text: kbps(dot.rate),
          value: dot.rate ?? undefined,
          small: `${interval(dot.left, dot.right, kbps)} ${dot.kind}${mark}`.trim(),
        },
        {
          text: write(dot.value),
          value: dot.value ?? undefined,
          small: `${spread} ${count}`.trim(),
        },
      ],
    };
  };

  const fillPoints = () => {
    const metric = state.overview.metrics[state.metric];
    const visible = pointsHere().filter((p) => !state.hidden.has(state.overview.points[p].curve));
    const heads = [
      { title: "point" },
      { title: "kbps", number: true },
      { title: `${metric.title} ${metric.arrow}`.trim(), number: true },
    ];
    rdbench.fillTable($("points"), heads, visible.map(pointRow).filter(Boolean));
  };

  /* Shows the clips of a point, and opens the one that was open, or the worst. */
  const choosePoint = async (point, clip = null, quiet = false) => {
    state.point = point;
    const card = state.overview.points[point];
    const rate = domain().rates.headline[point];
    const at = rate && rate[1] !== null ? ` (${kbps(rate[1])} kbps ${rate[0]})` : "";
    $("clips-heading").textContent = `Clips of ${rdbench.short(card.name, 60)}${at}`;
    $("clips-note").textContent =
      "Beside the reference and this point: what else was decoded of it, and of every other " +
      "system the point nearest in rate.";
    $("listening").hidden = false;
    drawFigure();
    const order = await rdbench.clips.list(state, chooseClip);
    const next = clip ?? (order.includes(state.clip) ? state.clip : order[0]);
    if (!quiet) goTo($("clips-heading"));
    await chooseClip(next);
  };

  const chooseClip = async (clip, asked = false) => {
    state.clip = clip;
    await rdbench.clips.open(state, clip);
    if (asked) goTo($("clip-heading"), "nearest");
  };

  const goTo = (element, block = "start") => {
    element.focus({ preventScroll: true });
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ behavior: calm ? "auto" : "smooth", block });
  };

  const fillScatter = () => {
    const points = pointsHere();
    const rates = domain()?.rates.headline ?? {};
    const names = points.map((point) => [point, state.overview.points[point].name]);
    if (!points.includes(state.across) || !points.includes(state.up)) {
      [state.across, state.up] = likelyPair(points, rates);
    }
    options($("scatter-x"), names, state.across);
    options($("scatter-y"), names, state.up);
  };

  /* Two points of different curves whose rates are nearest, to begin with. */
  const likelyPair = (points, rates) => {
    const curveOf = (point) => state.overview.points[point].curve;
    const rated = points.filter((point) => rates[point]?.[4]);
    let best = [Infinity, points[0], points.at(-1)];
    for (const one of rated) {
      for (const two of rated) {
        if (curveOf(one) >= curveOf(two)) continue;
        const far = Math.abs(Math.log(rates[one][1] / rates[two][1]));
        if (far < best[0]) best = [far, one, two];
      }
    }
    return best.slice(1);
  };

  const drawScatter = async () => {
    const able = state.metric !== null && state.across !== undefined && state.across !== null;
    $("scatter").hidden = !able;
    if (!able) {
      $("scatter-note").textContent = "There is nothing to draw.";
      return;
    }
    await rdbench.drawScatter($("scatter"), $("scatter-note"), state, (clip) =>
      choosePoint(state.up, clip),
    );
  };

  const drawAll = () => {
    drawFigure();
    drawScatter();
  };

  const listen = () => {
    $("metric").addEventListener("change", () => {
      state.metric = Number($("metric").value);
      drawAll();
      if (state.point !== null) choosePoint(state.point, state.clip, true);
    });
    $("axis").addEventListener("change", () => {
      state.axis = $("axis").value;
      fillCurves();
      fillScatter();
      drawAll();
    });
    $("domain").addEventListener("change", () => {
      state.domain = Number($("domain").value);
      [state.point, state.clip] = [null, null];
      $("listening").hidden = true;
      $("clips-heading").textContent = "Clips";
      $("clips-note").textContent = "No point is chosen yet.";
      fillControls();
      fillCurves();
      fillScatter();
      drawAll();
    });
    for (const [id, name] of [
      ["scatter-x", "across"],
      ["scatter-y", "up"],
    ]) {
      $(id).addEventListener("change", () => {
        state[name] = Number($(id).value);
        drawScatter();
      });
    }
  };

  /* The scatter is drawn when it comes near the screen: it needs a file of its own. */
  const whenSeen = (element, act) => {
    const watch = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        watch.disconnect();
        act();
      },
      { rootMargin: "200px" },
    );
    watch.observe(element);
  };

  const start = async () => {
    for (const table of document.querySelectorAll("table.sortable")) rdbench.sortable(table);
    state.overview = await rdbench.load("overview");
    [state.axis] = state.overview.axes;
    fillControls();
    fillCurves();
    fillScatter();
    listen();
    rdbench.clips.listen();
    await drawFigure();
    whenSeen($("scatter"), drawScatter);
    document.documentElement.dataset.ready = "true";
  };

  /* Shows these curves alone; for pages that choose among many. */
  const showCurves = (shown) => {
    const curves = state.overview.curves;
    state.hidden = new Set(Array.from(curves.keys()).filter((curve) => !shown.has(curve)));
    fillCurves();
    drawFigure();
  };

  rdbench.page = { state, showCurves, choosePoint };
  document.addEventListener("DOMContentLoaded", start);
})();
