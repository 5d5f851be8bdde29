package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
)

const languages = "1 English · 2 español · 3 français · 4 português · 5 Deutsch · 6 العربية · 7 kurdî"

func comes(t *testing.T, s *scene) {
	marta := s.joins("marta")
	s.barcelona = s.ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{s.jordi.ID, marta.ID}, Power: map[string]int{s.jordi.ID: 50}})
	s.jordi.Join(s.barcelona)
	marta.Join(s.barcelona)
	for _, p := range []*lab.Person{s.ana, s.jordi, marta} {
		*s.seen = append(*s.seen, sight{id: s.barcelona, who: p})
	}
	s.ana.Say(s.barcelona, "/needs water for yesterday") // said before it comes: nobody's business
	s.invites(s.ana, s.barcelona)

	greeting := s.ana.Wait(lab.Want{Room: s.barcelona, From: s.bot.ID})
	if plain := isolated.Replace(greeting.Body); !strings.HasSuffix(plain, languages) || !strings.HasPrefix(plain, "Hello") {
		t.Errorf("the greeting is %q, want one that ends in the languages, numbered, in their own names", plain)
	}
	if greeting.MsgType != "m.notice" || greeting.Shield != "none" || greeting.Thread != "" {
		t.Errorf("the greeting is %+v, want a notice without shield in the room", greeting)
	}
	trust := s.jordi.Trust(s.bot.ID)
	if !trust.Identity || len(trust.Devices) != 1 || !trust.Devices[0].Signed {
		t.Errorf("jordi's client trusts %+v, want an identity with one signed device", trust)
	}

	// Who does not moderate is told who does, once, and only where she answers the greeting itself.
	marta.Say(s.barcelona, "3")
	refusal := s.hears(marta, s.barcelona, marta.Reply(s.barcelona, greeting.ID, "3"))
	if !strings.Contains(refusal.Body, "ana") || !strings.Contains(refusal.Body, "jordi") || strings.Contains(refusal.Body, "marta") {
		t.Errorf("marta is told %q, want who moderates here", refusal.Body)
	}

	said := s.ana.Say(s.barcelona, "2")
	chapter := s.hears(s.ana, s.barcelona, said, "capítulo", "(2 de 3)")
	if chapter.Thread != said {
		t.Errorf("the question is in thread %q, want %q: that of the answer that began the dialogue", chapter.Thread, said)
	}
	s.answers(s.ana, s.barcelona, said, "Barcelona", "(3 de 3)")
	s.answers(s.ana, s.barcelona, said, "Barcelona", "Venezuela", "(3 de 3)")
	ready := s.hears(s.ana, s.barcelona, s.ana.SayInThread(s.barcelona, said, "1"))
	if ready.Thread != "" || ready.ReplyTo != said || !strings.Contains(ready.Body, "Barcelona") || !strings.Contains(ready.Body, "Madrid") {
		t.Errorf("the end is %+v, want the chapter and the zone, in the room itself", ready)
	}
	var bodies []string
	for _, m := range s.said(marta, s.barcelona, 0) {
		if m.Type == "m.room.message" {
			bodies = append(bodies, m.Body)
		}
	}
	if len(bodies) != 6 {
		t.Errorf("the bot said %d things, want a greeting, a refusal, three questions and an end: %q", len(bodies), bodies)
	}
	for _, text := range []string{"/sala idioma fr", "/sala nombre Marta", "/sala alertas anyone"} {
		if m := s.asks(marta, s.barcelona, text); !strings.Contains(m.Body, "ana") {
			t.Errorf("to %s marta is told %q, want who moderates here", text, m.Body)
		}
	}
}

// isolated takes the marks out that keep names and texts of different directions apart.
var isolated = strings.NewReplacer("\u2066", "", "\u2067", "", "\u2068", "", "\u2069", "")

