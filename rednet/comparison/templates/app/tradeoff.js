// One value of the runs against another.

const tradeoff = { view: null, near: false };
const tradeoffColumns = tableColumns.filter((column) => runs.some((run) => isNumber(valueOf(run, column))));
const columnOf = (id) => tradeoffColumns.find((column) => column.key === byId(id).value);

function fillChoice(id, wanted) {
  byId(id).replaceChildren(...tradeoffColumns.map((column) => element("option", column.label, { value: column.key })));
  const keys = tradeoffColumns.map((column) => column.key);
  byId(id).value = wanted.find((key) => keys.includes(key)) || keys[0];
  byId(id).addEventListener("change", drawTradeoff);
}

/** Return a scale for values: logarithmic where they span more than a factor of thirty. */
function scaleType(column) {
  const values = state.shown.map((run) => valueOf(run, column)).filter(isNumber);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low > 0 && high / low > 30 ? "log" : "linear";
}

function pointOf(run, x, y) {
  const chosen = isChosen(run);
  return { x: valueOf(run, x), y: valueOf(run, y), run: run.index, chosen, color: chosen ? colorOf(run) : "var(--soft)" };
}

function drawTradeoff() {
  const [x, y] = [columnOf("tradeoff-x"), columnOf("tradeoff-y")];
  if (!tradeoff.near || !x || !y) return;
  const spec = specOf("tradeoff-spec");
  [x, y].forEach((column, place) => { spec.scales[place].type = scaleType(column); });
  [y, x].forEach((column, place) => {
    if (column.form === "seconds") labelAsTime(spec.axes[place], Math.max(...state.shown.map((run) => valueOf(run, column) || 0)));
    else if (column.form === "count") spec.axes[place].format = "~s";
    spec.axes[place].title = column.label;
  });
  for (const each of spec.axes) Object.assign(each, { titleColor: "var(--soft)", titleFont: fontFamily, titleFontWeight: 400, titleFontSize: 12 });
  if (tradeoff.view) tradeoff.view.finalize();
  const points = state.shown.map((run) => pointOf(run, x, y)).filter((point) => isNumber(point.x) && isNumber(point.y));
  tradeoff.view = makeView(byId("tradeoff-chart"), spec, `${y.label} against ${x.label} of ${points.length} runs`, 320);
  tradeoff.view.data("points", points).run();
  tradeoff.view.addEventListener("click", (event, item) => {
    if (!item || !item.datum || item.datum.run === undefined) return;
    const run = runs[item.datum.run];
    if (isChosen(run) ? !drop(run) : !choose(run)) tellFull();
    changed();
  });
  tradeoff.view.addEventListener("mousemove", (event, item) => tipOfPoint(event, item, x, y));
  byId("tradeoff-chart").onpointerleave = () => { byId("tip").hidden = true; };
}

function tipOfPoint(event, item, x, y) {
  const tip = byId("tip");
  const run = item && item.datum && runs[item.datum.run];
  tip.hidden = !run;
  if (!run) return;
  tip.replaceChildren(
    element("bdi", run.name),
    element("div", `${y.label} ${format(valueOf(run, y), y.form)}, ${x.label} ${format(valueOf(run, x), x.form)}`, { class: "soft" }),
  );
  const isRight = event.clientX > window.innerWidth / 2;
  tip.style.transform = `translate(${event.clientX + (isRight ? -16 : 16)}px, ${event.clientY + 16}px) translateX(${isRight ? "-100%" : "0"})`;
}

function startTradeoff() {
  fillChoice("tradeoff-x", ["macs", "parameters", "seconds"].filter((key) => new Set(runs.map((run) => run.values[key])).size > 2).concat("seconds", "rate"));
  fillChoice("tradeoff-y", ["top1", "val_loss"]);
  whenNear(byId("tradeoff"), () => inTurn(() => { tradeoff.near = true; drawTradeoff(); }));
}
