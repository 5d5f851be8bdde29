package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
	"starling/locales"
	"starling/locales/markup"
)

// onRig starts a bot as it ships on a rig's network.
func onRig(t testing.TB, limits bot.Limits, watch func(rig.Event)) *settled {
	t.Helper()
	clock := rig.NewClock(time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC))
	net := rig.NewNetwork("matrix", rig.LikeMatrix(), clock, watch)
	caps, err := content(defaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry := locales.NewRegistry()
	bot.Messages(registry, caps...)
	bundle, err := loadOnce(registry)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e, err := bot.Open(bot.Config{Dir: dir, Database: dbtest.For(t, dir), Name: "Starling", Lang: "en", Clock: clock, Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel),
		Messages: registry, Locales: bundle, NoSync: true, Limits: limits}, caps...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx, net) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, e.Close()); err != nil {
			t.Error(err)
		}
		if n := e.Status().Errors; n > 0 {
			t.Errorf("%d errors of the engine", n)
		}
	})
	return &settled{t, e, net, clock}
}

// neighbours are some chapters that do not know of one another, and what their people agreed on, noted beside the bot.
type neighbours struct {
	*settled
	rt       *rapid.T
	round    int
	homes    []*home
	said     func() []rig.Event // what the bot said since it was asked last
	step     int
	asked    map[[2]string]int   // room, chapter → when a moderator of the room last asked to hear it
	agreed   map[[2]string]int   // chapter, asking chapter → when a moderator there last said yes to it
	open     map[string]int      // chapter → when it was last open
	revealed map[[2]string]bool  // chapter, asked chapter: who asks says who it is
	bore     map[[2]string]bool  // room, folded name → its own chapter was once called so
	called   map[string][]string // folded name → the chapters that ever had it
	secrets  map[string]*home    // what was said in an alert, and where
	from     map[string]string   // for which chapter: the room's own at that time
}

// home is a room with its people: a moderator and a member.
type home struct {
	name, chapter string // chapter: the name of its chapter when it began; "" without one
	id            bot.RoomID
}

func (h *home) address() string          { return "!" + h.name }
func (h *home) person(who string) string { return "@" + who + "." + h.name }

// TestNobodyHearsOrLearnsOfAChapterWithoutConsent lets anybody type anything about relaying in any order. A room must never hear
// a chapter unless its own moderators asked and the chapter's moderators said yes, or let everybody in; and it must never read the
// name of a chapter that is not listed, unless that is or was its own, hears it, is heard, or asked, or somebody there typed the name.
func TestNobodyHearsOrLearnsOfAChapterWithoutConsent(t *testing.T) {
	var mu sync.Mutex
	var events []rig.Event
	s := onRig(t, bot.Limits{}, func(ev rig.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, ev)
	})
	said := func() []rig.Event {
		mu.Lock()
		defer mu.Unlock()
		all := events
		events = nil
		return all
	}
	round, heard := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		n := &neighbours{settled: s, rt: rt, round: round, said: said, asked: map[[2]string]int{}, agreed: map[[2]string]int{}, called: map[string][]string{}, open: map[string]int{},
			revealed: map[[2]string]bool{}, bore: map[[2]string]bool{}, secrets: map[string]*home{}, from: map[string]string{}}
		n.move()
		for range rapid.IntRange(10, 50).Draw(rt, "steps") {
			n.step++
			n.act()
		}
		heard += n.leave()
	})
	if heard == 0 {
		t.Error("no room ever heard a chapter: the test drew nothing that leads there")
	}
}

func (n *neighbours) move() {
	for i, chapter := range []string{"Quetzal", "Obsidian", "Marigold", "Marigold", ""} {
		h := &home{name: fmt.Sprintf("r%d-%d", n.round, i), chapter: chapter}
		if chapter != "" {
			h.chapter = fmt.Sprintf("%s %d", chapter, n.round)
		}
		n.homes = append(n.homes, h)
	}
	n.do(func(tx *bot.Tx) error {
		for _, h := range n.homes {
			r := rig.Room{ID: h.address(), Name: h.name, Encrypted: true, Members: []rig.Member{
				{Person: h.person("mod"), Name: "mod", Moderator: true}, {Person: h.person("mem"), Name: "mem"}}}
			if err := (rig.Home{Adapter: "matrix", Room: r, Lang: "en", Chapter: h.chapter, Since: n.clock.Now().Add(-1000 * time.Hour)}).SetUp(tx); err != nil {
				return err
			}
			room, err := tx.RoomAt("matrix", r.ID)
			if err != nil {
				return err
			}
			h.id = room.ID
			room.Settings[bot.SettingRaise] = "anyone"
			if err := errors.Join(tx.SaveRoom(room), n.net.Create(r)); err != nil {
				return err
			}
		}
		return nil
	})
	n.settle()
	n.said()
}

