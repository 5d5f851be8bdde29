package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// StartStarling runs the bot on Signal, as a device of somebody's phone, with a signal-cli that it starts itself; more is added to
// its configuration. It ends with the test.
func (s *Signal) StartStarling(t testing.TB, phone *Phone, more string, invite ...*Phone) (*Starling, *SignalDaemon) {
	t.Helper()
	d := s.StartDaemon(t, phone)
	// It would listen to nobody any more: signal-cli locks itself up when who is attached goes away while it tells something.
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, p := range invite {
		allowed = append(allowed, fmt.Sprintf("%q", p.ID))
	}
	binary, err := built("starling")
	if err != nil {
		t.Fatal(err)
	}
	b := &Starling{ID: d.ID, Dir: t.TempDir(), binary: binary}
	config := fmt.Sprintf("[state]\ndir = %q\n[log]\nlevel = \"debug\"\n[signal]\naccount = %q\ncommand = %q\ninvite = [%s]\n%s",
		filepath.Join(b.Dir, "var"), d.Number, d.Program, strings.Join(allowed, ", "), more)
	if err := os.WriteFile(b.config(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	b.endWith(t)
	return b, d
}

// KillDaemon ends the signal-cli that the bot has started, as a power cut would.
func (s *Starling) KillDaemon(ctx context.Context, d *SignalDaemon) error {
	return killBelow(ctx, filepath.Join(d.dir, "classes"))
}

// StrangersIn lists what stands in the bot's log that must not: what phones know, and the bot's own number.
func (s *Starling) StrangersIn(log string, known []string) (found []string, err error) {
	data, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	text := string(data)
	for _, k := range known {
		if len(k) > 3 && strings.Contains(text, k) {
			found = append(found, k)
		}
	}
	return found, nil
}
