package e2e

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"starling/e2e/lab"
)

// TestMatrix is the bot's own program on a real homeserver, in encrypted rooms, with people who use a real client. Its parts
// follow each other on one homeserver: later ones live in the rooms that earlier ones have set up.
func TestMatrix(t *testing.T) {
	s := &scene{server: lab.StartDendrite(t)}
	s.humans = lab.StartHumans(t, s.server)
	var mayInvite []string // stranger is not among them
	for _, name := range []string{"ana", "jordi", "ines", "luc", "sam", "nour", "eva"} {
		mayInvite = append(mayInvite, "@"+name+":"+lab.ServerName)
	}
	s.bot = lab.StartStarling(t, s.server, mayInvite...)
	// Luc's and Nour's clients show nothing that comes from a device without its owner's signature, and give it no keys.
	s.ana, s.jordi = s.humans.Join(t, "ana", lab.Options{}), s.humans.Join(t, "jordi", lab.Options{})
	s.ines, s.luc = s.humans.Join(t, "ines", lab.Options{}), s.humans.Join(t, "luc", lab.Options{OnlySigned: true})
	s.sam, s.nour = s.humans.Join(t, "sam", lab.Options{}), s.humans.Join(t, "nour", lab.Options{OnlySigned: true})

	for _, part := range []struct {
		name string
		play func(t *testing.T, s *scene)
	}{
		{"invited, it greets once and is set up by who moderates", comes},
		{"rooms are set up by name, number and reaction", setUpOthers},
		{"a need, step by step", needStepByStep},
		{"a need, in one line", needInOneLine},
		{"calendars", calendars},
		{"principles", principles},
		{"following needs both sides", following},
		{"an alert reaches three rooms in three languages", alertArrives},
		{"an alert in another language, and one that is withdrawn", alertBack},
		{"what is typed does no harm", hostile},
		{"what is not meant for it, or not fit for it", input},
		{"roles count at once", roles},
		{"a device that its owner did not sign", unsigned},
		{"direct chat", direct},
		{"it leaves, and comes again", leaves},
		{"invitations that it does not take", declines},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.play(t, s.in(t)) }) {
			return // the rest would only fail because of it
		}
	}
	t.Run("all that it ever said", func(t *testing.T) { manners(t, s.in(t)) })
	t.Run("its log", func(t *testing.T) { log(t, s) })
	t.Run("its files", func(t *testing.T) { rest(t, s) })
}

// scene is one homeserver with the bot and its people.
type scene struct {
	t      *testing.T
	server *lab.Dendrite
	humans *lab.Humans
	bot    *lab.Starling

	ana, jordi, ines, luc, sam, nour *lab.Person

	barcelona, lille, london, cairo string // rooms
	seen                            *[]sight
}

// sight is a room as one person there sees it, for what is checked of all.
type sight struct {
	id    string
	who   *lab.Person
	plain bool
}

// in is the same scene, for a part of the test. What is set in it is set for all that follow.
func (s *scene) in(t *testing.T) *scene {
	s.t = t
	if s.seen == nil {
		s.seen = new([]sight)
	}
	for _, p := range []**lab.Person{&s.ana, &s.jordi, &s.ines, &s.luc, &s.sam, &s.nour} {
		*p = (*p).In(t)
	}
	return s
}

// joins makes somebody who comes later.
func (s *scene) joins(name string) *lab.Person {
	s.t.Helper()
	return s.humans.Join(s.t, name, lab.Options{})
}

// opens makes an encrypted room, with moderators and other members in it, and the bot.
func (s *scene) opens(owner *lab.Person, name string, moderators, members []*lab.Person) (id string) {
	s.t.Helper()
	spec := lab.Room{Name: name, Power: map[string]int{}}
	for _, p := range moderators {
		spec.Power[p.ID] = 50
	}
	others := slices.Concat(moderators, members)
	for _, p := range others {
		spec.Invite = append(spec.Invite, p.ID)
	}
	id = owner.CreateRoom(spec)
	for _, p := range others {
		p.Join(id)
	}
	s.invites(owner, id)
	for _, p := range append(others, owner) {
		*s.seen = append(*s.seen, sight{id: id, who: p})
	}
	return id
}

