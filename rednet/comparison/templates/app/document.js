// The data of the page, and how values are written.

const page = JSON.parse(document.getElementById("document").textContent);
const runs = page.runs;
runs.forEach((run, index) => { run.index = index; });

const byId = (id) => document.getElementById(id);
const clone = (id) => byId(id).content.firstElementChild.cloneNode(true);

let allSeries = null;

/** Return the curves of a run; those of all runs are parsed with the first, after the table. */
function seriesOf(run) {
  allSeries ??= JSON.parse(byId("series").textContent);
  return allSeries[run.index];
}

/** Return an element with a text, and attributes or classes. */
function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const UNKNOWN = "\u2013";
const isNumber = (value) => typeof value === "number";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function formatNumber(value) {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1000) return whole.format(value);
  if (size < 0.001) return value.toExponential(2).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(4)));
}

function formatSeconds(value) {
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  const minutes = Math.round(value / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function formatCount(value) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  }
  return String(value);
}

const FORMS = {
  percent: (value) => value.toFixed(2),
  seconds: formatSeconds,
  count: formatCount,
  time: (value) => value.slice(0, 16).replace("T", " "),
  number: formatNumber,
};

/** Return a value as text, in one of FORMS where it has a form. */
function format(value, form = "number") {
  if (value === null || value === undefined) return UNKNOWN;
  if (form === "time" || isNumber(value)) return (FORMS[form] || String)(value);
  return String(value);
}

const tableColumns = [
  ...page.columns,
  ...page.differing.map((key, place) => ({
    key, label: key, group: "setting", form: "number", better: "", help: `Setting ${key}`, shown: place < 4,
  })),
].filter((column) => runs.some((run) => valueOf(run, column) !== null));

/** Return what a run has in a column, null where it is unknown. */
function valueOf(run, column) {
  const value = column.group === "setting" ? run.settings[column.key] : run.values[column.key];
  return value === undefined ? null : value;
}
