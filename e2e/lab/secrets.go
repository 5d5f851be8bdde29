package lab

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
)

var secrets struct {
	sync.Mutex
	known map[string]bool
}

// remember notes what no bot's log may hold: every text, name, number and id that people used, in any test of this process.
func remember(all []string) {
	secrets.Lock()
	defer secrets.Unlock()
	if secrets.known == nil {
		secrets.known = map[string]bool{}
	}
	for _, one := range all {
		if one = strings.TrimSpace(one); len(one) > 3 {
			secrets.known[one] = true
		}
	}
}

// Remember is for who has no people of this package: what was typed is looked for in parts, too.
func Remember(typed, other []string) {
	for _, text := range typed {
		remember(parts(text))
	}
	remember(other)
}

// ids are the forms that networks' ids have: of events, rooms and people on Matrix, of people and numbers on Signal.
var ids = regexp.MustCompile(`[!$@#][A-Za-z0-9._=/+-]{2,}:[A-Za-z0-9.-]+|[!$][A-Za-z0-9_-]{43}|\+[0-9]{7,15}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)

// ordinary are texts that people write and that stand in a log anyway.
var ordinary = regexp.MustCompile(`(?i)^(/?(starling|signal|alert|room|needs|status|relay|more|help|none|here|send|test)|localhost|matrix|does not)$`)

// CheckLog fails where the bot's log holds anything that somebody wrote, is called or has for an id.
func (s *Starling) CheckLog(t testing.TB) {
	t.Helper()
	data, err := os.ReadFile(s.Log())
	if err != nil {
		t.Error(err)
		return
	}
	secrets.Lock()
	known := slices.Sorted(maps.Keys(secrets.known))
	secrets.Unlock()
	for _, leak := range Leaks(string(data), known) {
		t.Errorf("the log holds %s", leak)
	}
}

// Leaks lists what a log holds of what is known, and any id, each with what stands around it.
func Leaks(log string, known []string) (found []string) {
	around := func(from, to int) string { return log[max(0, from-100):min(len(log), to+50)] }
	if at := ids.FindStringIndex(log); at != nil {
		found = append(found, fmt.Sprintf("the id %q: …%s…", log[at[0]:at[1]], around(at[0], at[1])))
	}
	lower := strings.ToLower(log)
	for _, one := range known {
		// The second look is dear: few get so far.
		if ordinary.MatchString(one) || !strings.Contains(lower, strings.ToLower(one)) {
			continue
		}
		if at := whole(one).FindStringIndex(log); at != nil {
			found = append(found, fmt.Sprintf("%q: …%s…", one, around(at[0], at[1])))
		}
	}
	return found
}

// whole finds a text, however it is written, where it is not part of a longer word.
func whole(s string) *regexp.Regexp {
	letter := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	pattern, runes := regexp.QuoteMeta(s), []rune(s)
	if letter(runes[0]) {
		pattern = `(?:^|[^\pL\pN])` + pattern
	}
	if letter(runes[len(runes)-1]) {
		pattern += `(?:$|[^\pL\pN])`
	}
	return regexp.MustCompile(`(?i)` + pattern)
}

// parts are a text and each two words of it that stand together: a single one may be a word of ours, and so may two short ones.
func parts(text string) (all []string) {
	words := strings.Fields(text)
	all = append(all, text)
	for i := 1; i < len(words); i++ {
		if max(len(words[i-1]), len(words[i])) >= 5 {
			all = append(all, words[i-1]+" "+words[i])
		}
	}
	return all
}