// invites brings the bot in.
func (s *scene) invites(p *lab.Person, room string) {
	s.t.Helper()
	p.Invite(room, s.bot.ID)
	p.WaitMember(room, s.bot.ID, "join")
}

// hears waits for what the bot says in a room after an event, as somebody there reads it.
func (s *scene) hears(p *lab.Person, room, after string, contains ...string) lab.Message {
	s.t.Helper()
	return p.Wait(lab.Want{Room: room, From: s.bot.ID, AfterID: after, Contains: contains})
}

// asks says something in a room and gives what the bot answers.
func (s *scene) asks(p *lab.Person, room, text string, contains ...string) lab.Message {
	s.t.Helper()
	return s.hears(p, room, p.Say(room, text), contains...)
}

// answers says something in a dialogue's thread and gives what the bot says there.
func (s *scene) answers(p *lab.Person, room, root, text string, contains ...string) lab.Message {
	s.t.Helper()
	return p.Wait(lab.Want{Room: room, From: s.bot.ID, AfterID: p.SayInThread(room, root, text), Thread: root, Contains: contains})
}

// said lists what the bot has said in a room since a mark, once all that was said to it before is handled. The answer to a
// last question, which only makes sure of that, is not among it.
func (s *scene) said(p *lab.Person, room string, mark int) (all []lab.Message) {
	s.t.Helper()
	last := p.Say(room, "!starling")
	p.Wait(lab.Want{Room: room, From: s.bot.ID, ReplyTo: last})
	s.bot.WaitStatus(s.t, "all has left that can leave now", func(st lab.BotStatus) bool { return st.Inbox+st.Ready+st.Sending == 0 })
	for _, m := range p.Did(room, s.bot.ID, mark) {
		if m.ReplyTo != last {
			all = append(all, m)
		}
	}
	return all
}

// settled is a place in a room behind all that the bot still had to say: decoration waits for alerts.
func (s *scene) settled(p *lab.Person, room string) (mark int) {
	s.t.Helper()
	s.bot.WaitIdle(s.t)
	return s.asks(p, room, "!starling").Seq
}

// silent fails when the bot has said anything in a room since a mark.
func (s *scene) silent(p *lab.Person, room string, mark int, about string) {
	s.t.Helper()
	for _, m := range s.said(p, room, mark) {
		s.t.Errorf("%s: the bot says %q (%s), want silence", about, m.Body, m.Type)
	}
}

// manners looks at everything that the bot did in every room, as the people there saw it.
func manners(t *testing.T, s *scene) {
	buttons := []string{"✅", "❌", "👀", "✋"}
	messages := 0
	for _, r := range *s.seen {
		did := r.who.In(t).Did(r.id, s.bot.ID, 0)
		for _, m := range did {
			where := r.who.Name + " sees " + cmp.Or(m.Body, m.Key, m.Type)
			switch m.Type {
			case "m.room.message":
				messages++
			case "m.reaction":
				if !slices.Contains(buttons, m.Key) {
					t.Errorf("%s: the bot reacts with %s", r.who.Name, m.Key)
				}
				continue
			case "m.room.member", "m.room.redaction":
				continue
			default:
				t.Errorf("%s: the bot sends %s %s", r.who.Name, m.Type, m.Undecryptable)
				continue
			}
			if m.Redacted {
				continue
			}
			if !r.plain && (!m.Encrypted || m.Shield != "none" || m.Undecryptable != "") {
				t.Errorf("%s: encrypted %v, shield %q (%d) %s; want encrypted and no shield", where, m.Encrypted, m.Shield, m.ShieldReason, m.Undecryptable)
			}
			if m.Mentions == nil || m.Mentions.Room || len(m.Mentions.UserIDs) > 1 {
				t.Errorf("%s: it mentions %+v; want an explicit list of nobody or of who is answered", where, m.Mentions)
			}
			if m.MsgType != "m.notice" && m.MsgType != "m.text" {
				t.Errorf("%s: it is %s", where, m.MsgType)
			}
			if m.MsgType == "m.text" && !strings.Contains(m.Body, "A-") {
				t.Errorf("%s: it rings, and is about no alert", where)
			}
			if strings.ContainsFunc(m.Body+m.FormattedBody, override) {
				t.Errorf("%s: it holds bidi overrides", where)
			}
			for _, one := range tag.FindAllString(m.FormattedBody, -1) {
				if !ownTag.MatchString(one) {
					t.Errorf("%s: its HTML holds %q: %s", where, one, m.FormattedBody)
				}
			}
		}
	}
	if messages < 100 {
		t.Errorf("only %d messages were looked at", messages)
	}
}