// act lets somebody do something, and looks at what came of it.
func (n *neighbours) act() {
	at := rapid.SampledFrom(n.homes).Draw(n.rt, "room")
	who := rapid.SampledFrom([]string{"mod", "mod", "mem"}).Draw(n.rt, "who")
	about := rapid.SampledFrom(n.homes[:3]).Draw(n.rt, "about").chapter
	typed := rapid.SampledFrom([]string{about, about, strings.ToUpper(about), strings.Replace(about, "a", "а", 1), " " + about + " ", about[:4], "Zzyzx"}).Draw(n.rt, "typed")
	before := n.knows()
	texts := []string{"/relay follow " + about, "/relay follow " + about, "/relay follow " + typed, "/relay allow " + typed, "/relay unfollow " + typed, "/relay remove " + typed,
		"/relay open on", "/relay open off", "/relay listed on", "/relay listed off", "/relay", "/relay followers", "/room leave", "/room name " + about, "/room name Zzyzx",
		"/room join " + typed, "/room pause", "/room resume", "/starling relay", "/alert list", "✅", "✅", "✅", "✅", "❌", "reply yes", "alert", "alert"}
	text := rapid.SampledFrom(texts).Draw(n.rt, "text")
	moderator := who == "mod"
	switch {
	case text == "alert":
		secret := fmt.Sprintf("secret-%d-%d-", n.round, n.step)
		n.secrets[secret] = at
		n.say(at, who, "/alert now: "+secret)
		n.press(at, who, "✅")
	case slices.Contains([]string{"✅", "❌", "reply yes"}, text):
		if i := slices.IndexFunc(n.homes, func(h *home) bool { return h.chapter == about }); rapid.Bool().Draw(n.rt, "there") {
			at = n.homes[i]
		}
		for _, asker := range n.press(at, who, text) {
			if text != "❌" && moderator {
				n.agreed[[2]string{before.chapter[at.id], asker}] = n.step
			}
		}
	default:
		own, named := before.chapter[at.id], before.named(argument(text))
		if moderator && strings.HasPrefix(text, "/relay follow") && own != "" {
			n.asked[[2]string{at.name, named}] = n.step
			n.revealed[[2]string{own, named}] = true
		}
		if moderator && strings.HasPrefix(text, "/room join") {
			n.revealed[[2]string{named, at.name}] = true // to who asks for it by its name; names are taken or not
		}
		if moderator && strings.HasPrefix(text, "/relay allow") {
			n.agreed[[2]string{own, named}] = n.step
		}
		n.say(at, who, text)
		if text == "/room leave" {
			n.press(at, who, "✅")
		}
	}
	after := n.knows()
	n.check(at, text, before, after)
}

// argument is what stands after the two words of a command.
func argument(text string) string {
	words := strings.Fields(text)
	return strings.Join(words[min(len(words), 2):], " ")
}

func (n *neighbours) say(at *home, who, text string) {
	if _, err := n.net.Say(rig.Said{Room: at.address(), Person: at.person(who), Text: text}); err != nil {
		n.rt.Fatal(err)
	}
	n.settle()
}

// press answers what the bot asked in a room last, and gives the chapters whose wish to hear that may have been about.
func (n *neighbours) press(at *home, who, emoji string) (askers []string) {
	m, err := rig.Target(n.net.Messages(at.address()), at.person(who), "", func(m rig.Message) bool { return len(n.net.Reactions(m.ID)) > 0 })
	if err != nil {
		return nil
	}
	if name, _, asks := strings.Cut(rig.Readable(m.Text), " asks to hear "); asks {
		askers = n.called[markup.Fold(strings.TrimLeft(name, "*"))]
	}
	if text, typed := strings.CutPrefix(emoji, "reply "); typed {
		_, err = n.net.Say(rig.Said{Room: at.address(), Person: at.person(who), Text: text, ReplyTo: m.ID})
	} else {
		err = n.net.React(at.address(), at.person(who), m.ID, emoji, true)
	}
	if err != nil {
		n.rt.Fatal(err)
	}
	n.settle()
	return askers
}

// state is what the bot holds of who hears and may know whom. Chapters are named by their ids.
type state struct {
	names   map[string]string // folded
	chapter map[bot.RoomID]string
	hears   map[[2]string]bool // room, chapter
	listed  map[string]bool
	open    map[string]bool
}

