package when

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// show writes readings as the tables of the tests do.
func show(r Result) string {
	if len(r.Readings) == 0 {
		return "-"
	}
	var out []string
	for _, rd := range r.Readings {
		if rd.AllDay {
			out = append(out, rd.At.Format("2006-01-02"))
		} else if rd.At.Second() != 0 {
			out = append(out, rd.At.Format("2006-01-02T15:04:05"))
		} else {
			out = append(out, rd.At.Format("2006-01-02T15:04"))
		}
	}
	return strings.Join(out, " | ")
}

// TestAside reads the phrases that were set aside before the grammar was written and says per language how it did.
// Nothing may be silently wrong: one reading that is not the meant one, or a question without the meant one.
func TestAside(t *testing.T) {
	for _, lang := range languages {
		f, err := os.Open("testdata/aside/" + lang + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Scan()
		sent, zoneName, _ := strings.Cut(lines.Text(), " ")
		now, err := time.Parse(time.RFC3339, sent)
		if err != nil {
			t.Fatal(err)
		}
		zone, err := time.LoadLocation(zoneName)
		if err != nil {
			t.Fatal(err)
		}
		total, count := 0, map[string]int{}
		for lines.Scan() {
			phrase, want, ok := strings.Cut(lines.Text(), " => ")
			if !ok {
				t.Fatalf("%s: %q", lang, lines.Text())
			}
			r := Parse(phrase, Options{Langs: []string{lang}, Zone: zone, Now: now})
			got := show(r)
			meant, given := strings.Split(want, " | "), strings.Split(got, " | ")
			includes := !slices.ContainsFunc(meant, func(m string) bool { return !slices.Contains(given, m) })
			verdict := "silently wrong"
			switch {
			case got == want:
				verdict = "right"
			case got == "-":
				verdict = "refused"
			case len(given) > 1 && (includes || want == "-"):
				verdict = "asked"
			}
			total++
			count[verdict]++
			if verdict != "right" {
				t.Logf("%s: %s: %q: got %s (%s), want %s", lang, verdict, phrase, got, r.Problem, want)
			}
		}
		line := fmt.Sprintf("aside %s: %d phrases: %d right, %d asked, %d refused, %d silently wrong",
			lang, total, count["right"], count["asked"], count["refused"], count["silently wrong"])
		t.Log(line)
		if count["silently wrong"] > 0 {
			t.Error(line)
		}
	}
}
