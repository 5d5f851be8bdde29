package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
)

// code matches a short code.
var code = regexp.MustCompile(`\b[A-Z]-[0-9A-HJKMNP-TV-Z]{4,}\b`)

func needStepByStep(t *testing.T, s *scene) {
	ana, room := s.ana, s.barcelona
	asked := ana.Say(room, "/necesidades")
	first := s.hears(ana, room, asked, "(1 de 5)")
	if first.Thread != asked || first.MsgType != "m.notice" {
		t.Errorf("the question is %+v, want a notice in the thread of the command", first)
	}
	// A voice message is no answer, and the question stays open.
	voice := ana.Send(room, lab.WithThread(lab.Voice(), asked))
	ana.Wait(lab.Want{Room: room, From: s.bot.ID, AfterID: voice, Thread: asked, Contains: []string{"texto"}})

	given := ana.SayInThread(room, asked, "agua y comida para 20 familias")
	when := ana.Wait(lab.Want{Room: room, From: s.bot.ID, AfterID: given, Thread: asked, Contains: []string{"20 familias"}})
	// The answer is edited: what was said because of it is edited, too.
	ana.Edit(room, given, "agua y comida para 30 familias")
	edited := ana.Wait(lab.Want{Room: room, ID: when.ID, Edits: 1})
	if !strings.Contains(edited.Body, "30 familias") {
		t.Errorf("after the edit of the answer stands %q, want 30 families", edited.Body)
	}
	// A reply to the question is an answer, in the thread or not.
	replied := ana.Reply(room, when.ID, "en 3 días")
	where := s.hears(ana, room, replied, "(3 de 5)")
	if where.Thread != asked {
		t.Errorf("after a reply it goes on in thread %q, want %q", where.Thread, asked)
	}
	urgent := s.answers(ana, room, asked, "cerca del puerto", "(4 de 5)")
	// A reaction with a number is an answer.
	ana.React(room, urgent.ID, "2️⃣")
	s.hears(ana, room, urgent.ID, "(5 de 5)")
	review := s.answers(ana, room, asked, "1", "30 familias", "erca del puerto")
	for _, button := range []string{"✅", "❌"} {
		ana.Wait(lab.Want{Room: room, ID: review.ID, Reaction: button, By: s.bot.ID})
	}
	s.jordi.React(room, review.ID, "✅") // it is not his dialogue
	ana.React(room, review.ID, "✅")
	saved := ana.Wait(lab.Want{Room: room, From: s.bot.ID, AfterID: review.ID, ReplyTo: asked})
	need := code.FindString(saved.Body)
	if saved.Thread != "" || !strings.HasPrefix(need, "N-") {
		t.Fatalf("saved, the room reads %+v, want a code in the room itself", saved)
	}
	if m := s.asks(s.jordi, room, "/necesidad ver "+strings.ToLower(need)); !strings.Contains(m.Body, "agua y comida para 30 familias") {
		t.Errorf("it is shown as %q", m.Body)
	}

	// The message that began it is deleted: whether to withdraw it is asked.
	mark := ana.Mark()
	ana.Delete(room, asked)
	question := ana.Wait(lab.Want{Room: room, From: s.bot.ID, After: mark, Contains: []string{need, "¿"}})
	ana.Wait(lab.Want{Room: room, ID: question.ID, Reaction: "✅", By: s.bot.ID})
	ana.React(room, question.ID, "✅")
	s.hears(ana, room, question.ID, need)
	if m := s.asks(s.jordi, room, "/necesidad ver "+need); strings.Contains(m.Body, "agua y comida") {
		t.Errorf("withdrawn, it is still shown as %q", m.Body)
	}
}

