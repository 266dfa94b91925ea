// Tables that sort by a heading: upward, downward, and back to the order in which they were written.
const NUMBER = /^[[(]?([<>]?)\s*([-+\u2212]?)(\d[\d,]*(?:\.\d+)?(?:e[-+\u2212]?\d+)?)/i;
const numberIn = (text) => {
  const found = NUMBER.exec(text.trim());
  if (!found) return NaN;
  const size = Number(found[3].replaceAll(",", "").replace("\u2212", "-"));
  const nudged = size * (found[1] === "<" ? 1 - 1e-9 : found[1] === ">" ? 1 + 1e-9 : 1);  // <1% stands before 1%
  return "-\u2212".includes(found[2] || " ") ? -nudged : nudged;
};
const inOrder = (rows, column, down) => {
  const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
  const isBlank = (row) => ["", "-"].includes(texts.get(row));
  const filled = rows.filter((row) => !isBlank(row));
  const ofNumbers = filled.every((row) => NUMBER.test(texts.get(row)));
  const compare = ofNumbers
    ? (one, other) => numberIn(texts.get(one)) - numberIn(texts.get(other))
    : (one, other) => texts.get(one).localeCompare(texts.get(other), "en", {numeric: true});
  filled.sort((one, other) => (down ? -1 : 1) * compare(one, other));
  return [...filled, ...rows.filter(isBlank)];
};
const forgetOrder = (table) => {
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
};
const sortBy = (table, column) => {
  const head = table.tHead.rows[0].cells[column];
  const [body] = table.tBodies;
  if (!table.querySelector("[aria-sort]")) [...body.rows].forEach((row, place) => row.dataset.place = place);
  const next = {ascending: "descending", descending: ""}[head.getAttribute("aria-sort") ?? ""] ?? "ascending";
  const written = [...body.rows].sort((one, other) => one.dataset.place - other.dataset.place);
  forgetOrder(table);
  if (next) head.setAttribute("aria-sort", next);
  body.append(...next ? inOrder(written, column, next === "descending") : written);
};
for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", {type: "button", className: "sorts"}, ...head.childNodes);
    button.addEventListener("click", () => sortBy(table, column));
    head.append(button);
  });
}
