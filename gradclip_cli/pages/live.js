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
const hiddenArms = () => [...document.querySelectorAll(".legend button[aria-pressed=false]")].map(({value}) => value);
const drawFigure = async ({place, title, item}) => {
  const figure = document.getElementById(place);
  const heading = make("p", {className: "live-title", textContent: title});
  const box = boxFor(item.target_id, title);
  figure.prepend(heading, box);
  try {
    const drawn = await embedded(item, box);
    figure.classList.add("is-live");  // whose picture gives way
    for (const arm of hiddenArms()) switchArm(arm, false);
    return drawn;
  } catch (error) {
    heading.remove();
    box.remove();  // the picture stays
    console.error(error);
  }
};
const switchArm = (arm, visible) => {
  for (const part of Bokeh.documents.flatMap(partsOf)) {
    const [own, others] = [true, false].map((isOwn) => part.renderers.filter(({name}) => (name === arm) === isOwn));
    part.y_range.only_visible = visible || others.some((drawn) => drawn.visible);  // of nothing there is no range
    for (const drawn of own) drawn.visible = visible;
  }
  for (const button of document.querySelectorAll(".legend button")) {
    if (button.value === arm) button.setAttribute("aria-pressed", visible);
  }
};
const legend = (heading) => {
  const group = make("div", {className: "legend"});
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Arms that are shown");
  for (const {name, colour} of live.arms) {
    const swatch = make("span", {className: "swatch"});
    swatch.style.background = colour;
    const button = make("button", {type: "button", value: name}, swatch, name);
    button.setAttribute("aria-pressed", true);
    button.addEventListener("click", () => switchArm(name, button.getAttribute("aria-pressed") !== "true"));
    group.append(button);
  }
  if (live.arms.length > FEW) {
    for (const [text, visible] of [["All", true], ["None", false]]) {
      const button = make("button", {type: "button", textContent: text});
      button.addEventListener("click", () => live.arms.forEach(({name}) => switchArm(name, visible)));
      group.prepend(button);
    }
  }
  heading.after(group);
};
