// The curves of the runs, all read at the same position.

const LABELS = {
  train_loss: "Training loss", val_loss: "Validation loss", val_top1: "Validation top-1, %",
  val_top5: "Validation top-5, %", lr: "Learning rate", images_per_second: "Images per second, training",
  epoch_seconds: "Seconds per epoch",
};
const LOGARITHMIC = new Set(["train_loss", "val_loss", "lr"]);
const ABSCISSAS = { epoch: "epoch", global_step: "step", seconds: "time" };
const series = [...new Set([...Object.keys(LABELS), ...page.curves])]
  .filter((name) => !(name in ABSCISSAS) && page.curves.includes(name));
const MAX_GREY = 5000;
const charts = [];
const curves = { over: "epoch", log: false, fraction: 1 };

const abscissa = (run) => seriesOf(run)[curves.over] || [];
const widest = () => Math.max(1, ...state.shown.map((run) => abscissa(run).at(-1) || 0));
const smallest = () => (curves.over === "seconds"
  ? 0
  : Math.min(widest() - 1, ...state.shown.map((run) => abscissa(run)[0]).filter(isNumber)));

function formatPosition(value) {
  if (curves.over === "seconds") return formatSeconds(value);
  return `${ABSCISSAS[curves.over]} ${Math.round(value).toLocaleString("en")}`;
}

/** Return the points of runs in one list; without styles those of a run end in a gap. */
function pointsOf(name, of, extra) {
  const points = [];
  const most = extra ? Infinity : Math.max(20, MAX_GREY / of.length);
  const isLog = curves.log && LOGARITHMIC.has(name);
  for (const run of of) {
    const values = seriesOf(run)[name];
    if (!values) continue;
    const xs = abscissa(run);
    const given = extra ? extra(run, values) : null;
    const stride = Math.max(1, Math.ceil(values.length / most));
    let last = null;
    values.forEach((value, place) => {
      if (value === null || (isLog && value <= 0)) return;
      if (place % stride && place < values.length - 1) return;
      last = { x: xs[place], y: value, ...given };
      points.push(last);
    });
    if (!extra && last) points.push({ x: last.x, y: null });
  }
  return points;
}

function styleOf(run, values) {
  const alone = values.filter((value) => value !== null).length === 1;
  return { line: run.index, run: run.index, color: colorOf(run), dash: dashOf(run), alone };
}

/** Return the range of values: that of the runs in colour, if there are any. */
function domainOf(chosen, others) {
  const values = (chosen.length ? chosen : others).map((point) => point.y).filter(isNumber);
  if (!values.length) return [0, 1];
  const low = values.reduce((one, other) => Math.min(one, other));
  const high = values.reduce((one, other) => Math.max(one, other));
  const margin = low === high ? (Math.abs(low) || 1) * 0.1 : curves.log ? 0 : (high - low) * 0.03;
  return [low >= 0 ? Math.max(curves.log ? low : 0, low - margin) : low - margin, high + margin];
}

function curveSpec(name) {
  const spec = specOf("curve-spec");
  if (curves.log && LOGARITHMIC.has(name)) spec.scales[1].type = "log";
  if (curves.over === "seconds") labelAsTime(spec.axes[1], widest());
  return spec;
}

function makeChart(name) {
  const card = clone("chart-card");
  card.querySelector("figcaption").textContent = LABELS[name] || name;
  const chart = { name, card, view: null, stale: true };
  card.addEventListener("pointermove", (event) => readAt(chart, event));
  card.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  return chart;
}

function drawChart(chart) {
  if (!chart.near || !chart.stale) return;
  const { name, card } = chart;
  const chosen = chosenRuns();
  const others = pointsOf(name, state.shown.filter((run) => !isChosen(run)));
  const points = pointsOf(name, chosen, styleOf);
  const kind = `${curves.log} ${curves.over} ${curves.over === "seconds" ? widest() : ""}`;
  if (chart.kind !== kind) {
    if (chart.view) chart.view.finalize();
    chart.view = makeView(card.querySelector(".plot"), curveSpec(name), `${LABELS[name] || name} of ${chosen.length} runs`);
    chart.kind = kind;
  }
  chart.view.data("others", others).data("chosen", points)
    .signal("domainX", [smallest(), widest()]).signal("domainY", domainOf(points, others)).run();
  chart.stale = false;
  drawReading(chart);
}

