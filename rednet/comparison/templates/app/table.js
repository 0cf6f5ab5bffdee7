// The table of runs: sorting, ticking, columns.

const visible = new Set(tableColumns.filter((column) => column.shown).map((column) => column.key));
const rows = new Map();
const FIRST_ROWS = 40; // more than the box of the table shows
const MORE_ROWS = 80;
let filling = 0;
const visibleColumns = () => tableColumns.filter((column) => visible.has(column.key));

function sortBy(key, column) {
  const startsDescending = column ? column.better === "max" : false;
  state.sort = state.sort.key === key
    ? { key, descending: !state.sort.descending }
    : { key, descending: startsDescending };
  changed();
  const button = byId("table").querySelector(`th[data-key="${CSS.escape(key)}"] button`);
  if (button) button.focus();
}

function headerCell(key, label, column) {
  const cell = element("th", "", { scope: "col", "data-key": key });
  const isSorted = state.sort.key === key;
  const order = state.sort.descending ? "descending" : "ascending";
  cell.setAttribute("aria-sort", isSorted ? order : "none");
  if (column) cell.title = column.help;
  if (column && column.group === "setting") cell.classList.add("setting");
  const button = element("button", "", { type: "button" });
  button.append(element("bdi", label), element("span", isSorted ? (state.sort.descending ? "\u2193" : "\u2191") : "", { class: "arrow", "aria-hidden": "true" }));
  button.addEventListener("click", () => sortBy(key, column));
  cell.append(button);
  return cell;
}

function drawHead() {
  const cells = visibleColumns().map((column) => headerCell(column.key, column.label, column));
  byId("table").tHead.rows[0].replaceChildren(headerCell("name", "Run"), ...cells);
}

/** Return the best value of each column among the shown runs, where more than one differs. */
function bestValues() {
  const best = new Map();
  for (const column of visibleColumns().filter((each) => each.better)) {
    const values = state.shown.map((run) => valueOf(run, column)).filter(isNumber);
    if (new Set(values).size > 1) {
      best.set(column.key, values.reduce((one, other) => (column.better === "max" ? Math.max(one, other) : Math.min(one, other))));
    }
  }
  return best;
}

function makeRow(run) {
  const row = clone("run-row");
  const box = row.querySelector("input");
  row.querySelector(".hidden").textContent = `Compare ${run.name}`;
  const name = row.querySelector(".name");
  name.append(element("bdi", run.name));
  name.title = run.folder;
  const warn = row.querySelector(".warn");
  warn.hidden = run.problems.length === 0;
  warn.title = run.problems.join("; ");
  warn.setAttribute("aria-label", warn.title);
  warn.setAttribute("role", "img");
  box.addEventListener("change", () => {
    if (box.checked ? !choose(run) : !drop(run)) tellFull();
    changed();
  });
  name.addEventListener("click", () => showDetails(run));
  row.addEventListener("pointerenter", () => setHot(run));
  row.addEventListener("pointerleave", () => setHot(null));
  return row;
}

function fillRow(run, row, best) {
  const cells = visibleColumns().map((column) => {
    const value = valueOf(run, column);
    const cell = element("td", format(value, column.form));
    if (isNumber(value)) cell.classList.add("number");
    if (value !== null && best.get(column.key) === value) cell.classList.add("best");
    if (column.key === "state" && !run.finished) cell.classList.add("open");
    if (column.form === "text" || !isNumber(value)) { cell.title = cell.textContent; cell.dir = "auto"; }
    return cell;
  });
  row.replaceChildren(row.firstElementChild, ...cells);
}

function drawRow(run, best) {
  if (!rows.has(run.index)) rows.set(run.index, makeRow(run));
  const row = rows.get(run.index);
  fillRow(run, row, best);
  row.classList.toggle("chosen", isChosen(run));
  row.querySelector("input").checked = isChosen(run);
  paintSwatch(row.querySelector(".swatch"), run);
  return row;
}

/** Add the rows from a place on, some at a time, unless the table is drawn again before. */
function addRows(place, best, number) {
  if (number !== filling || place >= state.shown.length) return;
  const more = state.shown.slice(place, place + MORE_ROWS);
  byId("table").tBodies[0].append(...more.map((run) => drawRow(run, best)));
  whenIdle(() => addRows(place + MORE_ROWS, best, number));
}

function drawTable() {
  const focused = document.activeElement; // what moves loses the focus
  state.shown = findRuns();
  drawHead();
  const best = bestValues();
  const body = byId("table").tBodies[0];
  const first = Math.max(FIRST_ROWS, body.rows.length); // as many as there are, so that none jumps
  body.replaceChildren(...state.shown.slice(0, first).map((run) => drawRow(run, best)));
  filling += 1;
  const number = filling;
  afterPaint(() => whenIdle(() => addRows(first, best, number)));
  if (focused && focused.isConnected && focused !== document.activeElement) focused.focus();
  byId("no-run").hidden = state.shown.length > 0;
  tellCount();
}

function tellCount() {
  const of = state.shown.length === runs.length ? "" : ` of ${runs.length}`;
  byId("count").textContent = `${state.shown.length}${of} ${runs.length === 1 ? "run" : "runs"}, ${state.slots.size} compared`;
}

let isFull = false;
function tellFull() { isFull = true; }

function drawColumnMenu() {
  const labels = tableColumns.map((column) => {
    const label = element("label");
    const box = element("input", "", { type: "checkbox" });
    box.checked = visible.has(column.key);
    box.addEventListener("change", () => {
      if (box.checked) visible.add(column.key); else visible.delete(column.key);
      drawTable();
    });
    label.append(box, element("bdi", column.label));
    return label;
  });
  byId("columns").replaceChildren(...labels);
}

function chooseMany(which) {
  if (which === "none") state.slots.clear();
  else if (which === "best") {
    state.slots.clear();
    for (const run of bestFirst().filter((each) => state.shown.includes(each)).slice(0, 5)) choose(run);
  } else if (!state.shown.every(choose)) tellFull();
  changed();
}
