"use strict";

// Filter: what belongs to another finding is hidden. Tables keep their means.
const filter = document.getElementById("filter");
const chosen = document.getElementById("finding");
chosen.addEventListener("change", () => {
  for (const part of document.querySelectorAll("[data-finding]")) {
    part.hidden = chosen.value !== "" && part.dataset.finding !== chosen.value;
  }
});
filter.addEventListener("submit", (event) => event.preventDefault());
filter.hidden = false;

// Sorting: within each body of a table; numbers from the greatest, names from A, missing ones last.
function sortBy(heading) {
  const row = heading.parentElement;
  const column = [...row.children].indexOf(heading);
  const text = (line) => line.children[column].firstChild?.textContent.trim() ?? "";
  const number = (line) => parseFloat(text(line).replaceAll(",", ""));
  const lines = [...heading.closest("table").querySelectorAll("tbody tr")];
  const numeric = lines.some((line) => !Number.isNaN(number(line)));
  const first = numeric ? "descending" : "ascending";
  const second = numeric ? "ascending" : "descending";
  const direction = heading.getAttribute("aria-sort") === first ? second : first;
  const sign = direction === "ascending" ? 1 : -1;
  const compare = (a, b) => {
    if (!numeric) return sign * a.children[column].textContent.localeCompare(b.children[column].textContent);
    const [x, y] = [number(a), number(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return sign * (x - y);
  };
  for (const body of heading.closest("table").tBodies) {
    body.append(...[...body.rows].sort(compare));
  }
  for (const other of row.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
}

for (const heading of document.querySelectorAll("table.sortable thead tr:last-child th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  button.addEventListener("click", () => sortBy(heading));
  heading.append(button);
}

// Paper shows what is folded away.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
