package rig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzScript: whatever is in a conversation's file, reading it ends, loses no line, and says with the line's number what is wrong.
func FuzzScript(f *testing.F) {
	names, err := filepath.Glob("../../commands/*/testdata/*.txtar")
	if err != nil || len(names) == 0 {
		f.Fatal("no conversations", err)
	}
	for _, name := range names[:min(12, len(names))] {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, s := range []string{"[", "[a]", "[a] b", "[a] b:", "[@] b: c", "[a] b (", "[a] b reacts", "[a] b reacts ✅ to", "[a] b in thread", "@", "@room", "@room a b=\"c", "@clock · @seed", "  x", "[a] b: c\n  d\n  \n e", "\xff", "[a] *: x", "@room =", "@translator", "[a] b reacts\n  14", "-- --\n", "-- talk --\n-- --\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		script := text
		if a, err := ReadArchive([]byte(text)); err == nil {
			if b, err := ReadArchive(a.With(a.Want)); err != nil || b.Talk != a.Talk {
				t.Errorf("%q: written back it is another conversation (%v)", text, err)
			}
			script = a.Talk
		}
		plain := Plain(script)
		lines, err := Lines(script)
		if err != nil {
			if plain || !strings.HasPrefix(err.Error(), "line ") {
				t.Errorf("%q: plain is %v, and %v", script, plain, err)
			}
			return
		}
		var raw []string
		for _, l := range lines {
			raw = append(raw, l.Raw...)
			for _, a := range l.Acts {
				if a.Directive == "" && (a.Room == "" || a.Person == "" || a.Verb == "") {
					t.Errorf("%q: a deed of nobody: %+v", script, a)
				}
			}
		}
		want := strings.Split(strings.TrimSuffix(script, "\n"), "\n")
		if script == "" {
			want = nil
		}
		if len(raw) != len(want) {
			t.Errorf("%q: %d of %d lines", script, len(raw), len(want))
		}
	})
}
