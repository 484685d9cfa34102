/* The clips of a chosen point: their scores, players and pictures. */
"use strict";

(() => {
  const { make, number, kbps, short } = rdbench;
  const $ = (id) => document.getElementById(id);
  const STEP = 0.5; // seconds of an arrow key

  let versions = []; // {point (null: the reference), name, audio, spectrum}
  let player = null;
  let asked = 0; // which clip was asked for last; answers to earlier questions are dropped

  const targetOf = (state, point) =>
    state.overview.domains[state.domain].rates.headline[point]?.[1] ?? null;

  /* What else was decoded of the chosen point (the mean, a prediction, …), of each other visible
     curve the point nearest in rate to it, and all visible anchors. Without a rate to be near to (an
     anchor was chosen), a curve's middle. */
  const neighbours = (state) => {
    const { points } = state.overview;
    const rates = state.overview.domains[state.domain].rates.headline;
    const target = targetOf(state, state.point);
    const own = points[state.point];
    const found = new Set([state.point]);
    points.forEach((other, point) => {
      if (other.step === own.step && rdbench.onAxis(state, point)) found.add(point);
    });
    state.overview.curves.forEach((_, curve) => {
      if (state.hidden.has(curve)) return;
      const members = Object.keys(rates)
        .map(Number)
        .filter((p) => points[p].curve === curve && rdbench.onAxis(state, p));
      for (const point of members) if (points[point].anchor) found.add(point);
      if (!own.anchor && own.curve === curve) return;
      /* Beside a coded stream coded streams, beside anything else what heads a system. */
      const alike = (p) => points[p].stream === own.stream;
      const all = members.filter((point) => rates[point][4] && rates[point][1] > 0);
      const rated = all.some(alike) ? all.filter(alike) : all;
      rated.sort((one, two) => rates[one][1] - rates[two][1]);
      const far = (point) => Math.abs(Math.log(rates[point][1] / target));
      const near =
        target > 0
          ? rated.slice().sort((one, two) => far(one) - far(two))[0]
          : rated[Math.floor(rated.length / 2)];
      if (near !== undefined) found.add(near);
    });
    return Array.from(found).sort((one, two) => one - two);
  };

  /* The list of clips of the chosen point, the worst first. */
  const list = async (state, pick) => {
    const { overview, domain, metric, point } = state;
    const card = overview.metrics[metric];
    const clips = overview.domains[domain].clips;
    const scores = card ? await rdbench.load(`scores/${domain}-${metric}`).catch(() => []) : [];
    const values = scores[point] ?? clips.map(() => null);
    const rows = clips.map((clip, i) => ({
      current: clip === state.clip,
      id: clip,
      cells: [
        {
          child: make("button", {
            type: "button",
            class: "link",
            text: overview.clips[clip],
            onclick: () => pick(clip, true),
          }),
        },
        { text: number(values[i], card?.decimals ?? 2), value: values[i] ?? undefined },
      ],
    }));
    const heads = [
      { title: "clip" },
      { title: card ? `${short(card.name, 24)}\u00a0${card.arrow}` : "score", number: true },
    ];
    rdbench.fillTable($("clip-list"), heads, rows, { column: 1, down: card?.better === "lower" });
    return Array.from($("clip-list").tBodies[0].rows, (row) => Number(row.dataset.id));
  };

  const markCurrent = (clip) => {
    for (const row of $("clip-list").tBodies[0].rows) {
      if (Number(row.dataset.id) === clip) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  };

  /* A radio button and its digit, where there is something to hear. */
  const versionLabel = (version, index) => {
    const name = short(version.name, 60);
    if (!versions.some(({ audio }) => audio)) return name;
    const input = make("input", {
      type: "radio",
      name: "version",
      value: index,
      disabled: !version.audio,
      onchange: () => choose(index),
    });
    const digit = make("kbd", { text: index < 10 ? String(index) : "" });
    const missing = version.audio ? [] : [make("small", { text: "no audio" })];
    return make("label", {}, input, digit, name, ...missing);
  };

  const versionRow = (state, version, index, found) => {
    const { metrics } = state.overview;
    const shown = metricsShown(state);
    const head = make("th", { scope: "row" }, versionLabel(version, index));
    const [kind, rate] = found.kbps[version.point] ?? ["", null];
    const cells = [make("td", { class: "number" }, rate === null ? rdbench.NONE : kbps(rate))];
    const unsent = state.overview.domains[state.domain].rates.headline[version.point]?.[4] === false;
    if (kind) cells[0].append(" ", make("small", { text: kind + (unsent ? "°" : "") }));
    for (const metric of shown) {
      const value = found.scores[version.point]?.[metric] ?? null;
      const why = found.reasons[`${version.point}/${metric}`];
      const text = number(value, metrics[metric].decimals);
      const cell = make("td", {
        class: metric === state.metric ? "number current" : "number",
        text,
      });
      if (why) cell.append(" ", make("small", { text: short(why, 80), title: why }));
      cells.push(version.point === null ? make("td", {}) : cell);
    }
    return make("tr", {}, head, ...cells);
  };

  /* The metrics of the domain that clips have scores of, the chosen one first. */
  const metricsShown = (state) => {
    const { domains, metrics } = state.overview;
    const all = Object.keys(domains[state.domain].metrics).map(Number);
    const known = all.filter((metric) => !metrics[metric].set);
    return known.sort((one, two) => (two === state.metric) - (one === state.metric) || one - two);
  };

  const showVersions = (state, found) => {
    const titles = metricsShown(state).map((metric) => {
      const { name, arrow } = state.overview.metrics[metric];
      return make("th", {
        scope: "col",
        class: "number",
        text: `${short(name, 32)}\u00a0${arrow}`,
      });
    });
    const rate = make("th", { scope: "col", class: "number", text: "kbps" });
    const head = make("tr", {}, make("th", { scope: "col", text: "system" }), rate, ...titles);
    const table = $("versions");
    table.tHead?.remove();
    for (const old of Array.from(table.tBodies)) old.remove();
    const rows = versions.map((version, index) => versionRow(state, version, index, found));
    table.append(make("thead", {}, head), make("tbody", {}, ...rows));
  };

  /* Audio of the versions that have some; one that cannot be decoded counts as missing. */
  const decodeAll = (clip) =>
    Promise.all(
      versions.map(async (version) => {
        if (!version.audio) return null;
        const name = `audio/${clip}/${version.point ?? "reference"}`;
        try {
          const text = await rdbench.load(name);
          return await rdbench.decodeAudio(text);
        } catch {
          return null;
        } finally {
          rdbench.forget(name);
        }
      }),
    );

  const open = async (state, clip) => {
    asked += 1;
    const question = asked;
    player?.pause();
    player = new rdbench.Player([], () => {});
    const found = await rdbench.load(`clips/${clip}`);
    if (question !== asked) return;
    const { points } = state.overview;
    const kept = new Set(found.audio);
    versions = [
      { point: null, name: "Reference", audio: found.reference },
      ...neighbours(state).map((point) => ({
        point,
        name: points[point].name,
        audio: kept.has(point),
      })),
    ];
    $("clip-heading").textContent = state.overview.clips[clip];
    $("clip").dataset.clip = clip;
    markCurrent(clip);
    showVersions(state, found);
    rdbench.drawTraces(state, versions, found.traces);
    setTransport(false);
    const audible = versions.some(({ audio }) => audio);
    $("transport").hidden = !audible;
    $("keys").hidden = !audible;
    if (!audible) {
      $("player-note").textContent = "No audio of this clip was kept.";
      $("pictures").hidden = true;
      return;
    }
    $("player-note").textContent = "Loading audio …";
    const buffers = await decodeAll(clip);
    if (question !== asked) return;
    adopt(state, buffers, found);
  };

  /* Takes the decoded buffers: versions without one are shown, and cannot be chosen. */
  const adopt = (state, buffers, found) => {
    versions.forEach((version, index) => (version.audio = buffers[index] !== null));
    const rate = buffers.find((buffer) => buffer !== null)?.sampleRate;
    const usable = buffers.map((buffer) => buffer !== null && buffer.sampleRate === rate);
    versions.forEach((version, index) => {
      version.audio = usable[index];
      version.slot = usable.slice(0, index).filter(Boolean).length;
      version.spectrum = usable[index] ? rdbench.spectrogram.analyse(buffers[index]) : null;
    });
    player = new rdbench.Player(
      buffers.filter((_, index) => usable[index]),
      report,
    );
    player.looping = $("loop").checked;
    player.setLevel($("level").checked);
    showVersions(state, found);
    setTransport(player.seconds > 0);
    $("position").max = player.seconds;
    $("player-note").textContent = "";
    const own = versions.findIndex((version) => version.point === state.point && version.audio);
    choose(own >= 0 ? own : versions.findIndex((version) => version.audio));
    tick();
  };

  const setTransport = (on) => {
    for (const id of ["play", "position", "loop", "level"]) $(id).disabled = !on;
  };

  const current = () => versions.findIndex((v) => v.audio && v.slot === player?.chosen);

  const choose = (index) => {
    const version = versions[index];
    if (!version?.audio) return;
    player.choose(version.slot);
    document.querySelectorAll("#versions input").forEach((input, i) => {
      input.checked = i === index;
      input.closest("tr").classList.toggle("current", i === index);
    });
    rdbench.drawPictures(versions, current());
  };

  const report = () => {
    const name = versions[current()]?.name ?? "";
    $("play").textContent = player.playing ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(player.playing));
    $("player-note").textContent = player.playing ? `Playing: ${short(name, 60)}` : "";
    if (player.playing) requestAnimationFrame(tick);
    else tick();
  };

  /* Shows the position, on and on while it moves. */
  const tick = () => {
    const { position, seconds } = player;
    $("position").value = position;
    $("time").textContent = `${position.toFixed(2)} s of ${seconds.toFixed(2)} s`;
    $("pictures").style.setProperty("--at", seconds ? position / seconds : 0);
    if (player.playing) requestAnimationFrame(tick);
  };

  const step = (by) => {
    const able = versions.map((v, i) => (v.audio ? i : -1)).filter((i) => i >= 0);
    const at = able.indexOf(current());
    const next = able[(at + by + able.length) % able.length];
    choose(next);
    document.querySelectorAll("#versions input")[next].focus();
  };

  const toggle = () => (player.playing ? player.pause() : player.play());

  const seek = (seconds) => {
    player.seek(seconds);
    tick();
  };

  /* What a key does in the player; false for a key that is none of its own. */
  const press = (event) => {
    const onPosition = event.target.id === "position";
    const actions = {
      ArrowDown: () => step(1),
      ArrowUp: () => step(-1),
      ArrowLeft: () => seek(player.position - STEP),
      ArrowRight: () => seek(player.position + STEP),
      Home: () => seek(0),
    };
    if (
      event.key === " " &&
      !["BUTTON"].includes(event.target.tagName) &&
      event.target.type !== "checkbox"
    )
      return toggle() ?? true;
    if (/^[0-9]$/.test(event.key)) return choose(Number(event.key)) ?? true;
    if (!actions[event.key] || (onPosition && event.key === "Home")) return false;
    return actions[event.key]() ?? true;
  };

  const listen = () => {
    setTransport(false);
    $("play").addEventListener("click", toggle);
    $("position").addEventListener("input", () => seek(Number($("position").value)));
    $("loop").addEventListener("change", () => player.setLoop($("loop").checked));
    $("level").addEventListener("change", () => player.setLevel($("level").checked));
    $("player").addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || !player?.seconds) return;
      if (press(event)) event.preventDefault();
    });
    for (const id of ["reference", "version", "difference"]) {
      const canvas = $(`spectrogram-${id}`);
      canvas.addEventListener("click", ({ clientX }) => {
        const share = rdbench.spectrogram.shareAt(canvas, clientX);
        if (share !== null) seek(share * player.seconds);
      });
    }
    window.addEventListener(
      "resize",
      () => !$("pictures").hidden && rdbench.drawPictures(versions, current()),
    );
  };

  /* What a test may ask of the player. */
  const playerState = () => ({
    playing: player?.playing ?? false,
    position: player?.position ?? 0,
    seconds: player?.seconds ?? 0,
    starts: player?.starts ?? 0,
    version: versions[current()]?.name ?? null,
    versions: versions.map(({ name, audio }) => ({ name, audio })),
  });

  Object.assign(rdbench, { clips: { list, open, listen, playerState } });
})();
