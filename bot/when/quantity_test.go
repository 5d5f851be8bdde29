package when

import (
	"testing"
	"time"
)

func TestQuantity(t *testing.T) {
	for _, c := range []struct {
		lang, text string
		n          int
		unit, rest string
	}{
		{"en", "food for 20 people", 20, "people", "food"},
		{"en", "food for twenty people near the port", 20, "people", "food near the port"},
		{"en", "12 mattresses", 12, "", "mattresses"},
		{"en", "twelve mattresses", 12, "", "mattresses"},
		{"en", "20", 20, "", ""},
		{"en", "a family", 1, "families", ""},
		{"en", "10 tents for 20 people", 20, "people", "10 tents"},
		{"es", "agua y comida para 20 familias", 20, "families", "agua y comida"},
		{"es", "veinte", 20, "", ""},
		{"es", "techo para una familia", 1, "families", "techo"},
		{"fr", "repas pour vingt personnes", 20, "people", "repas"},
		{"pt", "comida para duas famílias", 2, "families", "comida"},
		{"de", "Essen für 20 Leute", 20, "people", "Essen"},
		{"de", "zwölf", 12, "", ""},
		{"ar", "طعام من أجل ٢٠ شخصا", 20, "people", "طعام"},
		{"ar", "طعام تكفي 20 عائلة", 20, "families", "طعام"},
		{"ar", "٢٠", 20, "", ""},
		{"ar", "۲۰", 20, "", ""},
		{"ku", "xwarin ji bo 20 kesan", 20, "people", "xwarin"},
		{"ku", "xwarin ji bo bîst kesan", 20, "people", "xwarin"},
		{"en", "comida para 20 personas", 20, "people", "comida"},
	} {
		n, unit, rest, ok := Quantity(c.text, []string{c.lang})
		if !ok || n != c.n || unit != c.unit || rest != c.rest {
			t.Errorf("%q: got %d %q, rest %q, %v; want %d %q, rest %q", c.text, n, unit, rest, ok, c.n, c.unit, c.rest)
		}
	}
	for _, c := range []struct{ lang, text string }{
		{"en", "food"}, {"en", "12 tents and 20 blankets"}, {"en", "a tent"}, {"en", "0"}, {"en", "123456789 people"},
		{"es", "agua para la sed"}, {"fr", "on a du mal"}, {"en", "for 2026-12-05"}, {"en", "at 19:00"}, {"en", "-"}, {"en", "4-5 people"},
	} {
		if n, unit, rest, ok := Quantity(c.text, []string{c.lang}); ok {
			t.Errorf("%q: got %d %q, rest %q", c.text, n, unit, rest)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"3 hours": 3 * time.Hour, "10 min": 10 * time.Minute, "2 Tage": 48 * time.Hour, "1 hour 30 minutes": 90 * time.Minute,
		"1h30": 90 * time.Minute, "2h": 2 * time.Hour, "media hora": 30 * time.Minute, "deux heures": 2 * time.Hour,
		"uma semana": 7 * 24 * time.Hour, "ساعتين": 2 * time.Hour, "٣ ساعات": 3 * time.Hour, "du saetan": 2 * time.Hour,
		"an hour": time.Hour, "zwei Stunden": 2 * time.Hour,
		"": 0, "3": 0, "hours": 0, "1 month": 0, "3 hours later maybe": 0, "0 hours": 0, "-3 hours": 0, "99999 days": 0,
	} {
		got, ok := Duration(text, testOptions("en"))
		if got != want || ok != (want > 0) {
			t.Errorf("%q: got %v, %v, want %v", text, got, ok, want)
		}
	}
}

func TestOpen(t *testing.T) {
	for lang, text := range map[string]string{
		"en": "No hurry.", "es": "no urge", "fr": "pas pressé", "pt": "sem pressa", "de": "keine Eile", "ar": "لا داعي للعجلة", "ku": "lez tune",
	} {
		if !Open(text, []string{"en"}) {
			t.Errorf("%s: %q is not understood", lang, text)
		}
	}
	for _, text := range []string{"", "friday", "hurry", "no", "urgent", "no hurry but friday"} {
		if Open(text, nil) {
			t.Errorf("%q is taken for no hurry", text)
		}
	}
}
