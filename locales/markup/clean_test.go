package markup

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"
)

func TestClean(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain text stays", "agua y comida, ¿para quién? – 20 família·s", "agua y comida, ¿para quién? – 20 família·s"},
		{"broken UTF-8", "a\xff\xfeb", "a\uFFFDb"},
		{"decomposed letters", "cafe\u0301", "café"},
		{"line ends", "a\r\nb\rc\u2028d\u0085e", "a\nb\nc\nd\ne"},
		{"control characters", "a\x00b\x1b[31mc\x07\u009bd\x7f", "ab[31mcd"},
		{"tab and odd spaces", "a\tb\u3000c\u2003d", "a b c d"},
		{"spaces that French needs", "à 18\u202Fh\u00A0?", "à 18\u202Fh\u00A0?"},
		{"direction override", "\u202Etxt.exe\u202C", "txt.exe"},
		{"isolates and marks", "\u2066a\u2067b\u2068c\u2069\u200e\u200f\u061c", "abc"},
		{"invisible letters", "p\u200Bo\u2060l\uFEFFi\u00ADc\u034Fe\u3164", "police"},
		{"hidden tags", "ok\U000E0068\U000E0069", "ok"},
		{"black flag with a message", "🏴\U000E0068\U000E0069\U000E007F", "🏴"},
		{"the flag of Scotland", "🏴\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F", "🏴\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F"},
		{"family emoji", "👩\u200D👩\u200D👧", "👩\u200D👩\u200D👧"},
		{"rainbow flag", "🏳\uFE0F\u200D🌈", "🏳\uFE0F\u200D🌈"},
		{"skin tone in a sequence", "🧑🏽\u200D⚕\uFE0F", "🧑🏽\u200D⚕\uFE0F"},
		{"keycap", "1\uFE0F\u20E3", "1\uFE0F\u20E3"},
		{"selectors after letters", "a\uFE0Fb\uFE01c\U000E0100", "abc"},
		{"joiners between Latin letters", "a\u200Db\u200Cc", "abc"},
		{"joiner at an end", "👩\u200D", "👩"},
		{"Persian half space", "می\u200Cخواهم", "می\u200Cخواهم"},
		{"Sinhala conjunct", "ශ\u0DCA\u200Dරී", "ශ\u0DCA\u200Dරී"},
		{"tower of marks", "Z" + strings.Repeat("\u0336\u0322\u0349", 40), "Z\u0336\u0322\u0349"},
		{"Thai tower", "ส" + strings.Repeat("\u0E47", 50), "ส" + strings.Repeat("\u0E47", maxMarks)},
		{"tower of spacing marks", "가" + strings.Repeat("\u302E", 50), "가" + strings.Repeat("\u302E", maxMarks)},
		{"Vietnamese", "Việt Nam: tiếng", "Việt Nam: tiếng"},
		{"harakat", "مُدَرِّسَةٌ", norm.NFC.String("مُدَرِّسَةٌ")},
		{"blank lines", "\n\n a  \n\n \n\t\nb\n", "a\n\nb"},
		{"indented lines keep their indent", "a\n  b", "a\n  b"},
		{"nothing visible", " \u200B\u2800\u3164\u00A0 ", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Clean(tc.in); got != tc.want {
				t.Errorf("Clean(%+q)\n got %+q\nwant %+q", tc.in, got, tc.want)
			}
		})
	}
}

// hostile is what the fuzz tests start from.
var hostile = []string{
	"", "a", "\n", "**", "_", "`", "[](", "\\", "- ", "  ", "****", "**_**_", "_**_**", "`**`**", "[a](https://b.c)",
	"- a\n  b\n- c\n\nd", "**a\n- b**", "@room @ana:example.org https://matrix.to/#/@ana:example.org",
	"<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "[x](https://a\"onmouseover=\"b)", "&lt;b&gt;",
	"\u202Eabc\u2066", "\x1b]0;title\x07", "e\u200B\u0301\u200B\u0323", "\u0344\u0344\u0344", "👩\u200D👩\u200D👧", "1\uFE0F\u20E3",
	"🏴\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F", "م\u200Cم", strings.Repeat("\u302E", 40), "\xf0\x28\x8c\xbc",
	"a" + strings.Repeat("\u0315\u0300\u05ae\u0301", 20), strings.Repeat("[a](x", 50), strings.Repeat("**_", 50),
}

func FuzzClean(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkClean(t, s) })
}

func checkClean(t failer, s string) {
	t.Helper()
	got := Clean(s)
	if !utf8.ValidString(got) || !norm.NFC.IsNormalString(got) {
		t.Errorf("Clean(%+q) = %+q: not valid UTF-8 in NFC", s, got)
	}
	if again := Clean(got); again != got {
		t.Errorf("Clean(%+q) = %+q, and of that %+q", s, got, again)
	}
	if strings.TrimSpace(got) != got || strings.Contains(got, "\n\n\n") {
		t.Errorf("Clean(%+q) = %+q: blank space left", s, got)
	}
	for _, r := range got {
		if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			t.Errorf("Clean(%+q) = %+q: keeps %U", s, got, r)
		}
	}
}

func TestTruncate(t *testing.T) {
	for _, tc := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"ab cd", 4, "ab…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"", 3, ""},
		{"👩\u200D👩\u200D👧👩\u200D👩\u200D👧x", 2, "👩\u200D👩\u200D👧…"},
		{"🇵🇸🇵🇸🇵🇸", 2, "🇵🇸…"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
	} {
		if got := Truncate(tc.in, tc.n); got != tc.want {
			t.Errorf("Truncate(%q, %d) = %q, want %q", tc.in, tc.n, got, tc.want)
		}
	}
}

func FuzzTruncate(f *testing.F) {
	for i, s := range hostile {
		f.Add(s, i)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		s = Clean(s)
		got := Truncate(s, n)
		if count := uniseg.GraphemeClusterCount(got); count > max(n, 0) {
			t.Errorf("Truncate(%+q, %d) has %d characters", s, n, count)
		}
		if got != s && !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) {
			t.Errorf("Truncate(%+q, %d) = %+q: not its beginning", s, n, got)
		}
	})
}
