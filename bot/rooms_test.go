package bot_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

func (h *house) see(room string) (r *bot.Room) {
	h.t.Helper()
	h.do(func(tx *bot.Tx) (err error) {
		r, err = tx.RoomAt("net", room)
		return err
	})
	return r
}

func (h *house) set(room string, change func(r *bot.Room)) {
	h.t.Helper()
	h.do(func(tx *bot.Tx) error {
		r, err := tx.RoomAt("net", room)
		if err != nil {
			return err
		}
		change(r)
		return tx.SaveRoom(r)
	})
}

func TestAnUpgradedRoomKeepsItsSettings(t *testing.T) {
	h := live(t)
	h.chapter("!room", "Home")
	h.set("!room", func(r *bot.Room) { r.Lang, r.Zone, r.Settings["raise"] = "en", "Europe/Madrid", "anyone" })
	want := h.see("!room")
	r := h.keep("bread", nil)
	if err := h.net.Upgrade("!room", "!new"); err != nil {
		t.Fatal(err)
	}
	h.settle()
	h.say("!new", "ana", "/echo hello")
	h.want("!new", "hello")
	for range 2 {
		got := h.see("!new")
		if got == nil || got.ID != want.ID || got.Chapter != want.Chapter || got.Lang != "en" || got.Zone != want.Zone || got.Settings["raise"] != "anyone" || !got.Joined {
			t.Fatalf("got %+v, want the settings of %+v", got, want)
		}
		if old := h.see("!room"); old != nil {
			t.Errorf("the old room is still %+v", old)
		}
		h.do(func(tx *bot.Tx) error {
			if all, err := tx.FindRecords(got, string(r.Code())); err != nil || len(all) != 1 {
				t.Errorf("its records are gone: %v", err)
			}
			if m, err := tx.Members(got.ID); err != nil || len(m) != 2 {
				t.Errorf("%d members: %v", len(m), err)
			}
			return nil
		})
		h.restart()
	}
}

// The bot may be in the new room before it hears of the upgrade, be it in one and the same answer of the network.
func TestAnUpgradedRoomKeepsItsSettingsAlsoWhereTheBotCameBefore(t *testing.T) {
	came := bot.Incoming{Kind: bot.KindRoom, Room: "!new", ID: "$join", RoomChange: &bot.RoomChange{Joined: true, Fresh: true, Encrypted: true}}
	replaces := bot.Incoming{Kind: bot.KindRoom, Room: "!new", RoomChange: &bot.RoomChange{Joined: true, Encrypted: true, Replaces: "!room"}}
	left := bot.Incoming{Kind: bot.KindRoom, Room: "!room", RoomChange: &bot.RoomChange{}}
	for name, play := range map[string]func(h *house){
		"long before":      func(h *house) { h.deliver(came); h.deliver(replaces); h.deliver(left) },
		"in one answer":    func(h *house) { h.deliver(came, replaces, left) },
		"and told twice":   func(h *house) { h.deliver(came, replaces); h.deliver(came, replaces, left, replaces) },
		"which comes back": func(h *house) { h.deliver(came, replaces, left); h.deliver(left, replaces) },
	} {
		t.Run(name, func(t *testing.T) {
			h := live(t)
			h.chapter("!room", "Home")
			want := h.see("!room")
			play(h)
			for range 2 {
				if got := h.see("!new"); got.ID != want.ID || got.Chapter != want.Chapter || !got.Joined {
					t.Errorf("got %+v, want the settings of %+v", got, want)
				}
				if old := h.see("!room"); old.Joined || old.ID == want.ID || old.Chapter != "" {
					t.Errorf("the old room is %+v", old)
				}
				h.restart()
			}
		})
	}
}

