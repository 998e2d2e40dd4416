// One line at the bottom, which is read aloud and goes away.

let timer = 0;

export function toast(text, bad = false) {
  const line = document.getElementById("toast");
  line.textContent = text;
  line.className = bad ? "shown bad" : "shown";
  clearTimeout(timer);
  timer = setTimeout(() => (line.className = ""), bad ? 8000 : 2500);
}

// An element with text; whatever comes from files is only ever text.
export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") element.textContent = value;
    else if (name === "click") element.addEventListener("click", value);
    else if (name.startsWith("aria-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}
