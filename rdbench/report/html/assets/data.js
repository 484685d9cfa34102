/* Data by name. Each file below data/ is a script of one call, rdbench.take(name, value), since a
   page from file:// may run scripts beside it and read nothing else. */
"use strict";

window.rdbench = {};

(() => {
  const values = new Map();
  const waiting = new Map();

  /* Called by a file of data when it has arrived. */
  rdbench.take = (name, value) => {
    values.set(name, Promise.resolve(value));
    waiting.get(name)?.(value);
    waiting.delete(name);
  };

  /* A promise of the value; its file is read the first time. Rejects where there is no file. */
  rdbench.load = (name) => {
    if (!values.has(name)) {
      const promise = new Promise((resolve, reject) => {
        waiting.set(name, resolve);
        const script = document.createElement("script");
        script.src = `${document.documentElement.dataset.data ?? "data"}/${name}.js`;
        script.onload = () => script.remove();
        script.onerror = () => {
          script.remove();
          rdbench.forget(name);
          reject(new Error(`data/${name}.js is missing`));
        };
        document.head.append(script);
      });
      values.set(name, promise);
    }
    return values.get(name);
  };

  /* Lets go of a value that is large and will not be needed in this form again. */
  rdbench.forget = (name) => {
    values.delete(name);
    waiting.delete(name);
  };

  /* Whether a point stands on the chosen axis: on pages that keep kinds of rate apart, those of
     that kind, and anchors. */
  rdbench.onAxis = (state, point) => {
    const { apart, domains, points } = state.overview;
    if (!apart || points[point].anchor) return true;
    const [kind, rate] = domains[state.domain].rates[state.axis]?.[point] ?? ["", null];
    return kind === state.axis && rate !== null;
  };
})();