func TestARoomThatIsSetUpIsNotReplaced(t *testing.T) {
	h := live(t)
	h.chapter("!room", "Home")
	h.room("!kitchen", "mia*")
	h.chapter("!kitchen", "Kitchen")
	want := h.see("!kitchen")
	h.deliver(bot.Incoming{Kind: bot.KindRoom, Room: "!kitchen", RoomChange: &bot.RoomChange{Joined: true, Encrypted: true, Replaces: "!room"}})
	if got := h.see("!kitchen"); got.ID != want.ID || got.Chapter != want.Chapter {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAWeakerRoomInheritsNothing(t *testing.T) {
	h := live(t)
	h.chapter("!room", "Home")
	h.deliver(bot.Incoming{Kind: bot.KindRoom, Room: "!weak", RoomChange: &bot.RoomChange{Joined: true, Replaces: "!room", Name: "weak"}})
	if got := h.see("!weak"); got.Chapter != "" || got.ID == h.see("!room").ID || got.Encrypted {
		t.Errorf("got %+v", got)
	}
}

func TestOnceEncryptedAlwaysEncrypted(t *testing.T) {
	h := live(t)
	h.deliver(bot.Incoming{Kind: bot.KindRoom, Room: "!room", RoomChange: &bot.RoomChange{Joined: true, Encrypted: false}})
	if !h.see("!room").Encrypted {
		t.Error("the room counts as unencrypted")
	}
	h.post("!room", "hello")
	h.settle()
	h.wantSpoken("!room", "hello") // the network refuses clear text there
}

func TestClearTextInAnEncryptedRoomIsNotObeyed(t *testing.T) {
	h := live(t)
	clear := func(text, thread string) {
		h.said(rig.Said{Room: "!room", Person: "@ana", Text: text, Clear: true, Thread: thread})
	}
	clear("/echo hello", "")
	if got := h.texts("!room"); len(got) != 1 || got[0] == "hello" {
		t.Fatalf("the bot says %q", got)
	}
	clear("/echo hello", "")
	clear("ordinary talk", "")
	h.say("!room", "ana", "/ask")
	n := len(h.texts("!room"))
	clear("soup", h.last("!room").Thread)
	if got := h.texts("!room"); len(got) != n || n != 2 {
		t.Errorf("the bot says %q", got)
	}
	h.advance(25 * time.Hour)
	clear("/echo hello", "")
	if got := h.texts("!room"); len(got) != n+1 {
		t.Errorf("a day later the bot says %q", got)
	}
}

func TestWhoIsIgnoredIsNotHeard(t *testing.T) {
	h := live(t)
	h.say("!room", "luc", "/ask")
	luc := h.reply("!room", "luc", "soup")
	h.do(func(tx *bot.Tx) error {
		p, err := tx.Meet("net", "@luc", "")
		if err != nil {
			return err
		}
		return tx.SaveMember(h.roomIn(tx, "!room"), bot.Member{Person: p.ID, Present: true, Ignored: true})
	})
	n := len(h.texts("!room"))
	h.say("!room", "luc", "/echo hello")
	h.say("!room", "luc", "starling: echo hello")
	h.reply("!room", "luc", "1")
	h.react("!room", "luc", h.last("!room").ID, "1️⃣")
	if err := h.net.Edit("!room", "@luc", luc, "bread"); err != nil {
		t.Fatal(err)
	}
	h.settle()
	if got := h.texts("!room"); len(got) != n {
		t.Errorf("the bot answers %q", got[n:])
	}
	h.deliver(bot.Incoming{Kind: bot.KindMember, Room: "!room", Person: "@luc", Name: "luc", Member: &bot.MemberChange{Joined: true, Moderator: true}})
	h.say("!room", "luc", "/echo hello")
	if got := h.texts("!room"); len(got) != n {
		t.Errorf("joining again or a new role lets him be heard: %q", got[n:])
	}
}

func TestADirectChatIsAboutTheRoomThatSheNames(t *testing.T) {
	h := live(t)
	direct := func(people ...string) {
		for _, p := range people {
			h.roomOf(rig.Room{ID: "!" + p, Direct: true, Encrypted: true}, p)
		}
	}
	h.room("!kitchen", "ana", "mia")
	direct("ana", "mia", "zoe")
	h.on("where", func(t *bot.Turn) error { return t.Done(Said{"about " + t.Room.Name}) })
	h.say("!zoe", "zoe", "/where it")
	if got := h.texts("!zoe"); len(got) != 1 || strings.HasPrefix(got[0], "about") {
		t.Errorf("a stranger hears %q", got)
	}
	h.say("!mia", "mia", "/where it")
	h.want("!mia", "about kitchen")
	h.say("!ana", "ana", "/where it")
	if got := h.texts("!ana"); len(got) != 1 || !strings.Contains(got[0], "kitchen") || !strings.Contains(got[0], "room") {
		t.Fatalf("she is asked %q", got)
	}
	h.restart()
	h.say("!ana", "ana", "kitchen")
	if got := h.texts("!ana"); len(got) != 2 || got[1] != "about kitchen" {
		t.Errorf("she hears %q", got)
	}
	h.say("!ana", "ana", "where it") // without a sigil: in her chat she speaks to nobody else
	h.say("!ana", "ana", "2")
	if got := h.texts("!ana"); len(got) != 4 || !strings.HasPrefix(got[3], "about") {
		t.Errorf("she hears %q", got)
	}
}

func TestNobodyModeratesADirectChat(t *testing.T) {
	h := live(t)
	h.roomOf(rig.Room{ID: "!ana", Direct: true, Encrypted: true}, "ana*")
	var in, about bool
	h.on("who", func(t *bot.Turn) error { in = t.Moderator(); return nil })
	h.on("where", func(t *bot.Turn) error { about = t.Moderator(); return nil })
	h.say("!ana", "ana", "/do who")
	h.say("!ana", "ana", "/where it")
	if in || !about {
		t.Errorf("moderator of the chat: %v, of the room: %v", in, about)
	}
	h.deliver(bot.Incoming{Kind: bot.KindMember, Room: "!room", Person: "@ana", Name: "ana", Member: &bot.MemberChange{Joined: true}})
	h.say("!ana", "ana", "/where it")
	if about {
		t.Error("she still moderates after she no longer does")
	}
}

func TestARoomIsGreetedOnce(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	h.on("joined", func(t *bot.Turn) error { return t.Done(Said{"hello"}) })
	h.start()
	in := bot.Incoming{Kind: bot.KindRoom, Room: "!room", ID: "$join", RoomChange: &bot.RoomChange{Joined: true, Fresh: true, Inviter: "@ana", Encrypted: true,
		Members: map[string]bot.MemberInfo{"@ana": {Name: "ana"}}}}
	if err := h.net.Invite(rig.Room{ID: "!room", Encrypted: true, Members: []rig.Member{{Person: "@ana", Name: "ana"}}}, "@ana", 3); err != nil {
		t.Fatal(err)
	}
	h.settle()
	h.wantSpoken("!room", "hello")
	in.Room = "!other"
	if err := h.net.Create(rig.Room{ID: "!other", Encrypted: true, Members: []rig.Member{{Person: "@ana", Name: "ana"}}}); err != nil {
		t.Fatal(err)
	}
	h.deliver(in)
	h.deliver(in) // as after a crash
	h.restart()
	h.deliver(in)
	h.wantSpoken("!other", "hello")
}

func TestAGreetingThatBreaksDoesNotKeepTheBotOut(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	h.on("joined", func(t *bot.Turn) error { panic("broken") })
	h.start()
	if err := h.net.Invite(rig.Room{ID: "!room", Encrypted: true, Members: []rig.Member{{Person: "@ana", Name: "ana"}}}, "@ana", 3); err != nil {
		t.Fatal(err)
	}
	h.settle()
	h.say("!room", "ana", "/echo hello")
	h.want("!room", "hello")
}

func TestSomebodyInvitesTheBotThreeTimesADay(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	h.start()
	for i := range 5 {
		if err := h.net.Invite(rig.Room{ID: fmt.Sprint("!room", i), Encrypted: true, Members: []rig.Member{{Person: "@ana"}}}, "@ana", 3); err != nil {
			t.Fatal(err)
		}
	}
	h.settle()
	if n := h.engine.Status().Rooms; n != 3 {
		t.Errorf("the bot is in %d rooms", n)
	}
	h.advance(24 * time.Hour)
	if err := h.net.Invite(rig.Room{ID: "!tomorrow", Encrypted: true, Members: []rig.Member{{Person: "@ana"}}}, "@ana", 3); err != nil {
		t.Fatal(err)
	}
	h.settle()
	if n := h.engine.Status().Rooms; n != 4 {
		t.Errorf("the day after the bot is in %d rooms", n)
	}
}

func TestCodesThatMeanSeveralAreListed(t *testing.T) {
	h := live(t)
	var long string
	if err := h.inTurn("!room", func(t *bot.Turn) error {
		for range 4000 {
			r, err := t.NewRecord("thing", thing{}, time.Time{})
			if err != nil {
				return err
			}
			if len(r.Code()) > len("T-0000") {
				long = string(r.Code())
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	h.say("!room", "ana", "/show "+strings.ToLower(long[:6]))
	if got := h.texts("!room"); len(got) != 1 || strings.Count(got[0], long[:6]) < 2 {
		t.Fatalf("the bot says %q", got)
	}
	h.say("!room", "ana", "/show "+strings.ToLower(long))
	if got := h.texts("!room"); got[1] != "shown "+long {
		t.Errorf("the bot says %q", got)
	}
	h.say("!room", "ana", "/show nothing")
	if got := h.texts("!room"); len(got) != 3 || strings.Contains(got[2], "shown") {
		t.Errorf("the bot says %q", got)
	}
}
