/* A board's filters and its ranking; figure, points and clips are those of any report. */
"use strict";

(() => {
  const { make, number, kbps, short, options } = rdbench;
  const $ = (id) => document.getElementById(id);
  const ALL = "all";
  let against = null; // a curve that the reader has chosen to compare with

  const entries = () => rdbench.page.state.overview.entries;

  /* The rates of a curve in kbps where it is measured at the chosen kind. */
  const ratesOf = (state, curve) =>
    Object.entries(state.overview.domains[state.domain].rates[state.axis])
      .filter(([point]) => state.overview.points[point].curve === curve)
      .map(([, rate]) => rate[1])
      .filter((rate) => rate !== null);

  const limit = (id, otherwise) => ($(id).value === "" ? otherwise : Number($(id).value));

  const chosen = (state) => {
    const [least, most] = [limit("from-kbps", 0), limit("to-kbps", Infinity)];
    const shown = new Set();
    state.overview.curves.forEach((card, curve) => {
      const entry = entries()[curve];
      if (!entry || card.anchor) {
        shown.add(curve);
        return;
      }
      const rates = ratesOf(state, curve);
      const reaches = !rates.length || rates.some((rate) => rate >= least && rate <= most);
      const fast = $("to-latency").value === "" ||
        (entry.latency !== null && entry.latency <= Number($("to-latency").value));
      const alike = ["family", "licence", "badge"].every((key) =>
        [ALL, entry[key]].includes($(`by-${key}`).value),
      );
      if (reaches && fast && alike) shown.add(curve);
    });
    return shown;
  };

  const filter = () => rdbench.page.showCurves(chosen(rdbench.page.state));

  const fillFilters = () => {
    for (const key of ["family", "licence", "badge"]) {
      const values = Array.from(new Set(Object.values(entries()).map((one) => one[key])));
      options($(`by-${key}`), [ALL, ...values.sort()].map((value) => [value, value]), ALL);
      $(`by-${key}`).addEventListener("change", filter);
    }
    for (const id of ["from-kbps", "to-kbps", "to-latency"]) {
      $(id).addEventListener("change", filter);
    }
  };

  const signed = (value, decimals) =>
    value === null ? rdbench.NONE : (value > 0 ? "+" : "") + number(value, decimals);

  /* The cell of a row against the chosen one: a change in bits, a difference, or why neither. */
  const comparison = (cell, told, decimals) => {
    if (cell === null || cell === undefined) return { text: "itself" };
    if (typeof cell === "number") return { text: rdbench.NONE, small: told.reasons[cell] };
    const [verdict, value, low, high, quantity, , crosses] = cell;
    const bits = quantity === "bits";
    const digits = bits ? 1 : decimals + 1;
    const ends = low === null ? "" : ` [${signed(low, digits)}, ${signed(high, digits)}]`;
    const said = crosses ? "curves cross" : verdict === "alike" ? "not significant" : verdict;
    const unit = bits ? " % bits" : " score";
    return {
      text: signed(value, digits) + unit,
      value: bits ? value : undefined,
      small: `${ends} ${said}`.trim(),
    };
  };

  const systemCell = (state, curve) => {
    const entry = entries()[curve];
    const cell = make("span", {});
    const name = short(state.overview.curves[curve].name, 60);
    const link = entry.link && make("a", { href: entry.link, rel: "nofollow noopener", text: name });
    cell.append(link || name, " ", make("small", { text: `${entry.submission}, ${entry.by}` }));
    if (entry.description) cell.title = entry.description;
    return cell;
  };

  const rankText = (rank) => {
    if (!rank) return { text: rdbench.NONE };
    const [first, last] = rank;
    return { text: first === last ? String(first) : `${first}–${last}`, value: first };
  };

  const rowOf = (state, told, row, column) => {
    const curve = told.curves[row];
    const entry = entries()[curve];
    const cells = told.cells[row];
    const count = (verdict) => cells.filter((cell) => cell && cell[0] === verdict).length;
    const [low, high] = told.kbps[row];
    const decimals = state.overview.metrics[state.metric].decimals;
    return {
      id: curve,
      current: row === column,
      cells: [
        rankText(told.ranks[row]),
        { child: systemCell(state, curve) },
        { text: entry.badge },
        { text: low === high ? kbps(low) : `${kbps(low)}–${kbps(high)}`, value: low },
        comparison(cells[column], told, decimals),
        { text: `${count("better")} / ${count("worse")}`, value: count("better") - count("worse") },
        { text: entry.family },
        { text: entry.licence, small: `weights: ${entry.weights}` },
        { text: entry.latency === null ? rdbench.NONE : number(entry.latency, 1),
          value: entry.latency ?? undefined },
      ],
    };
  };

  const refusedRow = (state, [curve, why]) => ({
    id: curve,
    cells: [
      { text: rdbench.NONE },
      { child: systemCell(state, curve) },
      { text: entries()[curve].badge },
      { text: rdbench.NONE },
      { text: rdbench.NONE, small: why },
      { text: rdbench.NONE },
      { text: entries()[curve].family },
      { text: entries()[curve].licence },
      { text: rdbench.NONE },
    ],
  });

  const show = (state, told) => {
    const names = told.curves.map((curve) => short(state.overview.curves[curve].name, 60));
    const asked = told.curves.indexOf(against);
    const column = asked >= 0 ? asked : told.against;
    options($("against"), told.curves.map((curve, i) => [curve, names[i]]), told.curves[column]);
    const shown = chosen(state);
    const rows = told.curves
      .map((curve, row) => row)
      .filter((row) => shown.has(told.curves[row]))
      .sort((one, two) => order(told.ranks[one]) - order(told.ranks[two]));
    const heads = [
      { title: "rank", number: true },
      { title: "system" },
      { title: "badge" },
      { title: `kbps ${state.axis}`, number: true },
      { title: `against ${short(names[column], 24)}`, number: true },
      { title: "better / worse than", number: true },
      { title: "family" },
      { title: "licence" },
      { title: "latency (ms)", number: true },
    ];
    const refused = told.refused.filter(([curve]) => entries()[curve] && shown.has(curve));
    rdbench.fillTable($("ranking"), heads, [
      ...rows.map((row) => rowOf(state, told, row, column)),
      ...refused.map((one) => refusedRow(state, one)),
    ]);
    const metric = state.overview.metrics[state.metric];
    $("ranking-note").textContent =
      `${told.curves.length} systems with a ${state.axis} rate, by ${metric.title}. ` +
      "Bits: the change at equal quality, negative is fewer; score: the difference at equal bits; " +
      "both with 95 % intervals over groups of clips.";
  };

  /* By the middle of the range; what has no rank comes last. */
  const order = (rank) => (rank ? rank[0] + rank[1] : Infinity);

  const update = async () => {
    const { state } = rdbench.page;
    const name = `ranks/${state.domain}-${state.metric}-${state.axis}`;
    try {
      show(state, await rdbench.load(name));
    } catch {
      rdbench.fillTable($("ranking"), [], []);
      $("against").replaceChildren();
      $("ranking-note").textContent = `No system has a ${state.axis} rate and this metric here.`;
    }
  };

  let filled = false;
  document.addEventListener("rdbench:drawn", () => {
    if (!filled) {
      filled = true;
      fillFilters();
      $("against").addEventListener("change", () => {
        against = Number($("against").value);
        update();
      });
    }
    update();
  });
})();
