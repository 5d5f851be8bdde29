package main

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoNetworkIsNamedInTheEngine reads what is no comment in the engine and the commands: a network that needs something of its own
// says so by its abilities, and nothing there asks which one it is.
func TestNoNetworkIsNamedInTheEngine(t *testing.T) {
	files := 0
	for _, root := range []string{"bot", "commands"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			set := token.NewFileSet()
			var s scanner.Scanner
			s.Init(set.AddFile(path, -1, len(src)), src, nil, 0)
			for {
				pos, tok, lit := s.Scan()
				if tok == token.EOF {
					return nil
				}
				for _, network := range []string{"matrix", "signal"} {
					if strings.Contains(strings.ToLower(lit), network) {
						t.Errorf("%s: %s", set.Position(pos), lit)
					}
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 30 {
		t.Errorf("only %d files were read", files)
	}
}
