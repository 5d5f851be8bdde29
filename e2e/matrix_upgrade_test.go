package e2e

import (
	"strings"
	"testing"

	"starling/e2e/lab"
)

// The bot is kicked, banned and invited again, and its room is upgraded: what was set there stays, and goes nowhere where it would
// be protected less. Jordi moderates, and is not among those who may invite it.
func TestARoomKeepsItsSettingsWhateverBecomesOfIt(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	bot := lab.StartStarling(t, server, "@ana:"+lab.ServerName)
	ana, jordi := humans.Join(t, "ana", lab.Options{}), humans.Join(t, "jordi", lab.Options{})
	room := ana.CreateRoom(lab.Room{Name: "Lyon", Invite: []string{jordi.ID, bot.ID}, Power: map[string]int{jordi.ID: 100}})
	jordi.Join(room)
	ana.WaitMember(room, jordi.ID, "join")
	ana.WaitMember(room, bot.ID, "join")
	ana.Wait(lab.Want{Room: room, From: bot.ID}) // the greeting

	asks := func(t *testing.T, p *lab.Person, room, text string) lab.Message {
		t.Helper()
		p = p.In(t)
		return p.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: p.Say(room, text)})
	}
	isSetUp := func(t *testing.T, p *lab.Person, room string) {
		t.Helper()
		if m := asks(t, p, room, "/room"); !strings.Contains(m.Body, "français") || !strings.Contains(m.Body, "Paris") || !m.Encrypted {
			t.Errorf("the room is %s, want what was set before", m)
		}
	}
	asks(t, ana, room, "/room language fr")
	asks(t, ana, room, "/salle fuseau Paris")
	isSetUp(t, ana, room)
	rooms := func(t *testing.T, n int) {
		t.Helper()
		bot.WaitStatus(t, "it knows in which rooms it is", func(st lab.BotStatus) bool { return st.Rooms == n })
	}
	comesAgain := func(t *testing.T) {
		t.Helper()
		ana := ana.In(t)
		mark := ana.Mark()
		ana.Invite(room, bot.ID)
		ana.WaitMember(room, bot.ID, "join")
		if m := ana.Wait(lab.Want{Room: room, From: bot.ID, After: mark}); !strings.Contains(m.Body, "/salle") {
			t.Errorf("invited again, it says %q", m.Body)
		}
		isSetUp(t, ana, room)
	}

	t.Run("kicked", func(t *testing.T) {
		ana := ana.In(t)
		ana.Kick(room, bot.ID)
		ana.WaitMember(room, bot.ID, "leave")
		rooms(t, 0)
		comesAgain(t)
	})

	t.Run("banned", func(t *testing.T) {
		ana := ana.In(t)
		ana.Say(room, "/salle") // its answer may still be on the way
		ana.Ban(room, bot.ID)
		ana.WaitMember(room, bot.ID, "ban")
		mark := ana.Mark()
		rooms(t, 0)
		unheard := ana.Say(room, "/salle")
		if st := bot.WaitIdle(t); st.Outbox != 0 || st.Errors != 0 {
			t.Errorf("banned, it is left with %+v", st)
		}
		ana.SetState(room, "m.room.member", bot.ID, map[string]any{"membership": "leave"})
		ana.WaitMember(room, bot.ID, "leave")
		comesAgain(t)
		for _, m := range ana.Did(room, bot.ID, mark) {
			if m.ReplyTo == unheard {
				t.Errorf("it answers what was said while it was banned: %s", m)
			}
		}
	})

	var next string
	t.Run("upgraded", func(t *testing.T) {
		ana, jordi := ana.In(t), jordi.In(t)
		next = jordi.Upgrade(room, "12")
		jordi.WaitState(next, "m.room.encryption", "")
		jordi.Invite(next, bot.ID)
		jordi.Invite(next, ana.ID)
		ana.WaitInvite(jordi.ID)
		ana.Join(next)
		jordi.WaitMember(next, ana.ID, "join")
		jordi.WaitMember(next, bot.ID, "join")
		jordi.WaitMember(room, bot.ID, "leave")
		isSetUp(t, ana, next)
		isSetUp(t, jordi, next)
		if m := asks(t, jordi, next, "/salle langue de"); !strings.Contains(m.Body, "Deutsch") {
			t.Errorf("jordi, who has made the new room, is told %q", m.Body)
		}
		said := 0
		for _, m := range jordi.Did(next, bot.ID, 0) {
			if m.Type == "m.room.message" {
				said++
			}
		}
		if said != 3 {
			t.Errorf("it said %d things in the new room, want three answers", said)
		}
		rooms(t, 1)
	})

	t.Run("upgraded to a room that is not encrypted", func(t *testing.T) {
		jordi := jordi.In(t)
		weak := jordi.CreateRoom(lab.Room{Name: "Lyon", Plain: true, After: next, Invite: []string{ana.ID}})
		jordi.SetState(next, "m.room.tombstone", "", map[string]any{"body": "moved", "replacement_room": weak})
		jordi.Invite(weak, bot.ID)
		jordi.Wait(lab.Want{Room: next, From: bot.ID, Contains: []string{"weniger geschützt"}})
		jordi.WaitMember(weak, bot.ID, "leave")
		for _, m := range jordi.Did(weak, bot.ID, 0) {
			if m.Type == "m.room.message" {
				t.Errorf("in the weaker room it says %s", m)
			}
		}
		if m := asks(t, jordi, next, "/raum"); !strings.Contains(m.Body, "Paris") {
			t.Errorf("the room that it has not left is %s", m)
		}
		rooms(t, 1)
	})
}
