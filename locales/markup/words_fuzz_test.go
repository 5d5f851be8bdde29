package markup

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzWords: words, names, reactions and lines are folded the same however often, and what is isolated stays within its lines.
func FuzzWords(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	for _, s := range []string{"✅", "👍🏽", "✔️", "ＮＥＥＤＳ", "İstanbul", "ﷺ", "ŉ", "ẞ", "٣۳3", "𝟛", "\u2069x\u2068\ny"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, fold := range map[string]func(string) string{"FoldWord": FoldWord, "Digits": Digits, "Reaction": Reaction, "Line": Line} {
			once := fold(s)
			if again := fold(once); again != once {
				t.Errorf("%s(%+q) = %+q, and of that %+q", name, s, once, again)
			}
			if utf8.ValidString(s) && !utf8.ValidString(once) {
				t.Errorf("%s(%+q) = %+q", name, s, once)
			}
		}
		if line := Line(s); strings.ContainsAny(line, "\n\r\t\v\f\u0085\u2028\u2029") || strings.Contains(line, "  ") {
			t.Errorf("Line(%+q) = %+q", s, line)
		}
		typed := Clean(s)
		for _, isolate := range []func(string) string{Isolate, IsolateLTR} {
			for _, line := range strings.Split(isolate(typed), "\n") {
				if strings.Count(line, "\u2069") != strings.Count(line, "\u2068")+strings.Count(line, "\u2066") || strings.Count(line, "\u2069") > 1 {
					t.Errorf("%+q is isolated as %+q", s, line)
				}
			}
		}
	})
}
