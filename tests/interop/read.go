// Verifies a ledger of ours with Go's golang.org/x/mod/sumdb (tlog, note), and nothing of ours.
//
// usage: read FOLDER LOG-VKEY OLD-CHECKPOINT WITNESS-VKEY...
//
// FOLDER is in tlog-tiles layout and holds a tlog-proof for every entry as proof-N. Prints the size, or fails.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error, what string) {
	if err != nil {
		fmt.Fprintln(os.Stderr, what+":", err)
		os.Exit(1)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	check(err, "read")
	return data
}

// witness is a note.Verifier for c2sp.org/tlog-cosignature with Ed25519.
type witness struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func newWitness(vkey string) witness {
	parts := strings.SplitN(vkey, "+", 3)
	data, err := base64.StdEncoding.DecodeString(parts[2])
	check(err, "witness key")
	if data[0] != 4 {
		check(fmt.Errorf("type %d", data[0]), "witness key")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), data...))
	id := binary.BigEndian.Uint32(sum[:])
	if fmt.Sprintf("%08x", id) != parts[1] {
		check(fmt.Errorf("wrong id"), "witness key")
	}
	return witness{parts[0], id, data[1:]}
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.id }
func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 72 {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig))
	return ed25519.Verify(w.key, append([]byte(head), msg...), sig[8:])
}

// tree is a checkpoint: C2SP's text differs from Go's own only in its first line.
func tree(text string) (string, tlog.Tree) {
	lines := strings.Split(text, "\n")
	n, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "size")
	hash, err := tlog.ParseHash(lines[2])
	check(err, "root")
	return lines[0], tlog.Tree{N: n, Hash: hash}
}

type tiles struct{ folder string }

func (t tiles) Height() int { return 8 }
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1) // C2SP leaves the height out
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func main() {
	folder := os.Args[1]
	log, err := note.NewVerifier(os.Args[2])
	check(err, "log key")
	keys := []note.Verifier{log}
	for _, vkey := range os.Args[4:] {
		keys = append(keys, newWitness(vkey))
	}
	signed := read(filepath.Join(folder, "checkpoint"))
	opened, err := note.Open(signed, note.VerifierList(keys...))
	check(err, "checkpoint")
	if len(opened.Sigs) != len(keys) {
		check(fmt.Errorf("%d of %d signatures", len(opened.Sigs), len(keys)), "checkpoint")
	}
	origin, head := tree(opened.Text)
	if origin != log.Name() {
		check(fmt.Errorf("origin %s", origin), "checkpoint")
	}
	reader := tlog.TileHashReader(head, tiles{folder}) // checks every tile against the root
	root, err := tlog.TreeHash(head.N, reader)
	check(err, "tree")
	if root != head.Hash {
		check(fmt.Errorf("another root"), "tree")
	}
	old, err := note.Open(read(os.Args[3]), note.VerifierList(log))
	check(err, "old checkpoint")
	_, before := tree(old.Text)
	consistency, err := tlog.ProveTree(head.N, before.N, reader)
	check(err, "prove")
	check(tlog.CheckTree(consistency, head.N, head.Hash, before.N, before.Hash), "consistency")

	bundle := read(filepath.Join(folder, "tile/entries/000.p", strconv.FormatInt(head.N, 10)))
	for index := int64(0); index < head.N; index++ {
		size := int(binary.BigEndian.Uint16(bundle))
		entry := bundle[2 : 2+size]
		bundle = bundle[2+size:]
		proof := read(filepath.Join(folder, fmt.Sprintf("proof-%d", index)))
		parts := bytes.SplitN(proof, []byte("\n\n"), 2)
		if !bytes.Equal(parts[1], signed) {
			check(fmt.Errorf("another checkpoint"), "proof")
		}
		lines := strings.Split(string(parts[0]), "\n")
		extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
		check(err, "extra")
		if lines[0] != "c2sp.org/tlog-proof@v1" || !bytes.Equal(extra, entry) || lines[2] != fmt.Sprintf("index %d", index) {
			check(fmt.Errorf("proof %d begins otherwise", index), "proof")
		}
		var path tlog.RecordProof
		for _, line := range lines[3:] {
			hash, err := tlog.ParseHash(line)
			check(err, "hash")
			path = append(path, hash)
		}
		check(tlog.CheckRecord(path, head.N, head.Hash, index, tlog.RecordHash(entry)), "inclusion")
	}
	if len(bundle) != 0 {
		check(fmt.Errorf("%d bytes left", len(bundle)), "entries")
	}
	fmt.Println(head.N)
}