func needInOneLine(t *testing.T, s *scene) {
	asked := s.sam.Say(s.london, "!needs 12 mattresses by "+soon().String()+" near the port")
	urgency := s.hears(s.sam, s.london, asked, "12 mattresses", soon().String(), "near the port", "1 life or safety")
	if urgency.Thread != asked {
		t.Errorf("it is asked in thread %q, want %q", urgency.Thread, asked)
	}
	// Outside the thread a number is enough.
	whom := s.asks(s.sam, s.london, "2", "1 ")
	review := s.hears(s.sam, s.london, s.sam.Reply(s.london, whom.ID, "1"), "12 mattresses")
	s.sam.React(s.london, review.ID, "👍") // as good as ✅
	saved := s.sam.Wait(lab.Want{Room: s.london, From: s.bot.ID, AfterID: review.ID, ReplyTo: asked})
	need := code.FindString(saved.Body)
	if m := s.asks(s.sam, s.london, "/needs list"); need == "" || !strings.Contains(m.Body, need) {
		t.Errorf("the list is %q, want %q in it", m.Body, need)
	}
	if m := s.asks(s.sam, s.london, "/needs close "+need+" met"); !strings.Contains(m.Body, need) {
		t.Errorf("closing it is answered %q", m.Body)
	}
	if m := s.asks(s.sam, s.london, "/needs"); strings.Contains(m.Body, need) {
		t.Errorf("closed, it is still in %q", m.Body)
	}
	s.asks(s.sam, s.london, "cancel")
}

func calendars(t *testing.T, s *scene) {
	for _, one := range []struct {
		who                  *lab.Person
		room, add, list, off string
		zone                 string
		weekdays             []string // in the room's words, Sunday first
	}{
		{s.sam, s.london, "!calendar add assembly tomorrow 19:00", "/calendar", "/calendar cancel ", "Europe/London",
			[]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}},
		{s.ines, s.lille, "/calendrier ajouter assemblée demain 19h", "//calendrier", "/calendrier annuler ", "Europe/Paris",
			[]string{"dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"}},
	} {
		zone, err := time.LoadLocation(one.zone)
		if err != nil {
			t.Fatal(err)
		}
		tomorrow := func() string {
			day := time.Now().In(zone).AddDate(0, 0, 1)
			return fmt.Sprintf("%s %d ", one.weekdays[day.Weekday()], day.Day())
		}
		before := tomorrow()
		asked := one.who.Say(one.room, one.add)
		review := s.hears(one.who, one.room, asked, "19:00")
		if !strings.Contains(review.Body, before) && !strings.Contains(review.Body, tomorrow()) || review.Thread != asked {
			t.Errorf("%s is read as %q, want %s, in a thread", one.add, review.Body, before)
		}
		one.who.Wait(lab.Want{Room: one.room, ID: review.ID, Reaction: "✅", By: s.bot.ID})
		one.who.React(one.room, review.ID, "✅")
		saved := one.who.Wait(lab.Want{Room: one.room, From: s.bot.ID, AfterID: review.ID, ReplyTo: asked})
		event := code.FindString(saved.Body)
		if m := s.asks(one.who, one.room, one.list); !strings.HasPrefix(event, "E-") || !strings.Contains(m.Body, event) {
			t.Errorf("the calendar is %q, want %q in it", m.Body, event)
		}
		s.asks(one.who, one.room, one.off+event, event)
	}
	// What is not surely understood is refused.
	if m := s.asks(s.sam, s.london, "/calendar add assembly someday"); !strings.Contains(m.Body, "/calendar add") || m.Thread != "" {
		t.Errorf("a day that nobody knows is answered %q, want an example", m.Body)
	}
}

func principles(t *testing.T, s *scene) {
	for _, one := range []struct {
		who            *lab.Person
		room, all, one string
		title          string
	}{
		{s.luc, s.lille, "/principes", "//principes 3", "Régénération écologique"},
		{s.nour, s.cairo, "/مبادئ", "!مبادئ ٣", ""},
	} {
		list := s.asks(one.who, one.room, one.all, one.title)
		text := s.asks(one.who, one.room, one.one, one.title)
		if len(text.Body) <= len(list.Body)/2 || text.Thread != "" || text.FormattedBody == "" {
			t.Errorf("%s is answered %q", one.one, text.Body)
		}
	}
}

