// What this page verifies by itself: the checkpoint, the tree under it, and the entries as far as they stand alone.

import { base64, hex, sameBytes, sha256, unbase64, unhex } from "./bytes.js";
import { canonical, decodeEntry, signedMessage } from "./entries.js";
import { inclusionPath, leafHash, rootOf, treeLevels, verifyInclusion } from "./merkle.js";
import { cosigned, ed25519, ed25519Works, parseKey, parseNote, sameRoot, signedByLog } from "./note.js";
import { readEntries, readTiles } from "./source.js";

const EVERY_PATH = 2048; // entries up to which each one's own path is checked, too
const RUNNING = ["enrolment", "round", "commitments", "settlement"];
const AFTER = {
  agreement: [""],
  enrolment: ["agreement", "enrolment"],
  commitments: ["enrolment", "round", "settlement"],
  round: RUNNING,
  settlement: ["round", "commitments"],
  closing: RUNNING,
};

class Check {
  constructor(name, title, meaning) {
    Object.assign(this, { name, title, meaning, made: 0, findings: [], unsupported: "", detail: "" });
  }

  find(entry, reason) {
    this.findings.push({ entry, reason });
  }

  get outcome() {
    if (this.findings.length) return "failed";
    if (this.unsupported) return "not checked";
    return this.made ? "passed" : "nothing to check";
  }
}

// Reads the whole ledger and checks it; throws only where there is nothing to check.
export async function verify(source, progress) {
  if (!globalThis.crypto?.subtle) {
    throw new Error("this browser gives a page that came over plain http no cryptography: open it by https, on localhost, or as a file");
  }
  progress("reading the checkpoint");
  const note = parseNote(await source.checkpoint());
  if (note.size === 0) throw new Error("the ledger has no entry yet");
  progress(`reading ${note.size} entries`);
  const bytes = await readEntries(source, note.size);
  const decoded = bytes.map(decodeEntry);
  const opening = decoded[0]?.entry?.kind === "agreement" ? decoded[0].entry : null;
  const works = await ed25519Works();
  progress("hashing");
  const leaves = await Promise.all(bytes.map(leafHash));
  const tree = await checkTree(source, note, leaves);
  const key = opening && (await parseKey(opening["log-key"]).catch(() => null));
  const witnesses = await checkWitnesses(note, opening, key, works);
  progress("checking signatures");
  const checks = [
    await checkCheckpoint(note, opening, key, works),
    ...(witnesses ? [witnesses.check] : []),
    tree.check,
    await checkConsistency(source, note, key, tree.levels, works),
    checkEntries(decoded),
    checkSequence(decoded),
    await checkEnrolments(decoded, bytes[0], works),
    checkModels(decoded),
  ];
  const failed = checks.some((check) => check.outcome === "failed");
  if (key && works && !failed) source.remember(key.encoded, note.bytes, base64(note.bytes));
  return { note, key, checks, failed, works, witnesses: witnesses?.said ?? [], bytes, decoded, leaves, levels: tree.levels, opening };
}

async function checkCheckpoint(note, opening, key, works) {
  const check = new Check("checkpoint", "Checkpoint", "the log's Ed25519 key, which entry 0 names, signed size and root");
  if (opening && opening.origin !== note.origin) check.find(0, "entry 0 names another origin than the checkpoint");
  if (!key) check.find(opening ? 0 : null, "there is no log key to check the checkpoint with");
  else if (!works) check.unsupported = "Ed25519 is not supported by this browser";
  else if (!(await signedByLog(note, key))) check.find(null, "the checkpoint is not signed by the log's key");
  else check.made = 1;
  return check;
}

async function checkWitnesses(note, opening, log, works) {
  const { keys, quorum } = opening?.agreement.witnesses ?? { keys: [] };
  if (!keys.length) return null;
  const check = new Check("witnesses", "Witnesses", `${quorum} of ${keys.length} agreed witnesses cosigned the checkpoint`);
  const said = [];
  for (const encoded of keys) {
    const key = await parseKey(encoded).catch(() => null);
    if (key) said.push({ key, outcome: works ? await cosigned(note, key) : "unsupported" });
    else check.find(0, "a witness's key cannot be read");
  }
  const publics = [log, ...said.map(({ key }) => key)].filter(Boolean).map(({ bytes }) => hex(bytes));
  if (new Set(publics).size < publics.length)
    check.find(0, "a witness's key is listed twice, or is the log's own: it would count more than once");
  for (const { key } of said.filter(({ outcome }) => outcome === "wrong")) check.find(null, `the cosignature of ${key.name} is wrong`);
  check.made = said.filter(({ outcome }) => typeof outcome === "number").length;
  const unknown = said.filter(({ outcome }) => outcome === "unsupported").length;
  if (check.made + unknown < quorum)
    check.find(null, `the checkpoint has ${check.made + unknown} of the ${quorum} cosignatures that were agreed`);
  else if (check.made < quorum) check.unsupported = `${unknown} cosignatures are of a kind that this page or this browser cannot check`;
  return { check, said };
}

async function checkTree(source, note, leaves) {
  const check = new Check("tree", "Tree", "every entry hashes to its leaf, and all leaves to the root in the checkpoint (RFC 6962)");
  const levels = await treeLevels(leaves);
  for (let level = 0; Math.floor(note.size / 256 ** level) > 0; level += 1) {
    const hashes = await readTiles(source, note.size, level);
    hashes.forEach((hash, index) => {
      if (sameBytes(hash, levels[8 * level][index])) return;
      if (level === 0) check.find(index, "it is not what the tree was made of: its hash is another");
      else check.find(null, `node ${index} of level ${8 * level} is not the hash of what is below it`);
    });
  }
  if (!sameBytes(await rootOf(levels, note.size), note.root)) check.find(null, "the entries do not hash to the root in the checkpoint");
  const paths = check.findings.length || note.size > EVERY_PATH ? 0 : note.size;
  for (let index = 0; index < paths; index += 1) {
    const path = await inclusionPath(levels, index, note.size);
    if (!(await verifyInclusion(leaves[index], index, note.size, path, note.root)))
      check.find(index, "its inclusion proof leads to another root");
  }
  check.made = note.size;
  check.detail = paths ? "each entry's inclusion proof was checked, too" : "";
  return { check, levels };
}

