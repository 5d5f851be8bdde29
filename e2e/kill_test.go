package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"starling/e2e/lab"
)

// What is handed in, and how often the bot dies meanwhile.
const (
	killed    = 50
	eachKind  = 100 // alerts, and as many needs
	perAlert  = 2   // messages of people: the command, the yes
	perNeed   = 4   // the command, two answers, the yes
	perSender = 4   // conversations that one person has at a time
	// An answer may have to wait for a few deaths and for what piled up meanwhile.
	answerWithin = 60 * time.Second
)

var killSeed = flag.Uint64("kill-seed", 0, "repeats a run of the kill test: its order and its moments")

var killService = flag.Bool("kill-service", false, "the bot of the kill test is an application service")

// Nothing is lost and nothing comes twice, although the bot is killed again and again in the middle of its work. The moments
// are random: after some number of messages from a seed, and then within the next 300 ms.
func TestNothingIsLostOrDoubledByKills(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-kill-seed %d", seed)
	h := settle(t)
	random := rand.New(rand.NewPCG(seed, seed))
	items := h.items(random)
	var moments []int
	for range killed {
		moments = append(moments, random.IntN(eachKind*(perAlert+perNeed)))
	}
	slices.Sort(moments)

	work := make(chan *item)
	var group sync.WaitGroup
	for _, p := range h.senders {
		for range perSender {
			group.Go(func() {
				for i := range work {
					i.err = h.handIn(p, i)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range items {
			work <- &items[i]
		}
		close(work)
		group.Wait()
	}()
	said := 0
	for _, at := range moments {
		for over := false; said < at && !over; {
			select {
			case <-h.said:
				said++
			case <-done:
				over = true
			}
		}
		<-time.After(time.Duration(random.Int64N(int64(300 * time.Millisecond)))) // no wait for anything: this is the random moment
		if err := h.bot.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := h.bot.Start(); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	for _, i := range items {
		if i.err != nil {
			t.Errorf("%s %s: %v", i.kind, i.word, i.err)
		}
	}
	h.quiet(t)
	h.checkOrigin(t, items)
	h.checkFollowers(t, items)
	h.checkKept(t, items)
	h.checkLog(t)
}

// house is a chapter's room, whose people hand in, and the rooms of three chapters that follow it in other languages.
type house struct {
	bot       *lab.Starling
	origin    string
	ana       *lab.Person   // moderates the origin
	senders   []*lab.Person // in the origin, ana among them
	followers []follower
	mark      int           // ana's, before anything was handed in
	said      chan struct{} // one for each message handed in
}

type follower struct {
	who  *lab.Person
	room string
	mark int
}

// settle sets all of it up as people would: invitations and commands.
func settle(t *testing.T) *house {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	join := func(name string) *lab.Person { return humans.Join(t, name, lab.Options{}) }
	ana, luc := join("ana"), join("luc")
	h := &house{ana: ana, senders: []*lab.Person{ana, luc, join("mar")}, said: make(chan struct{}, eachKind*(perAlert+perNeed))}
	if *killService {
		h.bot = asService(t, server, lab.BotConfig{Invite: []string{":" + lab.ServerName}})
		h.bot.Run(t)
	} else {
		h.bot = lab.StartStarling(t, server, ":"+lab.ServerName)
	}

	h.origin = ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{h.bot.ID, h.senders[1].ID, h.senders[2].ID}})
	for _, p := range h.senders[1:] {
		p.Join(p.WaitInvite(ana.ID))
		ana.WaitMember(h.origin, p.ID, "join")
	}
	h.setUp(ana, h.origin, "/room language es", "/room name Barcelona", "/room alerts anyone", "/relay open on")
	for _, f := range []struct{ name, lang, chapter string }{{"ines", "fr", "Lille"}, {"nour", "ar", "Cairo"}, {"dilan", "ku", "Amed"}} {
		p := join(f.name)
		room := p.CreateRoom(lab.Room{Name: f.chapter, Invite: []string{h.bot.ID}})
		h.setUp(p, room, "/room language "+f.lang, "/room name "+f.chapter, "/relay follow Barcelona")
		h.followers = append(h.followers, follower{who: p, room: room, mark: p.Mark()})
	}
	h.bot.WaitIdle(t)
	ana.Wait(lab.Want{Room: h.origin, From: h.bot.ID, ReplyTo: ana.Say(h.origin, "/room")}) // all before it has come to her, too
	h.mark = ana.Mark()
	return h
}

func (h *house) setUp(p *lab.Person, room string, commands ...string) {
	p.WaitMember(room, h.bot.ID, "join")
	p.Wait(lab.Want{Room: room, From: h.bot.ID}) // the greeting
	for _, command := range commands {
		p.Wait(lab.Want{Room: room, From: h.bot.ID, ReplyTo: p.Say(room, command)})
	}
}

// item is one alert or need. Its word stands in no other.
type item struct {
	kind, word string
	command    string // the event that began it
	err        error
}

func (h *house) items(random *rand.Rand) []item {
	var all []item
	for i := range 2 * eachKind {
		kind := "alert"
		if i >= eachKind {
			kind = "need"
		}
		all = append(all, item{kind: kind, word: word(i)})
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// word makes a word of a number; none is part of another.
func word(n int) string {
	const consonants, vowels = "bdfgklmnprst", "aeiou"
	w := "zu"
	for range 3 {
		w += string(consonants[n%len(consonants)])
		n /= len(consonants)
		w += string(vowels[n%len(vowels)])
		n /= len(vowels)
	}
	return w
}

// handIn has the whole conversation about an item.
func (h *house) handIn(p *lab.Person, i *item) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	if i.kind == "alert" {
		if i.command, err = h.say(ctx, p, lab.Text("/alerta ahora: aviso "+i.word+", hacen falta observadoras")); err != nil {
			return err
		}
		preview, err := h.heard(ctx, p, lab.Want{ReplyTo: i.command})
		if err != nil {
			return err
		}
		_, err = h.send(ctx, p, "m.reaction", map[string]any{
			"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": preview.ID, "key": "✅"},
		})
		return err
	}
	if i.command, err = h.say(ctx, p, lab.Text("/necesidades 12 mantas "+i.word+" para el "+[]string{"domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"}[soon()]+" cerca del puerto")); err != nil {
		return err
	}
	last := i.command
	for _, answer := range []string{"2", "1", "sí"} { // how urgent, whom to answer, all is right
		question, err := h.heard(ctx, p, lab.Want{Thread: i.command, AfterID: last})
		if err != nil {
			return err
		}
		last = question.ID
		if _, err := h.say(ctx, p, lab.WithThread(lab.Text(answer), i.command)); err != nil {
			return err
		}
	}
	_, err = h.heard(ctx, p, lab.Want{Matches: `N-[0-9A-Z]{4}`, ReplyTo: i.command, AfterID: last})
	return err
}

func (h *house) say(ctx context.Context, p *lab.Person, content map[string]any) (event string, err error) {
	return h.send(ctx, p, "m.room.message", content)
}

func (h *house) send(ctx context.Context, p *lab.Person, kind string, content map[string]any) (event string, err error) {
	err = p.Do(ctx, "send", map[string]any{"room": h.origin, "type": kind, "content": content}, &event)
	h.said <- struct{}{}
	return event, err
}

// heard waits for what the bot says in the origin.
func (h *house) heard(ctx context.Context, p *lab.Person, want lab.Want) (m lab.Message, err error) {
	want.Room, want.From = h.origin, h.bot.ID
	return m, p.Do(ctx, "wait", map[string]any{"want": want}, &m)
}

// quiet returns when the bot has said all that it had to say and everybody has heard it.
func (h *house) quiet(t *testing.T) {
	t.Helper()
	marker := func(p *lab.Person, room string) {
		p.Wait(lab.Want{Room: room, From: h.bot.ID, ReplyTo: p.Say(room, "/room")})
	}
	marker(h.ana, h.origin) // it has read all that was said before
	h.bot.WaitIdle(t)
	marker(h.ana, h.origin) // she has read all that it said before
	for _, f := range h.followers {
		marker(f.who, f.room)
	}
}

// checkOrigin looks whether each command was answered, step by step, exactly once.
func (h *house) checkOrigin(t *testing.T, items []item) {
	t.Helper()
	inThread, replies := map[string]int{}, map[string]int{}
	buttons := map[string]map[string]int{}
	for _, m := range h.ana.Did(h.origin, h.bot.ID, h.mark) {
		switch {
		case m.Undecryptable != "":
			t.Errorf("ana cannot read what the bot said: %s", m.Undecryptable)
		case m.Type == "m.reaction":
			if buttons[m.Target] == nil {
				buttons[m.Target] = map[string]int{}
			}
			buttons[m.Target][m.Key]++
		case m.Type != "m.room.message" || m.Relation == "m.replace":
		case m.Thread != "":
			inThread[m.Thread]++
		case m.ReplyTo != "":
			replies[m.ReplyTo]++
		default:
			t.Errorf("the bot said unasked: %q", m.Body)
		}
	}
	for _, i := range items {
		questions, answers := 0, 1 // the preview
		if i.kind == "need" {
			questions, answers = perNeed-1, 1 // the end
		}
		if inThread[i.command] != questions || replies[i.command] != answers {
			t.Errorf("%s %s has %d questions and %d answers, want %d and %d", i.kind, i.word, inThread[i.command], replies[i.command], questions, answers)
		}
	}
	for target, keys := range buttons {
		if len(keys) != 2 || keys["✅"] != 1 || keys["❌"] != 1 {
			t.Errorf("under %s the bot put %v, want one ✅ and one ❌", target, keys)
		}
	}
	if len(buttons) != 2*eachKind {
		t.Errorf("%d messages have buttons, want %d", len(buttons), 2*eachKind)
	}
}

// checkFollowers looks whether each room was shown each alert exactly once, and nothing of needs.
func (h *house) checkFollowers(t *testing.T, items []item) {
	t.Helper()
	for _, f := range h.followers {
		shown, other := map[string]int{}, 0
		for _, m := range f.who.Did(f.room, h.bot.ID, f.mark) {
			if m.Undecryptable != "" {
				t.Errorf("%s cannot read what the bot said: %s", f.who.Name, m.Undecryptable)
			}
			if m.Type != "m.room.message" || m.Relation == "m.replace" {
				continue
			}
			at := slices.IndexFunc(items, func(i item) bool { return strings.Contains(m.Body, i.word) })
			if at < 0 || items[at].kind != "alert" {
				other++
				continue
			}
			shown[items[at].word]++
			if m.MsgType != "m.text" {
				t.Errorf("the alert %s came to %s as %s, which rings no phone", items[at].word, f.who.Name, m.MsgType)
			}
		}
		for _, i := range items {
			if i.kind == "alert" && shown[i.word] != 1 {
				t.Errorf("%s was shown the alert %s %d times", f.who.Name, i.word, shown[i.word])
			}
		}
		if other != 1 { // the answer to the marker
			t.Errorf("%s was shown %d messages that are no alert, want 1", f.who.Name, other)
		}
	}
}

// checkKept looks into what the chapter can take with it: each alert and each need, once.
func (h *house) checkKept(t *testing.T, items []item) {
	t.Helper()
	if err := h.bot.Stop(); err != nil {
		t.Fatal(err)
	}
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	export := exec.CommandContext(t.Context(), filepath.Join(root, "starling"), "export", "Barcelona", "--config", filepath.Join(h.bot.Dir, "config.toml"))
	lines, err := export.Output()
	if err != nil {
		t.Fatalf("starling export: %v", err)
	}
	states := map[string]map[string]string{} // by word and id of the record: what its latest version says
	for line := range strings.Lines(string(lines)) {
		var r struct {
			Envelope struct{ ID, Kind string }
			Body     struct{ Description, Text, State string }
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		for _, i := range items {
			if strings.Contains(r.Body.Description+r.Body.Text, i.word) {
				if states[i.word] == nil {
					states[i.word] = map[string]string{}
				}
				states[i.word][r.Envelope.ID] = r.Envelope.Kind + " " + r.Body.State
			}
		}
	}
	for _, i := range items {
		want := "need "
		if i.kind == "alert" {
			want = "alert sent"
		}
		if got := slices.Collect(maps.Values(states[i.word])); !slices.Equal(got, []string{want}) {
			t.Errorf("of the %s %s is kept %q, want once %q", i.kind, i.word, got, want)
		}
	}
}

// checkLog looks for what the bot itself took for an error.
func (h *house) checkLog(t *testing.T) {
	t.Helper()
	log, err := os.Open(h.bot.Log())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for scanner := bufio.NewScanner(log); scanner.Scan(); {
		if line := scanner.Text(); strings.Contains(line, `"level":"error"`) || strings.HasPrefix(line, "panic:") {
			t.Errorf("in the bot's log: %s", line)
		}
	}
}