/** Return the value of a run at a position as text; beyond its end the last one, and where that is. */
function textAt(run, name, position) {
  const xs = abscissa(run);
  const value = valueAt(run, name, position);
  const isBeyond = value !== null && position > xs.at(-1) + (widest() - smallest()) * 0.01;
  return isBeyond ? `${format(value)} at ${formatPosition(xs.at(-1))}` : format(value);
}

function valueAt(run, name, position) {
  const xs = abscissa(run);
  const values = seriesOf(run)[name];
  return values && xs.length ? values[nearest(xs, position)] : null;
}

const readPosition = () => smallest() + curves.fraction * (widest() - smallest());

function drawReading(chart) {
  if (!chart.view) return;
  const rule = chart.card.querySelector(".rule");
  const left = chart.view.origin()[0] + chart.view.scale("x")(readPosition());
  rule.hidden = !Number.isFinite(left);
  rule.style.transform = `translateX(${left}px)`;
  const items = chosenRuns().map((run) => {
    const item = element("li");
    const swatch = element("span", "", { class: "swatch" });
    paintSwatch(swatch, run);
    item.append(swatch, element("span", `${run.name}: `, { class: "hidden" }), textAt(run, chart.name, readPosition()));
    return item;
  });
  chart.card.querySelector(".readout").replaceChildren(...items);
}

function drawReadings() {
  const text = formatPosition(readPosition());
  byId("cursor-text").textContent = text;
  byId("cursor").setAttribute("aria-valuetext", text);
  charts.forEach((chart) => chart.near && drawReading(chart));
}

function readAt(chart, event) {
  if (!chart.view) return;
  const box = chart.card.querySelector(".plot").getBoundingClientRect();
  const range = chart.view.scale("x").range();
  const place = (event.clientX - box.left - chart.view.origin()[0]) / (range[1] - range[0]);
  curves.fraction = Math.min(1, Math.max(0, place));
  byId("cursor").value = Math.round(1000 * curves.fraction);
  drawReadings();
  drawTip(chart, event);
}

function drawTip(chart, event) {
  const tip = byId("tip");
  const found = chosenRuns().map((run) => [run, valueAt(run, chart.name, readPosition())]).filter(([, value]) => value !== null);
  found.sort((one, other) => other[1] - one[1]);
  const lines = found.slice(0, 12).map(([run, value]) => {
    const line = element("div");
    const swatch = element("span", "", { class: "swatch" });
    paintSwatch(swatch, run);
    line.append(swatch, element("b", textAt(run, chart.name, readPosition())), element("bdi", run.name));
    return line;
  });
  tip.replaceChildren(element("div", formatPosition(readPosition()), { class: "soft" }), ...lines);
  tip.hidden = event.pointerType === "touch" || !lines.length;
  const isRight = event.clientX > window.innerWidth / 2;
  tip.style.transform = `translate(${event.clientX + (isRight ? -16 : 16)}px, ${event.clientY + 16}px) translateX(${isRight ? "-100%" : "0"})`;
}

/** Let the curve of a run stand out, or none. */
function setHot(run) {
  const hot = run && isChosen(run) ? run.index : null;
  for (const chart of charts) {
    if (chart.view && chart.view.signal("hot") !== hot) chart.view.signal("hot", hot).runAsync();
  }
}

function drawCurves() {
  const items = chosenRuns().map((run) => {
    const item = clone("legend-item");
    paintSwatch(item.querySelector(".swatch"), run);
    item.querySelector("bdi").textContent = run.name;
    item.addEventListener("pointerenter", () => setHot(run));
    item.addEventListener("pointerleave", () => setHot(null));
    return item;
  });
  byId("legend").replaceChildren(...items);
  charts.forEach((chart) => { chart.stale = true; drawChart(chart); });
  drawReadings();
}

/** Draw each chart when it comes near the screen. */
function watchCharts() {
  for (const chart of charts) {
    whenNear(chart.card, () => inTurn(() => { chart.near = true; drawChart(chart); }));
  }
}

function startCurves() {
  charts.push(...series.map(makeChart));
  byId("charts").replaceChildren(...charts.map((chart) => chart.card));
  byId("over").addEventListener("change", (event) => { curves.over = event.target.value; drawCurves(); });
  byId("log").addEventListener("change", (event) => { curves.log = event.target.checked; drawCurves(); });
  byId("cursor").addEventListener("input", (event) => { curves.fraction = event.target.value / 1000; drawReadings(); });
}
