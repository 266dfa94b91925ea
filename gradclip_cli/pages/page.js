// What all other scripts use, and buttons that copy.
const make = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
const chooser = (name, options, chosen, listener) => {
  const list = make("select", {}, ...options.map(([value, text]) => make("option", {value, textContent: text})));
  list.value = chosen;
  list.addEventListener("change", () => listener(list.value));
  return make("label", {}, `${name} `, list);
};
for (const part of document.querySelectorAll("details.copy")) {
  const text = part.querySelector("code");
  const button = make("button", {type: "button", textContent: "Copy"});
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);  // for Ctrl-C, where the browser keeps its clipboard from pages
      button.textContent = "Selected";
    }
  });
  part.insertBefore(button, part.querySelector("pre"));
}
const reveal = () => {  // for browsers that leave a part closed to which a link leads
  const closed = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details");
  if (closed) closed.open = true;
};
addEventListener("hashchange", reveal);
reveal();
