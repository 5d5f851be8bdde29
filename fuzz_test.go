package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
	"unicode"
	"unicode/utf8"

	"starling/adapters/rig"
	"starling/bot"
	"starling/data"
	"starling/locales/markup"
)

// tricks is what the fuzz tests of the whole bot start from: what people try who want the bot to say what it did not mean.
var tricks = []string{
	"", "food for 20 people by friday", "5/12 19:00", "٣ ۳ 3", "N-7K3Q", "A-2M8X met", "barcelona", "\u202eevil\u2066 \u200bx\u2069\u2069 rtl", "\u2069\u2069\u2069 out \u2068\u2068", "**bold** _it_ `code` [click](https://evil.example)",
	"```\n🔴 **Alert from Barcelona** · now\n```", "x\n🔴 **Alert from Barcelona** · now · 10:00\n“police”\n✅ confirmed", "x\n\n- item\n- @room @ana:example.org https://matrix.to/#/@ana:example.org",
	"Z" + strings.Repeat("\u0336\u0322\u0349", 60), strings.Repeat("\u0301", 50), "✅", "👍🏽", "1️⃣", "\ufffc \ufffc", "\x00\x1b[2J\x07", "\xff\xfe", "<b onclick=alert(1)>&lt;", "{{.Code}} %s $1 \\n \\", "`",
	strings.Repeat("a", 5000), strings.Repeat("ab ", 1300), strings.Repeat("\n", 300), strings.Repeat("[a](b", 300), "ＦＵＬＬ ｗｉｄｔｈ", "شرطة عند الباب", "@zoe", "/alert now: x", "//needs !needs", "Starling: needs",
	"\u2028line\u2029para\u0085next", "-", "—", "…", "99999999999999999999999999", "-1", "0", "me", "this", "\x00join",
}

// calls are the ways in which a text reaches the bot; %s is the text.
var calls = []string{
	"%s", "/%s", "starling: %s", "@starling %s", "/needs %s", "/needs list %s", "/needs show %s", "/needs close %s", "/calendar add %s tomorrow 19:00", "/calendar add %s", "/calendar show %s",
	"/alert now: %s", "/alert %s", "/alert status %s", "/alert clear %s", "/principles %s", "/relay follow %s", "/relay unfollow %s", "/relay allow %s", "/relay remove %s", "/relay listed %s",
	"/room name %s", "/room language %s", "/room timezone %s", "/room alerts %s", "/room join %s", "/room off %s", "/room ignore %s", "/room heed %s", "/my language %s", "/my timezone %s",
	"/forget %s", "/forget this %s", "/starling %s", "reply %s", "edit %s", "name %s", "called %s",
}

// sentinel stands in what is typed; whatever the bot says of that stands between isolates.
const sentinel = "zq7zq"

// FuzzWhatTheBotSays lets somebody type anything at all to the whole bot, and answers in her name what it asks. Nothing that she types
// may break the bot, and what the bot says because of it is bounded, has no control characters, and has her words set off
// from its own.
func FuzzWhatTheBotSays(f *testing.F) {
	for i := range calls {
		for j, s := range tricks {
			if i == 0 || j%6 == i%6 { // the rest is for the fuzzer
				f.Add(uint8(i), s)
			}
		}
	}
	var mu sync.Mutex
	var events []rig.Event
	s := onRig(f, bot.Limits{}, func(ev rig.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, ev)
	})
	n := 0
	f.Fuzz(func(t *testing.T, call uint8, text string) {
		n++
		before := s.e.Status().Errors
		w := &guest{settled: &settled{t, s.e, s.net, s.clock}, n: n}
		w.arrive()
		w.say(calls[int(call)%len(calls)], text)
		mu.Lock()
		all := events
		events = nil
		mu.Unlock()
		for _, ev := range all {
			if ev.Kind != bot.OutMessage && ev.Kind != bot.OutEdit {
				continue
			}
			if what := unfit(ev.Text); what != "" {
				t.Errorf("%q, %+q: the bot says what %s:\n%+q", calls[int(call)%len(calls)], text, what, ev.Text)
			}
		}
		if s.e.Status().Errors > before {
			t.Errorf("%q, %+q: an error of the engine", calls[int(call)%len(calls)], text)
		}
		w.leave()
	})
}

