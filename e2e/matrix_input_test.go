package e2e

import (
	"strings"
	"testing"

	"starling/e2e/lab"
)

// nasty is what people may type to make a bot do or show what it should not.
const nasty = "<h1>@room</h1><img src=x onerror=alert(1)><a href=\"javascript:alert(1)\">aquí</a> [enlace](javascript:alert(2)) " +
	"[todas](https://matrix.to/#/@jordi:localhost) **negrita _rota `código \u202eal revés\u202c {{.Key}} | \u0007 @jordi:localhost"

func hostile(t *testing.T, s *scene) {
	ana, room := s.ana, s.barcelona
	asked := ana.Say(room, "/necesidades")
	s.hears(ana, room, asked, "(1 de 5)")
	shown := func(m lab.Message) {
		t.Helper()
		for _, live := range []string{"<h1>", "<img", "href=\"javascript", "<a ", "\u202e", "\u0007"} {
			if strings.Contains(m.FormattedBody, live) {
				t.Errorf("%q is live in %s", live, m.FormattedBody)
			}
		}
		if m.Mentions == nil || m.Mentions.Room || len(m.Mentions.UserIDs) > 1 || len(m.Mentions.UserIDs) == 1 && m.Mentions.UserIDs[0] != ana.ID {
			t.Errorf("it mentions %+v", m.Mentions)
		}
	}
	shown(s.answers(ana, room, asked, nasty))
	shown(s.answers(ana, room, asked, "7"))
	shown(s.answers(ana, room, asked, "cancelar"))
	shown(s.asks(ana, room, "/sala nombre <h1>@room</h1> "+strings.Repeat("\u202e", 5)))
	shown(s.asks(ana, room, "/sala idioma "+nasty))
	shown(s.asks(ana, room, "/sala ignorar "+nasty))
	shown(s.asks(ana, room, "/sala nombre Barcelona"))

	// What mentions people and rooms by the network's own means is repeated to nobody.
	mentioning := lab.Text("/necesidades agua para @room")
	mentioning["m.mentions"] = map[string]any{"user_ids": []string{s.jordi.ID}, "room": true}
	mentioning["format"], mentioning["formatted_body"] = "org.matrix.custom.html", "/necesidades <b>agua</b> para @room"
	id := ana.Send(room, mentioning)
	shown(s.hears(ana, room, id))
	shown(s.answers(ana, room, id, "cancelar"))

	long := s.asks(ana, room, "/necesidades "+strings.Repeat("agua ", 900))
	if !strings.Contains(strings.NewReplacer(".", "", " ", "", "\u00a0", "", "\u202f", "").Replace(long.Body), "4000") {
		t.Errorf("a text that is too long is answered %q, want the limit", long.Body)
	}
}

func input(t *testing.T, s *scene) {
	ana, room := s.ana, s.barcelona

	mark := s.settled(ana, room)
	notice := lab.Text("/necesidades")
	notice["msgtype"] = "m.notice"
	ana.Send(room, notice)
	ana.Send(room, lab.Voice())
	ana.Send(room, lab.Photo())
	ana.Say(room, "nos vemos mañana, ¿y las necesidades?")
	ana.Say(room, "/me saluda")
	ana.Say(room, "/otracosa")
	relayed := lab.Text("/necesidades")
	relayed["org.starling.relay"] = map[string]any{"v": 1}
	ana.Send(room, relayed)
	id := ana.Say(room, "hola")
	ana.React(room, id, "✅")
	ana.Edit(room, id, "/necesidades")
	ana.Delete(room, id)
	s.silent(ana, room, mark, "notices, files, talk and what is another's")

	// Clear text in an encrypted room: one line says why it is not obeyed, once.
	clear := ana.SendClear(room, lab.Text("/necesidades agua sin cifrar"))
	why := s.hears(ana, room, clear)
	ana.SendClear(room, lab.Text("/alerta sin cifrar"))
	ana.SendClear(room, lab.Text("2"))
	s.silent(ana, room, why.Seq, "more clear text")
	if strings.Contains(why.Body, "\n") || strings.Contains(why.Body, "agua") || !why.Encrypted {
		t.Errorf("clear text is answered %q (encrypted %v), want one encrypted line that says why", why.Body, why.Encrypted)
	}

	// Meant for it, and not understood: one line with what is nearest, or an example that works.
	for text, want := range map[string]string{
		"/necesidade":           "/necesidad",
		"starling: necesidadez": "/necesidad",
		"/sala idioma klingon":  "English",
		"/sala hora Atlántida":  "Atlántida",
		"/necesidad ver N-0000": "N-0000",
	} {
		if m := s.asks(ana, room, text); !strings.Contains(m.Body, want) {
			t.Errorf("%s is answered %q, want %q in it", text, m.Body, want)
		}
	}
	mention := ana.Send(room, lab.WithMention(lab.Text("¿qué puedes hacer?"), s.bot.ID))
	s.hears(ana, room, mention)
}
