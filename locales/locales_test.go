package locales

import (
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"starling/locales/markup"
)

// load is the built-in entries with further ones: text is by language, in the format of the active files. A language that
// is not given takes the English ones.
func load(t testing.TB, reg *Registry, text map[string]string) *Bundle {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, l := range Languages() {
		name := "active." + l.Code + ".toml"
		data, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		own, ok := text[l.Code]
		if !ok {
			own = text[Source]
		}
		more, err := Parse([]byte(own))
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(entries, more)
		fsys[name] = &fstest.MapFile{Data: Format(entries)}
	}
	b, err := LoadFS(reg, fsys)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var now = time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)

func render(t testing.TB, b *Bundle, lang string, msg any) string {
	t.Helper()
	text, err := b.Render(Reader{Lang: lang, Now: now}, msg)
	if err != nil {
		t.Fatalf("%s: %v", lang, err)
	}
	return text
}

func TestBuiltInEntriesAreComplete(t *testing.T) {
	b, err := Load(NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range b.Keys(Source) {
		if isMessage(key) {
			continue // its type is checked where all commands are known
		}
		for _, l := range Languages() {
			m := b.entries[l.Code][key]
			if m == nil {
				t.Errorf("%s (%s): missing", key, l.Code)
				continue
			}
			for _, err := range CheckEntry(l.Code, b.entries[Source][key], m) {
				t.Error(err)
			}
		}
	}
}

func TestDates(t *testing.T) {
	b := load(t, NewRegistry(), nil)
	november := time.Date(2026, 11, 27, 18, 0, 0, 0, time.UTC)
	may := time.Date(2027, 5, 1, 7, 5, 0, 0, time.UTC)
	for _, c := range []struct{ lang, soon, later string }{
		{"en", "Friday 27 November, 19:00 (Madrid)", "Saturday 1 May 2027"},
		{"es", "viernes 27 de noviembre, 19:00 (Madrid)", "sábado 1 de mayo de 2027"},
		{"fr", "vendredi 27 novembre, 19:00 (Madrid)", "samedi 1er mai 2027"},
		{"pt", "sexta-feira, 27 de novembro, 19:00 (Madri)", "sábado, 1 de maio de 2027"},
		{"de", "Freitag, 27. November, 19:00 (Madrid)", "Samstag, 1. Mai 2027"},
		{"ar", "الجمعة، 27 نوفمبر، \u206619:00\u2069 (مدريد)", "السبت، 1 مايو 2027"},
		{"ku", "înî, 27ê mijdarê, 19:00 (Madrîd)", "şemî, 1ê gulana 2027an"},
	} {
		if got := render(t, b, c.lang, Time{At: november, Zone: "Europe/Madrid"}); got != c.soon {
			t.Errorf("%s: got %q, want %q", c.lang, got, c.soon)
		}
		for _, day := range []Day{{At: may}, DayOf(2027, time.May, 1)} {
			if got := render(t, b, c.lang, day); got != c.later {
				t.Errorf("%s: got %q, want %q", c.lang, got, c.later)
			}
		}
	}
}

func TestDatesAreSaidInTheReadersZone(t *testing.T) {
	b := load(t, NewRegistry(), nil)
	montreal, err := time.LoadLocation("America/Montreal")
	if err != nil {
		t.Fatal(err)
	}
	night := time.Date(2027, 1, 1, 3, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		now  time.Time
		msg  any
		want string
	}{
		{night, Time{At: night}, "Thursday 31 December, 22:30 (Montreal)"},
		{now, Time{At: night}, "Thursday 31 December, 22:30 (Montreal)"},
		{now, Time{At: night, Zone: "Asia/Ho_Chi_Minh"}, "Friday 1 January 2027, 10:30 (Ho Chi Minh City)"},
		{now, Clock{At: night}, "22:30"},
		{now, Clock{At: night, Zone: "Europe/Madrid"}, "04:30"},
		{now, Day{At: night, Zone: "Europe/Madrid"}, "Friday 1 January 2027"},
		{time.Time{}, Day{At: night}, "Thursday 31 December 2026"},
		{now, Zone("Asia/Kolkata"), "Kolkata"},
		{now, Zone("no\nzone*"), "\u2068no\u2069\n\u2068zone\\*\u2069"},
	} {
		got, err := b.Render(Reader{Lang: "en", Zone: montreal, Now: c.now}, c.msg)
		if err != nil || got != c.want {
			t.Errorf("%+v: got %q, %v, want %q", c.msg, got, err, c.want)
		}
	}
	for _, zone := range []string{"Local", "Europe/Nowhere", "../../etc/passwd"} {
		if got, err := b.Render(Reader{Lang: "en"}, Time{Zone: zone}); err == nil {
			t.Errorf("%q: got %q, want an error", zone, got)
		}
	}
}

func TestEveryCityHasAZone(t *testing.T) {
	for lang, byZone := range readCities() {
		for zone, city := range byZone {
			if _, err := time.LoadLocation(zone); err != nil || city != strings.TrimSpace(city) {
				t.Errorf("%s: %q %q: %v", lang, zone, city, err)
			}
		}
	}
}

func TestSpans(t *testing.T) {
	b := load(t, NewRegistry(), nil)
	for d, want := range map[time.Duration]string{
		3 * time.Hour:                     "3 hours",
		10 * time.Minute:                  "10 minutes",
		90 * time.Minute:                  "1 hour and 30 minutes",
		24 * time.Hour:                    "1 day",
		24*time.Hour + 30*time.Minute:     "1 day",
		50 * time.Hour:                    "2 days and 2 hours",
		0:                                 "0 seconds",
		-time.Minute:                      "1 minute",
		10*time.Minute - time.Millisecond: "10 minutes",
	} {
		if got := render(t, b, "en", Span(d)); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	for n, want := range []string{"0 ساعة", "ساعة واحدة", "ساعتين", "3 ساعات"} {
		got, err := b.localize("ar", "span.hours", map[string]any{"Count": n}, &n)
		if err != nil || got != want {
			t.Errorf("%d: got %q, %v, want %q", n, got, err, want)
		}
	}
	for n, want := range map[int]string{11: "11 ساعة", 100: "100 ساعة", 103: "103 ساعات"} {
		got, err := b.localize("ar", "span.hours", map[string]any{"Count": n}, &n)
		if err != nil || got != want {
			t.Errorf("%d: got %q, %v, want %q", n, got, err, want)
		}
	}
}

// An answer in a dialogue must be one thing only.
func TestWordsMeanOneThing(t *testing.T) {
	b := load(t, NewRegistry(), nil)
	for _, l := range Languages() {
		means := map[string]string{}
		for _, key := range []string{"word.yes", "word.no", "word.back", "word.skip", "word.cancel", "word.help", "word.done"} {
			if len(b.Words(key)[l.Code]) == 0 {
				t.Errorf("%s: %s is empty", l.Code, key)
			}
			for _, w := range b.Words(key)[l.Code] {
				w = markup.FoldWord(w)
				if old := means[w]; old != "" {
					t.Errorf("%s: %q is in %s and %s", l.Code, w, old, key)
				}
				means[w] = key
			}
		}
	}
}

func TestLanguageNamed(t *testing.T) {
	for name, want := range map[string]string{
		"en": "en", "ES": "es", "Español": "es", "espanol": "es", "Castellano": "es", "français": "fr", "FRANCAIS": "fr",
		"Kurdî": "ku", "kurmanci": "ku", "Kurmancî": "ku", "العربية": "ar", "arabic": "ar", " German ": "de", "Português": "pt",
	} {
		if l, ok := LanguageNamed(name); !ok || l.Code != want {
			t.Errorf("%q: got %q, want %q", name, l.Code, want)
		}
	}
	for _, name := range []string{"", "klingon", "e"} {
		if l, ok := LanguageNamed(name); ok {
			t.Errorf("%q: got %q, want none", name, l.Code)
		}
	}
}
