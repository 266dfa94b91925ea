"use strict";
for (const part of document.querySelectorAll("details.copy")) {
  const text = part.querySelector("code");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
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
