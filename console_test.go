package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/rs/zerolog"

	"starling/adapters/console"
	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
)

// visitor sits at the console of the bot as it ships.
type visitor struct {
	t      *testing.T
	m      tea.Model
	events chan rig.Event
}

func visit(t *testing.T, lang string) *visitor {
	t.Helper()
	caps, err := content(config{})
	if err != nil {
		t.Fatal(err)
	}
	registry, bundle, err := texts(caps)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e, err := bot.Open(bot.Config{Dir: dir, Database: dbtest.For(t, dir), Name: "Starling", Lang: "en", Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel),
		Messages: registry, Locales: bundle, NoSync: true}, caps...)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t: t, events: make(chan rig.Event, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	m, ended, err := console.Open(ctx, e, bundle, lang, func(ev rig.Event) { v.events <- ev })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, e.Close()); err != nil {
			t.Error(err)
		}
	})
	v.m = m
	v.press(tea.WindowSizeMsg{Width: 160, Height: 50})
	return v
}

func (v *visitor) press(msgs ...tea.Msg) {
	for _, msg := range msgs {
		v.m, _ = v.m.Update(msg)
	}
}

// types presses the key of every letter, and Enter.
func (v *visitor) types(text string) {
	for _, r := range text {
		v.press(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
	v.press(tea.KeyPressMsg{Code: tea.KeyEnter})
}

func ctrl(r rune) tea.Msg { return tea.KeyPressMsg{Code: r, Mod: tea.ModCtrl} }

// until waits for something that the bot does, and gives the screen that then shows.
func (v *visitor) until(what string, fits func(rig.Event) bool) string {
	v.t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case ev := <-v.events:
			if fits(ev) {
				return v.m.View().Content
			}
		case <-deadline:
			v.t.Fatalf("waited in vain until %s:\n%s", what, v.m.View().Content)
		}
	}
}

func says(room string, kind bot.OutKind, text string) func(rig.Event) bool {
	return func(ev rig.Event) bool { return ev.Room == room && ev.Kind == kind && strings.Contains(ev.Text, text) }
}

// The first minute of a visitor: an alert by one, confirmed by another, read in two other rooms, answered there and over.
func TestTheConsoleCarriesAnAlert(t *testing.T) {
	v := visit(t, "es")
	v.types("/alerta policía en el centro social")
	v.until("it asks how urgent it is", says("!barcelona", bot.OutMessage, "¿Cuándo pasa?"))
	v.types("1")
	v.until("it offers to withdraw it", says("!barcelona", bot.OutReaction, "❌"))
	v.press(ctrl('p'), ctrl('y')) // Jordi confirms
	left := map[string]bool{"!lille": true, "!cairo": true}
	s := v.until("it has arrived in both rooms", func(ev rig.Event) bool {
		if ev.Kind == bot.OutMessage && strings.Contains(ev.Text, "policía en el centro social") {
			delete(left, ev.Room)
		}
		return len(left) == 0
	})
	for _, want := range []string{"Alerte de", "تنبيه من"} {
		if !strings.Contains(s, want) {
			t.Errorf("%q is not on the screen:\n%s", want, s)
		}
	}
	v.press(tea.KeyPressMsg{Code: tea.KeyTab}, ctrl('o')) // ✋ in Lille
	v.press(tea.KeyPressMsg{Code: tea.KeyTab, Mod: tea.ModShift})
	v.types("/alerta estado " + regexp.MustCompile(`A-[0-9A-Z]{4}`).FindString(s))
	v.until("Barcelona reads that somebody can help", says("!barcelona", bot.OutMessage, "✋ 1"))
	v.types("/alerta " + strings.Repeat("x", 4001))
	v.until("a text that is too long is refused with the limit", says("!barcelona", bot.OutMessage, "4000"))
}