// override is whether a character would turn the text around it.
func override(r rune) bool {
	return unicode.Is(unicode.Bidi_Control, r) && !(r >= '\u2066' && r <= '\u2069') && r != '\u200e' && r != '\u200f'
}

// tag matches any HTML tag, ownTag those that the bot's formatting needs: they have no attributes but a link's address.
var (
	tag    = regexp.MustCompile(`<[^>]*>?`)
	ownTag = regexp.MustCompile(`^</?(strong|em|code|p|ul|ol|li|br|a)( href="https?://[^"]*")?( ?/)?>$`)
)

// log looks for anything that was said or done in what the bot wrote for its operator.
func log(t *testing.T, s *scene) {
	data, err := os.ReadFile(s.bot.Log())
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if len(text) == 0 {
		t.Error("the log is empty")
	}
	word := regexp.MustCompile(`\p{L}{5,}`)
	known := s.humans.Known()
	if len(known) < 100 {
		t.Errorf("only %d things are known that the log must not hold", len(known))
	}
	for _, one := range known {
		if len(one) >= 4 && strings.Contains(text, one) {
			t.Errorf("the log holds %q", one)
		}
		for _, w := range word.FindAllString(one, -1) {
			if !ordinary[strings.ToLower(w)] && strings.Contains(text, w) {
				t.Errorf("the log holds the word %q of what was said", w)
			}
		}
	}
}

// rest looks for anything that was said, or what anybody and any room is called, in the files of both databases. The ids of people, rooms,
// events and devices stand in crypto.db as the homeserver knows them: the library's tables are keyed by them.
func rest(t *testing.T, s *scene) {
	files, err := filepath.Glob(filepath.Join(s.bot.Dir, "var", "*.db*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("the files are %v: %v", files, err)
	}
	devices, looked := s.humans.Devices(), 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data = zone.ReplaceAll(data, nil)
		for _, one := range s.humans.Known() {
			one = strings.TrimSpace(one)
			// Shorter ones could stand by chance in what is sealed.
			if len(one) < 6 || networkID.MatchString(one) || slices.Contains(devices, one) || own[one] {
				continue
			}
			looked++
			if at := bytes.Index(data, []byte(one)); at >= 0 {
				t.Errorf("%s holds %q: …%q…", filepath.Base(file), one, data[max(0, at-40):min(len(data), at+len(one)+20)])
			}
		}
	}
	if looked < 400 {
		t.Errorf("only %d texts were looked for", looked)
	}
}

// networkID is how the ids of people, rooms and events look on Matrix, zone is a time zone, and own are words that people typed and that are
// the program's, as keys of what it stores.
var (
	networkID = regexp.MustCompile(`^[@!$]\S+$`)
	zone      = regexp.MustCompile(`(?:Africa|America|Asia|Australia|Europe|Pacific)/[A-Za-z_/]+`)
	own       = map[string]bool{"cancel": true}
)

// ordinary words stand in a log anyway.
var ordinary = map[string]bool{"starling": true, "localhost": true, "matrix": true, "alert": true, "handed": true}
