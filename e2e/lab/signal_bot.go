package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BotDaemon is a signal-cli for a bot, linked to somebody's phone and not running: the bot starts it itself.
func (s *Signal) BotDaemon(t testing.TB, phone *Phone) *SignalDaemon {
	t.Helper()
	return s.LinkDaemon(t, phone)
}

// Config is the bot's configuration for that account; more is added to it.
func (d *SignalDaemon) Config(more string, invite ...*Phone) string {
	var allowed []string
	for _, p := range invite {
		allowed = append(allowed, fmt.Sprintf("%q", p.ID))
	}
	return fmt.Sprintf("[signal]\naccount = %q\ncommand = %q\ndata = %q\ninvite = [%s]\n%s", d.Number, d.Program, d.data(), strings.Join(allowed, ", "), more)
}

// data is where signal-cli keeps the account: below the folder that Program names.
func (d *SignalDaemon) data() string { return filepath.Join(d.dir, "data", "signal-cli") }

// Attachments lists the files in signal-cli's folder for what came attached, which is there.
func (d *SignalDaemon) Attachments() (names []string, err error) {
	files, err := os.ReadDir(filepath.Join(d.data(), "attachments"))
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names, err
}

// StartStarling runs the bot on Signal alone. It ends with the test.
func (d *SignalDaemon) StartStarling(t testing.TB, more string, invite ...*Phone) *Starling {
	t.Helper()
	b, err := SetUpStarling(t.TempDir(), BotConfig{More: d.Config(more, invite...)})
	if err != nil {
		t.Fatal(err)
	}
	b.Run(t)
	return b
}

// KillDaemon ends the signal-cli that the bot has started, as a power cut would.
func (s *Starling) KillDaemon(ctx context.Context, d *SignalDaemon) error {
	return killBelow(ctx, filepath.Join(d.dir, "classes"))
}
