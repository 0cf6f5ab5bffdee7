// One chart: a view of Vega that follows the width of its box.

const fontFamily = "system-ui, sans-serif";
const axis = {
  labelFont: fontFamily, labelFontSize: 11, labelColor: "var(--soft)",
  domainColor: "var(--line)", gridColor: "var(--grid)", tickColor: "var(--line)",
};
const config = { axis };
const HEIGHT = 190;

/** Return a view in a box; colours are variables of the style sheet, so that themes need no work. */
function makeView(box, spec, description, height = HEIGHT) {
  const view = new vega.View(vega.parse(spec, config), { renderer: "svg", hover: false });
  view.description(description).width(box.clientWidth).height(height).initialize(box);
  new ResizeObserver(() => {
    if (box.clientWidth > 0 && box.clientWidth !== view.width()) view.width(box.clientWidth).runAsync();
  }).observe(box);
  return view;
}

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

/** Let an axis of seconds say seconds, minutes or hours. */
function labelAsTime(axis) {
  const text = "datum.value >= 3600 ? format(datum.value / 3600, '~r') + ' h' : "
    + "datum.value >= 60 ? format(datum.value / 60, '~r') + ' min' : datum.value + ' s'";
  axis.encode = { labels: { update: { text: { signal: text } } } };
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
