// The page of a comparison: marks say at once what they are, a side can be hidden, one cost is shown at a time.

const root = document.getElementById("figures");
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

const show = (mark) => {
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  const at = mark.getBoundingClientRect();
  const left = Math.min(at.right + 12, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + scrollX}px`;
  tip.style.top = `${at.top + scrollY - tip.offsetHeight - 6}px`;
};
const hide = () => { tip.hidden = true; };

// The browser's own hover would come late and beside ours: the title becomes the name.
for (const mark of root.querySelectorAll("path.mark:has(> title)")) {
  const title = mark.querySelector("title");
  mark.setAttribute("aria-label", title.textContent);
  mark.setAttribute("role", "img");
  mark.setAttribute("tabindex", "0");
  title.remove();
  mark.addEventListener("pointerenter", () => show(mark));
  mark.addEventListener("pointerleave", hide);
  mark.addEventListener("focus", () => show(mark));
  mark.addEventListener("blur", hide);
}

const redraw = () => {
  const cost = document.querySelector('#compare-switches input[name="cost"]:checked').value;
  for (const figure of root.querySelectorAll("figure")) figure.hidden = figure.id !== `figure-comparison_${cost}`;
  for (const box of document.querySelectorAll('#compare-switches input[name="side"]')) {
    for (const part of root.querySelectorAll(".figure [data-group]")) {
      if (part.dataset.group === box.value) part.style.visibility = box.checked ? "" : "hidden";
    }
  }
};
document.getElementById("compare-switches").addEventListener("change", () => { hide(); redraw(); });
addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
redraw();
for (const scroller of document.querySelectorAll(".scroll")) cueMore(scroller);
