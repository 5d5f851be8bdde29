package bot_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

// secret is what ana wrote and takes back.
const secret = "the gate is open"

// keeps makes /do keep keep a thing of who says so and tell the rooms about it; the row in the room of the command comes first.
func (h *house) keeps(rooms ...string) {
	ids := make([]bot.RoomID, len(rooms))
	for i, r := range rooms {
		ids[i] = h.id(r)
		if i == 0 {
			h.chapter("!room", "Here")
		}
		h.follows(r, "Here")
	}
	h.on("keep", func(t *bot.Turn) error {
		r, err := t.NewRecord("thing", thing{Text: secret}, t.Now().Add(time.Hour))
		if err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := t.Post(id, Said{secret}, bot.About(r), bot.Buttons("✅")); err != nil {
				return err
			}
		}
		return t.Done(Said{secret}, bot.About(r))
	})
	h.on("forget", func(t *bot.Turn) error {
		n, err := t.Forget(t.Person.ID)
		if err != nil {
			return err
		}
		return t.Done(Said{[]string{"none", "one", "two"}[n]})
	})
}

// remains counts rows that a query finds.
func (h *house) remains(query string, args ...any) (n int) {
	h.t.Helper()
	h.do(func(tx *bot.Tx) error {
		_, err := tx.One(`SELECT COUNT(*) FROM `+query, args, &n)
		return err
	})
	return n
}

func (h *house) personID(address string) (id bot.PersonID) {
	h.t.Helper()
	h.do(func(tx *bot.Tx) error {
		p, err := tx.Meet("net", address, "")
		if err == nil {
			id = p.ID
		}
		return err
	})
	return id
}

func TestForgettingReachesEveryRoom(t *testing.T) {
	h := live(t)
	h.room("!other", "luc")
	h.keeps("!other")
	h.say("!room", "ana", "/do keep")
	h.want("!other", secret)
	h.want("!room", secret)

	h.say("!room", "ana", "/do forget")
	h.want("!other")
	h.want("!room", "one")
	ana := h.personID("@ana")
	for what, n := range map[string]int{
		"bodies":               h.remains(`bodies`),
		"authors":              h.remains(`records WHERE author <> 0`),
		"origins":              h.remains(`records WHERE origin IS NOT NULL`),
		"texts about records":  h.remains(`outbox WHERE record <> '' AND data IS NOT NULL`),
		"answers to her":       h.remains(`outbox WHERE person = $1`, ana) - 1, // the one that says so
		"names and choices":    h.remains(`people WHERE id = $1 AND (lang <> '' OR zone <> '' OR last_room <> 0)`, ana),
		"records that can say": h.remains(`records WHERE state <> 'erased'`),
	} {
		if n != 0 {
			t.Errorf("%s that remain: %d", what, n)
		}
	}
	// The envelope stays.
	if n := h.remains(`records`); n != 1 {
		t.Errorf("%d envelopes remain, want 1", n)
	}
}

func TestForgettingDropsWhatWaits(t *testing.T) {
	h := live(t)
	h.room("!away", "luc")
	h.keeps("!away")
	away := true
	h.tap.calls(func(_ context.Context, out bot.Outgoing) error {
		if away && out.Room == "!away" {
			return &bot.SendError{Err: context.DeadlineExceeded, After: time.Minute}
		}
		return nil
	}, nil)
	h.say("!room", "ana", "/do keep")
	h.say("!room", "ana", "/do forget")
	away = false
	h.advance(time.Hour)
	// Nobody knows whether the lost call had arrived: if it had, it is deleted.
	h.want("!away")
	h.want("!room", "one")
}

func TestForgettingDeletesWhatIsOnItsWay(t *testing.T) {
	h := live(t)
	h.room("!slow", "luc")
	h.keeps("!slow")
	free := make(chan struct{})
	h.tap.calls(func(_ context.Context, out bot.Outgoing) error {
		if out.Room == "!slow" {
			<-free
		}
		return nil
	}, nil)
	if _, err := h.net.Say(rig.Said{Room: "!room", Person: "@ana", Text: "/do keep"}); err != nil {
		t.Fatal(err)
	}
	h.settleWith(1)
	if _, err := h.net.Say(rig.Said{Room: "!room", Person: "@ana", Text: "/do forget"}); err != nil {
		t.Fatal(err)
	}
	h.settleWith(1)
	close(free)
	h.settle()
	h.want("!slow")
	if n := len(h.events("!slow", bot.OutDelete)); n != 1 {
		t.Errorf("%d deletions, want 1", n)
	}
	if n := h.remains(`outbox WHERE record <> '' AND data IS NOT NULL`); n != 0 {
		t.Errorf("%d texts about records remain", n)
	}
}

func TestForgettingDeletesEdits(t *testing.T) {
	h := live(t)
	var row bot.RowID
	h.on("keep", func(t *bot.Turn) error {
		r, err := t.NewRecord("thing", thing{Text: secret}, t.Now().Add(time.Hour))
		if err == nil {
			row, err = t.Answer(Said{"kept"}, bot.About(r))
		}
		return err
	})
	h.on("erase", func(t *bot.Turn) error {
		all, err := t.RecordsOf(t.Person.ID)
		if err != nil {
			return err
		}
		return t.Erase(all[0])
	})
	h.say("!room", "ana", "/do keep")
	h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{secret}) })
	h.settle()
	// One more waits for its time.
	h.do(func(tx *bot.Tx) error { return tx.EditCounter(row, Said{secret + " again"}) })
	h.settle()
	h.say("!room", "ana", "/do erase")
	h.advance(time.Minute)
	h.want("!room")
	edits := h.events("!room", bot.OutEdit)
	if len(edits) != 1 {
		t.Fatalf("%d edits, want 1", len(edits))
	}
	deleted := h.events("!room", bot.OutDelete)
	if len(deleted) == 0 || slices.ContainsFunc(deleted, func(ev rig.Event) bool { return ev.Target == "" }) {
		t.Errorf("deleted %+v", deleted)
	}
	if n := h.remains(`outbox WHERE kind = 'delete' AND state = 1`); n != 2 {
		t.Errorf("%d deletions were made, want the message and its edit", n)
	}
}

