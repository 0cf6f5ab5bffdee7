// What the user has chosen; listeners are told when it changes.

const MAX_CHOSEN = 20;
const COLORS = 10;
const state = { query: "", sort: { key: "top1", descending: true }, slots: new Map(), shown: [] };
const listeners = [];

function changed() {
  for (const listener of listeners) listener();
}

const isChosen = (run) => state.slots.has(run.index);
const colorOf = (run) => `var(--s${state.slots.get(run.index) % COLORS})`;
const dashOf = (run) => (state.slots.get(run.index) >= COLORS ? [5, 3] : [1, 0]);

/** Return the chosen runs in the order in which they were chosen. */
const chosenRuns = () => [...state.slots.keys()].map((index) => runs[index]);

/** Return whether a run could be chosen; it keeps its colour until it is dropped. */
function choose(run) {
  if (isChosen(run)) return true;
  if (state.slots.size >= MAX_CHOSEN) return false;
  const used = new Set(state.slots.values());
  let slot = 0;
  while (used.has(slot)) slot += 1;
  state.slots.set(run.index, slot);
  return true;
}

const drop = (run) => state.slots.delete(run.index);

/** Paint the mark of a run: a disc in its colour, a ring for the second ten. */
function paintSwatch(swatch, run) {
  swatch.style.setProperty("--color", isChosen(run) ? colorOf(run) : "transparent");
  swatch.classList.toggle("ring", isChosen(run) && state.slots.get(run.index) >= COLORS);
}

const collator = new Intl.Collator("en", { numeric: true });

function compareValues(one, other, descending) {
  if (one === null || other === null) return (one === null) - (other === null);
  const order = isNumber(one) && isNumber(other)
    ? one - other
    : collator.compare(String(one), String(other));
  return descending ? -order : order;
}

const bestFirst = () => [...runs].sort((one, other) => compareValues(one.values.top1, other.values.top1, true)
  || compareValues(one.values.val_loss, other.values.val_loss, false));