func setUpOthers(t *testing.T, s *scene) {
	none := []*lab.Person(nil)
	s.lille = s.opens(s.ines, "Lille", none, []*lab.Person{s.luc})
	s.london = s.opens(s.sam, "London", none, none)
	s.cairo = s.opens(s.nour, "القاهرة", none, none)

	greeting := s.ines.Wait(lab.Want{Room: s.lille, From: s.bot.ID})
	s.setUp(s.ines, s.lille, s.ines.Reply(s.lille, greeting.ID, "français"), "Paris", "Lille", "Lille")

	greeting = s.sam.Wait(lab.Want{Room: s.london, From: s.bot.ID})
	s.sam.React(s.london, greeting.ID, "1️⃣")
	s.setUp(s.sam, s.london, greeting.ID, "London", "London", "London", "1") // not the one in Ontario

	s.setUp(s.nour, s.cairo, s.nour.Say(s.cairo, "٦"), "القاهرة", "القاهرة", "القاهرة")
}

// setUp answers what is asked after the language.
func (s *scene) setUp(p *lab.Person, room, root, zone, chapter string, city ...string) {
	s.t.Helper()
	p.Wait(lab.Want{Room: room, From: s.bot.ID, Thread: root})
	s.answers(p, room, root, chapter)
	last := len(city) - 1
	for _, answer := range city[:last] {
		s.answers(p, room, root, answer)
	}
	ready := s.hears(p, room, p.SayInThread(room, root, city[last]))
	if ready.Thread != "" || !strings.Contains(ready.Body, chapter) || !strings.Contains(ready.Body, zone) {
		s.t.Errorf("set up, it says %q, want %s and %s", ready.Body, chapter, zone)
	}
}

func roles(t *testing.T, s *scene) {
	mine := "/salle langue fr"
	refused := s.asks(s.luc, s.lille, mine)
	if !strings.Contains(refused.Body, "ines") {
		t.Fatalf("luc, who does not moderate, is told %q", refused.Body)
	}
	s.ines.SetPower(s.lille, s.luc.ID, 50)
	s.luc.WaitPower(s.lille, s.luc.ID, 50)
	if m := s.asks(s.luc, s.lille, mine); m.Body == refused.Body || !strings.Contains(m.Body, "français") {
		t.Errorf("promoted, luc is told %q, want the language set", m.Body)
	}
	s.ines.SetPower(s.lille, s.luc.ID, 0)
	s.luc.WaitPower(s.lille, s.luc.ID, 0)
	if m := s.asks(s.luc, s.lille, mine); m.Body != refused.Body {
		t.Errorf("demoted, luc is told %q, want %q", m.Body, refused.Body)
	}
}

// unsigned: who did not verify her device may ask, and change nothing although she moderates, until she has done what she is told.
func unsigned(t *testing.T, s *scene) {
	eli := s.humans.Join(t, "eli", lab.Options{Unsigned: true})
	s.ines.Invite(s.lille, eli.ID)
	eli.WaitInvite(s.ines.ID)
	eli.Join(s.lille)
	s.ines.SetPower(s.lille, eli.ID, 50)
	eli.WaitPower(s.lille, eli.ID, 50)
	if m := s.asks(eli, s.lille, "/calendrier"); m.Body == "" {
		t.Error("who asks from such a device is not answered")
	}
	refused := s.asks(eli, s.lille, "/salle langue fr")
	if !strings.Contains(refused.Body, "vérifie cette session") {
		t.Fatalf("eli is told %q, want what to do", refused.Body)
	}
	// Nor does she confirm by a reaction, of which nobody knows the device: she has no other.
	root := s.ines.Say(s.lille, "/alerte un exercice")
	s.hears(s.ines, s.lille, root, "1 ")
	preview := s.hears(s.ines, s.lille, s.ines.SayInThread(s.lille, root, "2"), "un exercice", "Barcelona")
	eli.React(s.lille, preview.ID, "✅")
	eli.Wait(lab.Want{Room: s.lille, From: s.bot.ID, AfterID: preview.ID, Contains: []string{"vérifie cette session"}})
	s.ines.React(s.lille, preview.ID, "❌")
	s.ines.Wait(lab.Want{Room: s.lille, ID: preview.ID, Edits: 1})
	eli.Sign()
	// The bot hears of it from the homeserver, in its own time.
	for end := time.Now().Add(lab.Patience); ; {
		if m := s.asks(eli, s.lille, "/salle langue fr"); strings.Contains(m.Body, "français") {
			break
		} else if m.Body != refused.Body || time.Now().After(end) {
			t.Fatalf("with a signed device eli is told %q", m.Body)
		}
	}
	eli.Leave(s.lille)
}

