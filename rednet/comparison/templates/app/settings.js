// The settings of the chosen runs, those that differ among them first.

/** Return a head with a column for each chosen run. */
function runsHead(first) {
  const head = element("thead");
  const row = element("tr");
  row.append(element("th", first, { scope: "col" }));
  for (const run of chosenRuns()) {
    const cell = element("th", "", { scope: "col", class: "run" });
    const swatch = element("span", "", { class: "swatch", "aria-hidden": "true" });
    paintSwatch(swatch, run);
    cell.append(swatch, element("bdi", run.name));
    cell.title = run.name;
    row.append(cell);
  }
  head.append(row);
  return head;
}

/** Return the value that most runs have; none if each has its own. */
function usual(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  const [value, number] = [...counts].sort((one, other) => other[1] - one[1])[0];
  return number > values.length / 2 ? value : undefined;
}

function settingRow(key, values) {
  const row = element("tr");
  const head = element("th", "", { scope: "row" });
  head.append(element("bdi", key));
  row.append(head);
  const most = usual(values);
  for (const value of values) {
    const cell = element("td", format(value), { dir: "auto" });
    cell.title = cell.textContent;
    if (most !== undefined && value !== most) cell.classList.add("unusual");
    row.append(cell);
  }
  return row;
}

function drawSettings() {
  const chosen = chosenRuns();
  const table = byId("settings-table");
  const valuesOf = (key) => chosen.map((run) => (key in run.settings ? run.settings[key] : null));
  const differing = page.differing.filter((key) => new Set(valuesOf(key)).size > 1);
  const body = element("tbody");
  body.append(...differing.map((key) => settingRow(key, valuesOf(key))));
  if (byId("all-settings").checked) {
    const same = page.differing.filter((key) => !differing.includes(key)).map((key) => [key, valuesOf(key)]);
    const common = Object.entries(page.common).map(([key, value]) => [key, chosen.map((run) => (run.configured ? value : null))]);
    body.append(...[...same, ...common].map(([key, values]) => { const row = settingRow(key, values); row.classList.add("same"); return row; }));
  }
  table.replaceChildren(runsHead("Setting"), body);
  const isEmpty = !chosen.length || !body.children.length;
  table.parentElement.hidden = isEmpty;
  byId("settings-none").hidden = !isEmpty;
  byId("settings-none").textContent = chosen.length ? "The settings of the ticked runs are the same." : "Tick runs in the table to compare their settings.";
  byId("settings-hint").textContent = chosen.length ? `${differing.length} differ among the ticked runs.` : "";
}

function startSettings() {
  byId("all-settings").addEventListener("change", drawSettings);
}
