package locales

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/nicksnyder/go-i18n/v2/i18n"
)

// checked is what Check finds in the sayings when they stand in all languages as they should, but for change.
func checked(t *testing.T, reg *Registry, change map[string]string) []error {
	t.Helper()
	english, err := Parse([]byte(sayings))
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for _, l := range Languages() {
		base, err := files.ReadFile("active." + l.Code + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		entries, err := Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		// Only what the renderer itself needs: other entries have types that are not known here.
		maps.DeleteFunc(entries, func(key string, _ *i18n.Message) bool {
			head, _, _ := strings.Cut(key, ".")
			return key != "word.yes" && head != "date" && head != "span" && head != "list"
		})
		for key, m := range english {
			copied := *m
			if l.Code != Source {
				copied.Hash = Hash(m)
			}
			if key == "locales.rooms" {
				forms := plurals(l.Code)
				for c, field := range map[string]*string{
					"zero": &copied.Zero, "two": &copied.Two, "few": &copied.Few, "many": &copied.Many,
				} {
					if _, ok := forms[c]; ok {
						*field = m.Other
					}
				}
			}
			entries[key] = &copied
		}
		if text, ok := change[l.Code]; ok {
			other, err := Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			for key, m := range other {
				switch {
				case m.Other == "none":
					delete(entries, key)
					continue
				case m.Hash == "" && l.Code != Source && english[key] != nil:
					m.Hash = Hash(english[key])
				}
				entries[key] = m
			}
		}
		fsys["active."+l.Code+".toml"] = &fstest.MapFile{Data: Format(entries)}
	}
	b, err := LoadFS(reg, fsys)
	if err != nil {
		return []error{err}
	}
	return Check(b)
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		want   string // part of an error; "" is none
	}{
		"all is well": {nil, ""},
		"a dual without its number": {map[string]string{"ar": `["locales.rooms"]
zero = "لا غرف"
one = "غرفة"
two = "غرفتان"
few = "{{.Count}}"
many = "{{.Count}}"
other = "{{.Count}}"`}, ""},
		"missing":                 {map[string]string{"fr": `["locales.framed"]` + "\nother='none'"}, "locales.framed (fr): missing"},
		"too many":                {map[string]string{"fr": `["locales.kind.house"]` + "\nother='x'"}, "locales.kind.house (fr): English has no such entry"},
		"no type":                 {map[string]string{"en": `["locales.gone"]` + "\nother='x'"}, "locales.gone: no message type"},
		"no entry":                {map[string]string{"en": `["locales.framed"]` + "\nother='none'"}, "locales.framed: message type without an entry"},
		"stale":                   {map[string]string{"fr": `["locales.kind.food"]` + "\nhash='sha1-0'\nother='x'"}, "locales.kind.food (fr): stale"},
		"a plural form too few":   {map[string]string{"fr": `["locales.rooms"]` + "\none='{{.Count}}'\nother='{{.Count}}'"}, "exactly one, many, other"},
		"a plural form too many":  {map[string]string{"de": `["locales.rooms"]` + "\none='{{.Count}}'\ntwo='{{.Count}}'\nother='{{.Count}}'"}, "exactly one, other"},
		"plural without need":     {map[string]string{"de": `["locales.kind.food"]` + "\none='x'\nother='x'"}, "exactly other"},
		"a number left out":       {map[string]string{"de": `["locales.rooms"]` + "\none='ein'\nother='viele'"}, "other: lacks {{.Count}}"},
		"a variable left out":     {map[string]string{"de": `["locales.framed"]` + "\nother='x'"}, "lacks {{.Items}}"},
		"a variable of its own":   {map[string]string{"de": `["locales.kind.food"]` + "\nother='{{.Who}}'"}, "has {{.Who}}, which English has not"},
		"white space":             {map[string]string{"de": `["locales.kind.food"]` + "\nother='Essen '"}, "white space"},
		"lines":                   {map[string]string{"de": `["locales.kind.food"]` + "\nother=\"a\\nb\\nc\""}, "2 line breaks, in English 0"},
		"an exclamation mark":     {map[string]string{"es": `["locales.kind.food"]` + "\nother='¡comida!'"}, "exclamation mark"},
		"markup that stays open":  {map[string]string{"de": `["locales.framed"]` + "\nother='**{{dots .Items}}'"}, "markup that does not close"},
		"a template out of shape": {map[string]string{"de": `["locales.framed"]` + "\nother='{{dots .Items}'"}, "locales.framed (other)"},
		"a function nobody has":   {map[string]string{"de": `["locales.framed"]` + "\nother='{{nothing .Items}}'"}, "not defined"},
	} {
		t.Run(name, func(t *testing.T) {
			reg := NewRegistry()
			reg.Add(said{}, framed{})
			errs := checked(t, reg, c.change)
			if c.want == "" {
				for _, err := range errs {
					t.Error(err)
				}
				return
			}
			for _, err := range errs {
				if strings.Contains(err.Error(), c.want) {
					return
				}
			}
			t.Errorf("got %v, want an error with %q", errs, c.want)
		})
	}
}

func TestExclamationMarks(t *testing.T) {
	for s, want := range map[string]bool{
		"Saved": false, "Saved!": true, "`!needs` or `!{{.Name}}`": false, "!help": false, "`!`": false, "¿Sí?": false, "{{.Name}}!": true, "a ! b": true,
		"!": true,
	} {
		if got := exclaims(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func TestFormatReadsBack(t *testing.T) {
	texts := []string{
		"plain", `with "quotes"`, `it's "both"`, `back\slash`, "two\nlines", "quotes \"\"\"\" and\nlines\"", "\u2066clock\u2069",
		"tab\tand\r\n", " edges ", "\nstarts with a line", "{{if eq .X \"a\"}}b{{end}}", "emoji 🔴\U000e0067", "'", "'''\n'''",
	}
	entries := map[string]*i18n.Message{}
	for i, s := range texts {
		key := "a.b" + string(rune('a'+i))
		entries[key] = &i18n.Message{ID: key, Other: s, One: s, Hash: "sha1-x", Description: s}
	}
	data := Format(entries)
	got, err := Parse(data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if diff := cmp.Diff(entries, got); diff != "" {
		t.Errorf("%s in\n%s", diff, data)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"x", "[a]\nb=1", `nodot = "x"`, "[a.b]\none='x'", "[a]\nb='x'\n[\"a.b\"]\nother='y'", `"a.b" = ""`} {
		if got, err := Parse([]byte(s)); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}
