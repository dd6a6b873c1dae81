// Signed notes, verifier keys and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature).

import { concat, hex, sameBytes, sha256, text, unbase64, unhex, utf8 } from "./bytes.js";

export const ED25519 = 1;
export const COSIGNATURE = 4;
export const ML_DSA_44 = 6;
const CONTROL = /[\x00-\x09\x0b-\x1f]/;

// name+hex(key id)+base64(type || key), the id being the beginning of SHA256(name || 0A || type || key)
export async function parseKey(encoded) {
  const match = /^([^+\s]+)\+([0-9a-f]{8})\+(.+)$/u.exec(encoded);
  if (!match) throw new Error("not a verifier key");
  const [, name, id, body] = match;
  const data = unbase64(body);
  const digest = await sha256(concat(utf8(`${name}\n`), data));
  if (hex(digest.subarray(0, 4)) !== id) throw new Error(`the key id of ${name} is not that of its name and key`);
  return { name, id, type: data[0], bytes: data.subarray(1), encoded };
}

export function parseNote(bytes) {
  const whole = text(bytes);
  const split = whole.lastIndexOf("\n\n");
  if (CONTROL.test(whole) || split < 0 || !whole.endsWith("\n")) throw new Error("the checkpoint is not a signed note");
  const signatures = whole
    .slice(split + 2, -1)
    .split("\n")
    .map((line) => {
      const match = /^— ([^ ]+) ([^ ]+)$/u.exec(line);
      const data = match && unbase64(match[2]);
      if (!data || data.length <= 4) throw new Error("a signature line of the checkpoint is malformed");
      return { name: match[1], id: hex(data.subarray(0, 4)), value: data.subarray(4) };
    });
  const body = whole.slice(0, split + 1);
  const [origin, size, root, ...rest] = body.split("\n");
  if (rest.length !== 1 || !origin || !/^(0|[1-9][0-9]{0,15})$/.test(size ?? "") || !Number.isSafeInteger(Number(size))) {
    throw new Error("the text of the checkpoint is not origin, size and root");
  }
  const hash = unbase64(root);
  if (hash.length !== 32) throw new Error("the root in the checkpoint is not 32 bytes");
  return { bytes, text: body, origin, size: Number(size), root: hash, signatures };
}

// Every encoding of a point of order 1, 2, 4 or 8: under such a key one signature fits every message.
const SMALL_ORDER = new Set([
  "00".repeat(32),
  "01" + "00".repeat(31),
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ec" + "ff".repeat(30) + "7f",
  "ed" + "ff".repeat(30) + "7f",
  "ee" + "ff".repeat(30) + "7f",
]);

// Whether this browser can verify Ed25519 at all, found out on a signature that is right (RFC 8032, 7.1, test 1) and one that is not.
export async function ed25519Works() {
  const key = unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const signature = unhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155" + "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  );
  try {
    const right = await ed25519(key, signature, new Uint8Array());
    return right && !(await ed25519(key, signature, Uint8Array.of(0)));
  } catch {
    return false;
  }
}

export async function ed25519(key, signature, message) {
  const plain = key.slice();
  plain[31] &= 0x7f;
  if (key.length !== 32 || signature.length !== 64 || SMALL_ORDER.has(hex(plain))) return false;
  const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
}

const by = (key) => (signature) => signature.name === key.name && signature.id === key.id;

// Whether the log signed: every signature line by its key has to be right, and there has to be one.
export async function signedByLog(note, key) {
  const lines = note.signatures.filter(by(key));
  const right = await Promise.all(lines.map((line) => ed25519(key.bytes, line.value, utf8(note.text))));
  return key.type === ED25519 && note.origin === key.name && lines.length > 0 && right.every(Boolean);
}

// What became of a witness: "missing", "wrong", "unsupported", or the time at which it cosigned, in seconds since 1970.
export async function cosigned(note, key) {
  const lines = note.signatures.filter(by(key));
  if (!lines.length) return "missing";
  if (key.type !== COSIGNATURE) return key.type === ML_DSA_44 ? "unsupported" : "wrong";
  let time = 0n;
  for (const line of lines) {
    if (line.value.length !== 72) return "wrong";
    time = new DataView(line.value.buffer, line.value.byteOffset).getBigUint64(0);
    const message = utf8(`cosignature/v1\ntime ${time}\n${note.text}`);
    if (!(await ed25519(key.bytes, line.value.subarray(8), message))) return "wrong";
  }
  return Number(time);
}

export const sameRoot = (a, b) => sameBytes(a.root, b.root);
