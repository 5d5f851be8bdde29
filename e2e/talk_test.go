package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/e2e/lab"
	"starling/locales/markup"
)

// leastConversations is how many there are at least: a change must not let them drop out of this test unseen.
const leastConversations = 50

// atOnce is how many are held side by side.
const atOnce = 6

// TestTalk holds every conversation of the house that needs nothing special in real rooms, too: on a real homeserver, with
// people who use a real client. Each has a bot of its own, whose clock stands where the conversation's does.
func TestTalk(t *testing.T) {
	conversations := plainOnes(t)
	w, server := newTheatre(t), newMatrixStage(t)
	var held atomic.Int32
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, c := range conversations {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(c.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if err := w.hold(ctx, t.TempDir(), fmt.Sprint("starling", i), c, server.side); err != nil {
					t.Error(err)
					return
				}
				held.Add(1)
			})
		})
	}
	group.Wait()
	fmt.Printf("talk on Dendrite: %d conversations\n", held.Load())
	if held.Load() < leastConversations {
		t.Errorf("want at least %d conversations", leastConversations)
	}
}

// conversation is a script with the transcript that is wanted.
type conversation struct {
	name  string
	steps []step
}

// step is one line of a script and what the bot does because of it.
type step struct {
	rig.Line
	want []deed
}

// deed is one thing that the bot does, as a transcript has it.
type deed struct {
	room  string // as the script calls it
	does  string // "says" and what is in transcripts: "edits", "deletes", "reacts", "leaves"
	marks string // "thread, reply to ana"
	text  string // without formatting; codes as they are
}

func (d deed) String() string {
	s := "[" + d.room + "] starling " + d.does
	if d.marks != "" {
		s += " (" + d.marks + ")"
	}
	return strings.TrimRight(s+": "+strings.ReplaceAll(d.text, "\n", "\n  "), ": ")
}

// plainOnes reads the conversations that real servers can play.
func plainOnes(t *testing.T) (all []conversation) {
	for _, f := range archives(t, func(a *rig.Archive) bool { return a.Plain() }) {
		steps, err := readSteps(f.Archive)
		if err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		all = append(all, conversation{f.name, steps})
	}
	return all
}

// archive is a conversation's file.
type archive struct {
	*rig.Archive
	name string
}

// archives reads the files of those conversations that fit.
func archives(t *testing.T, fits func(*rig.Archive) bool) (all []archive) {
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, pattern := range []string{"commands/*/testdata/*.txtar", "bot/testdata/*.txtar"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, strings.TrimSuffix(file, ".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := rig.ReadArchive(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if fits(a) {
			all = append(all, archive{a, strings.Replace(name, "/testdata/", "/", 1)})
		}
	}
	return all
}

var said = regexp.MustCompile(`^\[(\S+)\] starling(?: \((.*?)\))?(?:(:)| (edits|deletes|reacts|sends|leaves):?)(?: (.*))?$`)

// readSteps joins each line of a script with what follows it in the transcript.
func readSteps(a *rig.Archive) ([]step, error) {
	lines, err := rig.Lines(a.Talk)
	if err != nil {
		return nil, err
	}
	want := strings.Split(strings.TrimSuffix(a.Want, "\n"), "\n")
	var steps []step
	for _, l := range lines {
		if len(want) < len(l.Raw) || !slices.Equal(want[:len(l.Raw)], l.Raw) {
			return nil, fmt.Errorf("the transcript does not go with the script at line %d", l.No)
		}
		want = want[len(l.Raw):]
		s := step{Line: l}
		for len(want) > 0 {
			if m := said.FindStringSubmatch(want[0]); m != nil {
				d := deed{room: m[1], does: "says", marks: m[2], text: m[5]}
				if m[4] != "" {
					d.does = m[4]
				}
				s.want = append(s.want, d)
			} else if more, ok := strings.CutPrefix(want[0], "  "); ok && len(s.want) > 0 {
				s.want[len(s.want)-1].text += "\n" + more
			} else {
				break
			}
			want = want[1:]
		}
		for i := range s.want {
			s.want[i].text = unmarked(s.want[i].text)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// unmarked is a transcript's text as a message's plain body has it.
func unmarked(text string) string { return isolated.Replace(markup.Plain(markup.Parse(text))) }

// codes translates the short codes of a transcript into those of this time.
type codes map[string]string

// same compares what was done with what is wanted, and learns the codes from it. Different are the codes themselves, and the
// order in which rooms hear.
func (c codes) same(want, got []deed) bool {
	byRoom := func(all []deed) []deed {
		all = slices.Clone(all)
		slices.SortStableFunc(all, func(a, b deed) int { return strings.Compare(a.room, b.room) })
		return all
	}
	want, got = byRoom(want), byRoom(got)
	if len(want) != len(got) {
		return false
	}
	for i, w := range want {
		g := got[i]
		for _, pair := range [][2]string{{w.text, g.text}, {w.marks, g.marks}} {
			theirs, ours := anyCode.FindAllString(pair[0], -1), anyCode.FindAllString(pair[1], -1)
			if len(theirs) != len(ours) {
				return false
			}
			for i := range theirs {
				if known, ok := c[theirs[i]]; ok && known != ours[i] {
					return false
				}
				c[theirs[i]] = ours[i]
			}
		}
		w.text, w.marks = c.translate(w.text), c.translate(w.marks)
		if w != g {
			return false
		}
	}
	return true
}

// translate puts this time's codes in a text, however they are typed: in any case, with or without their hyphen.
func (c codes) translate(text string) string {
	return typedCode.ReplaceAllStringFunc(text, func(s string) string {
		typed := strings.ToUpper(s)
		for theirs, ours := range c {
			switch typed {
			case theirs:
				return ours
			case strings.Replace(theirs, "-", "", 1):
				return strings.ToLower(strings.Replace(ours, "-", "", 1))
			}
		}
		return s
	})
}

// anyCode matches a record's code, and the four characters that tell chapters apart whose names look alike; typedCode what may
// be one.
var (
	anyCode   = regexp.MustCompile(`\b[A-Z]-[0-9A-HJKMNP-TV-Z]{4,}\b|\([0-9A-HJKMNP-TV-Z]{4}\)`)
	typedCode = regexp.MustCompile(`\b[A-Za-z]-?[0-9A-Za-z]{4,}\b|\([0-9A-Za-z]{4}\)`)
)
