package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rs/zerolog"

	"starling/adapters"
	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
	"starling/locales"
)

var update = flag.Bool("update", false, "write the transcripts that conversations give into their files")

// How many conversations there are at least, and how many of them fit for real servers: a folder that is moved must not pass
// by holding none.
const (
	leastConversations = 50
	leastPlain         = 25
)

// conversations lists the files of all conversations of the house.
func conversations(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"commands/*/testdata/*.txtar", "bot/testdata/*.txtar", "adapters/*/testdata/*.txtar"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return files
}

// talkOptions are those of the bot as it ships.
func talkOptions(t *testing.T, a *rig.Archive) rig.Options {
	return rig.Options{Files: a.Files(), Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel), Locales: loadOnce, Messages: adapters.Messages(),
		Database: func(dir string) string { return dbtest.For(t, dir) }, Capabilities: func() []bot.Capability {
			caps, err := content(config{})
			if err != nil {
				panic(err)
			}
			return caps
		}}
}

var entries struct {
	once   sync.Once
	bundle *locales.Bundle
	err    error
}

// loadOnce reads the entries once for all conversations: that is most of what a start costs. The message types are the same
// each time.
func loadOnce(reg *locales.Registry) (*locales.Bundle, error) {
	entries.once.Do(func() {
		if reg.Type("signal.down") == nil { // some conversations are held without what networks say; those after them are not
			reg.Add(adapters.Messages()...)
		}
		entries.bundle, entries.err = locales.Load(reg)
	})
	return entries.bundle, entries.err
}

// played is how many conversations were played, logged how much all of them logged.
var played, logged atomic.Int64

// TestTalk plays every conversation of the house on the rig. To change what one wants: go test -run TestTalk . -update
func TestTalk(t *testing.T) {
	files := conversations(t)
	plain := 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := rig.ReadArchive(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a.Plain() {
			plain++
		}
		t.Run(strings.TrimSuffix(name, ".txtar"), func(t *testing.T) {
			t.Parallel()
			playOne(t, name, a)
		})
	}
	t.Cleanup(func() { // after the last has ended
		if int(played.Load()) == len(files) && logged.Load() == 0 {
			t.Error("nothing was logged in any of them: is the log that was searched the bot's?")
		}
		fmt.Printf("talk: %d conversations played on the rig, %d of them fit for real servers\n", len(files), plain)
	})
	if len(files) < leastConversations || plain < leastPlain {
		t.Errorf("want at least %d conversations, %d of them for real servers", leastConversations, leastPlain)
	}
}

// playOne plays a conversation and compares the transcript with the one that is wanted.
func playOne(t *testing.T, name string, a *rig.Archive) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, log bytes.Buffer
	o := talkOptions(t, a)
	o.Log = zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.TraceLevel)
	if o.Dir = t.TempDir(); !dbtest.Postgres() {
		o.End = func(*bot.Engine, []*rig.Network) error { checkFiles(t, a.Talk, o.Dir); return nil }
	}
	err := rig.Play(ctx, strings.NewReader(a.Talk), &out, o)
	got := out.String()
	checkLog(t, a.Talk, log.String())
	played.Add(1)
	logged.Add(int64(log.Len()))
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, log.String())
	}
	if got == a.Want {
		return
	}
	if *update {
		if err := os.WriteFile(name, a.With(got), 0o644); err != nil {
			t.Error(err)
		}
		return
	}
	t.Errorf("%s says something else (-update takes it over):\n%s", name, diff.Diff("want", []byte(a.Want), "got", []byte(got)))
}
