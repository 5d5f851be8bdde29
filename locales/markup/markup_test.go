package markup

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/microcosm-cc/bluemonday"
)

func TestOneTextOnEveryNetwork(t *testing.T) {
	for _, tc := range []struct{ name, in, html, plain string }{
		{"styles", "**a** _b_ `c`", "<strong>a</strong> <em>b</em> <code>c</code>", "a b c"},
		{"nested", "**a _b `c`_**", "<strong>a <em>b <code>c</code></em></strong>", "a b c"},
		{"crossed", "**a _b** c_", "<strong>a _b</strong> c_", "a _b c_"},
		{"over lines", "**a\n\nb**\nc", "<strong>a<br><br>b</strong><br>c", "a\n\nb\nc"},
		{"unclosed", "**a _b `c", "**a _b `c", "**a _b `c"},
		{"empty", "**** __ `` []()", "**** __ `` []()", "**** __ `` []()"},
		{"underscore in a word", "snake_case_name _x_", "snake_case_name <em>x</em>", "snake_case_name x"},
		{"lone stars", "2 * 3 ** 4", "2 * 3 ** 4", "2 * 3 ** 4"},
		{"escaped", `\*\*a\*\* \_b\_ \\ \d`, `**a** _b_ \ \d`, `**a** _b_ \ \d`},
		{"escaped in code", "`\\_a\\``", "<code>_a`</code>", "_a`"},
		{"list", "**Two**\n- a\n  more\n- _b_\nend", "<strong>Two</strong><ul><li>a<br>more</li><li><em>b</em></li></ul>end", "Two\n- a\n  more\n- b\nend"},
		{"list between blank lines", "a\n\n- b\n\nc", "a<ul><li>b</li></ul>c", "a\n\n- b\n\nc"},
		{"numbers are lines", "1 food\n2 shelter", "1 food<br>2 shelter", "1 food\n2 shelter"},
		{"link", "[the **page**](https://a.org/x?y=1&z=2)", `<a href="https://a.org/x?y=1&amp;z=2">the <strong>page</strong></a>`, "the page (\u2066https://a.org/x?y=1&z=2\u2069)"},
		{"link that says its address", "[https://a.org](https://a.org)", `<a href="https://a.org">https://a.org</a>`, "https://a.org"},
		{"mail", "[ana@a.org](mailto:ana@a.org)", `<a href="mailto:ana@a.org">ana@a.org</a>`, "ana@a.org"},
		{"address typed as text", "https://a.org", "https://a.org", "https://a.org"},
		{"script address", "[x](javascript:alert(1))", "[x](javascript:alert(1))", "[x](javascript:alert(1))"},
		{"data address", "[x](data:text/html,y)", "[x](data:text/html,y)", "[x](data:text/html,y)"},
		{"address without a host", "[x](https:///y)", "[x](https:///y)", "[x](https:///y)"},
		{"user name as host", "[x](https://a.org@b.org)", "[x](https://a.org@b.org)", "[x](https://a.org@b.org)"},
		{"mention by link", "[x](https://matrix.to/#/@a:b.org)", "[x](https://matrix.to/#/@a:b.org)", "[x](https://matrix.to/#/@a:b.org)"},
		{"mention by link, in disguise", "[x](HTTPS://Matrix.To./#/@a:b.org)", "[x](HTTPS://Matrix.To./#/@a:b.org)", "[x](HTTPS://Matrix.To./#/@a:b.org)"},
		{"attribute in an address", `[x](https://a.org/"onclick="y)`, `<a href="https://a.org/%22onclick=%22y">x</a>`, "x (\u2066https://a.org/%22onclick=%22y\u2069)"},
		{"HTML", `<b onclick="x">&amp;</b>`, "&lt;b onclick=&#34;x&#34;&gt;&amp;amp;&lt;/b&gt;", `<b onclick="x">&amp;</b>`},
		{"control characters", "a\x1b[31mb\tc\x00\xff", "a[31mb c\uFFFD", "a[31mb c\uFFFD"},
		{"isolated name", "_" + Isolate("نور") + "_: x", "<em>\u2068نور\u2069</em>: x", "\u2068نور\u2069: x"},
		{"nothing", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := Parse(tc.in)
			if got := HTML(d); got != tc.html {
				t.Errorf("HTML\n got %s\nwant %s", got, tc.html)
			}
			if got := Plain(d); got != tc.plain {
				t.Errorf("Plain\n got %q\nwant %q", got, tc.plain)
			}
		})
	}
}

func TestIsolateHasOneIsolateALine(t *testing.T) {
	if got, want := Isolate("a\n\nب"), "\u2068a\u2069\n\n\u2068ب\u2069"; got != want {
		t.Errorf("got %+q, want %+q", got, want)
	}
	if got, want := IsolateLTR("N-7K3Q"), "\u2066N-7K3Q\u2069"; got != want {
		t.Errorf("got %+q, want %+q", got, want)
	}
}

