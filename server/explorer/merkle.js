// The tree of RFC 6962 (RFC 9162, section 2.1): leaf SHA256(00 || entry), node SHA256(01 || left || right).

import { concat, sameBytes, sha256 } from "./bytes.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export const leafHash = (entry) => sha256(concat(LEAF, entry));
export const nodeHash = (left, right) => sha256(concat(NODE, left, right));

// The hashes of all complete subtrees: levels[l][i] covers the entries i * 2^l up to (i + 1) * 2^l.
export async function treeLevels(leaves) {
  const levels = [leaves];
  while (levels.at(-1).length > 1) {
    const row = levels.at(-1);
    const pairs = Array.from({ length: row.length >> 1 }, (_, i) => nodeHash(row[2 * i], row[2 * i + 1]));
    levels.push(await Promise.all(pairs));
  }
  return levels;
}

// The root over `length` entries from `start`, where the recursion of the definition comes to such a range.
export async function rootOf(levels, length, start = 0) {
  if (length === 0) return sha256(new Uint8Array());
  let root = null;
  let end = start + length;
  for (let level = 0, width = 1; width <= length; level += 1, width *= 2) {
    if (Math.floor(length / width) % 2 === 0) continue;
    end -= width;
    const left = levels[level][end / width];
    root = root === null ? left : await nodeHash(left, root);
  }
  return root;
}

// The audit path of an entry, from its sibling upwards (RFC 9162, section 2.1.3.1).
export async function inclusionPath(levels, index, size) {
  const path = [];
  let start = 0;
  let length = size;
  while (length > 1) {
    let half = 1;
    while (half * 2 < length) half *= 2;
    if (index - start < half) {
      path.unshift(await rootOf(levels, length - half, start + half));
      length = half;
    } else {
      path.unshift(await rootOf(levels, half, start));
      start += half;
      length -= half;
    }
  }
  return path;
}

// Whether a path leads from a leaf to the root (RFC 9162, section 2.1.3.2).
export async function verifyInclusion(leaf, index, size, path, root) {
  let [fn, sn, hash] = [index, size - 1, leaf];
  if (index < 0 || index >= size) return false;
  for (const sibling of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = await nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else {
      hash = await nodeHash(hash, sibling);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && sameBytes(hash, root);
}
