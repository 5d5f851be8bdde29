package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"starling/adapters/rig"
	"starling/bot"
)

// quotesAnother is the one conversation in which the message that is quoted for a thread, the bot's last to that person, is not the
// question that she answers: it must end the same, but those answers are nobody's business.
const quotesAnother = "bot/testdata/talk-goes-on.txtar"

// TestTalkIsTheSameWithoutThreads plays each conversation that needs nothing special once more, on a network that can do what Signal
// can: quoted replies for threads, edits for a day and ten times, no way to know whether a call arrived. The bot must stumble over
// nothing, answer whatever it answers elsewhere, and know the same in the end.
func TestTalkIsTheSameWithoutThreads(t *testing.T) {
	held := 0
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
		held++
		t.Run(strings.TrimSuffix(name, ".txtar"), func(t *testing.T) {
			t.Parallel()
			known, said := outcome(t, a, rig.LikeMatrix())
			alsoKnown, alsoSaid := outcome(t, a, rig.LikeSignal())
			if !slices.Equal(known, alsoKnown) {
				t.Errorf("the bot knows something else in the end:\n%s", diff.Diff("with threads", lines(known), "without", lines(alsoKnown)))
			}
			if silent := unanswered(said, alsoSaid); len(silent) > 0 && name != quotesAnother {
				t.Errorf("not answered:\n%s", lines(silent))
			}
		})
	}
	if held < leastPlain {
		t.Errorf("%d conversations, want at least %d", held, leastPlain)
	}
}

func lines(all []string) []byte { return []byte(strings.Join(all, "\n") + "\n") }

// outcome plays a conversation and gives what the bot knows in the end, and the transcript.
func outcome(t *testing.T, a *rig.Archive, able bot.Abilities) (known []string, transcript string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	o := talkOptions(t, a)
	o.First = able
	o.End = func(e *bot.Engine, _ []*rig.Network) error {
		return e.Do(ctx, "what is known", func(tx *bot.Tx) error {
			var ids []string
			if err := tx.Each(`SELECT id FROM records WHERE latest ORDER BY id`, nil, func(r bot.Row) error {
				ids = append(ids, "")
				return r.Scan(&ids[len(ids)-1])
			}); err != nil {
				return err
			}
			for _, id := range ids {
				r, err := tx.Record(id)
				if err != nil {
					return err
				}
				if r == nil {
					known = append(known, "erased")
					continue
				}
				body, err := json.Marshal(r.Body)
				if err != nil {
					return err
				}
				known = append(known, fmt.Sprintf("%s version %d %s, encrypted %t, due %s: %s", r.Kind, r.Version, r.State, r.Encrypted, r.Due.UTC().Format(time.RFC3339), body))
			}
			return nil
		})
	}
	var out bytes.Buffer
	if err := rig.Play(ctx, strings.NewReader(a.Talk), io.Writer(&out), o); err != nil {
		t.Errorf("as %+v: %v", able, err)
	}
	slices.Sort(known)
	return known, out.String()
}

var spokenLine = regexp.MustCompile(`^\[(\S+)\] starling`)

// unanswered lists the lines of a script after which the bot spoke in the first transcript and did not in the second.
func unanswered(first, second string) (silent []string) {
	one, other := answered(first), answered(second)
	for i, line := range one {
		if strings.HasPrefix(line, "+") && (i >= len(other) || !strings.HasPrefix(other[i], "+")) {
			silent = append(silent, line)
		}
	}
	return silent
}

// answered lists the lines of a script that a transcript holds, each with a + where the bot spoke because of it.
func answered(transcript string) (all []string) {
	for line := range strings.Lines(transcript) {
		line = strings.TrimRight(line, "\n")
		switch {
		case spokenLine.MatchString(line):
			if n := len(all) - 1; n >= 0 && all[n][0] == '-' {
				all[n] = "+" + all[n][1:]
			}
		case strings.HasPrefix(line, "[") || strings.HasPrefix(line, "@"):
			all = append(all, "-"+line)
		}
	}
	return all
}
