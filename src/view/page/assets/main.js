// Puts everything together.

for (const chart of data.charts) addChart(chart);
startTimeline();
startTable();

view.changed.push(() => {
  byId("range").textContent =
    view.from === view.least && view.to === view.most ? "" : `${moment(view.from)} to ${moment(view.to)}`;
});
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => ({
    in: () => view.zoom(0.5), out: () => view.zoom(2), left: () => view.shift(-0.5),
    right: () => view.shift(0.5), all: () => view.reset(),
  })[button.dataset.zoom]());
}

const repaint = () => { readColors(); schedule(); };
byId("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  repaint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
addEventListener("resize", schedule);
redraw();
if (location.hash === "#selftest") selftest();
if (location.hash === "#dark") { document.documentElement.dataset.theme = "dark"; readColors(); redraw(); }
// `page.html#show-3` opens at a finding, for links from elsewhere.
const shown = /^#show-(\d+)$/.exec(location.hash);
if (shown && findings[Number(shown[1])]) {
  showFinding(Number(shown[1]));
  byId("timeline").scrollIntoView();
}
