package markup

import (
	"testing"
	"unicode"
)

func TestFoldJoinsNamesThatLookAlike(t *testing.T) {
	for _, group := range [][]string{
		{"Barcelona", "BARCELONA", "bаrcеlоnа", "Ｂａｒｃｅｌｏｎａ", "Barce1ona", "BarceIona", "Barcel0na", "bar-ce lona.", "bar\u200Bcelona", "𝐁arcelona"},
		{"Istanbul", "İstanbul", "ıstanbul", "1stanbul"},
		{"Málaga", "Ma\u0301laga", "MÁLAGA", "Mála ga"},
		{"Athens", "Αthens", "ΑTHENS"},
		{"Москва", "МОСКВА", "Mocквa"},
		{"القاهرة", "القاهره", "القَاهِرَة", "القـــاهرة"},
		{"كردي", "کردی", "كردى"},
		{"Chapter 10", "chapter lo", "chapter ١٠", "chapter ۱۰"},
	} {
		want := Fold(group[0])
		if want == "" {
			t.Errorf("Fold(%q) is empty", group[0])
		}
		for _, s := range group[1:] {
			if got := Fold(s); got != want {
				t.Errorf("Fold(%q) = %q, but Fold(%q) = %q", s, got, group[0], want)
			}
		}
	}
}

func TestFoldKeepsNamesApart(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"Lille", "Lyon", "Leeds", "London", "Londres", "Amed", "Ahmed", "Köln", "Kolm", "Porto", "Porto Alegre", "القدس", "القاهرة", "Berlin Mitte", "Berlin Nord"} {
		f := Fold(s)
		if other, ok := seen[f]; ok {
			t.Errorf("%q and %q fold to the same %q", s, other, f)
		}
		seen[f] = s
	}
}

func TestFoldWord(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"Sí", "si"}, {"NÃO", "nao"}, {"  Für   Später ", "fur spater"}, {"Straße", "strasse"}, {"İPTAL", "iptal"}, {"ıslak", "islak"},
		{"şemî", "semi"}, {"Înî", "ini"}, {"aujourd’hui", "aujourd'hui"}, {"peut‑être", "peut-etre"}, {"cœur", "coeur"},
		{"ﬁn", "fin"}, {"٣ أيام", "3 ايام"}, {"۳ روز", "3 روز"}, {"５", "5"},
		{"إلغاء", "الغاء"}, {"آخر", "اخر"}, {"مساعدة", "مساعده"}, {"نَعَم", "نعم"}, {"نـــعم", "نعم"}, {"على", "علي"}, {"کمک", "كمك"},
		{"✋🏽", "✋"}, {"❤\uFE0F", "❤"}, {"ye\u200Bs", "yes"}, {"", ""},
	} {
		if got := FoldWord(tc.in); got != tc.want {
			t.Errorf("FoldWord(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkFold(t, s) })
}

func checkFold(t failer, s string) {
	t.Helper()
	c := Clean(s)
	if Fold(c) != Fold(s) || FoldWord(c) != FoldWord(s) {
		t.Errorf("%+q and its clean form %+q fold apart", s, c)
	}
	for _, r := range Fold(s) {
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.IsPunct(r) {
			t.Errorf("Fold(%+q) keeps %U", s, r)
		}
	}
}

func TestDigits(t *testing.T) {
	if got := Digits("٠١٢٣٤٥٦٧٨٩ ۰۱۲۳۴۵۶۷۸۹ ０９ ०९ 𝟘𝟡𝟬𝟿 a²"); got != "0123456789 0123456789 09 09 0909 a²" {
		t.Errorf("got %q", got)
	}
	for _, lo := range unicode.Nd.R16 {
		if (lo.Hi-lo.Lo+1)%10 != 0 || lo.Stride != 1 {
			t.Errorf("digits from %U are not tens in order", lo.Lo)
		}
	}
	for _, lo := range unicode.Nd.R32 {
		if (lo.Hi-lo.Lo+1)%10 != 0 || lo.Stride != 1 {
			t.Errorf("digits from %U are not tens in order", lo.Lo)
		}
	}
}

func TestReaction(t *testing.T) {
	for in, want := range map[string]string{
		"👍": "✅", "👍🏿": "✅", "✅": "✅", "✔️": "✅", "✔": "✅", "☑️": "✅", "👎🏻": "❌", "❌": "❌", "✖️": "❌",
		"1️⃣": "1", "9⃣": "9", "0️⃣": "0", "🔟": "10", "#️⃣": "#", "✋🏾": "✋", "🖐️": "✋", "👀": "👀", "🏳️\u200D🌈": "🏳\u200D🌈", " ok ": "ok", "": "",
	} {
		if got := Reaction(in); got != want {
			t.Errorf("Reaction(%q) = %q, want %q", in, got, want)
		}
	}
}
