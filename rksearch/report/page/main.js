// Starts everything: views draw in this order, now, after a change, and when the window changes.

recall();
startChips();
startSwitches();
views.push(drawChart);
startPointer();
startKeyboard();
edfChart();
parallelChart();
curvesChart();
allTable();
select();
for (const view of views) view();
startLadder();
startCards();
startRemembering();

let resizing = 0;
let width = innerWidth;
const redraw = () => {
  forgetSizes();
  for (const view of views) view();
};
addEventListener("resize", () => {
  if (innerWidth === width) return; // a phone's address bar comes and goes
  width = innerWidth;
  clearTimeout(resizing);
  resizing = setTimeout(redraw, 60);
});
// Canvases hold pixels, not CSS colours. The zoom is part of the state and stays.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
matchMedia("print").addEventListener("change", redraw);

for (const scroller of document.querySelectorAll(".scroll")) cueMore(scroller);
document.documentElement.classList.add("scripted");
