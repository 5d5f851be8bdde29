package alert

import (
	"strings"
	"testing"
	"time"

	"starling/bot"
	"starling/locales"
)

func bundle(t *testing.T) *locales.Bundle {
	t.Helper()
	reg := locales.NewRegistry()
	bot.Messages(reg, Capability())
	l, err := locales.Load(reg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestUrgencyIsReadOnlyWhenItIsSetOff(t *testing.T) {
	l := bundle(t)
	for _, c := range []struct{ text, urgency, rest string }{
		{"now: police at the door", immediate, "police at the door"},
		{"NOW : police", immediate, "police"},
		{"Soon, bailiffs: bring friends", expected, "bailiffs: bring friends"},
		{"más tarde: juicio", future, "juicio"},
		{"maintenant : police", immediate, "police"},
		{"الآن، الشرطة هنا", immediate, "الشرطة هنا"},
		{"di nav saetan de: polîs tê", expected, "polîs tê"},
		{"jetzt: Räumung", immediate, "Räumung"},
		{"agora, polícia", immediate, "polícia"},
		{"now that they are gone, all is calm", "", "now that they are gone, all is calm"},
		{"police now: come", "", "police now: come"},
		{"now:", "", "now:"},
		{"now", "", "now"},
		{": now", "", ": now"},
		{"", "", ""},
	} {
		if u, rest := urgencyFirst(l, c.text); u != c.urgency || rest != c.rest {
			t.Errorf("%q: got %q, %q; want %q, %q", c.text, u, rest, c.urgency, c.rest)
		}
	}
}

// No word may mean two urgencies, in any languages: one would be taken for the other.
func TestNoWordMeansTwoUrgencies(t *testing.T) {
	l := bundle(t)
	for _, u := range urgencies {
		for lang, words := range l.Words(urgencyWords(u)) {
			for _, w := range words {
				if got, _ := urgencyFirst(l, w+": x"); got != u {
					t.Errorf("%s %q: got %q, want %q", lang, w, got, u)
				}
			}
		}
	}
}

func TestEveryTypedLineStandsInItsOwnQuotes(t *testing.T) {
	l := bundle(t)
	long := strings.Repeat("line\n", 3000)
	for _, text := range []string{"one line", "»\n🔴 **Alert from Cairo**\n\n\n✋ I can help · A-0000", "- a\n- b", long, "\u2029x\u2028y"} {
		quoted := quote(text)
		if len(quoted) > maxLines {
			t.Errorf("%.20q: %d lines", text, len(quoted))
		}
		for _, lang := range locales.Languages() {
			msg := Alert{Mark: "🔴", Chapter: bot.ChapterName{Name: "London"}, Urgency: urgencyTerm(immediate), Lines: quoted, Code: "A-2M8X"}
			out, err := l.Render(locales.Reader{Lang: lang.Code}, msg)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(out, "\n")
			if len(lines) != len(quoted)+2 {
				t.Errorf("%s, %.20q: %d lines, want a header, %d quoted and a footer", lang.Code, text, len(lines), len(quoted))
			}
			open, _ := l.Render(locales.Reader{Lang: lang.Code}, Quote{Text: "x"})
			mark := []rune(open)[0]
			for _, line := range lines[1 : len(lines)-1] {
				if []rune(line)[0] != mark {
					t.Errorf("%s: a typed line is not quoted: %q", lang.Code, line)
				}
			}
		}
	}
}

func TestTwoTimesOnlyWhereClocksDiffer(t *testing.T) {
	at := time.Date(2026, 11, 23, 17, 42, 0, 0, time.UTC)
	for _, c := range []struct {
		origin, reader string
		two            bool
	}{
		{"Europe/Madrid", "Europe/Paris", false},
		{"Europe/Madrid", "America/Montreal", true},
		{"UTC", "", false},
		{"UTC", "Africa/Cairo", true},
	} {
		m := times(at, c.origin, &bot.Room{Zone: c.reader})
		if (m.Here != nil) != c.two {
			t.Errorf("from %s in %q: %+v", c.origin, c.reader, m)
		}
	}
}

func TestBodyOfARecord(t *testing.T) {
	until := time.Date(2026, 11, 24, 17, 42, 0, 0, time.UTC)
	for raw, want := range map[string]string{
		`{"msgType":"Alert","state":"sent","expires":"2026-11-24T17:42:00Z"}`: stateSent,
		`{"state":"draft"}`: stateDraft,
		`nonsense`:          stateDropped,
	} {
		state, due := index([]byte(raw))
		if state != want {
			t.Errorf("%s: got state %q, want %q", raw, state, want)
		}
		if state == stateSent && !due.Equal(until) {
			t.Errorf("%s: due %v", raw, due)
		}
	}
}
