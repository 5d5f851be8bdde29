package e2e

import (
	"testing"

	"starling/e2e/lab"
)

// The search at the end of each test could fail.
func TestTheSearchOfLogsFindsWhatIsThere(t *testing.T) {
	for log, leaks := range map[string]bool{
		`{"message":"could not read: boots for the night"}`: true,
		`{"room":"!abc:localhost"}`:                         true,
		`{"from":"+15550100"}`:                              true,
		`{"name":"Jordi"}`:                                  true,
		`{"message":"it is restarted for the second time"}`: false,
		`{"name":"jordina"}`:                                false,
	} {
		if found := lab.Leaks(log, []string{"for the night", "!abc:localhost", "15550100", "jordi"}); (len(found) > 0) != leaks {
			t.Errorf("in %s are found %q, want any: %v", log, found, leaks)
		}
	}
}