func TestForgettingTakesTheQuestionsAlong(t *testing.T) {
	h := live(t)
	h.keeps()
	h.say("!room", "ana", "/ask")
	h.say("!room", "ana", "/do forget")
	h.want("!room", "none")
	if n := h.remains(`dialogues`); n != 0 {
		t.Errorf("%d dialogues remain", n)
	}
}

func TestForgettingEmptiesHerDirectChat(t *testing.T) {
	h := live(t)
	h.keeps()
	h.roomOf(rig.Room{ID: "!ana", Name: "ana", Direct: true}, "ana")
	h.do(func(tx *bot.Tx) error {
		p, err := tx.Meet("net", "@ana", "ana")
		if err != nil {
			return err
		}
		p.Lang, p.Zone = "de", "Europe/Berlin"
		if err := tx.SavePerson(p); err != nil {
			return err
		}
		r, err := tx.RoomAt("net", "!room")
		if err != nil {
			return err
		}
		r.Inviter = p.ID
		return tx.SaveRoom(r)
	})
	h.say("!ana", "ana", "/do nothing")
	h.say("!ana", "ana", "/do forget")
	h.do(func(tx *bot.Tx) error {
		for _, id := range []bot.RoomID{h.roomAt(tx, "!ana"), h.roomAt(tx, "!room")} {
			r, err := tx.Room(id)
			if err != nil {
				return err
			}
			if r.Direct && (r.Name != "" || r.Zone != "" || r.Lang != "") || r.Inviter != 0 {
				t.Errorf("the room still knows %q %q %q %d", r.Name, r.Zone, r.Lang, r.Inviter)
			}
		}
		p, err := tx.Meet("net", "@ana", "")
		if err == nil && (p.Lang != "" || p.Zone != "" || p.Name != "") {
			t.Errorf("she is still known as %+v", p)
		}
		return err
	})
}

func (h *house) roomAt(tx *bot.Tx, address string) bot.RoomID {
	r, err := tx.RoomAt("net", address)
	if err != nil {
		h.t.Fatal(err)
	}
	return r.ID
}

func TestABareYesAnswersWhatThatPersonWasJustAsked(t *testing.T) {
	h := live(t)
	h.on("ask", func(t *bot.Turn) error { return t.Done(Said{"sure?"}, bot.Topic("test.topic", "ref")) })
	h.say("!room", "ana", "/do ask")
	h.say("!room", "luc", "yes")
	h.want("!room", "sure?")
	h.say("!room", "ana", "why not")
	h.want("!room", "sure?")
	h.say("!room", "ana", "yes")
	h.want("!room", "sure?", "ref yes")
	// That was answered: another yes is talk.
	h.say("!room", "ana", "yes")
	h.want("!room", "sure?", "ref yes")
	h.say("!room", "ana", "/do ask")
	h.advance(11 * time.Minute)
	h.say("!room", "ana", "yes")
	h.want("!room", "sure?", "ref yes", "sure?")
}

func TestNamesThatLookAlikeAreToldApart(t *testing.T) {
	h := live(t)
	for _, name := range []string{"Lille", "Lile", "Lille Sud", "Barcelona", "Łódź"} {
		h.room("!"+name, "ana*")
		h.chapter("!"+name, name)
	}
	h.do(func(tx *bot.Tx) error {
		room, err := tx.RoomAt("net", "!Barcelona")
		if err != nil {
			return err
		}
		shown := func(name string) bot.ChapterName {
			c, err := tx.ChapterNamed(name)
			if err != nil || c == nil {
				t.Fatal(name, err)
			}
			n, err := tx.NameIn(room, c)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		// Nobody is listed: the room sees its own chapter alone.
		if n := shown("Lille"); n.Mark != "" {
			t.Errorf("a name that looks like none that can be seen has the mark %s", n.Mark)
		}
		for _, name := range []string{"Lille", "Lile", "Lille Sud", "Łódź"} {
			c, err := tx.ChapterNamed(name)
			if err != nil {
				return err
			}
			c.Listed = true
			if err := tx.SaveChapter(c); err != nil {
				return err
			}
		}
		for name, marked := range map[string]bool{"Lille": true, "Lile": true, "Lille Sud": true, "Łódź": false, "Barcelona": false} {
			n := shown(name)
			if (n.Mark != "") != marked {
				t.Errorf("%s is shown as %+v", name, n)
			}
			typed := n.Name
			if marked {
				typed += " (" + string(n.Mark) + ")"
			}
			c, err := tx.FindChapter(room, typed)
			if err != nil {
				return err
			}
			if c == nil || c.Name != name {
				t.Errorf("%q finds %+v", typed, c)
			}
		}
		if c, err := tx.FindChapter(room, "Lille (ZZZZ)"); c != nil || err != nil {
			t.Errorf("a wrong mark finds %+v, %v", c, err)
		}
		return nil
	})
}
