// Elements from values. Text only ever becomes text: nothing here parses HTML, so no name of a model, no error and no
// answer can bring an element along.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** h("td", {class: "number", on: {click}}, "text", element, null, [more]) */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (key === "css") for (const [rule, setting] of Object.entries(value)) element.style.setProperty(rule, setting);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function fill(target, ...children) {
  target.replaceChildren(...children.flat(Infinity).filter(Boolean));
  return target;
}

/** columns: [{title, number?, wide?}], rows: [[cell, …]]; a cell is text or an element. */
export function table(caption, columns, rows, rowProperties = () => ({})) {
  const kind = (column) => [column.number && "number", column.wide && "wide", column.name && "name"].filter(Boolean).join(" ") || null;
  const head = columns.map((column) => h("th", { scope: "col", class: kind(column) }, column.title));
  const body = rows.map((cells, row) =>
    h("tr", rowProperties(row), cells.map((cell, at) => h("td", { class: kind(columns[at]) }, cell))));
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", {}, h("caption", { class: "quiet" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

export const empty = (title, ...advice) => h("div", { class: "empty" }, h("b", {}, title), advice.length ? h("span", {}, advice) : null);
/** Our own sentences set names in backticks: as code. */
export const sentence = (text) => String(text).split("`").map((part, at) => (at % 2 ? code(part) : part));
export const code = (text) => h("code", {}, text);
export const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text);

/** parts: [[share of the whole, kind]] */
export const bar = (parts, label) =>
  h("div", { class: "bar", role: "img", "aria-label": label },
    parts.map(([share, kind]) => h("i", { class: kind, css: { width: `${Math.max(0, Math.min(1, share)) * 100}%` } })));

export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
