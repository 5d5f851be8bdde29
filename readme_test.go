package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"starling/adapters/rig"
)

// The conversation that README shows is what the bot says today.
func TestTheReadmeShowsWhatTheBotSays(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const open, end = "```talk\n", "```\n"
	before, rest, ok := strings.Cut(string(readme), open)
	shown, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatal("README.md shows no conversation")
	}
	archive, err := rig.ReadArchive([]byte("-- talk --\n-- want --\n"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for line := range strings.Lines(shown) {
		if _, said, ok := strings.Cut(line, "] "); !strings.HasPrefix(line, "  ") && !(ok && strings.HasPrefix(said, "starling ") || strings.HasPrefix(said, "starling:")) {
			script.WriteString(line)
		}
	}
	said, err := rig.PlayText(t.Context(), script.String(), talkOptions(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(before+open+said+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(said, "\n"), strings.Split(shown, "\n")); diff != "" {
		t.Errorf("README.md shows another conversation (-update writes it anew):\n%s", diff)
	}
}
