package locales

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"starling/locales/markup"
)

type said struct {
	Who   string
	What  any
	Items []any
	Names []string
	More  *rooms
	Open  bool
}

type rooms struct{ Count int }

type framed struct{ Items []Safe }

const sayings = `
["locales.said"]
other = "{{.Who}}: {{.What}}{{if .Open}}, open{{end}}{{if .More}} in {{.More}}{{end}}{{if .Items}}\n{{lines .Items}}{{end}}{{if .Names}} ({{list .Names}}){{end}}"
["locales.rooms"]
one = "{{.Count}} room"
other = "{{.Count}} rooms"
["locales.framed"]
other = "{{dots .Items}} | {{commas .Items}} | {{list .Items}}"
["locales.kind.food"]
other = "food"
`

func sayer(t testing.TB, text map[string]string) *Bundle {
	reg := NewRegistry()
	reg.Add(said{}, &framed{})
	all := map[string]string{Source: sayings}
	maps.Copy(all, text)
	return load(t, reg, all)
}

func isolated(s string) string { return "\u2068" + s + "\u2069" }

func TestRender(t *testing.T) {
	b := sayer(t, nil)
	for _, c := range []struct {
		msg  any
		want string
	}{
		{said{Who: "sam", What: Term("locales.kind.food")}, isolated("sam") + ": food"},
		{said{Who: "s_m", What: Safe("**now**")}, isolated(`s\_m`) + ": **now**"},
		{said{Who: "\u202e!\x00", What: 12, Open: true}, isolated("!") + ": 12, open"},
		{said{What: Code("N-7K3Q"), More: &rooms{Count: 1}}, ": \u2066N-7K3Q\u2069 in 1 room"},
		{said{What: &rooms{}}, ": 0 rooms"},
		{said{What: "x", Items: []any{rooms{2}, "y", 3, Safe("z")}}, ": " + isolated("x") + "\n2 rooms\n" + isolated("y") + "\n3\nz"},
		{said{Names: []string{"a", "b", "c"}}, ":  (" + isolated("a") + ", " + isolated("b") + " and " + isolated("c") + ")"},
		{said{What: Lang("ku")}, ": kurdî"},
		{said{What: Span(3 * time.Hour)}, ": 3 hours"},
		{said{What: said{Who: "b", What: said{Who: "c"}}}, ": " + isolated("b") + ": " + isolated("c") + ": "},
		{&framed{Items: []Safe{"a", "b", "c"}}, "a · b · c | a, b, c | a, b and c"},
		{framed{Items: []Safe{"a"}}, "a | a | a"},
		{framed{}, " |  | "},
		{Safe("as it is"), "as it is"},
		{Term("locales.kind.food"), "food"},
	} {
		if got := render(t, b, "en", c.msg); got != c.want {
			t.Errorf("%+v:\n got %q\nwant %q", c.msg, got, c.want)
		}
	}
}

func TestListsInEveryLanguage(t *testing.T) {
	b := sayer(t, nil)
	for lang, want := range map[string]string{
		"en": "ana, sam and Inés", "es": "ana, sam e Inés", "fr": "ana, sam et Inés", "pt": "ana, sam e Inés",
		"de": "ana, sam und Inés", "ar": "ana وsam وInés", "ku": "ana, sam û Inés",
	} {
		got := render(t, b, lang, framed{Items: []Safe{"ana", "sam", "Inés"}})
		if _, got, _ := strings.Cut(got, " | "); !strings.HasSuffix(got, " | "+want) {
			t.Errorf("%s: got %q, want %q", lang, got, want)
		}
	}
	for word, want := range map[string]bool{"Inés": true, "hijas": true, "hielo": false, "Iota": false, "**ira**": true, "ana": false, "": false} {
		if got := iSound(word); got != want {
			t.Errorf("%q: got %v, want %v", word, got, want)
		}
	}
}

