package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"starling/adapters/matrix"
	"starling/bot"
	"starling/bot/seal"
)

func TestWhatNoRestartMendsHasItsExitCode(t *testing.T) {
	_, unreadable := (&cli{Config: t.TempDir()}).config()
	_, wrong := (&cli{Config: write(t, "[bot]\nnme = \"x\"\n")}).config()
	nowhere := runCmd{}.Run(t.Context(), &cli{Config: write(t, "")})
	noContent := runCmd{}.Run(t.Context(), &cli{Config: write(t, "[matrix]\nuser = \"@starling:example.org\"\n[content]\ndir = \"/dev/null\"\n")})
	cfg := defaultConfig()
	cfg.State.Dir, cfg.Matrix.User = t.TempDir(), "@starling:example.org"
	_, _, noLogin := networks(cfg, zerolog.Nop())
	keyed := defaultConfig()
	keyed.State.Dir = t.TempDir()
	open := func() error {
		e, err := engine(keyed, nil, zerolog.Nop(), nil)
		if err != nil {
			return err
		}
		return e.Close()
	}
	key := filepath.Join(keyed.State.Dir, "starling.key")
	if err := errors.Join(open(), os.Chmod(key, 0o644)); err != nil {
		t.Fatal(err)
	}
	readByOthers := open()
	if err := os.WriteFile(key, make([]byte, seal.KeySize), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	otherKey := open()
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	noKey := open()
	for what, c := range map[string]struct {
		err  error
		want int
	}{
		"a configuration that cannot be read":  {unreadable, onlyOperator},
		"a wrong configuration":                {wrong, onlyOperator},
		"no network":                           {nowhere, onlyOperator},
		"content that is not there":            {noContent, onlyOperator},
		"no login":                             {noLogin, onlyOperator},
		"another account":                      {matrix.ErrOtherAccount, onlyOperator},
		"a login that ended":                   {errors.Join(matrix.ErrLoggedOut, nil), onlyOperator},
		"a damaged Matrix database":            {fmt.Errorf("run: %w", matrix.ErrUnreadable), onlyOperator},
		"a newer Matrix database":              {fmt.Errorf("run: %w", matrix.ErrNewerDatabase), onlyOperator},
		"a key that is gone":                   {noKey, onlyOperator},
		"another database's key":               {otherKey, onlyOperator},
		"a key that others can read":           {readByOthers, onlyOperator},
		"a lost device":                        {fmt.Errorf("run: %w", matrix.ErrDeviceLost), onlyOperator},
		"a database that moved":                {bot.ErrMoved, onlyOperator},
		"a newer database":                     {bot.ErrNewerDatabase, onlyOperator},
		"a damaged database":                   {bot.ErrDamaged, onlyOperator},
		"another bot, which may just be going": {bot.ErrLocked, 1},
		"a bot that has stopped":               {bot.ErrStopped, 1},
		"anything else":                        {errors.New("the disk is full"), 1},
	} {
		if c.err == nil {
			t.Errorf("%s is no error", what)
		} else if got := exitCode(c.err); got != c.want {
			t.Errorf("%s (%v): exit code %d, want %d", what, c.err, got, c.want)
		}
	}
	unit, err := os.ReadFile("deploy/starling.service")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(unit), fmt.Sprintf("\nRestartPreventExitStatus=%d\n", onlyOperator)) {
		t.Error("systemd restarts the bot all the same")
	}
}
