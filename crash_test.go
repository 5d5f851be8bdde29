package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"starling/adapters/rig"
	"starling/bot"
)

// crashesEach is how many crashes each conversation is played with, one after the other.
const crashesEach = 8

// TestTalkSurvivesCrashes plays each conversation that needs nothing special again and again, with a power cut at another
// point each time. In the end the rooms must show exactly what they show without one: nothing lost, nothing twice.
func TestTalkSurvivesCrashes(t *testing.T) {
	for _, name := range conversations(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := rig.ReadArchive(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !a.Plain() {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.ToSlash(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			want, points := playWithCrash(t, a, -1)
			h := fnv.New64a()
			io.WriteString(h, name)
			draw := rand.New(rand.NewPCG(h.Sum64(), 1))
			for range crashesEach {
				at := draw.IntN(len(points))
				if got, _ := playWithCrash(t, a, at); !slices.Equal(got, want) {
					t.Errorf("after a crash %s (point %d) the rooms show something else:\n%s", points[at], at, diff.Diff("want", []byte(strings.Join(want, "\n")+"\n"), "got", []byte(strings.Join(got, "\n")+"\n")))
				}
			}
		})
	}
}

// playWithCrash plays a conversation with one crash, at the at-th point where there could be one, and gives what stands in the
// rooms in the end, and the points that were passed.
func playWithCrash(t *testing.T, a *rig.Archive, at int) (shown, points []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	o := talkOptions(t, a)
	o.Fault = func(point string) bool {
		mu.Lock()
		defer mu.Unlock()
		points = append(points, point)
		return len(points)-1 == at
	}
	o.End = func(_ *bot.Engine, nets []*rig.Network) error {
		for _, n := range nets {
			for _, room := range n.Rooms() {
				for _, m := range n.Messages(room) {
					if m.Author == rig.Bot {
						shown = append(shown, fmt.Sprintf("%s %s: %s", n.Name(), room, rig.Readable(m.Text)))
					}
				}
			}
		}
		return nil
	}
	if err := rig.Play(ctx, strings.NewReader(a.Talk), io.Discard, o); err != nil {
		t.Fatalf("with a crash at point %d: %v", at, err)
	}
	slices.Sort(shown)
	return shown, points
}
