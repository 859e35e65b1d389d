// What overflows says so at its edge, now and as it scrolls.

const cueMore = (scroller) => {
  const cue = () => scroller.classList.toggle("more", scroller.scrollLeft + scroller.clientWidth < scroller.scrollWidth - 2);
  scroller.addEventListener("scroll", cue, { passive: true });
  addEventListener("resize", cue);
  cue();
};
