// All entries, each with its JSON, its hash and the path from it to the root; and the search among them.

import { base64, hex } from "./bytes.js";
import { h, paged, section, short, visible, visibleLines } from "./dom.js";
import { inclusionPath, verifyInclusion } from "./merkle.js";
import { accepted } from "./run.js";

const MOST_HITS = 200;

export function title(decoded) {
  const { entry, error } = decoded;
  if (error) return `cannot be read: ${error}`;
  if (entry.kind === "agreement") return visible(entry.agreement.federation.name);
  if (entry.kind === "enrolment") return ["client ", short(entry.enrolment.statement.client)];
  if (entry.kind === "commitments") return `${entry.round}: ${entry.contributions.length} contributions`;
  if (entry.kind === "round") {
    const changed = entry.changes ? `, ${entry.changes.map(({ change, client }) => `${change} of client ${client}`).join(", ")}` : "";
    return `${entry.round}: ${accepted(entry)} of ${entry.verdicts.length} accepted${visible(changed)}`;
  }
  if (entry.kind === "settlement") return `${entry.epoch}: rounds ${entry.first} to ${entry.last}, ${entry.clients.length} clients`;
  return `${visible(entry.outcome)} after ${entry.rounds} rounds`;
}

export function entriesSection(result) {
  const wrong = new Set(result.checks.flatMap(({ findings }) => findings.map(({ entry }) => entry)));
  const items = result.decoded.map((decoded, index) => ({ decoded, index }));
  const build = (some) =>
    h(
      "ol",
      { class: "entries", start: "0" },
      some.map(({ decoded, index }) => h("li", {}, entry(result, decoded, index, wrong.has(index)))),
    );
  return section("entries", "Entries", paged(items, build));
}

function entry(result, decoded, index, wrong) {
  const body = h("div", { class: "body" });
  const open = (event) => event.target.open && !body.childElementCount && body.replaceChildren(...contents(result, decoded, index));
  const head = [
    h("span", { class: "index" }, String(index)),
    h("span", { class: "kind" }, visible(decoded.entry?.kind ?? "entry")),
    h("span", {}, title(decoded)),
    wrong ? h("span", { class: "bad" }, "✗ false") : null,
  ];
  return h("details", { id: `entry-${index}`, class: wrong ? "wrong" : null, ontoggle: open }, h("summary", {}, head), body);
}

function contents(result, decoded, index) {
  const json = decoded.json === null ? hex(result.bytes[index]) : JSON.stringify(decoded.json, null, 2);
  const path = h("dd", {}, "computing");
  showPath(result, index, path);
  return [
    h(
      "dl",
      {},
      h("div", {}, h("dt", {}, "leaf hash"), h("dd", {}, h("code", { class: "whole" }, hex(result.leaves[index])))),
      h("div", {}, h("dt", {}, "inclusion"), path),
    ),
    h("pre", { tabindex: "0", "aria-label": `entry ${index}` }, visibleLines(json)),
  ];
}

async function showPath({ leaves, levels, note }, index, place) {
  const path = await inclusionPath(levels, index, note.size);
  const holds = await verifyInclusion(leaves[index], index, note.size, path, note.root);
  const said = holds ? `✓ ${path.length} hashes lead from it to the root` : "✗ its hashes lead to another root than the checkpoint's";
  place.replaceChildren(
    h("span", { class: holds ? "good" : "bad" }, said),
    h("details", {}, h("summary", {}, "The hashes"), h("pre", {}, path.map(base64).join("\n"))),
  );
}

// The entry of an address like #entry-4, shown even where the list has not come to it.
export function openEntry(result, main) {
  const match = /^#entry-([0-9]{1,9})$/.exec(location.hash);
  const index = match ? Number(match[1]) : -1;
  if (index < 0 || index >= result.decoded.length) return;
  while (!document.getElementById(`entry-${index}`)) {
    const more = main.querySelector("#entries button");
    if (!more) return;
    more.click();
  }
  const found = document.getElementById(`entry-${index}`);
  found.open = true;
  found.scrollIntoView({ block: "start" });
  found.querySelector("summary").focus({ preventScroll: true });
}

// Positions of the entries that a search finds: a round's number, a client's key or number, any digest or word.
export function find(result, run, query) {
  const wanted = query.trim().toLowerCase();
  const round = /^(?:round )?([0-9]+)$/.exec(wanted);
  const clients = new Set(
    run.clients
      .filter(({ key, number }) => (wanted.length >= 4 && key.startsWith(wanted)) || wanted === `client ${number}`)
      .map(({ number }) => number),
  );
  const hits = [];
  result.decoded.forEach(({ entry: found, json }, index) => {
    const mentions = (items) => items?.some(({ client }) => clients.has(client)) ?? false;
    const enrols = found?.kind === "enrolment" && run.clients.some((client) => client.index === index && clients.has(client.number));
    const isRound = round !== null && found?.round === Number(round[1]);
    const holds = wanted.length >= 4 && round === null && JSON.stringify(json).toLowerCase().includes(wanted);
    if (isRound || enrols || holds || mentions(found?.verdicts) || mentions(found?.contributions) || mentions(found?.clients) || hex(result.leaves[index]) === wanted)
      hits.push(index);
  });
  return hits;
}

export function searchResults(result, run, query) {
  if (!query.trim()) return [];
  const hits = find(result, run, query);
  const links = hits
    .slice(0, MOST_HITS)
    .map((index) =>
      h(
        "li",
        {},
        h("a", { href: `#entry-${index}` }, `entry ${index}`),
        " ",
        visible(result.decoded[index].entry?.kind ?? ""),
        " ",
        title(result.decoded[index]),
      ),
    );
  const head = hits.length
    ? `${hits.length} ${hits.length === 1 ? "entry" : "entries"} found`
    : "Nothing found: search by a round's number, the beginning of a client's key, or a digest.";
  return [h("p", {}, hits.length > MOST_HITS ? `${head}, the first ${MOST_HITS} of them:` : head), h("ul", {}, links)];
}
