// The page: reads the ledger, verifies it, shows it; where it is served, looks again until the run is closed.

import { sameBytes } from "./bytes.js";
import { banner, checked, verdict } from "./banner.js";
import { curve } from "./curve.js";
import { h, plural, visible } from "./dom.js";
import { entriesSection, openEntry, searchResults } from "./entries_view.js";
import { runOf } from "./run.js";
import { openSource } from "./source.js";
import { verify } from "./verify.js";
import {
  agreementSection,
  modelsSection,
  participantsSection,
  proofsSection,
  roundsSection,
  settlementsSection,
  verdictsSection,
} from "./views.js";

const AGAIN = 10_000; // milliseconds
const MENU = ["checks", "curve", "rounds", "participants", "verdicts", "proofs", "models", "settlements", "agreement", "entries"];

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const texts = read("texts");
const source = openSource(read("ledger"));
const status = document.getElementById("status");
const main = document.getElementById("content");

async function show() {
  try {
    const result = await verify(
      source,
      (doing) => main.childElementCount || status.replaceChildren(banner("checking", "Checking", h("p", {}, `${doing} …`))),
    );
    render(result);
    return result;
  } catch (error) {
    status.replaceChildren(banner("unreadable", "Nothing to verify", h("p", {}, visible(error.message))));
    main.replaceChildren();
    return null;
  }
}

function render(result) {
  const run = runOf(result.decoded);
  const name = run.opening ? visible(run.opening.agreement.federation.name) : "A ledger";
  const state = run.closing ? visible(run.closing.entry.outcome) : "running";
  document.title = `${name} · Lunaria ledger`;
  document.getElementById("name").textContent = name;
  document
    .getElementById("facts")
    .replaceChildren(
      `${plural(run.clients.length, "client")} · ${plural(run.rounds.length, "round")} · ${state}`,
      h("br"),
      h("code", { class: "whole" }, visible(result.note.origin)),
    );
  status.replaceChildren(verdict(result));
  const sections = [
    checked(result, source.served),
    curve(run),
    roundsSection(run),
    participantsSection(run, texts.verdicts),
    verdictsSection(run, texts.verdicts),
    proofsSection(run),
    modelsSection(run),
    ...(run.settlements.length ? [settlementsSection(run)] : []),
    agreementSection(run),
    entriesSection(result),
  ];
  const first = !main.childElementCount;
  const kept = place();
  main.replaceChildren(...sections);
  menu();
  search(result, run);
  window.onhashchange = () => openEntry(result, main);
  if (first) openEntry(result, main);
  else kept();
}

// Whoever reads an entry goes on reading it when the ledger has grown: returns what opens and focuses it again.
function place() {
  const open = [...main.querySelectorAll("details[id][open]")].map(({ id }) => id);
  const focus = main.contains(document.activeElement) ? document.activeElement : null;
  const known = document.getElementById("known-key")?.value ?? "";
  return () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    const field = document.getElementById("known-key");
    field.value = known;
    field.dispatchEvent(new Event("input"));
    const again = focus?.id
      ? document.getElementById(focus.id)
      : document.getElementById(focus?.parentElement?.id)?.querySelector("summary");
    again?.focus({ preventScroll: true });
  };
}

function menu() {
  const links = MENU.filter((id) => document.getElementById(id)).map((id) =>
    h("li", {}, h("a", { href: `#${id}` }, id === "checks" ? "Verification" : document.getElementById(`${id}-title`).textContent)),
  );
  document.getElementById("menu").replaceChildren(...links);
}

function search(result, run) {
  const field = document.getElementById("query");
  const hits = document.getElementById("hits");
  const look = () => hits.replaceChildren(...searchResults(result, run, field.value));
  field.oninput = look;
  field.form.onsubmit = (event) => {
    event.preventDefault();
    look();
  };
  look();
}

// A page that somebody is reading is not pulled away: only a new checkpoint makes it look again.
async function follow(last) {
  const closed = last?.decoded.some(({ entry }) => entry?.kind === "closing");
  if (!source.served || (closed && !last.failed)) return;
  setTimeout(async () => {
    const now = document.hidden ? null : await source.checkpoint().catch(() => null);
    follow(now && !(last && sameBytes(now, last.note.bytes)) ? await show() : last);
  }, AGAIN);
}

follow(await show());
