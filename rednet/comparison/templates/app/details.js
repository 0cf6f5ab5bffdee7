// All about one run, in a dialog.

function detailRow(list, label, text) {
  const value = element("dd");
  value.append(element("bdi", text));
  list.append(element("dt", label), value);
}

function factsOf(run) {
  const list = element("dl");
  detailRow(list, "Folder", run.folder);
  for (const column of page.columns) {
    const value = valueOf(run, column);
    if (value !== null) detailRow(list, column.label, format(value, column.form));
  }
  run.commands.forEach((command) => detailRow(list, "Command", command));
  return list;
}

function lossChart(run, body) {
  const names = ["train_loss", "val_loss"].filter((name) => name in seriesOf(run));
  if (!names.length) return;
  const card = element("figure", "", { class: "card" });
  const caption = element("figcaption", "Loss: ");
  names.forEach((name, place) => {
    const key = element("span", LABELS[name], { class: "key" });
    key.style.setProperty("--color", `var(--s${place})`);
    caption.append(key);
  });
  const plot = element("div", "", { class: "plot" });
  card.append(caption, plot);
  body.append(card);
  const points = names.flatMap((name, place) => {
    const alone = seriesOf(run)[name].length === 1;
    return seriesOf(run)[name].map((y, at) => ({ x: seriesOf(run).epoch[at], y, line: place, run: place, color: `var(--s${place})`, dash: [1, 0], alone }));
  }).filter((point) => point.y !== null);
  const view = makeView(plot, specOf("curve-spec"), `Training and validation loss of ${run.name}`);
  const xs = seriesOf(run).epoch;
  view.data("chosen", points).signal("domainX", xs.length > 1 ? [xs[0], xs.at(-1)] : [0, 2])
    .signal("domainY", domainOf(points, [])).run();
}

function settingsOf(run) {
  const details = element("details");
  const all = [...page.differing.filter((key) => key in run.settings).map((key) => [key, run.settings[key]]), ...(run.configured ? Object.entries(page.common) : [])];
  details.append(element("summary", `All ${all.length} settings`));
  const list = element("dl", "", { class: "settings" });
  for (const [key, value] of all.sort((one, other) => one[0].localeCompare(other[0], "en"))) detailRow(list, key, format(value));
  details.append(list);
  return details;
}

function showDetails(run) {
  byId("details-name").replaceChildren(element("bdi", run.name));
  const body = byId("details-body");
  body.replaceChildren();
  byId("details").showModal();
  if (run.problems.length) {
    const problems = element("ul", "", { class: "problems" });
    problems.append(...run.problems.map((problem) => element("li", problem)));
    body.append(problems);
  }
  lossChart(run, body);
  body.append(factsOf(run), settingsOf(run));
  if (run.mistakes.length) body.append(element("h3", "Mistakes"), mistakeStrip(run));
}
