// Which runs a query finds: words, name=value, and comparisons such as top1>70.

const COMPARISONS = {
  ">": (one, other) => one > other,
  "<": (one, other) => one < other,
  ">=": (one, other) => one >= other,
  "<=": (one, other) => one <= other,
};
const texts = runs.map((run) => [
  run.name, run.folder, run.values.state, run.values.model, run.values.device, run.values.commit,
  ...run.problems,
  ...Object.entries(run.settings).map(([key, value]) => `${key}=${value}`),
].join("\n").toLowerCase());

/** Return the number or text that a short name such as lr stands for, null if there is none. */
function lookUp(run, name) {
  for (const column of tableColumns) {
    const key = column.key.toLowerCase();
    if (key === name || key.endsWith(`.${name}`) || column.label.toLowerCase() === name) {
      return valueOf(run, column);
    }
  }
  return null;
}

function matches(run, word) {
  const comparison = word.match(/^([^<>=]+)(>=|<=|>|<)(-?[\d.]+(?:e[+-]?\d+)?)$/);
  if (comparison) {
    const value = lookUp(run, comparison[1]);
    return isNumber(value) && COMPARISONS[comparison[2]](value, Number(comparison[3]));
  }
  const equality = word.match(/^([^<>=]+)=(.+)$/);
  if (equality) {
    const value = lookUp(run, equality[1]);
    if (value !== null && String(value).toLowerCase() === equality[2]) return true;
  }
  return texts[run.index].includes(word);
}

/** Return the runs that have everything in the query, in the chosen order. */
function findRuns() {
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = runs.filter((run) => words.every((word) => matches(run, word)));
  const column = tableColumns.find((each) => each.key === state.sort.key);
  const value = (run) => (column ? valueOf(run, column) : run.name);
  return found.sort((one, other) => compareValues(value(one), value(other), state.sort.descending)
    || compareValues(one.name, other.name, false));
}
