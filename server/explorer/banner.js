// The verdict: what this page verified, what it found, and what it only displays.

import { hex } from "./bytes.js";
import { entryLink, facts, h, plural, section, short, visible, visibleLines } from "./dom.js";

const MARK = { passed: "✓", failed: "✗", "not checked": "?", "nothing to check": "–" };
const SHOWN = 50;

export function banner(state, title, ...children) {
  return h(
    "div",
    { class: `banner ${state}`, id: "verdict", "data-state": state, tabindex: "-1" },
    h("p", { class: "verdict" }, title),
    children,
  );
}

export function verdict(result) {
  const { checks, note, failed } = result;
  const open = checks.filter(({ outcome }) => outcome === "not checked");
  const root = ["root ", short(hex(note.root))];
  if (failed) {
    const findings = checks.flatMap(({ findings: found }) => found);
    return banner(
      "failed",
      "Not verified",
      h("p", {}, `${plural(findings.length, "thing")} in this ledger ${findings.length === 1 ? "is" : "are"} false:`),
      list(findings),
    );
  }
  if (open.length) {
    const why = h(
      "ul",
      {},
      open.map(({ title, unsupported }) => h("li", {}, `${title}: ${unsupported}`)),
    );
    return banner("partly", "Partly verified", h("p", {}, "Nothing false was found, but not everything could be checked here:"), why);
  }
  return banner(
    "verified",
    "Verified in this browser",
    h("p", {}, `${plural(note.size, "entry").replace("entrys", "entries")}, signed by the log, `, root),
  );
}

function list(findings) {
  const items = findings
    .slice(0, SHOWN)
    .map(({ entry, reason }) => h("li", {}, entry === null ? "" : [entryLink(entry), ": "], visible(reason)));
  return [h("ul", {}, items), findings.length > SHOWN ? h("p", {}, `and ${findings.length - SHOWN} more`) : null];
}

export function checked(result, served) {
  const items = result.checks.map((check) =>
    h(
      "li",
      { class: check.outcome.replaceAll(" ", "-") },
      h("span", { class: "mark", "aria-hidden": "true" }, MARK[check.outcome]),
      h(
        "div",
        {},
        h("b", {}, check.title),
        " ",
        h("span", { class: "outcome" }, check.outcome === "passed" ? `passed · ${check.made.toLocaleString("en")}` : check.outcome),
        h("p", {}, check.meaning, check.detail && `; ${check.detail}`),
      ),
    ),
  );
  return section(
    "checks",
    "What is verified, and what is shown",
    h(
      "div",
      { class: "halves" },
      h("div", {}, h("h3", {}, "Verified here, by this browser"), h("ul", { class: "checks" }, items)),
      shown(served),
    ),
    compare(result),
  );
}

function shown(served) {
  const items = [
    "the proofs of training and of enrolment, and that commitments open to updates",
    "verdicts and beacons: the server's judgement and draw, which an audit repeats",
    "aggregates and models: here they are digests",
    "test results, which are the server's word for everybody",
  ];
  const origin = served
    ? "This page came from the server whose ledger it checks. Whoever does not trust that server lets 'lunaria monitor' follow it, " +
      "or opens a page that 'lunaria explorer' made elsewhere."
    : "This file holds the checkpoint, the tree and the entries; it asks no server for anything.";
  return h(
    "div",
    {},
    h("h3", {}, "Only displayed"),
    h(
      "ul",
      {},
      items.map((item) => h("li", {}, item)),
    ),
    h("p", {}, "For these, run ", h("code", {}, "lunaria audit"), " on an export of the run."),
    h("p", { class: "quiet" }, origin),
  );
}

// The key in the ledger proves nothing to whoever does not know it: a field to compare it with the one they know.
function compare({ key, note, witnesses }) {
  const answer = h("output", { for: "known-key", class: "quiet" }, "");
  const check = (event) => {
    const known = event.target.value.trim();
    const same = key !== null && known === key.encoded;
    answer.textContent = !known
      ? ""
      : same
        ? "✓ It is the same key."
        : "✗ This is another key: the ledger is not of the log that you know.";
    answer.className = !known ? "quiet" : same ? "good" : "bad";
  };
  const field = h("input", { id: "known-key", type: "text", autocomplete: "off", spellcheck: "false", oninput: check });
  const said = witnesses.map(({ key: witness, outcome }) => [
    visible(witness.name),
    typeof outcome === "number" ? `cosigned ${when(outcome)}` : outcome,
  ]);
  return [
    h(
      "div",
      { class: "key" },
      h("p", {}, "All of this is about the log with this key. Compare it with the one that you know from elsewhere:"),
      h("p", {}, h("code", { class: "whole" }, key ? visible(key.encoded) : "none that can be read")),
      h("label", { for: "known-key" }, "The key that you know"),
      field,
      answer,
    ),
    said.length ? facts([["witnesses", ""], ...said]) : null,
    h("details", {}, h("summary", {}, "The signed checkpoint"), h("pre", {}, visibleLines(new TextDecoder().decode(note.bytes)))),
  ];
}

function when(seconds) {
  const date = new Date(1000 * seconds);
  return Number.isNaN(date.getTime()) ? `${seconds} seconds after 1970` : date.toISOString().replace("T", " ").replace(".000Z", " UTC");
}
