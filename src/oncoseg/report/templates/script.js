"use strict";
// Sorting, filtering and tooltips; the page says the same without them.
const number = (cell) => (cell.dataset.value === undefined || cell.dataset.value === "" ? null : Number(cell.dataset.value));

function compare(a, b, sign) {
  const x = number(a), y = number(b);
  if (x !== null && y !== null) return sign * (x - y);
  if (x !== null || y !== null) return x === null ? 1 : -1;
  return sign * a.textContent.trim().localeCompare(b.textContent.trim(), "en", { numeric: true });
}

function sortBy(head, position) {
  const descending = head.getAttribute("aria-sort") === "ascending"
    || (head.getAttribute("aria-sort") === null && head.dataset.sort === "number" && head.dataset.first !== "low");
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = head.closest("table").tBodies[0];
  const rows = [...body.rows].sort((a, b) => compare(a.cells[position], b.cells[position], descending ? -1 : 1));
  body.append(...rows);
}

for (const head of document.querySelectorAll("th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  const small = button.querySelector("small");
  head.append(button);
  if (small) head.append(small);
  button.addEventListener("click", () => sortBy(head, [...head.parentElement.children].indexOf(head)));
}

for (const table of document.querySelectorAll("table[data-filter]")) {
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  if (rows.length < 6) continue;
  const input = document.createElement("input");
  input.className = "filter";
  input.type = "search";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", "Filter the rows of this table");
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  table.closest(".scroll").before(input);
}

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("role", "tooltip");
document.body.append(tip);

function textOf(element) {
  const own = element.querySelector(":scope > title");
  if (own) {
    element.dataset.tip = own.textContent;
    own.remove();
  }
  if (element.title) {
    element.dataset.tip = element.title;
    element.removeAttribute("title");
  }
  return element.dataset.tip;
}

function show(event) {
  const element = event.target.closest && event.target.closest(".hit, [title], [data-tip]");
  const text = element && textOf(element);
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const place = element.getBoundingClientRect();
  const left = Math.min(Math.max(6, place.left + place.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 6);
  const above = place.top - tip.offsetHeight - 6;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 4 ? above : place.bottom + 6}px`;
}

document.addEventListener("pointerover", show);
document.addEventListener("focusin", show);
