package needs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/bot"
	"starling/bot/when"
	"starling/locales"
)

func bundle(t *testing.T) *locales.Bundle {
	t.Helper()
	reg := locales.NewRegistry()
	bot.Messages(reg, Capability())
	b, err := locales.Load(reg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// langs are all languages, one of them first.
func langs(first string) []string {
	all := []string{first}
	for _, l := range locales.Languages() {
		if l.Code != first {
			all = append(all, l.Code)
		}
	}
	return all
}

func reading(lang string) when.Options {
	return when.Options{Langs: langs(lang), Now: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
}

func TestCategoryIsFoundByWords(t *testing.T) {
	b := bundle(t)
	for _, c := range []struct{ lang, text, want string }{
		{"en", "water and food for 20 families", "food"},
		{"en", "12 mattresses", "shelter"},
		{"en", "a lawyer for two people who were arrested", "legal"},
		{"en", "something for the pain", "health"}, // in French it is bread
		{"en", "chairs", other},
		{"en", "healthy doubt", "health"},
		{"es", "agua y comida para 20 familias", "food"},
		{"es", "Abogadas para las detenidas", "legal"},
		{"es", "INSULINA", "health"},
		{"es", "food for 20", "food"}, // another language's word
		{"fr", "du pain et des couvertures", "food"},
		{"fr", "des couvertures et du pain", "shelter"}, // as often: the first
		{"fr", "un avocat", "legal"},
		{"pt", "cestas de alimentos", "food"},
		{"pt", "remédios", "health"},
		{"de", "Matratzen und Decken, auch Wasser", "shelter"},
		{"de", "Übersetzerin", other},
		{"ar", "ماء وطعام للعائلات", "food"},
		{"ar", "نحتاج والأدوية بسرعة", "health"},
		{"ar", "محامية", "legal"},
		{"ku", "av û nan ji bo 20 malbatan", "food"},
		{"ku", "betaniyên germ", "shelter"},
		{"ku", "", other},
	} {
		if got := category(b, langs(c.lang), c.text); got != c.want {
			t.Errorf("%s: %q is about %s, want %s", c.lang, c.text, got, c.want)
		}
	}
}

func TestPlaceIsFoundOnlyWhereItIsSure(t *testing.T) {
	b := bundle(t)
	for _, c := range []struct{ lang, text, place, rest string }{
		{"en", "12 mattresses near the port", "near the port", "12 mattresses"},
		{"en", "12 mattresses, near the port, dry ones", "near the port", "12 mattresses dry ones"},
		{"en", "Near the port 12 mattresses", "", "Near the port 12 mattresses"},
		{"en", "mattresses near", "", "mattresses near"},
		{"en", "20 blankets in good condition", "", "20 blankets in good condition"},
		{"en", "food near the old school that was closed after the flood of last year by the town", "", "food near the old school that was closed after the flood of last year by the town"},
		{"es", "mantas cerca del puerto", "cerca del puerto", "mantas"},
		{"fr", "des couvertures près du port", "près du port", "des couvertures"},
		{"de", "Decken in der Nähe vom Hafen", "in der Nähe vom Hafen", "Decken"},
		{"ar", "بطانيات قرب الميناء", "قرب الميناء", "بطانيات"},
		{"ku", "betanî li nêzîkî benderê", "li nêzîkî benderê", "betanî"},
	} {
		place, rest := placeIn(b, langs(c.lang), c.text)
		if place != c.place || rest != c.rest {
			t.Errorf("%s: %q is %q at %q, want %q at %q", c.lang, c.text, rest, place, c.rest, c.place)
		}
	}
}

// What the questions give as examples must be understood.
func TestExamplesWork(t *testing.T) {
	b := bundle(t)
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, l := range locales.Languages() {
		dues := quoted.FindAllStringSubmatch(b.Text(l.Code, "needs.hint_due"), -1)
		if len(dues) != 3 {
			t.Errorf("%s: want three examples of by when", l.Code)
		}
		for _, m := range dues {
			r := when.Parse(m[1], reading(l.Code))
			if !when.Open(m[1], langs(l.Code)) && (r.Problem != when.None || len(r.Readings) != 1) {
				t.Errorf("%s: by when: %q is not understood: %v", l.Code, m[1], r)
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(b.Text(l.Code, "needs.hint_many"), 2) {
			if n, unit, rest, ok := when.Quantity(m[1], langs(l.Code)); !ok || n == 0 || unit == "" || rest != "" {
				t.Errorf("%s: for how many: %q gives %d %q and %q", l.Code, m[1], n, unit, rest)
			}
		}
		_, line, _ := strings.Cut(b.Text(l.Code, "example.needs"), " ")
		r, rest, found := when.Extract(line, reading(l.Code))
		if !found || r.Problem != when.None || len(r.Readings) != 1 {
			t.Errorf("%s: no date in %q: %v", l.Code, line, r)
		}
		if n, unit, rest, ok := when.Quantity(rest, langs(l.Code)); !ok || n != 20 || unit != "people" || category(b, langs(l.Code), rest) != "food" {
			t.Errorf("%s: %q gives %d %q of %q", l.Code, line, n, unit, rest)
		}
	}
}

// A stem of two letters would be found everywhere; a category without words in a language nowhere.
func TestWordListsAreUsable(t *testing.T) {
	b := bundle(t)
	for _, c := range categories[:len(categories)-1] {
		lists := b.Words("needs.category." + c + ".words")
		for _, l := range locales.Languages() {
			if len(lists[l.Code]) < 5 {
				t.Errorf("%s: %s has few words", l.Code, c)
			}
			for _, w := range lists[l.Code] {
				if stem, open := strings.CutSuffix(w, "*"); open && len([]rune(stem)) < 3 || strings.ContainsAny(stem, "*") {
					t.Errorf("%s: %s: %q is no stem", l.Code, c, w)
				}
				for _, d := range categories[:len(categories)-1] {
					if d != c && slices.Contains(b.Words("needs.category." + d + ".words")[l.Code], w) {
						t.Errorf("%s: %q means %s and %s", l.Code, w, c, d)
					}
				}
			}
		}
	}
}
