// Building the page. What the ledger says goes in as text, never as markup, and characters that do not show are made to.

const SVG = "http://www.w3.org/2000/svg";
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]/gu;

// Control characters, and those that turn or hide text, as \u{…}.
export const visible = (text) => String(text).replace(UNSEEN, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);

// The same over several lines.
export const visibleLines = (text) => String(text).split("\n").map(visible).join("\n");

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A digest or a key: its beginning, all of it for whoever hovers, copies or reads the entry.
export const short = (digits) => h("code", { title: visible(digits) }, visible(digits).slice(0, 12));

export const entryLink = (index, text = `entry ${index}`) => h("a", { href: `#entry-${index}` }, text);

// Rows are arrays of cells; a cell is text, an element or an array of them. Columns marked "num" are numbers.
export function table(caption, columns, rows) {
  const head = columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title));
  const body = rows.map((cells) =>
    h(
      "tr",
      {},
      cells.map((cell, i) => h(i ? "td" : "th", { scope: i ? null : "row", class: columns[i][1], "data-label": columns[i][0] }, cell)),
    ),
  );
  return h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
}

const PAGE = 100;

// A long list a piece at a time: `build` makes an element of items, and is called again with more of them.
export function paged(items, build) {
  const box = h("div", {});
  const show = (count) => {
    const more = h("button", { type: "button", onclick: () => show(count + 5 * PAGE) }, `Show more (${items.length - count} left)`);
    box.replaceChildren(build(items.slice(0, count)), ...(count < items.length ? [more] : []));
  };
  show(PAGE);
  return box;
}

export function facts(pairs) {
  return h(
    "dl",
    {},
    pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

export function section(id, title, ...children) {
  return h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), children);
}

export const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : word.endsWith("s") ? "es" : "s"}`;
