// The table of requests, and the links from findings.

const COLUMNS = [
  ["id", "Request", (value) => value],
  ["arrival", "Arrival", (value) => (value / 1e9).toFixed(6) + " s"],
  ["waiting", "Waiting", duration],
  ["ttft", "TTFT", duration],
  ["tpot", "TPOT", duration],
  ["e2e", "E2E", duration],
  ["input", "Prompt", grouped],
  ["output", "Output", grouped],
  ["cached", "Cached", grouped],
  ["recomputed", "Recomputed", grouped],
  ["preemptions", "Preempted", grouped],
  ["priority", "Priority", grouped],
  ["finish", "End", (value) => value || "–"],
  ["findings", "Findings", grouped],
];
const PAGE = 50;
const table = { sort: "arrival", down: false, rows: [], shown: PAGE };

const setFilter = (text) => {
  byId("search").value = text;
  timeline.filter = text.trim().toLowerCase();
  table.shown = PAGE;
  arrange();
  fillTable();
  schedule();
};

const fillTable = () => {
  const values = requests[table.sort], sign = table.down ? -1 : 1;
  table.rows = requests.id.map((_, index) => index)
    .filter((index) => !timeline.filter || requests.id[index].toLowerCase().includes(timeline.filter));
  table.rows.sort((a, b) => {
    const [left, right] = [values[a], values[b]];
    if (left === right) return a - b;
    // What has no value comes last, whichever way.
    if (left === null || left === "") return 1;
    if (right === null || right === "") return -1;
    return (typeof left === "string" ? left.localeCompare(right, "en", { numeric: true }) : left - right) * sign;
  });
  const body = byId("table").tBodies[0];
  body.replaceChildren(...table.rows.slice(0, table.shown).map((index) => {
    const row = make("tr", { "data-request": index });
    for (const [name, , show] of COLUMNS) {
      const value = requests[name][index];
      row.append(make("td", { text: value === null ? "–" : show(value) }));
    }
    row.addEventListener("click", () => {
      select(index, true);
      byId("timeline").scrollIntoView();
    });
    return row;
  }));
  byId("matches").textContent = timeline.filter
    ? `${grouped(table.rows.length)} of ${grouped(requests.id.length)}` : `${grouped(requests.id.length)} requests`;
  byId("more").hidden = table.shown >= table.rows.length;
  markTableRow();
};

const markTableRow = () => {
  for (const row of byId("table").tBodies[0].rows) {
    row.classList.toggle("selected", Number(row.dataset.request) === timeline.selected);
  }
};

const sortBy = (name) => {
  // Numbers are looked at from their worst end first.
  table.down = table.sort === name ? !table.down : !["id", "arrival", "finish"].includes(name);
  table.sort = name;
  table.shown = PAGE;
  for (const head of byId("table").tHead.rows[0].cells) {
    const sorted = head.dataset.column === name;
    head.setAttribute("aria-sort", sorted ? (table.down ? "descending" : "ascending") : "none");
  }
  fillTable();
};

const showFinding = (number) => {
  const finding = findings[number];
  for (const article of document.querySelectorAll(".finding")) {
    article.classList.toggle("selected", article.id === "finding-" + number);
  }
  view.marker = finding.at;
  if (finding.request !== null) select(finding.request, true);
  else if (finding.at !== null) {
    const width = (view.most - view.least) / 100;
    view.set(finding.at - width, finding.at + width);
    byId("inview").checked = true;
  }
};

const startTable = () => {
  const head = byId("table").tHead.rows[0];
  for (const [name, title] of COLUMNS) {
    const cell = make("th", { scope: "col", "data-column": name, text: title, tabindex: "0" });
    cell.addEventListener("click", () => sortBy(name));
    cell.addEventListener("keydown", (event) => { if (event.key === "Enter") sortBy(name); });
    head.append(cell);
  }
  byId("search").addEventListener("input", () => setFilter(byId("search").value));
  byId("more").addEventListener("click", () => { table.shown += 200; fillTable(); });
  for (const link of document.querySelectorAll("[data-finding]")) {
    link.addEventListener("click", () => showFinding(Number(link.dataset.finding)));
  }
  if (findings.length) sortBy("findings"); else sortBy("e2e");
};