async function checkConsistency(source, note, key, levels, works) {
  const check = new Check("consistency", "Consistency", "every earlier checkpoint is signed too, and is the beginning of this tree");
  if (key && !works) check.unsupported = "Ed25519 is not supported by this browser";
  for (const bytes of key && works ? await source.earlier(key.encoded) : []) {
    const old = await Promise.resolve(bytes)
      .then(parseNote)
      .catch(() => null);
    if (!old || !(await signedByLog(old, key))) {
      check.find(null, "an earlier checkpoint is not signed by the log's key");
    } else if (old.size > note.size) {
      check.find(null, `the log signed ${old.size} entries before, and shows ${note.size} now`);
    } else if (!sameBytes(await rootOf(levels, old.size), old.root)) {
      const same = old.size === note.size && !sameRoot(old, note);
      check.find(
        null,
        `the log forked: ${same ? "it signed two roots for" : "this is not the history it signed with"} ${old.size} entries`,
      );
    }
    check.made += 1;
  }
  return check;
}

function checkEntries(decoded) {
  const check = new Check("entries", "Entries", "every entry is canonical JSON (RFC 8785) of a known kind with known fields");
  decoded.forEach(({ error }, index) => error && check.find(index, error));
  check.made = decoded.length;
  return check;
}

function checkSequence(decoded) {
  const check = new Check("sequence", "Sequence", "agreement, enrolments in order of keys, rounds numbered from 1, each settled once where they are, closing");
  let [before, rounds, settled, key, clients, enrolled] = ["", 0, 0, "", 0, false];
  decoded.forEach(({ entry }, index) => {
    if (!entry) return;
    const { kind } = entry;
    const enrols = kind === "enrolment" && entry.enrolment.statement.client;
    if (!AFTER[kind].includes(before))
      check.find(index, before ? `a ${kind} entry cannot follow a ${before} entry` : "the ledger does not begin with an agreement");
    if (enrols && enrols <= key) check.find(index, "enrolments do not stand in the order of their keys, or a key enrols twice");
    if (enrols && enrolled) check.find(index, "an enrolment follows the one that says that it is the last");
    if ((kind === "round" || kind === "commitments") && entry.round !== rounds + 1)
      check.find(index, `round ${entry.round} follows round ${rounds}`);
    if (kind === "settlement") {
      if (entry.first !== settled + 1 || entry.last !== rounds)
        check.find(index, `rounds ${entry.first} to ${entry.last} are settled where ${settled + 1} to ${rounds} are due`);
      settled = entry.last;
    }
    if (kind === "closing" && entry.rounds !== rounds) check.find(index, `the closing counts ${entry.rounds} rounds instead of ${rounds}`);
    if (kind === "round" && entry.verdicts.some(({ client }) => client >= clients))
      check.find(index, "a verdict is about a client that did not enrol");
    if (kind === "round") rounds = entry.round;
    if (enrols) [key, clients, enrolled] = [enrols, clients + 1, entry.last === true];
    before = kind;
    check.made += 1;
  });
  return check;
}

async function checkEnrolments(decoded, first, works) {
  const meaning = "what clients say of themselves, they signed in this very run with their Ed25519 keys";
  const check = new Check("enrolments", "Clients' signatures", meaning);
  const run = first ? hex(await sha256(first)) : "";
  const keys = [];
  for (const [index, { entry }] of decoded.entries()) {
    if (entry?.kind === "enrolment") keys.push(entry.enrolment.statement.client);
    for (const [kind, key, { statement, signature }] of saidIn(entry, keys)) {
      if (statement.run !== run) check.find(index, `the ${kind} belongs to another run`);
      if (statement.client !== key) check.find(index, `the ${kind} is another client's`);
      if (!works) check.unsupported = "Ed25519 is not supported by this browser";
      else if (!(await signs(statement.client, signature, signedMessage(kind, statement))))
        check.find(index, `the ${kind} is not signed by the client it names`);
      check.made += 1;
    }
  }
  return check;
}

// What clients signed in an entry itself: the kind, the key of the client whose it should be, statement and signature.
function saidIn(entry, keys) {
  if (entry?.kind === "enrolment") return [["enrolment", keys.at(-1), entry.enrolment]];
  const changes = (entry?.kind === "round" && entry.changes) || [];
  return changes.filter(({ statement }) => statement).map((said) => [said.change, keys[said.client], said]);
}

async function signs(client, signature, message) {
  try {
    return await ed25519(unhex(client), unbase64(signature), message);
  } catch {
    return false;
  }
}

function checkModels(decoded) {
  const check = new Check("models", "Chain of models", "every round starts from the model that the one before ended with");
  let model = null;
  decoded.forEach(({ entry }, index) => {
    if (entry?.kind === "agreement") model = entry.model;
    else if (entry?.kind === "round") {
      if (model?.digest !== entry["model-before"]) check.find(index, "the round starts from another model than the one before ended with");
      if (entry.aggregate === null && canonical(model) !== canonical(entry["model-after"]))
        check.find(index, "nothing was accepted, but the model is another");
      model = entry["model-after"];
      check.made += 1;
    } else if (entry?.kind === "closing" && model?.digest !== entry.model)
      check.find(index, "the closing names another model than the last one");
  });
  return check;
}
