// Starts the page.

const root = document.documentElement;
const darkSystem = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme || (darkSystem.matches ? "dark" : "light")) === "dark";

function showTheme() {
  byId("theme").setAttribute("aria-pressed", String(isDark()));
}

function remember(theme) {
  try { localStorage.setItem("rednet-theme", theme); } catch { /* a browser may forbid it */ }
}

function startTheme() {
  try {
    const theme = localStorage.getItem("rednet-theme");
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  } catch { /* a browser may forbid it */ }
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    showTheme();
  });
  darkSystem.addEventListener("change", showTheme);
  showTheme();
}

let hasCurves = false;

function draw() {
  drawTable();
  if (hasCurves) drawCurves();
  drawTradeoff();
  drawSettings();
  drawConfusions();
  drawMistakes();
  if (isFull) byId("count").textContent += `; no more than ${MAX_CHOSEN} have colours`;
  isFull = false;
}

startTheme();
listeners.push(draw);
if (!tableColumns.some((column) => column.key === "top1")) state.sort = { key: "name", descending: false };
for (const run of bestFirst().filter((each) => each.epochs).slice(0, 6)) choose(run);
drawColumnMenu();
state.shown = findRuns();
startCurves();
startTradeoff();
startSettings();
draw();
afterPaint(() => { hasCurves = true; drawCurves(); watchCharts(); });
byId("search").addEventListener("input", (event) => { state.query = event.target.value; changed(); });
for (const button of document.querySelectorAll("[data-select]")) {
  button.addEventListener("click", () => chooseMany(button.dataset.select));
}
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, select, textarea") || byId("details").open;
  if (event.key === "/" && !isTyping) { event.preventDefault(); byId("search").focus(); }
});
