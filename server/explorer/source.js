// Where the files of the ledger (C2SP tlog-tiles) come from: out of this page, or from the server that it came from.

import { concat, unbase64 } from "./bytes.js";

const SEEN = "lunaria/checkpoint/";
const WIDTH = 256;
const HASH = 32;

// `ledger` is what stands in the page; null where it is served.
export function openSource(ledger) {
  return ledger === null ? served() : embedded(ledger);
}

function embedded(ledger) {
  const notes = ledger.checkpoints.map(unbase64);
  return {
    served: false,
    checkpoint: async () => notes.at(-1),
    earlier: async () => notes.slice(0, -1),
    remember: () => {},
    file: async (path) => {
      if (!Object.hasOwn(ledger.files, path)) throw new Error(`${path} is missing`);
      return unbase64(ledger.files[path]);
    },
  };
}

function served() {
  const notes = [];
  return {
    served: true,
    checkpoint: () => get("checkpoint"),
    // what this page showed before, and what this browser verified at an earlier visit
    earlier: async (key) => {
      const kept = recall(SEEN + key);
      return kept === null ? notes.slice() : [kept, ...notes];
    },
    remember: (key, note, encoded) => {
      notes.push(note);
      try {
        localStorage.setItem(SEEN + key, encoded);
      } catch {
        // a browser that keeps nothing compares with nothing
      }
    },
    file: get,
  };
}

function recall(name) {
  try {
    return unbase64(localStorage.getItem(name) ?? "");
  } catch {
    return null;
  }
}

async function get(path) {
  const response = await fetch(path, { redirect: "error", cache: path === "checkpoint" ? "no-store" : "default" });
  if (response.status === 404 && path === "checkpoint") throw new Error("the ledger has published nothing yet");
  if (!response.ok) throw new Error(`the server answers ${response.status} to ${path}`);
  return new Uint8Array(await response.arrayBuffer());
}

// tile/<L>/<N>[.p/<W>], N in groups of three digits
function tilePath(level, index, width) {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.../g);
  const path = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
  return `tile/${level}/${path}${width === WIDTH ? "" : `.p/${width}`}`;
}

function* tilesOf(size) {
  for (let index = 0; index * WIDTH < size; index += 1) yield [index, Math.min(WIDTH, size - index * WIDTH)];
}

export async function readEntries(source, size) {
  const entries = [];
  for (const [index, width] of tilesOf(size)) {
    const path = tilePath("entries", index, width);
    const bundle = await source.file(path);
    let start = 0;
    for (let i = 0; i < width; i += 1) {
      const end = start + 2 + bundle[start] * 256 + bundle[start + 1];
      if (!(end <= bundle.length)) throw new Error(`${path} ends within an entry`);
      entries.push(bundle.subarray(start + 2, end));
      start = end;
    }
    if (start !== bundle.length) throw new Error(`${path} holds more than ${width} entries`);
  }
  return entries;
}

// The hashes in the tiles of one level, as they are served: hashes of the tree's level 8 * level.
export async function readTiles(source, size, level) {
  const tiles = [];
  for (const [index, width] of tilesOf(Math.floor(size / WIDTH ** level))) {
    const path = tilePath(level, index, width);
    const tile = await source.file(path);
    if (tile.length !== width * HASH) throw new Error(`${path} is not ${width} hashes`);
    tiles.push(tile);
  }
  const all = concat(...tiles);
  return Array.from({ length: all.length / HASH }, (_, i) => all.subarray(i * HASH, (i + 1) * HASH));
}
