// ---- making elements ------------------------------------------------------------------------------------------------
const element = (space, tag, attributes, children) => {
  const node = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const html = (tag, attributes = {}, ...children) => element(null, tag, attributes, children);
const svg = (tag, attributes = {}, ...children) => element("http://www.w3.org/2000/svg", tag, attributes, children);
const card = (title, text, ...children) =>
  html("section", {}, html("h2", {}, title), html("p", {class: "soft"}, text), ...children);

const number = (n) => n.toLocaleString("en");
const bits = (n) => n.toFixed(3);
const seconds = (s) => s < 100 ? s.toFixed(1) + " s" : Math.floor(s / 60) + " min " + Math.round(s % 60) + " s";
