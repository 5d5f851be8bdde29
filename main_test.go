package main

import (
	"testing"

	"github.com/rs/zerolog"

	"starling/bot"
	"starling/bot/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// opened is the engine with all that it can do, on a state directory.
func opened(t *testing.T, dir string) *bot.Engine {
	t.Helper()
	cfg := defaultConfig()
	cfg.State.Dir = dir
	caps, err := content(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine(cfg, caps, zerolog.Nop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
