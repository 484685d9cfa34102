/* The page to listen to latents: hands its groups of sounds to the report's players (clips.js), as
   that knows clips: each group is a clip, and its sounds are points without a rate. */
"use strict";

(() => {
  const $ = (id) => document.getElementById(id);
  const NO_RATE = ["", null, null, null, false];

  /* What clips.js reads of a page's state: all sounds of one group stand beside the reference. */
  const stateOf = ({ numbers, groups }, index) => {
    const { names, places } = groups[index];
    const points = names.map((name) => ({ name, anchor: true, curve: 0, stream: false }));
    const headline = Object.fromEntries(names.map((_, point) => [point, NO_RATE]));
    const metrics = Object.fromEntries(places.map((place) => [place, {}]));
    return {
      overview: {
        points,
        metrics: numbers,
        curves: [{ name: "", anchor: true }],
        clips: groups.map(({ title }) => title),
        domains: [{ rates: { headline }, metrics }],
      },
      domain: 0,
      metric: places[0],
      point: 0,
      hidden: new Set(),
    };
  };

  const start = async () => {
    const overview = await rdbench.load("overview");
    const open = (index) => {
      $("group-note").textContent = overview.groups[index].note;
      return rdbench.clips.open(stateOf(overview, index), index);
    };
    rdbench.clips.listen();
    for (const button of document.querySelectorAll("#clip-list button")) {
      button.addEventListener("click", () => {
        open(Number(button.closest("tr").dataset.id));
        $("clip-heading").focus();
      });
    }
    await open(0);
    document.documentElement.dataset.ready = "true";
  };

  document.addEventListener("DOMContentLoaded", start);
})();
