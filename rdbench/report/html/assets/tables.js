/* Tables whose columns sort: a button in each heading, what has no value at the end. */
"use strict";

(() => {
  const { make } = rdbench;
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;

  /* The sorting key of a cell: its number, or its text. */
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = cell.textContent.trim();
    return text === "" || text === rdbench.NONE ? null : text;
  };

  const ordered = (one, two, down) => {
    if (one === null || two === null) return (one === null) - (two === null);
    const numbers = typeof one === "number" && typeof two === "number";
    const order = numbers ? one - two : compare(String(one), String(two));
    return down ? -order : order;
  };

  const sort = (table, column, down) => {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => [keyOf(row, column), row]);
    rows.sort((one, two) => ordered(one[0], two[0], down));
    body.append(...rows.map(([, row]) => row));
    for (const [index, head] of Array.from(table.tHead.rows[0].cells).entries()) {
      if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };

  /* Puts a button in every heading that has a title. */
  const sortable = (table) => {
    for (const [column, head] of Array.from(table.tHead?.rows[0].cells ?? []).entries()) {
      const title = head.textContent.trim();
      if (!title) continue;
      const click = () => sort(table, column, head.getAttribute("aria-sort") === "ascending");
      head.replaceChildren(make("button", { type: "button", text: title, onclick: click }));
    }
  };

  /* Fills a table. heads: {title, number}; rows: {cells: [{text, value, small, child}], …}. */
  const fill = (table, heads, rows, sorted) => {
    const cell = ({ text = "", value, small, child }, column) => {
      const made = make("td", { class: heads[column].number && "number", "data-value": value });
      made.append(child ?? text);
      if (small) made.append(" ", make("small", { text: small }));
      return made;
    };
    const head = heads.map(({ title, number }) =>
      make("th", { scope: "col", text: title, class: number && "number" }),
    );
    const body = rows.map(({ cells, current, id }) =>
      make("tr", { "aria-current": current && "true", "data-id": id }, ...cells.map(cell)),
    );
    table.tHead?.remove();
    for (const old of Array.from(table.tBodies)) old.remove();
    table.append(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
    sortable(table);
    if (sorted) sort(table, sorted.column, sorted.down);
  };

  Object.assign(rdbench, { sortable, fillTable: fill });
})();