func following(t *testing.T, s *scene) {
	// Only who moderates may ask.
	if m := s.asks(s.luc, s.lille, "/relais suivre Barcelona"); !strings.Contains(m.Body, "ines") {
		t.Errorf("luc is told %q, want who moderates", m.Body)
	}
	for _, one := range []struct {
		who           *lab.Person
		room, command string
		chapter       string
	}{
		{s.ines, s.lille, "/relais suivre Barcelona", "Lille"},
		{s.sam, s.london, "/relay follow barcelona", "London"},
		{s.nour, s.cairo, "/relay follow Barcelona", "القاهرة"},
	} {
		mark := s.ana.Mark()
		asked := s.asks(one.who, one.room, one.command)
		question := s.ana.Wait(lab.Want{Room: s.barcelona, From: s.bot.ID, After: mark, Contains: []string{one.chapter}})
		s.ana.Wait(lab.Want{Room: s.barcelona, ID: question.ID, Reaction: "❌", By: s.bot.ID})
		if one.who == s.ines { // somebody who does not moderate decides nothing
			s.outsider().React(s.barcelona, question.ID, "✅")
			s.hears(s.ana, s.barcelona, question.ID, "ana")
			s.silent(one.who, one.room, asked.Seq, "before the other side's yes")
		}
		s.jordi.React(s.barcelona, question.ID, "✅")
		one.who.Wait(lab.Want{Room: one.room, From: s.bot.ID, AfterID: asked.ID, Contains: []string{"Barcelona"}})
	}
	if m := s.asks(s.ana, s.barcelona, "/enlace seguidores"); !strings.Contains(m.Body, "Lille") || !strings.Contains(m.Body, "London") || !strings.Contains(m.Body, "القاهرة") {
		t.Errorf("those who follow Barcelona are %q", m.Body)
	}
}

// outsider is somebody in Barcelona who does not moderate.
func (s *scene) outsider() *lab.Person {
	s.t.Helper()
	i := slices.IndexFunc(*s.seen, func(r sight) bool { return r.id == s.barcelona && r.who.Name == "marta" })
	return (*s.seen)[i].who.In(s.t)
}

func alertArrives(t *testing.T, s *scene) {
	const text = "<b>policía</b> @room en el centro social, hacen falta observadoras legales"
	ana, room := s.ana, s.barcelona
	before := s.settled(s.luc, s.lille)
	asked := ana.Say(room, "/alerta "+text)
	urgency := s.hears(ana, room, asked, "1 ")
	if urgency.Thread != asked {
		t.Errorf("what is asked stands in thread %q, want %q", urgency.Thread, asked)
	}
	preview := s.hears(ana, room, ana.SayInThread(room, asked, "1"), text, "3 salas", "Lille", "London", "القاهرة", "français", "English", "العربية")
	if preview.Thread != "" || preview.MsgType != "m.notice" {
		t.Errorf("the preview is %+v, want a notice in the room itself: somebody else confirms it", preview)
	}
	for _, button := range []string{"✅", "❌"} {
		ana.Wait(lab.Want{Room: room, ID: preview.ID, Reaction: button, By: s.bot.ID})
	}
	// Her own yes is not enough, and nothing has left.
	ana.React(room, preview.ID, "✅")
	s.hears(ana, room, preview.ID, "otra persona")
	s.silent(s.luc, s.lille, before, "before the second person's yes")
	arrived := map[string]lab.Message{}

	s.jordi.React(room, preview.ID, "✅")
	sent := ana.Wait(lab.Want{Room: room, ID: preview.ID, Edits: 1}) // the bot's own message, edited
	alert := code.FindString(sent.Body)
	if !strings.HasPrefix(alert, "A-") {
		t.Fatalf("confirmed, the preview reads %q, want its code", sent.Body)
	}
	for _, there := range []struct {
		who   *lab.Person
		room  string
		words []string
	}{
		{s.luc, s.lille, []string{"Alerte de Barcelona", "maintenant", "(español)"}},
		{s.sam, s.london, []string{"Alert from Barcelona", "now", "(español)"}},
		{s.nour, s.cairo, []string{"تنبيه من", "الآن", "(español)"}},
	} {
		got := there.who.Wait(lab.Want{Room: there.room, From: s.bot.ID, Contains: []string{alert}})
		if got.MsgType != "m.text" || got.Shield != "none" || got.Mentions == nil || got.Mentions.Room || len(got.Mentions.UserIDs) != 0 {
			t.Errorf("%s gets %+v, want a text that rings, without shield, that mentions nobody", there.who.Name, got)
		}
		for _, words := range append(there.words, text, "🔴") {
			if !strings.Contains(isolated.Replace(got.Body), words) {
				t.Errorf("%s reads %q, want %q in it", there.who.Name, got.Body, words)
			}
		}
		if strings.Contains(got.Body, "ana") || strings.Contains(got.FormattedBody, "<b>") {
			t.Errorf("%s reads %q (%s), want no person's name and no tags", there.who.Name, got.Body, got.FormattedBody)
		}
		for _, button := range []string{"👀", "✋"} {
			there.who.Wait(lab.Want{Room: there.room, ID: got.ID, Reaction: button, By: s.bot.ID})
		}
		there.who.React(there.room, got.ID, "✋")
		arrived[there.room] = got
	}

	if m := s.asks(ana, room, "/alerta estado "+alert); !strings.Contains(m.Body, "✋") || !strings.Contains(m.Body, "Lille") {
		t.Errorf("what became of it is %q, want where it arrived and who can help", m.Body)
	}

	// Over: confirmed by the same rule, the alert itself is edited, and the word rings below it.
	cleared := s.asks(ana, room, "/alerta fin "+alert)
	ana.Wait(lab.Want{Room: room, ID: cleared.ID, Reaction: "✅", By: s.bot.ID})
	s.jordi.React(room, cleared.ID, "✅")
	ana.Wait(lab.Want{Room: room, ID: preview.ID, Edits: 2, Contains: []string{"✋ 3"}})
	for _, there := range []struct {
		who  *lab.Person
		room string
	}{{s.luc, s.lille}, {s.sam, s.london}, {s.nour, s.cairo}} {
		first := arrived[there.room]
		there.who.Wait(lab.Want{Room: there.room, ID: first.ID, Edits: 1})
		there.who.Wait(lab.Want{Room: there.room, From: s.bot.ID, AfterID: first.ID, MsgType: "m.text", ReplyTo: first.ID, Contains: []string{alert}})
	}
}

