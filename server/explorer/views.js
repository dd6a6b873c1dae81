// The sections about the run.

import { entryLink, facts, h, paged, plural, section, short, table, visible, visibleLines } from "./dom.js";
import { accepted, isRegression, score, scoreText } from "./run.js";

const STRIP = 40; // rounds in a participant's row

export function agreementSection({ opening }) {
  if (!opening) return section("agreement", "Agreement", h("p", { class: "quiet" }, "Entry 0 cannot be read."));
  const { agreement: a } = opening;
  const proof =
    a.proof.kind === "none"
      ? "none"
      : a.proof.rate < 1
        ? `${visible(a.proof.kind)}, ${100 * a.proof.rate} % of the updates, chosen afterwards`
        : `${visible(a.proof.kind)}, every update`;
  const terms = [
    ["Data", a.data.description],
    ["Terms", a.data.terms],
  ].filter(([, text]) => text);
  return section(
    "agreement",
    "Agreement",
    facts([
      ["model", `${a.model.layers.join("–")}, ${visible(a.training.loss)}`],
      ["training", `${plural(a.training["local-steps"], "step")} of ${a.training.batch} samples, rate ${a.training["learning-rate"]}`],
      ["rounds", `${a.rounds.count}, with ${plural(a.rounds.participants, "participant")} each`],
      ["aggregation", visible(a.aggregation.optimizer)],
      ["proof", proof],
      ["privacy", visible(a.privacy.mode)],
    ]),
    terms.map(([title, text]) => h("details", {}, h("summary", {}, title), h("p", { class: "prose" }, visibleLines(text)))),
    h("p", {}, entryLink(0, "The whole agreement")),
  );
}

export function roundsSection(run) {
  if (!run.rounds.length) return section("rounds", "Rounds", h("p", { class: "quiet" }, "No round is over yet."));
  const regression = isRegression(run);
  const columns = [
    ["Round", ""],
    [regression ? "Error" : "Accuracy", "num"],
    ["Accepted", "num"],
    ["Participants", "num"],
    ["Model", ""],
    ["Entry", ""],
  ];
  const row = ({ entry, index }) => [
    String(entry.round),
    scoreText(score(entry, run.opening), regression),
    String(accepted(entry)),
    String(entry.verdicts.length),
    short(entry["model-after"].digest),
    entryLink(index),
  ];
  return section(
    "rounds",
    "Rounds",
    paged(run.rounds, (rounds) => table("Rounds", columns, rounds.map(row))),
  );
}

export function participantsSection(run, texts) {
  if (!run.clients.length) return section("participants", "Participants", h("p", { class: "quiet" }, "Nobody is enrolled yet."));
  const columns = [
    ["Client", ""],
    ["Key", ""],
    ["Samples", "num"],
    ["Accepted", "num"],
    [run.rounds.length > STRIP ? `Last ${STRIP} rounds` : "By round", ""],
    ["Enrolment", ""],
  ];
  const row = (client) => {
    const verdicts = [...client.verdicts];
    const good = verdicts.filter(([, reason]) => reason === "accepted").length;
    return [
      String(client.number),
      [short(client.key), client.left && h("div", { class: "quiet" }, leftText(client.left))],
      client.samples.toLocaleString("en"),
      `${good} of ${verdicts.length}`,
      strip(run, client, texts),
      entryLink(client.index),
    ];
  };
  return section(
    "participants",
    "Participants",
    paged(run.clients, (clients) => table("Participants", columns, clients.map(row))),
  );
}

const leftText = ({ round, reason }) =>
  reason === null ? `withdrew after round ${round}` : `revoked by the operator after round ${round}: ${visible(reason)}`;

// One mark for each of the last rounds: accepted, not accepted, not chosen.
function strip(run, client, texts) {
  const last = run.rounds.slice(-STRIP).map(({ entry }) => entry.round);
  const marks = last.map((round) => {
    const reason = client.verdicts.get(round);
    if (reason === undefined) return h("li", { class: "mark-none", title: `round ${round}: not chosen` });
    const said = `round ${round}: ${visible(reason)}, ${explain(reason, texts)}`;
    return h("li", { class: reason === "accepted" ? "mark-good" : "mark-bad", title: said }, h("span", { class: "unseen" }, said));
  });
  return h("ul", { class: "strip" }, marks);
}

const explain = (reason, texts) => (Object.hasOwn(texts, reason) ? texts[reason] : "a reason that this page does not know");