func direct(t *testing.T, s *scene) {
	chat := s.jordi.CreateRoom(lab.Room{Direct: s.bot.ID})
	s.jordi.WaitMember(chat, s.bot.ID, "join")
	*s.seen = append(*s.seen, sight{id: chat, who: s.jordi})
	s.jordi.Wait(lab.Want{Room: chat, From: s.bot.ID}) // the greeting
	// He is in one room, which speaks Spanish.
	if m := s.asks(s.jordi, chat, "help"); !strings.Contains(m.Body, "/necesidades") || m.Thread != "" {
		t.Errorf("in the direct chat stands %q, want the help in Spanish", m.Body)
	}
	if m := s.asks(s.jordi, chat, "/sala"); !strings.Contains(m.Body, "Barcelona") {
		t.Errorf("a command about a room answers %q in the direct chat, want his one room", m.Body)
	}
}

func leaves(t *testing.T, s *scene) {
	rooms := 0
	s.bot.WaitStatus(t, "it counts its rooms", func(st lab.BotStatus) bool { rooms = st.Rooms; return rooms > 0 })

	// Kicked, it is gone; invited again, it knows what was set.
	mark := s.sam.Mark()
	s.sam.Kick(s.london, s.bot.ID)
	s.sam.WaitMember(s.london, s.bot.ID, "leave")
	s.bot.WaitStatus(t, "it knows that it was removed", func(st lab.BotStatus) bool { return st.Rooms == rooms-1 })
	s.sam.Say(s.london, "/needs blankets while nobody hears")
	s.invites(s.sam, s.london)
	again := s.sam.Wait(lab.Want{Room: s.london, From: s.bot.ID, After: mark})
	if strings.Contains(isolated.Replace(again.Body), languages) || !strings.Contains(again.Body, "/room") {
		t.Errorf("invited again, it says %q, want that it is back and no question", again.Body)
	}
	if m := s.asks(s.sam, s.london, "/room"); !strings.Contains(m.Body, "London") {
		t.Errorf("invited again, the room is %q, want what was set before", m.Body)
	}
	if did := s.said(s.sam, s.london, mark); slices.ContainsFunc(did, func(m lab.Message) bool { return strings.Contains(m.Body, "blankets") }) {
		t.Error("it answered what was said while it was away")
	}

	// In her second room it speaks the language of her first; told to leave, it does.
	second := s.ana.CreateRoom(lab.Room{Name: "Sants"})
	s.invites(s.ana, second)
	*s.seen = append(*s.seen, sight{id: second, who: s.ana})
	if m := s.ana.Wait(lab.Want{Room: second, From: s.bot.ID}); !strings.HasPrefix(m.Body, "Hola") {
		t.Errorf("in ana's second room it says %q, want Spanish", m.Body)
	}
	asked := s.asks(s.ana, second, "/sala adiós")
	s.ana.React(second, asked.ID, "✅")
	s.ana.WaitMember(second, s.bot.ID, "leave")

	// Alone, it leaves.
	s.bot.WaitStatus(t, "it has left one room", func(st lab.BotStatus) bool { return st.Rooms == rooms })
	third := s.ines.CreateRoom(lab.Room{Name: "Roubaix"})
	s.invites(s.ines, third)
	s.bot.WaitStatus(t, "it is in another", func(st lab.BotStatus) bool { return st.Rooms == rooms+1 })
	s.ines.Leave(third)
	s.bot.WaitStatus(t, "it has left the room in which it was alone", func(st lab.BotStatus) bool { return st.Rooms == rooms })
}

func declines(t *testing.T, s *scene) {
	eva, stranger := s.joins("eva"), s.joins("stranger")
	var rooms []string
	for range 4 {
		rooms = append(rooms, eva.CreateRoom(lab.Room{Name: "Nantes"}))
	}
	for _, id := range rooms { // whom the operator names has no limit
		s.invites(eva, id)
	}

	// Who may not invite it is declined, too.
	room := stranger.CreateRoom(lab.Room{Name: "Anywhere", Invite: []string{s.bot.ID}})
	stranger.Wait(lab.Want{Room: room, From: s.bot.ID, Type: "m.room.member"})
	stranger.WaitMember(room, s.bot.ID, "leave")
}
