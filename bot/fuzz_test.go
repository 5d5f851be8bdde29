package bot

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"starling/locales"
	"starling/locales/markup"
)

// fuzzTable is a table of commands with words in several languages, without an engine.
func fuzzTable(f *testing.F) (*commandTable, *wordLists) {
	f.Helper()
	caps := []Capability{{Name: "needs", Commands: []Command{{Name: "needs", Sub: []Command{{Name: "list"}, {Name: "show"}, {Name: "close"}}}}},
		{Name: "room", Commands: []Command{{Name: "room", Sub: []Command{{Name: "language"}, {Name: "setup"}}}}}, {Name: "starling", Commands: []Command{{Name: "starling"}}}}
	l, err := locales.Load(locales.NewRegistry())
	if err != nil {
		f.Fatal(err)
	}
	t, err := buildTable(caps, l, "Murmur")
	if err != nil {
		f.Fatal(err)
	}
	return t, loadWords(l)
}

// FuzzRead: whatever is typed is read as a command or not; what is left of it is part of it, and nothing is a command unless it is
// marked as one or the bot is meant.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"/needs food", "//needs", "!besoins liste", "／needs", "/needs@murmur:example.org x", "/needs@other:example.org x", "Murmur: needs list 2", "@murmur", "murmur,", "starling؛ احتياجات",
		"/", "//", "!", "/!/", "/needs@", "/@", "needs", "/ needs", "/nedes", "/help", "/?", "@starling:example.org /needs", "\xff/needs", "/needs\u2028list", "/needs\u00a0list"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	table, words := fuzzTable(f)
	f.Fuzz(func(t *testing.T, text string, spoken bool) {
		c := table.read(text, spoken)
		if !strings.Contains(text, c.rest) || !strings.Contains(text, c.word) {
			t.Errorf("%q: rest %q, word %q", text, c.rest, c.word)
		}
		if c.node != nil && !c.sigil && !c.named {
			t.Errorf("%q is taken for /%s", text, strings.Join(c.node.path, " "))
		}
		if c.named && !spoken && !c.called {
			t.Errorf("%q is taken for a word to the bot", text)
		}
		again := table.read(text, spoken)
		if again != c {
			t.Errorf("%q is read as %+v and as %+v", text, c, again)
		}
		if w := table.root.nearest(c.word, "fr"); w.node != nil && utf8.RuneCountInString(markup.FoldWord(c.word)) > 40 {
			t.Errorf("%q is near %s", text, w.text)
		}
		a := words.answer(&Incoming{Kind: KindText, Text: text})
		if a.Yes && a.No {
			t.Errorf("%q is yes and no", text)
		}
		r := words.answer(&Incoming{Kind: KindReactionOn, Text: text})
		if r.Yes && r.No || r.Typed {
			t.Errorf("%q as a reaction: %+v", text, r)
		}
	})
}

// FuzzCodes: a code is found however it is typed, and what is none is none.
func FuzzCodes(f *testing.F) {
	for _, s := range []string{"N-7K3Q", "n7k3q", "N–7k3q", "7K3Q", "\u2068N-7K3Q\u2069", "N-O1IL", "`A-2M8X`", "٣٣٣٣", "--------", "N-", "N-7K3QU", "-0000", "7K3QU", "Lille (A1B2)", "(A1B2)", "x)", "(((((", "Lille (٣٣٣٣)", "\xff-7K3Q"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		letter, digits := readCode(text)
		if digits == "" && letter != "" || digits != "" && (len(digits) < 4 || strings.Trim(digits, crockfordDigits) != "") || len(letter) > 1 && utf8.RuneCountInString(letter) > 1 {
			t.Errorf("%q is read as %q %q", text, letter, digits)
		}
		if digits != "" {
			code := digits
			if letter != "" {
				code = letter + "-" + digits
			}
			if l, d := readCode(code); letter != "" && l != letter || d != digits && len(digits) != 5 {
				t.Errorf("%q is read as %q %q, and that as %q %q", text, letter, digits, l, d)
			}
		}
		name, mark := splitMark(text)
		if mark != "" && (len(mark) != markLength || !strings.HasPrefix(text, name)) || mark == "" && name != text {
			t.Errorf("%q is split into %q and %q", text, name, mark)
		}
	})
}

// FuzzStructured: the arguments of a structured command never become more than its parameters, nor another command.
func FuzzStructured(f *testing.F) {
	f.Add("N-7K3Q", "partly", "x")
	f.Add("/room goodbye", "\n/needs", "\x00")
	table, _ := fuzzTable(f)
	n := *table.at("needs", "close")
	n.Params = []Param{{Name: "code"}, {Name: "outcome"}}
	f.Fuzz(func(t *testing.T, code, outcome, other string) {
		got := structured(&n, map[string]string{"code": code, "outcome": outcome, "other": other})
		want := strings.TrimSpace(strings.TrimSpace(code) + " " + strings.TrimSpace(outcome))
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// FuzzEnvelope: an envelope verifies as it was signed, and with nothing of it changed.
func FuzzEnvelope(f *testing.F) {
	f.Add("01J", "need", "chapter", "", int64(0), int64(1), false, 1)
	f.Add("\"},{", "\u2028", "<&>", "\xff", int64(-1), int64(1)<<40, true, -1)
	secret := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := secret.Public().(ed25519.PublicKey)
	f.Fuzz(func(t *testing.T, id, kind, chapter, previous string, at, expires int64, encrypted bool, version int) {
		r := Record{ID: id, Kind: kind, Scope: ScopeRoom, Chapter: chapter, Previous: previous, At: time.UnixMilli(at), Expires: time.UnixMilli(expires), Encrypted: encrypted, Version: version}
		r.sign(secret)
		if err := r.Verify(public); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		for what, change := range map[string]func(*Record){
			"id": func(r *Record) { r.ID += "x" }, "kind": func(r *Record) { r.Kind += "x" }, "scope": func(r *Record) { r.Scope = ScopeFollowers },
			"chapter": func(r *Record) { r.Chapter += "x" }, "version": func(r *Record) { r.Version++ }, "encrypted": func(r *Record) { r.Encrypted = !r.Encrypted },
			"body": func(r *Record) { r.BodyHash += "0" }, "time": func(r *Record) { r.At = r.At.Add(time.Millisecond) }, "signature": func(r *Record) { r.Signature = r.Signature[1:] },
		} {
			forged := r
			change(&forged)
			if forged.Verify(public) == nil {
				t.Errorf("%+v verifies with another %s", r, what)
			}
			if what != "signature" { // nor with a hash that fits
				forged.Hash = forged.hash()
				if forged.Verify(public) == nil {
					t.Errorf("%+v verifies with another %s and its hash", r, what)
				}
			}
		}
	})
}
