package bot_test

import (
	"testing"

	"starling/bot"
)

// A structured command says what was typed after it as one line, sub-commands too, or each argument by its name.
func TestStructuredCommandsAreUnderstood(t *testing.T) {
	h := live(t)
	for _, c := range []struct {
		command string
		args    map[string]string
	}{
		{"echo", map[string]string{"text": "one"}},
		{"echo", map[string]string{bot.ArgLine: "one"}},
	} {
		h.deliver(bot.Incoming{Room: "!room", Person: "@ana", Name: "ana", Encrypted: true, Kind: bot.KindText, Text: "nonsense", Command: c.command, Args: c.args})
	}
	h.want("!room", "one", "one")
}
