"use strict";
// Sorting and filtering of the tables of a page. Without it, everything is still there to read.

const blank = (text) => text === "" || text === "–" || text === "-";

function valueOf(row, column) {
  const cell = row.cells[column];
  if (!cell) return "";
  return cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim();
}

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  return a.localeCompare(b, undefined, { numeric: true, sensitivity: "base" });
}

function sortBy(table, header) {
  const column = header.cellIndex;
  const descends = header.getAttribute("aria-sort") === "ascending";
  for (const body of table.tBodies) {
    const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
    rows.sort(([a], [b]) => {
      if (blank(a) || blank(b)) return blank(a) - blank(b); // what is missing stands last, either way
      return descends ? compare(b, a) : compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
  }
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descends ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  if (!table.tHead) continue;
  const headers = table.tHead.rows[table.tHead.rows.length - 1].cells;
  for (const header of headers) {
    if (header.classList.contains("no-sort") || header.textContent.trim() === "") continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, header));
    header.append(button);
  }
}

function rowsOf(id) {
  const target = document.getElementById(id);
  if (!target) return [];
  return [...target.querySelectorAll(target.tagName === "TABLE" ? "tbody > tr" : "[data-row]")];
}

function filter(id) {
  const controls = [...document.querySelectorAll("[data-filter]")].filter((one) => one.dataset.filter === id);
  const rows = rowsOf(id);
  let shown = 0;
  for (const row of rows) {
    row.hidden = !controls.every((control) => {
      const wanted = control.value.trim();
      if (wanted === "") return true;
      if (control.dataset.key) return row.getAttribute(`data-${control.dataset.key}`) === control.value;
      return row.textContent.toLowerCase().includes(wanted.toLowerCase());
    });
    shown += !row.hidden;
  }
  for (const output of document.querySelectorAll("[data-count]"))
    if (output.dataset.count === id) output.textContent = shown === rows.length ? `${shown} shown` : `${shown} of ${rows.length} shown`;
}

for (const control of document.querySelectorAll("[data-filter]")) {
  for (const event of ["input", "change"]) control.addEventListener(event, () => filter(control.dataset.filter));
  filter(control.dataset.filter); // a reloaded page may have kept what was typed
}
