// Package console is Starling in a terminal: a few demo rooms side by side, in which a visitor speaks as any of their people
// and sees what the bot answers in each. The engine, the commands and the database are the real ones; the network is the
// rig's, in memory.
package console

import (
	"context"
	"errors"
	"os"
	"strings"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"starling/adapters/rig"
	"starling/bot"
	"starling/locales"
)

// demo is one room that a visitor finds.
type demo struct {
	id, name, lang, zone string
	follows              []string
	people               []rig.Member // the first moderates
}

func demos() []demo {
	person := func(name string, moderator bool) rig.Member {
		return rig.Member{Person: "@" + strings.ToLower(name), Name: name, Moderator: moderator}
	}
	return []demo{
		{"!barcelona", "Barcelona", "es", "Europe/Madrid", []string{"Lille"}, []rig.Member{person("Ana", true), person("Jordi", false)}},
		{"!lille", "Lille", "fr", "Europe/Paris", []string{"Barcelona"}, []rig.Member{person("Inès", true), person("Luc", false)}},
		{"!cairo", "القاهرة", "ar", "Africa/Cairo", []string{"Barcelona"}, []rig.Member{person("Nour", true), person("Omar", false)}},
		{"!london", "London", "en", "Europe/London", nil, []rig.Member{person("Sam", true), person("Alex", false)}},
	}
}

// Terminal is whether there is a terminal to draw on.
func Terminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
}

// Language is the visitor's, from the environment; English if it is none of ours.
func Language() string {
	for _, v := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		code, _, _ := strings.Cut(os.Getenv(v), "_")
		for _, l := range locales.Languages() {
			if l.Code == code {
				return code
			}
		}
	}
	return "en"
}

// Run opens the console on an engine that nobody runs yet, and returns when the visitor leaves.
func Run(ctx context.Context, e *bot.Engine, texts *locales.Bundle) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	able := rig.LikeMatrix()
	able.Threads = false // one column a room: an answer is a reply
	changed := make(chan struct{}, 1)
	network := rig.NewNetwork("console", able, bot.WallClock{}, func(rig.Event) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx, network) }()
	if err := furnish(ctx, e, network); err != nil {
		return err
	}
	program := tea.NewProgram(newModel(network, texts, Language()), tea.WithContext(ctx))
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				program.Send(moved{})
			}
		}
	}()
	_, err := program.Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		err = nil
	}
	cancel()
	return errors.Join(err, <-ended)
}

// furnish makes the demo rooms and their chapters, silently.
func furnish(ctx context.Context, e *bot.Engine, network *rig.Network) error {
	for _, d := range demos() {
		if err := network.Create(rig.Room{ID: d.id, Name: d.name, Encrypted: true, Members: d.people}); err != nil {
			return err
		}
	}
	if err := e.Wait(ctx, func(s bot.Status) bool { return s.Rooms == len(demos()) && s.Settled() }); err != nil {
		return err
	}
	return e.Do(ctx, "demo", func(tx *bot.Tx) error {
		chapters := map[string]string{}
		rooms := map[string]bot.RoomID{}
		for _, d := range demos() {
			r, err := tx.RoomAt(network.Name(), d.id)
			if err != nil {
				return err
			}
			r.Lang, r.Zone = d.lang, d.zone
			c, err := tx.NewChapter(r, d.name)
			if err != nil {
				return err
			}
			c.Listed = true
			if err := tx.SaveChapter(c); err != nil {
				return err
			}
			chapters[d.name], rooms[d.name] = c.ID, r.ID
		}
		for _, d := range demos() {
			for _, f := range d.follows {
				if err := tx.SetFollow(bot.Follow{Room: rooms[d.name], Chapter: chapters[f], Active: true}); err != nil {
					return err
				}
			}
		}
		return tx.Exec(`UPDATE members SET since = 0`) // the demo people have been there for long
	})
}