// guest is a world for one text: a room with somebody who types, her chapter, and another that hears it.
type guest struct {
	*settled
	n int
}

func (w *guest) room(name string) string   { return fmt.Sprintf("!%s%d", name, w.n) }
func (w *guest) person(name string) string { return fmt.Sprintf("@%s%d", name, w.n) }

func (w *guest) arrive() {
	w.do(func(tx *bot.Tx) error {
		for _, name := range []string{"a", "b"} {
			r := rig.Room{ID: w.room(name), Name: name, Encrypted: true, Members: []rig.Member{{Person: w.person("mal"), Name: "mal", Moderator: true}, {Person: w.person("kim"), Name: "kim"}}}
			h := rig.Home{Adapter: "matrix", Room: r, Lang: map[string]string{"a": "en", "b": "ar"}[name], Chapter: fmt.Sprintf("Chapter %s%d", name, w.n), Since: w.clock.Now().Add(-100 * time.Hour)}
			if name == "b" {
				h.Follows = []string{fmt.Sprintf("Chapter a%d", w.n)}
			}
			if err := h.SetUp(tx); err != nil {
				return err
			}
			if err := w.net.Create(r); err != nil {
				return err
			}
		}
		return nil
	})
	w.settle()
}

// say types a text in one of the ways, and says yes to what the bot asks then.
func (w *guest) say(call, text string) {
	way, rest, _ := strings.Cut(call, " ")
	typed := sentinel + " " + text + " " + sentinel
	a, mal := w.room("a"), w.person("mal")
	switch way {
	case "reply", "edit":
		w.type1(rig.Said{Room: a, Person: mal, Text: "/needs"})
		q := w.last(a)
		id := w.type1(rig.Said{Room: a, Person: mal, Text: text, ReplyTo: q.ID, Thread: q.Thread})
		if way == "edit" {
			if err := w.net.Edit(a, mal, id, typed); err != nil {
				w.t.Fatal(err)
			}
			w.settle()
		}
		for range 6 {
			q := w.last(a)
			w.type1(rig.Said{Room: a, Person: mal, Text: "skip", ReplyTo: q.ID, Thread: q.Thread})
			w.type1(rig.Said{Room: a, Person: mal, Text: typed, ReplyTo: q.ID, Thread: q.Thread})
			w.type1(rig.Said{Room: a, Person: mal, Text: "1", ReplyTo: q.ID, Thread: q.Thread})
		}
	case "name": // she is called so
		if err := w.net.Join(a, rig.Member{Person: mal, Name: typed, Moderator: true}); err != nil {
			w.t.Fatal(err)
		}
		w.settle()
		w.type1(rig.Said{Room: a, Person: w.person("kim"), Text: "/room language de"})
		w.type1(rig.Said{Room: a, Person: mal, Text: "/needs 12 mattresses by saturday near the port"})
		w.type1(rig.Said{Room: a, Person: mal, Text: "1", ReplyTo: w.last(a).ID, Thread: w.last(a).Thread})
	case "called": // a room without a chapter is called so, and asks to join
		r := rig.Room{ID: w.room("c"), Name: typed, Members: []rig.Member{{Person: mal, Name: "mal", Moderator: true}}}
		if err := w.net.Create(r); err != nil {
			w.t.Fatal(err)
		}
		w.settle()
		w.type1(rig.Said{Room: r.ID, Person: mal, Text: fmt.Sprintf("/room join Chapter a%d", w.n)})
	default:
		w.type1(rig.Said{Room: a, Person: mal, Text: strings.ReplaceAll(call, "%s", text)})
		if rest != "" {
			w.type1(rig.Said{Room: a, Person: mal, Text: strings.ReplaceAll(call, "%s", typed)})
		}
	}
	for _, who := range []string{mal, w.person("kim")} {
		if m := w.last(a); m.ID != "" {
			if err := w.net.React(a, who, m.ID, "✅", true); err != nil {
				w.t.Fatal(err)
			}
			w.settle()
		}
	}
}