export function verdictsSection(run, texts) {
  const counts = new Map();
  const rejected = [];
  for (const { entry, index } of run.rounds) {
    for (const { client, reason } of entry.verdicts) {
      counts.set(reason, (counts.get(reason) ?? 0) + 1);
      if (reason !== "accepted")
        rejected.push([
          String(entry.round),
          `${client}`,
          run.clients[client] ? short(run.clients[client].key) : "—",
          h("span", { class: "bad" }, visible(reason)),
          explain(reason, texts),
          entryLink(index),
        ]);
    }
  }
  if (!counts.size) return section("verdicts", "Verdicts", h("p", { class: "quiet" }, "There are no verdicts yet."));
  const sorted = [...counts].sort(([a], [b]) => (b === "accepted") - (a === "accepted") || (a < b ? -1 : 1));
  const summary = table(
    "Verdicts by reason",
    [
      ["Verdict", ""],
      ["Number", "num"],
      ["Meaning", ""],
    ],
    sorted.map(([reason, count]) => [
      h("span", { class: reason === "accepted" ? "good" : "bad" }, visible(reason)),
      String(count),
      explain(reason, texts),
    ]),
  );
  const columns = [
    ["Round", ""],
    ["Client", "num"],
    ["Key", ""],
    ["Verdict", ""],
    ["Reason", ""],
    ["Entry", ""],
  ];
  const list = rejected.length
    ? [h("h3", {}, "Updates that were not accepted"), paged(rejected, (rows) => table("Updates that were not accepted", columns, rows))]
    : [h("p", { class: "quiet" }, "Every update was accepted.")];
  return section("verdicts", "Verdicts", summary, list);
}

export function proofsSection(run) {
  const kind = run.opening?.agreement.proof.kind;
  const rate = run.opening?.agreement.proof.rate ?? 1;
  const text = {
    none: "The agreement asks for no proof of training: updates are committed to and signed only.",
    training:
      rate < 1
        ? "When all contributions of a round stand in the ledger, a second beacon chooses which of them must be proved."
        : "Every update that was accepted came with a zero-knowledge proof that it is exactly the agreed training on the enrolled data.",
  };
  const asked = run.rounds.filter(({ fixed }) => fixed);
  const columns = [
    ["Round", ""],
    ["Contributions", "num"],
    ["Proofs", "num"],
    ["Withheld", "num"],
    ["Contributions", ""],
    ["Verdicts", ""],
  ];
  const row = ({ entry, index, fixed }) => [
    String(entry.round),
    String(fixed.entry.contributions.length),
    String(entry.verdicts.filter(({ proof }) => proof).length),
    String(entry.withheld.length),
    entryLink(fixed.index),
    entryLink(index),
  ];
  const enrolled = run.clients.reduce((bytes, { proof }) => bytes + proof.size, 0);
  return section(
    "proofs",
    "Proofs",
    h("p", {}, (Object.hasOwn(text, kind) && text[kind]) || "The agreement names a kind of proof that this page does not know."),
    asked.length ? paged(asked, (rounds) => table("Proofs by round", columns, rounds.map(row))) : null,
    run.clients.length
      ? h(
          "p",
          {},
          `${plural(run.clients.length, "client")} enrolled with proofs about their data, ${enrolled.toLocaleString("en")} bytes together.`,
        )
      : null,
    h("p", { class: "quiet" }, "Proofs are not verified by this page; an audit verifies all of them."),
  );
}

export function modelsSection({ opening, rounds, closing }) {
  const first = opening ? [["first", short(opening.model.digest), `${opening.model.size.toLocaleString("en")} bytes`, entryLink(0)]] : [];
  const rows = rounds.map(({ entry, index }) => [
    `round ${entry.round}`,
    short(entry["model-after"].digest),
    `${entry["model-after"].size.toLocaleString("en")} bytes`,
    entryLink(index),
  ]);
  const end = closing
    ? `The run is over: ${visible(closing.entry.outcome)} after ${plural(closing.entry.rounds, "round")}. `
    : "The run is not closed yet.";
  return section(
    "models",
    "Models",
    paged([...first, ...rows], (some) =>
      table(
        "Models",
        [
          ["Model", ""],
          ["Digest", ""],
          ["Size", "num"],
          ["Entry", ""],
        ],
        some,
      ),
    ),
    h("p", {}, end, closing ? entryLink(closing.index, "The closing entry") : null),
  );
}

// What each client earned and lost, in the smallest unit of the agreed currency.
export function settlementsSection({ settlements }) {
  const columns = [
    ["Epoch", ""],
    ["Rounds", ""],
    ["Client", "num"],
    ["Score", "num"],
    ["Standard error", "num"],
    ["Contribution", "num"],
    ["Licence", "num"],
    ["Penalty", "num"],
    ["Because of", ""],
    ["Entry", ""],
  ];
  const rows = settlements.flatMap(({ entry, index }) =>
    entry.clients.map((line) => [
      String(entry.epoch),
      `${entry.first} to ${entry.last}`,
      String(line.client),
      line.score.toLocaleString("en"),
      line.error.toLocaleString("en"),
      line.contribution,
      line.licence,
      line.penalty,
      line.reasons.map(visible).join(", ") || "—",
      entryLink(index),
    ]),
  );
  return section(
    "settlements",
    "Settlements",
    paged(rows, (some) => table("Settlements", columns, some)),
    h("p", { class: "quiet" }, "Scores are not recomputed by this page; an audit that holds the evaluation set does that."),
  );
}
