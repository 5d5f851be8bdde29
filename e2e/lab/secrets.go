package lab

import (
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
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

// ids are the forms that networks' ids have: of events, rooms and people on Matrix, of people and numbers on Signal.
var ids = regexp.MustCompile(`[!$@#][A-Za-z0-9._=/+-]{2,}:[A-Za-z0-9.-]+|[!$][A-Za-z0-9_-]{43}|\+[0-9]{7,15}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)

// ordinary are texts that people write and that stand in a log anyway.
var ordinary = regexp.MustCompile(`(?i)^(/?(starling|alert|room|needs|status|relay|more|help|none|here|send|test)|localhost|matrix)$`)

// CheckLog fails where the bot's log holds anything that somebody wrote, is called or has for an id.
func (s *Starling) CheckLog(t testing.TB) {
	t.Helper()
	data, err := os.ReadFile(s.Log())
	if err != nil {
		t.Error(err)
		return
	}
	for line := range strings.Lines(string(data)) {
		if id := ids.FindString(line); id != "" {
			t.Errorf("the log holds the id %q: %s", id, line)
			break
		}
	}
	secrets.Lock()
	defer secrets.Unlock()
	for one := range secrets.known {
		if at := strings.Index(string(data), one); at >= 0 && !ordinary.MatchString(one) {
			t.Errorf("the log holds %q: …%s…", one, data[max(0, at-100):min(len(data), at+len(one)+50)])
		}
	}
}