func TestArabicPlurals(t *testing.T) {
	b := sayer(t, map[string]string{"ar": strings.Replace(sayings, `one = "{{.Count}} room"
other = "{{.Count}} rooms"`, `zero = "لا غرف"
one = "غرفة واحدة"
two = "غرفتان"
few = "{{.Count}} غرف"
many = "{{.Count}} غرفة"
other = "{{.Count}} غرفة!"`, 1)})
	for n, want := range map[int]string{
		0: "لا غرف", 1: "غرفة واحدة", 2: "غرفتان", 3: "3 غرف", 10: "10 غرف", 11: "11 غرفة", 99: "99 غرفة",
		100: "100 غرفة!", 102: "102 غرفة!", 103: "103 غرف", 111: "111 غرفة",
	} {
		if got := render(t, b, "ar", rooms{Count: n}); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	type stranger struct{ X string }
	loop := &said{}
	loop.What = loop
	b := sayer(t, map[string]string{"fr": `
["locales.said"]
other = "{{.Nothing}}"
["locales.rooms"]
one = "une"
other = "des"
`})
	for name, c := range map[string]struct {
		lang string
		msg  any
	}{
		"no message":           {"en", nil},
		"an unknown type":      {"en", stranger{}},
		"one inside":           {"en", said{What: stranger{}}},
		"no language":          {"xx", said{}},
		"a missing variable":   {"fr", said{}},
		"a missing entry":      {"fr", framed{}}, // English has it
		"a missing plural":     {"es", rooms{Count: 1_000_000}},
		"a missing term":       {"en", Term("locales.kind.none")},
		"a number":             {"en", 7},
		"an endless message":   {"en", loop},
		"a list of conditions": {"en", said{Items: []any{true}}},
	} {
		if got, err := b.Render(Reader{Lang: c.lang}, c.msg); err == nil || got != "" {
			t.Errorf("%s: got %q, %v, want an error", name, got, err)
		}
	}
}

func TestTextHasNoFallback(t *testing.T) {
	b := sayer(t, map[string]string{"fr": ""})
	if got := b.Text("en", "locales.kind.food"); got != "food" {
		t.Errorf("got %q", got)
	}
	if got := b.Text("fr", "locales.kind.food"); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
	if got := b.Words("word.help")["ar"]; !slices.Contains(got, "مساعدة") {
		t.Errorf("got %q", got)
	}
	if keys := b.Keys("fr"); !slices.IsSorted(keys) || slices.Contains(keys, "locales.said") || !slices.Contains(keys, "word.yes") {
		t.Errorf("got %q", keys)
	}
}

func TestEncodeKeepsTypes(t *testing.T) {
	reg := NewRegistry()
	reg.Add(said{}, framed{})
	if got, want := reg.Keys(), []string{"locales.framed", "locales.rooms", "locales.said"}; !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
	at := time.Date(2026, 11, 27, 18, 0, 0, 0, time.UTC)
	for _, msg := range []any{
		said{},
		said{Who: "a", What: "<b>&", Open: true, Names: []string{"x", "y"}, More: &rooms{Count: 3}},
		said{What: Code("N-7K3Q"), Items: []any{rooms{1}, Term("t.t"), Span(time.Hour), 7, "s", true, nil}},
		said{What: Time{At: at, Zone: "Europe/Madrid"}, Items: []any{Clock{At: at}, DayOf(2026, 11, 27), Zone("UTC"), Lang("ku"), Safe("*")}},
		said{What: said{What: said{Who: "deep"}}},
		rooms{},
	} {
		key, data, err := reg.Encode(msg)
		if err != nil {
			t.Fatalf("%+v: %v", msg, err)
		}
		got, err := reg.Decode(key, data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if diff := cmp.Diff(msg, got); diff != "" {
			t.Errorf("%s: %s", data, diff)
		}
	}
	_, data, err := reg.Encode(&said{What: &rooms{Count: 2}})
	if want := `{"What":{"$":"locales.rooms","Count":2}}`; err != nil || string(data) != want {
		t.Errorf("got %s, %v, want %s", data, err, want)
	}
}

func TestDecodeReadsRowsOfOtherReleases(t *testing.T) {
	reg := NewRegistry()
	reg.Add(said{})
	got, err := reg.Decode("locales.said", []byte(`{"Who":"a","Gone":{"deep":[1]},"More":null,"What":{"$":"locales.rooms","Count":2,"Old":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(said{Who: "a", What: rooms{2}}, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct{ key, data string }{
		{"locales.nothing", `{}`}, {"locales.said", ``}, {"locales.said", `[]`}, {"locales.said", `{"Who":1}`},
		{"locales.said", `{"What":{"$":"locales.nothing"}}`}, {"locales.said", `{"What":{"Count":1}}`},
		{"locales.said", `{"What":[1]}`}, {"locales.said", `{"What":1.5}`},
		{"locales.said", strings.Repeat(`{"What":{"$":"locales.said","What":`, 50) + "1" + strings.Repeat("}}", 50)},
		{"locales.said", strings.Repeat(`{"$":"locales.said","What":`, 50) + "1" + strings.Repeat("}", 50)},
	} {
		if got, err := reg.Decode(c.key, []byte(c.data)); err == nil {
			t.Errorf("%s: got %+v, want an error", c.data, got)
		}
	}
}

func TestEncodeRefusesWhatItCouldNotRead(t *testing.T) {
	reg := NewRegistry()
	reg.Add(said{})
	loop := &said{}
	loop.What = loop
	for _, msg := range []any{nil, framed{}, "text", said{What: framed{}}, said{What: 1.5}, said{What: []any{1}}, loop, (*said)(nil)} {
		if key, data, err := reg.Encode(msg); err == nil {
			t.Errorf("%T: got %s %s, want an error", msg, key, data)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	type hidden struct{ a string }
	type float struct{ F float64 }
	type moment struct{ At time.Time }
	type embedding struct{ rooms }
	type wait struct{ D time.Duration }
	for _, msg := range []any{nil, "x", struct{}{}, Time{}, hidden{a: ""}, float{}, moment{}, embedding{}, wait{}} {
		t.Run(fmt.Sprintf("%T", msg), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("want a panic")
				}
			}()
			NewRegistry().Add(msg)
		})
	}
	first := func() any { type twin struct{ A string }; return twin{} }
	second := func() any { type twin struct{ B string }; return twin{} }
	reg := NewRegistry()
	reg.Add(first(), first())
	defer func() {
		if recover() == nil {
			t.Error("two types of one key: want a panic")
		}
	}()
	reg.Add(second())
}

func TestKeysAreSnakeCase(t *testing.T) {
	for name, want := range map[string]string{
		"Saved": "saved", "NoSuchRecord": "no_such_record", "HTMLPage": "html_page", "AskID": "ask_id", "Step2": "step2", "A": "a",
	} {
		if got := snake(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// What people typed stands in every text as they typed it, but for what Clean takes out, and never as markup.
func FuzzRender(f *testing.F) {
	for _, s := range []string{sampleText, "**bold** _it_ `code`", "- a\n- b", "\u202e\u2069x\u2066", "[a](https://b.c)", "\\", "{{.Who}}", "<b>@room</b>", "\xff\x00\r\n", "\\`", "a\n\n\n  b"} {
		f.Add(s)
	}
	b := sayer(f, nil)
	f.Fuzz(func(t *testing.T, s string) {
		for _, lang := range []string{"en", "ar"} {
			text := render(t, b, lang, said{Who: s, What: said{Who: s}, Items: []any{s}, Names: []string{s}})
			doc := markup.Parse(text)
			for _, block := range doc.Blocks {
				for _, item := range block.Items {
					for _, node := range item {
						if node.Kind != markup.Text {
							t.Fatalf("%q became %+v", s, node)
						}
					}
				}
				if block.List {
					t.Fatalf("%q became a list", s)
				}
			}
			plain := markup.Plain(doc)
			if want := markup.Isolate(markup.Clean(s)); strings.Count(plain, want) < 4 {
				t.Fatalf("%q is not shown as typed: %q", s, plain)
			}
			depth := 0
			for _, c := range plain {
				switch {
				case c == '\u2066' || c == '\u2067' || c == '\u2068':
					depth++
				case c == '\u2069':
					depth--
				case c != '\n' && unicode.IsControl(c), c >= '\u202a' && c <= '\u202e':
					t.Fatalf("%q let %U through", s, c)
				}
				if depth < 0 || c == '\n' && depth != 0 {
					t.Fatalf("%q breaks out of its isolate: %q", s, plain)
				}
			}
		}
	})
}

// Decode reads rows from a database that may be damaged.
func FuzzDecode(f *testing.F) {
	reg := NewRegistry()
	reg.Add(said{}, framed{})
	_, data, err := reg.Encode(said{Who: "a", What: Span(3), Items: []any{rooms{1}, nil, Time{}}, More: &rooms{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"What":{"$":"locales.safe","v":{"$":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := reg.Decode("locales.said", data)
		if err != nil {
			return
		}
		_, again, err := reg.Encode(msg)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if !json.Valid(again) {
			t.Fatalf("%q became %q", data, again)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	bundle := sayer(b, nil)
	msg := said{Who: "ana", What: Time{At: now, Zone: "Europe/Madrid"}, Items: []any{rooms{1}, rooms{2}}, Names: []string{"a", "b"}}
	for b.Loop() {
		render(b, bundle, "de", msg)
	}
}
