// What the chosen runs got wrong: pairs of classes, and images.

const MAX_PAIRS = 15;

/** Return the most frequent pairs of the chosen runs, with the count and share of each run. */
function pairsOf(chosen) {
  const pairs = new Map();
  chosen.forEach((run, place) => {
    for (const [actual, predicted, number, share] of run.confusions) {
      const key = JSON.stringify([actual, predicted]);
      if (!pairs.has(key)) pairs.set(key, { actual, predicted, cells: new Map(), total: 0 });
      const pair = pairs.get(key);
      pair.cells.set(place, [number, share]);
      pair.total += number;
    }
  });
  return [...pairs.values()].sort((one, other) => other.total - one.total).slice(0, MAX_PAIRS);
}

function pairRow(pair, chosen, highest) {
  const row = element("tr");
  const head = element("th", "", { scope: "row", class: "pair" });
  head.append(element("bdi", pair.actual), element("span", " as ", { class: "soft" }), element("bdi", pair.predicted));
  row.append(head);
  chosen.forEach((run, place) => {
    const [number, share] = pair.cells.get(place) || [null, null];
    const isRare = number === null && run.num_confusions <= run.confusions.length && run.confusions.length;
    const cell = element("td", number === null ? (isRare ? "0" : UNKNOWN) : String(number), { class: "number heat" });
    if (number !== null) {
      cell.style.setProperty("--heat", `${Math.round(10 + 60 * number / highest)}%`);
      if (share !== null) cell.title = `${share.toFixed(1)} % of ${pair.actual}`;
    }
    row.append(cell);
  });
  return row;
}

function drawConfusions() {
  const chosen = chosenRuns();
  const pairs = pairsOf(chosen);
  const highest = Math.max(1, ...pairs.flatMap((pair) => [...pair.cells.values()].map(([number]) => number)));
  const body = element("tbody");
  body.append(...pairs.map((pair) => pairRow(pair, chosen, highest)));
  const table = byId("confusions-table");
  table.replaceChildren(runsHead("Class, taken for"), body);
  table.parentElement.hidden = !pairs.length;
  byId("confusions-none").hidden = pairs.length > 0;
}

function mistakeFigure(mistake) {
  const figure = clone("mistake");
  const image = figure.querySelector("img");
  image.src = mistake.image;
  image.alt = `${mistake.label}, predicted as ${mistake.prediction}`;
  const sure = mistake.confidence === null ? "" : ` ${Math.round(100 * mistake.confidence)} %`;
  figure.querySelector(".said").textContent = `${mistake.prediction}${sure}`;
  figure.querySelector(".was").textContent = mistake.label;
  figure.title = mistake.name;
  return figure;
}

function mistakeStrip(run) {
  const strip = element("div", "", { class: "strip" });
  strip.append(...run.mistakes.map(mistakeFigure));
  return strip;
}

function drawMistakes() {
  const having = chosenRuns().filter((run) => run.mistakes.length);
  const blocks = having.flatMap((run) => {
    const heading = element("h3");
    const swatch = element("span", "", { class: "swatch", "aria-hidden": "true" });
    paintSwatch(swatch, run);
    heading.append(swatch, element("bdi", run.name));
    return [heading, mistakeStrip(run)];
  });
  byId("mistakes-list").replaceChildren(...blocks);
  byId("mistakes-none").hidden = having.length > 0;
}
