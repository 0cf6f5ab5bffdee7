// One chart: a view of Vega that follows the width of its box.

const fontFamily = "system-ui, sans-serif";
const axis = {
  labelFont: fontFamily, labelFontSize: 11, labelColor: "var(--soft)",
  domainColor: "var(--line)", gridColor: "var(--grid)", tickColor: "var(--line)",
};
const config = { axis };
const HEIGHT = 190;

const parsed = new Map();

/** Run the charting library, which waits until the table is there. */
function loadLibrary() {
  if (globalThis.vega) return;
  const script = document.createElement("script");
  script.textContent = byId("library").textContent;
  document.head.append(script);
}

/** Return what Vega makes of a specification, of equal ones once. */
function parse(spec) {
  const key = JSON.stringify(spec);
  if (!parsed.has(key)) parsed.set(key, vega.parse(spec, config));
  return parsed.get(key);
}

/** Return a view in a box; colours are variables of the style sheet, so that themes need no work. */
function makeView(box, spec, description, height = HEIGHT) {
  loadLibrary();
  const view = new vega.View(parse(spec), { renderer: "svg", hover: false });
  view.description(description).width(box.clientWidth).height(height).initialize(box);
  new ResizeObserver(() => {
    if (box.clientWidth > 0 && box.clientWidth !== view.width()) view.width(box.clientWidth).runAsync();
  }).observe(box);
  return view;
}

/** Call a function when what the page shows now has been painted. */
const afterPaint = (call) => requestAnimationFrame(() => setTimeout(call));

/** Call a function when there is nothing else to do, or soon. */
const whenIdle = window.requestIdleCallback
  ? (call) => requestIdleCallback(call, { timeout: 200 })
  : (call) => setTimeout(call);

const waiting = [];

/** Call functions one after the other, so that the page answers between them. */
function inTurn(call) {
  waiting.push(call);
  if (waiting.length === 1) setTimeout(callNext);
}

function callNext() {
  waiting[0]();
  waiting.shift();
  if (waiting.length) setTimeout(callNext);
  else performance.mark("drawn");
}

const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400];
const MAX_TICKS = 7;

/** Let an axis of seconds have round durations, up to the longest one. */
function labelAsTime(axis, longest) {
  const step = STEPS.find((each) => longest / each < MAX_TICKS) || 86400 * Math.ceil(longest / 86400 / MAX_TICKS);
  axis.values = Array.from({ length: Math.floor(longest / step) + 1 }, (_, place) => place * step);
  const [unit, size] = step % 86400 === 0 ? ["d", 86400] : step % 3600 === 0 ? ["h", 3600] : step % 60 === 0 ? ["min", 60] : ["s", 1];
  axis.encode = { labels: { update: { text: { signal: `datum.value / ${size} + ' ${unit}'` } } } };
}

const specOf = (id) => JSON.parse(byId(id).textContent);

/** Call a function when an element comes near the screen, once. */
function whenNear(target, call) {
  const observer = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); call(); }
  }, { rootMargin: "100px" });
  observer.observe(target);
}

/** Return the position of the value that is nearest, in values that ascend. */
function nearest(values, wanted) {
  let low = 0;
  let high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle; else high = middle;
  }
  return Math.abs(values[low] - wanted) <= Math.abs(values[high] - wanted) ? low : high;
}
