package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"starling/adapters/rig"
)

// private lists what of a conversation no log may hold: what people said, word for word and in parts of it, what they and the
// rooms are called, and the network's ids of both.
func private(t *testing.T, script string) []*regexp.Regexp {
	t.Helper()
	lines, err := rig.Lines(script)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	name := func(s string) {
		if s = strings.Trim(s, "@*"); s != "" {
			found[s] = true
		}
	}
	for _, l := range lines {
		for _, a := range l.Acts {
			name(a.Room)
			name(a.Person)
			name(a.Options["chapter"])
			for who := range strings.SplitSeq(a.Options["members"]+","+a.Options["by"], ",") {
				name(who)
			}
			if len(a.Words) > 0 && slices.Contains([]string{"room", "invite"}, a.Directive) {
				name(a.Words[0])
			}
			for _, part := range parts(strings.ToValidUTF8(a.Text, "")) {
				found[part] = true
			}
		}
	}
	for _, n := range []string{"$p1", "!"} { // ids that the rig gives to messages and rooms
		found[n] = true
	}
	var all []*regexp.Regexp
	for s := range found {
		all = append(all, whole(s))
	}
	return all
}

// parts are a text and each two words of it that stand together: a single one may be a word of ours.
func parts(text string) []string {
	words := strings.Fields(text)
	all := []string{strings.TrimSpace(text)}
	for i := 1; i < len(words); i++ {
		all = append(all, words[i-1]+" "+words[i])
	}
	return slices.DeleteFunc(all, func(s string) bool { return len(s) < 6 })
}

// whole finds a text in a log where it is not part of a longer word.
func whole(s string) *regexp.Regexp {
	letter := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	pattern := `(?i)` + regexp.QuoteMeta(s)
	if first := []rune(s)[0]; letter(first) {
		pattern = `(?i)(?:^|[^\pL\pN])` + regexp.QuoteMeta(s)
	}
	if r := []rune(s); letter(r[len(r)-1]) {
		pattern += `(?:$|[^\pL\pN])`
	}
	return regexp.MustCompile(pattern)
}

// checkLog fails where a log says what it must not.
func checkLog(t *testing.T, script, log string) {
	t.Helper()
	for _, secret := range private(t, script) {
		if at := secret.FindStringIndex(log); at != nil {
			t.Errorf("the log holds %s: …%s…", fmt.Sprintf("%q", secret.String()), log[max(0, at[0]-120):min(len(log), at[1]+60)])
		}
	}
}

// TestTheSearchOfLogsFindsWhatIsThere makes sure that the search above could fail.
func TestTheSearchOfLogsFindsWhatIsThere(t *testing.T) {
	const script = "@room london lang=en chapter=Harbour members=ana*,sam\n[london] sam: /needs boots for the night watch\n[@zoe] zoe: hello\n"
	secrets := private(t, script)
	finds := func(log string) bool {
		return slices.ContainsFunc(secrets, func(r *regexp.Regexp) bool { return r.MatchString(log) })
	}
	for _, log := range []string{"room=!london", `"name":"Ana"`, "chapter Harbour is new", "could not read: night watch", `{"person":"@zoe"}`, "sent as $p1", "for the"} {
		if !finds(log) {
			t.Errorf("%q is not found", log)
		}
	}
	if log := `{"level":"info","row":12,"room":3,"message":"a call failed and is tried again"}`; finds(log) {
		t.Errorf("found in %s", log)
	}
}
