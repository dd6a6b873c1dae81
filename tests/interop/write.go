// Writes a log with Go's golang.org/x/mod/sumdb (tlog, note) and prints, as JSON, what we are to verify.
//
// usage: write SIZE
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		found = append(found, m[index])
	}
	return found, nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func encode(hashes []tlog.Hash) []string {
	texts := []string{}
	for _, hash := range hashes {
		texts = append(texts, base64.StdEncoding.EncodeToString(hash[:]))
	}
	return texts
}

func main() {
	size, err := strconv.ParseInt(os.Args[1], 10, 64)
	check(err)
	secret, public, err := note.GenerateKey(nil, "go.example/log")
	check(err)
	signer, err := note.NewSigner(secret)
	check(err)
	var stored memory
	checkpoints := []string{}
	inclusion := [][][]string{}
	consistency := [][][]string{}
	for n := int64(1); n <= size; n++ {
		hashes, err := tlog.StoredHashes(n-1, []byte(fmt.Sprintf("entry %d", n-1)), stored)
		check(err)
		stored = append(stored, hashes...)
		root, err := tlog.TreeHash(n, stored)
		check(err)
		text := fmt.Sprintf("go.example/log\n%d\n%s\n", n, root)
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		check(err)
		checkpoints = append(checkpoints, string(signed))
		records, trees := [][]string{}, [][]string{}
		for i := int64(0); i < n; i++ {
			record, err := tlog.ProveRecord(n, i, stored)
			check(err)
			records = append(records, encode(record))
			grown, err := tlog.ProveTree(n, i+1, stored)
			check(err)
			trees = append(trees, encode(grown))
		}
		inclusion, consistency = append(inclusion, records), append(consistency, trees)
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"key": public, "checkpoints": checkpoints, "inclusion": inclusion, "consistency": consistency,
	}))
}