func TestTypedTextIsNeverActedUponInATemplate(t *testing.T) {
	for _, typed := range append(hostile, "**bold**", "_it_", "`code`", "- item", "  more", "a\n- b", ")](https://a.org)") {
		typed = Clean(typed)
		if typed == "" {
			continue
		}
		placed := Isolate(Escape(typed))
		for _, template := range []struct{ before, after, shown string }{
			{"**", "**: x", Isolate(typed) + ": x"},
			{"_", "_", Isolate(typed)},
			{"`", "`", Isolate(typed)},
			{"**Needs:** ", "\nend", "Needs: " + Isolate(typed) + "\nend"},
		} {
			if got := Plain(Parse(template.before + placed + template.after)); got != template.shown {
				t.Errorf("%q in %q…%q shows\n%+q, want\n%+q", typed, template.before, template.after, got, template.shown)
			}
		}
	}
}

func TestANSI(t *testing.T) {
	got := ANSI(Parse("**a** _b_ `c` [d](https://e.org) \x1b[31m\u009b\n- f"))
	want := "\x1b[1ma\x1b[22m \x1b[3mb\x1b[23m \x1b[36mc\x1b[39m \x1b[4md\x1b[24m (\u2066https://e.org\u2069) [31m\n- f"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStylesCountUTF16(t *testing.T) {
	text, got := Styles(Parse("👩 **é _x_** [l](https://a.org) `c`\n- **z**"))
	if want := "👩 é x l (\u2066https://a.org\u2069) c\n- z"; text != want {
		t.Errorf("text %q, want %q", text, want)
	}
	want := []Style{{5, 1, Italic}, {3, 3, Bold}, {27, 1, Code}, {31, 1, Bold}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("styles (-want +got):\n%s", diff)
	}
}

func TestParseTakesTimeInProportion(t *testing.T) {
	for _, s := range []string{"[a](x", "[", "`", "**", "_", "**_", "\\", "- ", "[a](https://a.org) ", "`a", "[a`b]("} {
		long := strings.Repeat(s, 200_000/len(s))
		start := time.Now()
		Parse(long)
		// It takes some 10 ms; what is quadratic takes many seconds.
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%d kB of %q take %v", len(long)/1000, s, took)
		}
	}
}

func TestHTMLPassesASanitiserUnchanged(t *testing.T) {
	for _, s := range hostile {
		checkHTML(t, s)
	}
}

var (
	policy = func() *bluemonday.Policy {
		p := bluemonday.NewPolicy()
		p.AllowElements("br", "strong", "em", "code", "ul", "li")
		p.AllowAttrs("href").OnElements("a")
		p.AllowURLSchemes("http", "https", "mailto")
		p.RequireParseableURLs(true)
		return p
	}()
	tags = regexp.MustCompile(`</?(strong|em|code|ul|li)>|<br>|<a href="(https?://|mailto:)[^"<>]*">|</a>`)
)

func checkHTML(t failer, s string) {
	t.Helper()
	got := HTML(Parse(s))
	if clean := policy.Sanitize(got); clean != got {
		t.Errorf("HTML of %+q\n     is %s\nmade %s", s, got, clean)
	}
	if rest := tags.ReplaceAllString(got, ""); strings.ContainsAny(rest, "<>\"") {
		t.Errorf("HTML of %+q has more than the allowed tags: %s", s, got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkParse(t, s) })
}

func checkParse(t failer, s string) {
	t.Helper()
	checkHTML(t, s)
	d := Parse(s)
	text, styles := Styles(d)
	if text != Plain(d) {
		t.Errorf("Styles of %+q has another text than Plain", s)
	}
	units := len(utf16.Encode([]rune(text)))
	for _, st := range styles {
		if st.Start < 0 || st.Length <= 0 || st.Start+st.Length > units {
			t.Errorf("Styles of %+q: %+v is outside of its %d units", s, st, units)
		}
	}
	if strings.ContainsRune(strings.NewReplacer("\x1b[1m", "", "\x1b[3m", "", "\x1b[36m", "", "\x1b[4m", "", "\x1b[22m", "",
		"\x1b[23m", "", "\x1b[39m", "", "\x1b[24m", "").Replace(ANSI(d)), '\x1b') {
		t.Errorf("ANSI of %+q lets an escape through", s)
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkEscape(t, s) })
}

func checkEscape(t failer, s string) {
	t.Helper()
	s = Clean(s)
	d := Parse(Escape(s))
	if got := Plain(d); got != s {
		t.Errorf("%+q came back as %+q", s, got)
	}
	for _, b := range d.Blocks {
		if b.List || len(b.Items[0]) > 1 || len(b.Items[0]) == 1 && b.Items[0][0].Kind != Text {
			t.Errorf("%+q was acted upon: %+v", s, d)
		}
	}
}
