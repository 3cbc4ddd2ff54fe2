"use strict";
// Tables sort by the buttons of their titles: one way, the other way, then as they were written.
const NEXT = { text: ["ascending", "descending", "none"], number: ["descending", "ascending", "none"] };

function valueOf(row, column) {
  const cell = row.cells[column];
  return (cell.dataset.value ?? cell.textContent).trim();
}

// Empty and unreadable values are NaN; "< 0.001", "[84.1, 88.0]" and "+2.1" are their first number.
function numberOf(text) {
  const found = text.replaceAll(",", "").match(/-?\d+(\.\d+)?(e-?\d+)?/i);
  return found ? Number(found[0]) : NaN;
}

function compare(a, b, isNumber, sign) {
  if (!isNumber) return sign * a.localeCompare(b, "en", { numeric: true });
  const [x, y] = [numberOf(a), numberOf(b)];
  // What is unknown comes last, whatever the direction.
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return sign * (x - y);
}

function sort(table, header, column, original) {
  const body = table.tBodies[0];
  const isNumber = !header.classList.contains("words");
  const order = NEXT[isNumber ? "number" : "text"];
  const direction = order[(order.indexOf(header.ariaSort) + 1) % order.length];
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  header.ariaSort = direction;
  table.classList.toggle("sorted", direction !== "none");
  const sign = direction === "descending" ? -1 : 1;
  const rows = direction === "none" ? original : [...original].sort(
    (a, b) => compare(valueOf(a, column), valueOf(b, column), isNumber, sign));
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const original = [...table.tBodies[0].rows];
  for (const button of table.tHead.querySelectorAll("button")) {
    const header = button.closest("th");
    const column = Number(header.dataset.column ?? header.cellIndex);
    button.addEventListener("click", () => sort(table, header, column, original));
  }
}
