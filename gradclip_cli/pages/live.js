// Figures drawn by Bokeh, and the legends that switch their arms.
const live = read("live");
const FEW = 8;  // of more arms, all can be switched at once
const partsOf = (drawn) => drawn.roots().flatMap((root) => root.renderers ? [root] : root.children);
const embedded = async (item, box) => {
  const named = JSON.stringify(item).replaceAll(`"${item.target_id}-`, `"${box.id}-`);  // one figure may be drawn twice
  await Bokeh.embed.embed_item({...JSON.parse(named), target_id: box.id});
  return Bokeh.documents.at(-1);
};
const boxFor = (id, title) => {
  const box = make("div", {id, className: "live"});
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", title);
  return box;
};
const shared = ".legend:not(.own)";  // whose arms are those of all figures that have no legend of their own
const withLegend = new Set();
const hiddenArms = () => [...document.querySelectorAll(`${shared} button[aria-pressed=false]`)].map(({value}) => value);
const drawFigure = async ({place, title, item, arms}) => {
  const figure = document.getElementById(place);
  const heading = make("p", {className: "live-title", textContent: title});
  const box = boxFor(item.target_id, title);
  figure.prepend(heading, box);
  try {
    const drawn = await embedded(item, box);
    figure.classList.add("is-live");  // whose picture gives way
    if (arms) ownLegend(drawn, heading, arms);
    else for (const arm of hiddenArms()) switchArm(arm, false);
    return drawn;
  } catch (error) {
    heading.remove();
    box.remove();  // the picture stays
    console.error(error);
  }
};
const switchIn = (documents, legends, arm, visible) => {
  for (const part of documents.flatMap(partsOf)) {
    const [own, others] = [true, false].map((isOwn) => part.renderers.filter(({name}) => (name === arm) === isOwn));
    part.y_range.only_visible = visible || others.some((drawn) => drawn.visible);  // of nothing there is no range
    for (const drawn of own) drawn.visible = visible;
  }
  for (const button of legends.flatMap((each) => [...each.querySelectorAll("button")])) {
    if (button.value === arm) button.setAttribute("aria-pressed", visible);
  }
};
const switchArm = (arm, visible) => {
  const others = Bokeh.documents.filter((drawn) => !withLegend.has(drawn));
  switchIn(others, [...document.querySelectorAll(shared)], arm, visible);
};
const legend = (heading, arms, switched) => {
  const group = make("div", {className: "legend"});
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Arms that are shown");
  for (const {name, colour} of arms) {
    const swatch = make("span", {className: "swatch"});
    swatch.style.background = colour;
    const button = make("button", {type: "button", value: name}, swatch, name);
    button.setAttribute("aria-pressed", true);
    button.addEventListener("click", () => switched(name, button.getAttribute("aria-pressed") !== "true"));
    group.append(button);
  }
  if (arms.length > FEW) {
    for (const [text, visible] of [["All", true], ["None", false]]) {
      const button = make("button", {type: "button", textContent: text});
      button.addEventListener("click", () => arms.forEach(({name}) => switched(name, visible)));
      group.prepend(button);
    }
  }
  heading.after(group);
  return group;
};
const ownLegend = (drawn, heading, arms) => {
  withLegend.add(drawn);
  if (arms.length < 2) return;  // one is named where the figure stands
  const group = legend(heading, arms, (arm, visible) => switchIn([drawn], [group], arm, visible));
  group.classList.add("own");
};
