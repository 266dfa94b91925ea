// Each figure is drawn once it is near what can be seen, one after the other; until then its picture stands there.
const startPairs = (drawn) => {
  fillPairs(drawn, currentLook());
  opensTwins(drawn);
  document.addEventListener("look", ({detail}) => fillPairs(drawn, detail));
};
const drawing = new Map(live.figures.map((figure) => [figure.place, async () => {
  const drawn = await drawFigure(figure);
  if (drawn && figure.place === "pairs") startPairs(drawn);
}]));
live.steps?.runs.forEach((_, number) => drawing.set(`steps-${number}`, () => stepsViewer(live.steps, number)));
let drawn = Promise.resolve();
const nearby = new IntersectionObserver((entries) => {
  for (const {target} of entries.filter(({isIntersecting}) => isIntersecting)) {
    nearby.unobserve(target);
    drawn = drawn.then(drawing.get(target.id)).catch(console.error).then(() => target.classList.remove("awaits"));
  }
  drawn = drawn.then(() => document.documentElement.dataset.live = "ready");
}, {rootMargin: "50% 0px"});
for (const [part, place] of [["differences", "pairs"], ["curves", "panel-0"]]) {
  if (drawing.has(place)) legend(document.querySelector(`#${part} h2`), live.arms, switchArm);
}
if (live.twins) document.addEventListener("twins", drawTwins());
for (const place of drawing.keys()) {
  const target = document.getElementById(place);
  if (!target) continue;
  target.classList.add("awaits");
  nearby.observe(target);
}