// alertBack goes the other way, in French; one is withdrawn before it leaves.
func alertBack(t *testing.T, s *scene) {
	asked := s.asks(s.ana, s.barcelona, "/enlace seguir Lille")
	question := s.ines.Wait(lab.Want{Room: s.lille, From: s.bot.ID, Contains: []string{"Barcelona", "✅"}, Matches: "^.{0,6}Barcelona"})
	s.ines.React(s.lille, question.ID, "✅")
	s.hears(s.ana, s.barcelona, asked.ID, "Lille")
	mark := s.settled(s.ana, s.barcelona)

	raise := func(text string) lab.Message {
		t.Helper()
		root := s.luc.Say(s.lille, "/alerte "+text)
		s.hears(s.luc, s.lille, root, "1 ")
		return s.hears(s.luc, s.lille, s.luc.SayInThread(s.lille, root, "2"), text, "Barcelona")
	}
	preview := raise("exercice, tout le monde reste à la maison")
	s.luc.React(s.lille, preview.ID, "❌")
	dropped := s.luc.Wait(lab.Want{Room: s.lille, ID: preview.ID, Edits: 1})
	if strings.Contains(dropped.Body, "exercice") {
		t.Errorf("withdrawn, the preview still reads %q", dropped.Body)
	}
	s.ines.React(s.lille, preview.ID, "✅") // too late
	s.silent(s.ana, s.barcelona, mark, "an alert that was withdrawn")

	preview = raise("expulsion rue des Postes")
	s.ines.React(s.lille, preview.ID, "✅")
	got := s.ana.Wait(lab.Want{Room: s.barcelona, From: s.bot.ID, After: mark, MsgType: "m.text"})
	for _, words := range []string{"Alerta de Lille", "expulsion rue des Postes", "(français)", "🟠"} {
		if !strings.Contains(isolated.Replace(got.Body), words) {
			t.Errorf("Barcelona reads %q, want %q in it", got.Body, words)
		}
	}
}