func (w *guest) type1(s rig.Said) (id string) {
	w.t.Helper()
	id, err := w.net.Say(s)
	if err != nil {
		w.t.Fatal(err)
	}
	w.settle()
	return id
}

// last is the bot's last message in a room.
func (w *guest) last(room string) (last rig.Message) {
	for _, m := range w.net.Messages(room) {
		if m.Author == rig.Bot {
			last = m
		}
	}
	return last
}

// leave ends the world, so that the next one is not slower.
func (w *guest) leave() {
	for _, name := range []string{"a", "b", "c"} {
		if w.net.Has(w.room(name)) {
			_ = w.net.Remove(w.room(name)) // it may have left by itself
		}
	}
	w.settle()
	w.do(func(tx *bot.Tx) error {
		for _, name := range []string{"a", "b"} {
			r, err := tx.RoomAt("matrix", w.room(name))
			if err != nil || r == nil {
				return err
			}
			if r.Chapter != "" {
				if err := tx.LeaveChapter(r); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// maxSaid is far more than any answer needs, in octets: people read on a phone.
const maxSaid = 40_000

// unfit says what is wrong with a text of the bot, "" if nothing is.
func unfit(text string) string {
	plain := markup.Plain(markup.Parse(text))
	switch {
	case !utf8.ValidString(text):
		return "is not valid UTF-8"
	case len(text) > maxSaid:
		return "is too long"
	case strings.Contains(markup.HTML(markup.Parse(text)), "javascript:"):
		return "has a link that runs"
	}
	depth, outside := 0, strings.Builder{}
	for _, c := range plain {
		switch {
		case c == '\u2066' || c == '\u2067' || c == '\u2068':
			depth++
		case c == '\u2069':
			depth--
		case c != '\n' && unicode.IsControl(c), c >= '\u202a' && c <= '\u202e', c == '\u200e', c == '\u200f':
			return fmt.Sprintf("has %U in it", c)
		case depth == 0:
			outside.WriteRune(c)
		}
		if depth < 0 || c == '\n' && depth != 0 {
			return "breaks out of its isolates"
		}
	}
	switch {
	case depth != 0:
		return "leaves an isolate open"
	case strings.Contains(strings.ToLower(outside.String()), sentinel):
		return "has typed words outside of isolates"
	}
	return ""
}

// FuzzConfig: a configuration is read or refused by row and key; never is a value repeated, which may be a secret in the wrong place.
func FuzzConfig(f *testing.F) {
	shipped, err := os.ReadFile("config.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shipped)
	for _, s := range []string{"", "[matrix]\nuser = \"hunter2hunter2\"", "[matrix]\npassword = 'hunter2hunter2'", "bot = 3", "[bot]\nname = [\"a\"]", "[[bot]]", "[matrix]\ninvite = [\"hunter2hunter2\", 7]", "\xff", "a = \"hunter2hunter2\nb", "[log]\nlevel = \"hunter2hunter2\""} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "config.toml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadConfig(path, false)
		if err == nil {
			if wrong := c.check(); len(wrong) > 0 {
				t.Errorf("%q is taken though %v", text, wrong)
			}
			return
		}
		if strings.Contains(err.Error(), "hunter2hunter2") {
			t.Errorf("%q: the error repeats a value: %v", text, err)
		}
	})
}

// FuzzPrinciples: what a folder puts in the place of the shipped principles is read whole or refused.
func FuzzPrinciples(f *testing.F) {
	fsys, err := data.Open("")
	if err != nil {
		f.Fatal(err)
	}
	names, err := filepath.Glob("data/principles/*")
	if err != nil || len(names) == 0 {
		f.Fatal("no principles", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("number = 1\nid = \"x\"\n[texts.en]\ntitle = \"\\u202e\"\n"))
	if _, err := data.Principles(fsys); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		all, err := data.Principles(fstest.MapFS{names[0][len("data/"):]: {Data: file}})
		if err != nil {
			return
		}
		for _, p := range all {
			if p.ID == "" || len(p.Texts) == 0 || p.Number <= 0 {
				t.Errorf("%q became %+v", file, p)
			}
		}
	})
}
