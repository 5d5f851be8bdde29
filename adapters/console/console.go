// Package console is Starling in a terminal: a few demo rooms side by side, in which a visitor speaks as any of their people
// and sees what the bot answers in each. The engine, the commands and the database are the real ones; the network is the
// rig's, in memory.
package console

import (
	"context"
	"errors"
	"os"
	"slices"
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

// demos are four rooms. The first speaks a visitor's language; it and the second follow each other, the third follows it too,
// and the last follows nobody.
func demos(lang string) []demo {
	room := func(id, name, lang, zone, moderator, other string) demo {
		member := func(name string) rig.Member { return rig.Member{Person: "@" + strings.ToLower(name), Name: name} }
		d := demo{id: "!" + id, name: name, lang: lang, zone: zone, people: []rig.Member{member(moderator), member(other)}}
		d.people[0].Moderator = true
		return d
	}
	all := []demo{
		room("barcelona", "Barcelona", "es", "Europe/Madrid", "Ana", "Jordi"),
		room("lille", "Lille", "fr", "Europe/Paris", "Inès", "Luc"),
		room("cairo", "القاهرة", "ar", "Africa/Cairo", "Nour", "Omar"),
		room("london", "London", "en", "Europe/London", "Sam", "Alex"),
		room("recife", "Recife", "pt", "America/Recife", "Bia", "Caio"),
		room("leipzig", "Leipzig", "de", "Europe/Berlin", "Mika", "Jule"),
		room("amed", "Amed", "ku", "Europe/Istanbul", "Zîn", "Rojda"),
	}
	i := max(0, slices.IndexFunc(all, func(d demo) bool { return d.lang == lang }))
	rooms := []demo{all[i]}
	rooms = append(rooms, slices.Delete(all, i, i+1)[:3]...)
	rooms[0].follows = []string{rooms[1].name}
	rooms[1].follows = []string{rooms[0].name}
	rooms[2].follows = []string{rooms[0].name}
	return rooms
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

// Run opens the console on an engine that nobody runs yet, and returns when the visitor leaves or the engine stops.
func Run(ctx context.Context, e *bot.Engine, texts *locales.Bundle) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	m, ended, err := Open(ctx, e, texts, Language(), func(rig.Event) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	if err != nil {
		cancel()
		return errors.Join(err, <-ended)
	}
	program := tea.NewProgram(m, tea.WithContext(ctx))
	stopped := make(chan error, 1)
	go func() {
		for {
			select {
			case err := <-ended:
				stopped <- err
				program.Quit()
				return
			case <-changed:
				program.Send(moved{})
			}
		}
	}()
	_, err = program.Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		err = nil
	}
	cancel()
	return errors.Join(err, <-stopped)
}

// Open makes the demo rooms on an engine that nobody runs yet, and runs it until ctx ends; ended then says how. The model shows
// the rooms, its words in a visitor's language. watch is told of everything that the bot does; it must not wait for anything.
func Open(ctx context.Context, e *bot.Engine, texts *locales.Bundle, lang string, watch func(rig.Event)) (m tea.Model, ended <-chan error, err error) {
	able := rig.LikeMatrix()
	able.Threads = false // one column a room: an answer is a reply
	network := rig.NewNetwork("console", able, bot.WallClock{}, watch)
	end := make(chan error, 1)
	go func() { end <- e.Run(ctx, network) }()
	rooms := demos(lang)
	if err := furnish(ctx, e, network, rooms); err != nil {
		return nil, end, err
	}
	return newModel(network, texts, lang, rooms), end, nil
}

// furnish makes the demo rooms and their chapters, silently.
func furnish(ctx context.Context, e *bot.Engine, network *rig.Network, rooms []demo) error {
	for _, d := range rooms {
		if err := network.Create(rig.Room{ID: d.id, Name: d.name, Encrypted: true, Members: d.people}); err != nil {
			return err
		}
	}
	if err := e.Wait(ctx, func(s bot.Status) bool { return s.Rooms == len(rooms) && s.Settled() }); err != nil {
		return err
	}
	return e.Do(ctx, "demo", func(tx *bot.Tx) error {
		chapters := map[string]string{}
		ids := map[string]bot.RoomID{}
		for _, d := range rooms {
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
			chapters[d.name], ids[d.name] = c.ID, r.ID
		}
		for _, d := range rooms {
			for _, f := range d.follows {
				if err := tx.SetFollow(bot.Follow{Room: ids[d.name], Chapter: chapters[f], Active: true}); err != nil {
					return err
				}
			}
		}
		return tx.Exec(`UPDATE members SET since = 0`) // the demo people have been there for long
	})
}
