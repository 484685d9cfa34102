/* Numbers and names as text, and elements that hold them. Names are text nodes, never markup. */
"use strict";

(() => {
  const NONE = "–";
  const EXACT = 60; // decimals that hold all of a number that is halfway between two shown ones

  /* Rounded as Python does it, so that figure and tables agree: toFixed takes a tie away from zero,
     Python to the even digit, and no zero has a sign. */
  const rounded = (value, decimals) => {
    const cut = decimals - EXACT;
    const exact = value.toFixed(EXACT);
    const tie = decimals > 0 && decimals < EXACT && /^50*$/.test(exact.slice(cut));
    const text = tie && /[02468]$/.test(exact.slice(0, cut)) ? exact.slice(0, cut) : null;
    const shown = text ?? value.toFixed(decimals);
    return Number(shown) === 0 ? shown.replace("-", "") : shown;
  };

  const number = (value, decimals) =>
    value === null || value === undefined ? NONE : rounded(value, decimals).replace("-", "−");

  const kbps = (value) => number(value, value !== null && value >= 99.995 ? 1 : 2);

  /* " [low, high]" where there is an interval that is wider than nothing. */
  const interval = (low, high, write) =>
    low === null || high === null || low === high ? "" : ` [${write(low)}, ${write(high)}]`;

  /* Plotly reads some markup in its texts: a name is shown as it is written. */
  const plain = (text) =>
    String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  /* Names of hundreds of characters are cut where there is no room for them. */
  const short = (text, longest = 40) => {
    const signs = Array.from(text);
    return signs.length <= longest ? text : `${signs.slice(0, longest - 1).join("")}…`;
  };

  /* An element with properties ("class", "text", aria and data attributes) and children. */
  const make = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== undefined && value !== false) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  /* Fills a <select> with [value, text] pairs. */
  const options = (select, pairs, chosen) => {
    select.replaceChildren(
      ...pairs.map(([value, text]) => make("option", { value, text: short(text, 60) })),
    );
    if (chosen !== undefined) select.value = String(chosen);
  };

  Object.assign(rdbench, { NONE, number, kbps, interval, plain, short, make, options });
})();
