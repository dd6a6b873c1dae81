// Entries: canonical JSON (RFC 8785, which is what JSON.stringify writes, with sorted keys) of known kinds with known fields.

import { text, utf8 } from "./bytes.js";

const hex32 = (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
const string = (value) => typeof value === "string";
const count = (value) => Number.isSafeInteger(value) && value >= 0;
const number = (value) => typeof value === "number";
const exactly = (wanted) => (value) => value === wanted;
const maybe = (test) => (value) => value === null || test(value);
const list = (test) => (value) => Array.isArray(value) && value.every(test);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const some = (fields) => (value) =>
  isObject(value) && Object.entries(fields).every(([name, test]) => Object.hasOwn(value, name) && test(value[name]));
const only =
  (fields, optional = {}) =>
  (value) =>
    some(fields)(value) &&
    Object.entries(value).every(([name, given]) => Object.hasOwn(fields, name) || (Object.hasOwn(optional, name) && optional[name](given)));

const reference = only({ digest: hex32, size: count, "media-type": string });
const reveals = list(only({ client: count, nonce: hex32 }));
const account = (value) => typeof value === "string" && /^0x[0-9a-f]{40}$/.test(value);
const amount = (value) => typeof value === "string" && /^(0|[1-9][0-9]{0,38})$/.test(value);
const statement = only(
  { run: hex32, client: hex32, samples: count, rows: reference, proof: reference, nonce: hex32 },
  { account, node: hex32 },
);
const settled = only({
  client: count,
  account: maybe(account),
  rounds: count,
  score: Number.isSafeInteger,
  error: count,
  contribution: amount,
  licence: amount,
  penalty: amount,
  faults: count,
  missed: count,
  reasons: list(string),
});
const CHANGES = {
  rotation: { statement: only({ run: hex32, client: hex32, previous: maybe(hex32), node: hex32 }), signature: string },
  withdrawal: { statement: only({ run: hex32, client: hex32 }), signature: string },
  revocation: { reason: string },
};
const change = (value) =>
  isObject(value) && Object.hasOwn(CHANGES, value.change) && only({ change: string, client: count, ...CHANGES[value.change] })(value);
const changes = (value) => list(change)(value) && value.length > 0;
const agreement = some({
  federation: some({ name: string, clients: count }),
  model: some({ layers: list(count) }),
  "fixed-point": some({ "logit-bits": count }),
  training: some({ loss: string, batch: count, "local-steps": count, "learning-rate": number }),
  rounds: some({ count, participants: count }),
  aggregation: some({ optimizer: string }),
  proof: some({ kind: string, rate: number }),
  privacy: some({ mode: string }),
  data: some({ description: string, terms: string }),
  witnesses: some({ keys: list(string), quorum: count }),
});
const test = only({ data: hex32, total: count, correct: maybe(count), "squared-error": maybe(count) });
const verdict = only({ client: count, reason: string, contribution: maybe(reference), proof: maybe(reference) });

const KINDS = {
  agreement: { run: hex32, origin: string, "log-key": string, model: reference, tables: hex32, agreement },
  enrolment: { enrolment: only({ statement, signature: string }) },
  commitments: {
    round: count,
    reveals,
    withheld: list(count),
    beacon: hex32,
    contributions: list(only({ client: count, contribution: reference })),
  },
  round: {
    round: count,
    reveals,
    withheld: list(count),
    beacon: hex32,
    "model-before": hex32,
    "model-after": reference,
    verdicts: list(verdict),
    aggregate: maybe(only({ samples: count, sum: reference, blinds: reference })),
    test: maybe(test),
  },
  settlement: { epoch: count, first: count, last: count, clients: list(settled), total: amount, root: hex32 },
  closing: { outcome: string, rounds: count, model: hex32 },
};

// Fields that an entry has only where there is something to say.
const OPTIONAL = { enrolment: { last: exactly(true) }, round: { changes } };

export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const fields = Object.keys(value).sort();
  return `{${fields.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

// The entry, or what is wrong with it; where it is JSON at all, that too, for display.
export function decodeEntry(bytes) {
  let json = null;
  try {
    const written = text(bytes);
    json = JSON.parse(written);
    if (canonical(json) !== written) return { json, error: "it is not canonical JSON" };
  } catch {
    return { json, error: "it is not JSON that can be read" };
  }
  if (!isObject(json) || !Object.hasOwn(KINDS, json.kind)) return { json, error: "it is of no known kind" };
  const fits = only({ kind: string, version: exactly(1), ...KINDS[json.kind] }, OPTIONAL[json.kind])(json);
  return fits ? { json, entry: json } : { json, error: `it does not have the fields of its kind, ${json.kind}` };
}

// What a client signs when it enrols, takes another node key or withdraws: ``kind`` says which.
export const signedMessage = (kind, statement) => utf8(`lunaria/v1/${kind}\n${canonical(statement)}`);