// named is the chapter of a name, "" if there is none.
func (st state) named(typed string) string {
	for id, name := range st.names {
		if name == markup.Fold(typed) {
			return id
		}
	}
	return ""
}

func (n *neighbours) knows() state {
	st := state{map[string]string{}, map[bot.RoomID]string{}, map[[2]string]bool{}, map[string]bool{}, map[string]bool{}}
	n.do(func(tx *bot.Tx) error {
		for _, h := range n.homes {
			room, err := tx.Room(h.id)
			if err != nil {
				return err
			}
			c, err := tx.Chapter(room.Chapter)
			if err != nil {
				return err
			}
			if c != nil {
				if name := markup.Fold(c.Name); !slices.Contains(n.called[name], c.ID) {
					n.called[name] = append(n.called[name], c.ID)
				}
				st.chapter[h.id], st.names[c.ID], st.listed[c.ID], st.open[c.ID] = c.ID, markup.Fold(c.Name), c.Listed, c.Open
			}
			follows, err := tx.Following(h.id)
			if err != nil {
				return err
			}
			for _, f := range follows {
				if f.Active {
					st.hears[[2]string{h.name, f.Chapter}] = true
				}
			}
		}
		return nil
	})
	return st
}

// check compares what the bot did with what people agreed on.
func (n *neighbours) check(at *home, typed string, before, after state) {
	for name, open := range before.open {
		if open {
			n.open[name] = n.step
		}
	}
	for pair := range after.hears {
		if before.hears[pair] {
			continue
		}
		room := n.homes[slices.IndexFunc(n.homes, func(h *home) bool { return h.name == pair[0] })]
		asked := n.asked[pair]
		if asked == 0 {
			n.rt.Fatalf("%s hears %s, which none of its moderators asked for", pair[0], pair[1])
		}
		if n.open[pair[1]] < asked && n.agreed[[2]string{pair[1], after.chapter[room.id]}] < asked {
			n.rt.Fatalf("%s (%s) hears %s, which did not agree", pair[0], after.chapter[room.id], pair[1])
		}
	}
	for secret, origin := range n.secrets {
		if _, known := n.from[secret]; !known {
			n.from[secret] = before.chapter[origin.id]
		}
	}
	for _, h := range n.homes { // who leaves a chapter keeps what was said for it, with the name that it had
		if own := before.chapter[h.id]; own != "" {
			n.bore[[2]string{h.name, before.names[own]}] = true
		}
	}
	for _, ev := range n.said() {
		i := slices.IndexFunc(n.homes, func(h *home) bool { return h.address() == ev.Room })
		if i < 0 {
			continue
		}
		reader, text := n.homes[i], markup.Fold(ev.Text)
		for id, name := range before.names {
			echo := reader == at && strings.Contains(markup.Fold(typed), name)
			if !strings.Contains(text, name) || echo || n.bore[[2]string{reader.name, name}] || n.mayKnow(reader, id, before) || n.mayKnow(reader, id, after) {
				continue
			}
			n.rt.Fatalf("%s reads of %s: %s", reader.name, name, rig.Readable(ev.Text))
		}
		for secret, from := range n.from {
			if !strings.Contains(ev.Text, secret) {
				continue
			}
			if n.secrets[secret] != reader && from != before.chapter[reader.id] && !before.hears[[2]string{reader.name, from}] {
				n.rt.Fatalf("%s reads an alert of %s: %s", reader.name, from, rig.Readable(ev.Text))
			}
		}
	}
}

// mayKnow is whether a room may read the name of a chapter: its own, one that is listed, that it hears or that hears its own, that
// asked its own, or that it asked to belong to.
func (n *neighbours) mayKnow(reader *home, chapter string, st state) bool {
	own := st.chapter[reader.id]
	if own == chapter || st.listed[chapter] || st.hears[[2]string{reader.name, chapter}] || n.revealed[[2]string{chapter, reader.name}] || own != "" && n.revealed[[2]string{chapter, own}] {
		return true
	}
	return own != "" && slices.ContainsFunc(n.homes, func(h *home) bool { return st.chapter[h.id] == chapter && st.hears[[2]string{h.name, own}] })
}

// leave ends all chapters, so that the next neighbours find none, and says how many rooms heard one.
func (n *neighbours) leave() (heard int) {
	heard = len(n.knows().hears)
	n.do(func(tx *bot.Tx) error {
		for _, h := range n.homes {
			room, err := tx.Room(h.id)
			if err != nil {
				return err
			}
			if room.Chapter != "" {
				if err := tx.LeaveChapter(room); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return heard
}
