// What overflows says so at its edge, now, as it scrolls and as it changes its size.

const cueMore = (scroller) => {
  const cue = () => scroller.classList.toggle("more", scroller.scrollLeft + scroller.clientWidth < scroller.scrollWidth - 2);
  scroller.addEventListener("scroll", cue, { passive: true });
  const observer = new ResizeObserver(cue);
  for (const element of [scroller, ...scroller.children]) observer.observe(element);
};
