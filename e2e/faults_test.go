package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"starling/e2e/lab"
	"starling/e2e/standin"
)

// broken are answers that a homeserver, or what stands before it, gives in the place of right ones. Of some the call is done.
var broken = []standin.Fault{
	{Status: 502, Body: "<html><h1>502 Bad Gateway</h1></html>"},
	{Status: 503, Body: "<html><h1>503 Service Unavailable</h1></html>"},
	{Status: 504, Body: "<html><h1>504 Gateway Time-out</h1></html>"},
	{Status: 504, Body: "<html><h1>504 Gateway Time-out</h1></html>", Done: true},
	{Status: 500},
	{Body: "<html>It works!</html>"},
	{Body: "<html>It works!</html>", Done: true},
	{Body: `{"event_id":"$half`},
	{Body: `{"next_batch":"s1","rooms":{"join":[7`, Done: true},
	{Body: "{}"},
	{Body: "{}", Done: true},
	{Body: "null"},
	{Body: "[]"},
	{Cut: standin.Silently},
	{Cut: standin.Silently, Done: true},
	{Cut: standin.Midway, Done: true},
}

// federation is what joining a room of another server comes to, call by call, before it succeeds.
var federation = []standin.Fault{{Status: 502, Body: "<html>"}, {Status: 404, Body: `{"errcode":"M_NOT_FOUND","error":"no such room"}`}}

// forbidden is said of a room that a homeserver does not yet see the bot in.
var forbidden = standin.Fault{Status: 403, Body: `{"errcode":"M_FORBIDDEN","error":"you are not in that room"}`}

// trouble deals faults to calls.
type trouble struct {
	far string // a room that is joined over federation

	mu      sync.Mutex
	random  *rand.Rand
	left    map[string][]standin.Fault // what is still to be dealt, by the kind of call
	some    int                        // in all
	dealt   chan struct{}              // closed when there is none
	synced  bool                       // the last sync was broken
	joins   int
	refused bool
}

func newTrouble(random *rand.Rand, far string) *trouble {
	d := &trouble{far: far, random: random, left: map[string][]standin.Fault{}, dealt: make(chan struct{})}
	for _, call := range []string{"sync", "send m.room.message", "send m.reaction"} {
		left := slices.Clone(broken)
		if call == "send m.room.message" {
			left = slices.Repeat(broken, 3)
		}
		random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		d.left[call], d.some = left, d.some+len(left)
	}
	return d
}

func (d *trouble) deal(c standin.Call) (f standin.Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	call := strings.TrimSpace(c.Op + " " + c.Type)
	switch left := d.left[call]; {
	case c.Op == "join" && c.Room == d.far && d.joins < len(federation):
		d.joins++
		return federation[d.joins-1]
	case c.Op == "send" && c.Room == d.far && !d.refused:
		d.refused = true
		return forbidden
	case len(left) == 0, d.random.IntN(3) > 0, call == "sync" && d.synced: // else the pauses between the bot's tries grow long
	default:
		f, d.left[call] = left[0], left[1:]
		if d.some--; d.some == 0 {
			close(d.dealt)
		}
	}
	if call == "sync" {
		d.synced = f != (standin.Fault{})
	}
	return f
}

// alertCode is by what an alert is named.
var alertCode = regexp.MustCompile(`A-[0-9A-Z]{4,}`)

// A homeserver that fails in every way that is known loses nothing and doubles nothing: each question is answered once, and each alert,
// and after it its end, is shown once in each room. As an application service the bot has no transaction ids to rely on.
func TestAHomeserverThatFailsLosesNothing(t *testing.T) {
	for name, service := range map[string]bool{"account": false, "service": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failing(t, service)
		})
	}
}

func failing(t *testing.T, service bool) {
	const rooms, hands = 4, 6
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-kill-seed %d", seed)
	r := setUpRelay(t, rooms)
	if service {
		if err := r.bot.Stop(); err != nil {
			t.Fatal(err)
		}
		r.service(t)
		if err := r.bot.Start(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*lab.Patience)
	defer cancel()
	far := r.server.Room("Far", map[string]int{ana: 100})
	d := newTrouble(rand.New(rand.NewPCG(seed, seed)), far)
	r.server.Break(d.deal)

	var over atomic.Bool
	var mu sync.Mutex
	asked := map[string][]string{} // questions, by room
	var raised, ended []string     // the numbers of alerts
	ask := func(room, text string) (standin.Event, error) {
		command := r.server.Say(room, ana, text)
		mu.Lock()
		asked[room] = append(asked[room], command)
		mu.Unlock()
		return r.answer(ctx, room, command)
	}
	confirm := func(preview standin.Event, list *[]string, number string) {
		mu.Lock()
		defer mu.Unlock()
		*list = append(*list, number)
		r.server.React(r.origin, ana, preview.ID, "✅")
	}
	raise := func(number string) error {
		preview, err := ask(r.origin, "/alert now: police at the social centre, number "+number)
		if err != nil {
			return err
		}
		confirm(preview, &raised, number)
		sent, err := r.server.Wait(ctx, r.origin, func(e standin.Event) bool {
			return e.Sender == r.id && edits(e) == preview.ID && alertCode.MatchString(e.Text())
		})
		if err != nil {
			return err
		}
		preview, err = ask(r.origin, "/alert clear "+alertCode.FindString(sent.Text())+" they have left, end "+number)
		if err == nil {
			confirm(preview, &ended, number)
		}
		return err
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for hand := range hands {
		group.Go(func() {
			for !over.Load() {
				var err error
				if hand%2 == 0 {
					err = raise(fmt.Sprint(next.Add(1)))
				} else {
					_, err = ask(r.origin, "/room")
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	follow := func() error {
		r.server.Membership(far, ana, r.id, "invite")
		if err := r.server.WaitMember(ctx, far, r.id, "join"); err != nil {
			return err
		}
		if _, err := r.server.Wait(ctx, far, func(e standin.Event) bool { return e.Sender == r.id && e.Type == "m.room.message" }); err != nil {
			return fmt.Errorf("the greeting: %w", err)
		}
		for _, text := range []string{"/room language en", "/room name Far", "/relay follow Origin"} {
			if _, err := ask(far, text); err != nil {
				return err
			}
		}
		return nil
	}
	if err := follow(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	before := len(raised)
	mu.Unlock()

	_ = r.stop() // it says that it was closed
	for range hands {
		group.Go(func() {
			if _, err := ask(r.origin, "/needs list"); err != nil {
				t.Error(err)
			}
		})
	}
	if err := r.turnedAway(ctx, 3); err != nil {
		t.Error(err)
	}
	r.listen(strings.TrimPrefix(r.url, "http://"))

	select {
	case <-d.dealt:
	case <-ctx.Done():
		t.Errorf("not every fault was met: %v", d.left)
	}
	over.Store(true)
	group.Wait()
	if _, err := ask(r.origin, "/room"); err != nil { // all before has come to it
		t.Fatal(err)
	}
	if st := r.bot.WaitIdle(t); st.Errors > 0 {
		t.Errorf("the bot met %d errors of its own", st.Errors)
	}
	for room, commands := range asked {
		answers := map[string]int{}
		for _, e := range r.server.Events(room) {
			if e.Sender == r.id {
				answers[answered(e)]++
			}
		}
		for _, command := range commands {
			if n := answers[command]; n != 1 {
				t.Errorf("a question was answered %d times", n)
			}
		}
	}
	for n, room := range append(slices.Clone(r.rooms), far) {
		must := raised
		if room == far {
			must = raised[before:]
		}
		r.checkShown(t, fmt.Sprint("room ", n), room, must, ended)
	}
	log, err := os.ReadFile(r.bot.Log())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(log, []byte("was set aside")) {
		t.Error("a message was set aside")
	}
	t.Logf("%d questions, %d alerts, %d ends; %d sends repeated", len(asked[r.origin])+len(asked[far]), len(raised), len(ended), r.server.Stats().Repeated)
}

// A room that takes seconds for each message is told all, and no other waits for it.
func TestASlowRoomDelaysNoOther(t *testing.T) {
	const alerts, rooms = 3, 5
	r := setUpRelay(t, rooms)
	r.server.Slow(r.rooms[0], 3*time.Second)
	for n := range alerts {
		preview, err := r.command(r.origin, fmt.Sprintf("/alert now: police at the social centre, number %d", n))
		if err != nil {
			t.Fatal(err)
		}
		r.server.React(r.origin, ana, preview.ID, "✅")
	}
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	for n := range alerts {
		var slow, last time.Time
		for i, room := range r.rooms {
			e, err := r.server.Wait(ctx, room, func(e standin.Event) bool {
				return e.Sender == r.id && strings.HasSuffix(number.FindString(e.Text()), fmt.Sprintf(" %d", n))
			})
			switch {
			case err != nil:
				t.Fatalf("room %d: %v", i, err)
			case i == 0:
				slow = e.At
			case e.At.After(last):
				last = e.At
			}
		}
		if !last.Before(slow) {
			t.Errorf("alert %d reached the slow room %v before the last of the others", n, last.Sub(slow))
		}
	}
	r.server.Slow(r.rooms[0], 0)
	r.bot.WaitIdle(t)
	for i, room := range r.rooms {
		r.checkShown(t, fmt.Sprint("room ", i), room, []string{"0", "1", "2"}, nil)
	}
}

// turnedAway returns when the bot has asked for what is new so often in vain.
func (r *relayed) turnedAway(ctx context.Context, times int) error {
	const word = "The homeserver cannot be reached, or its answer cannot be handled"
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for before := -1; ; {
		log, err := os.ReadFile(r.bot.Log())
		if err != nil {
			return err
		}
		n := bytes.Count(log, []byte(word))
		if before < 0 {
			before = n
		}
		if n-before >= times {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the bot met a closed door %d times: %w", n-before, ctx.Err())
		}
	}
}

// edits is the event that something changes, "" for what changes nothing.
func edits(e standin.Event) string {
	relation, _ := e.Content["m.relates_to"].(map[string]any)
	target, _ := relation["event_id"].(string)
	if relation["rel_type"] != "m.replace" {
		return ""
	}
	return target
}

// end finds which of many alerts has ended.
var end = regexp.MustCompile(`they have left, end (\d+)\b`)

// checkShown fails where a room was not shown each alert once, and after it its end: as a message of its own, or in the alert itself
// where that had not arrived before.
func (r *relayed) checkShown(t *testing.T, name, room string, raised, ended []string) {
	t.Helper()
	alerts, ends, over := map[string]int{}, map[string]int{}, map[string]bool{}
	of, buttons := map[string]string{}, map[string]int{} // the alert of an event; the bot's reactions
	for _, e := range r.server.Events(room) {
		if e.Sender != r.id {
			continue
		}
		if relation, _ := e.Content["m.relates_to"].(map[string]any); e.Type == "m.reaction" {
			what := fmt.Sprint(relation["event_id"], relation["key"])
			if buttons[what]++; buttons[what] == 2 {
				t.Errorf("%s was shown the bot's reaction twice", name)
			}
			continue
		}
		n := of[edits(e)]
		if m := number.FindStringSubmatch(e.Text()); m != nil && edits(e) == "" {
			n, of[e.ID] = m[1], m[1]
			alerts[n]++
		}
		if n != "" {
			over[n] = strings.Contains(e.Text(), "🟢")
		}
		if m := end.FindStringSubmatch(e.Text()); m != nil {
			ends[m[1]]++
			if alerts[m[1]] == 0 {
				t.Errorf("%s was shown the end of alert %s before the alert", name, m[1])
			}
		}
	}
	for _, n := range raised {
		if alerts[n] != 1 {
			t.Errorf("%s was shown alert %s %d times", name, n, alerts[n])
		}
	}
	for _, n := range ended {
		if alerts[n] > 0 && (ends[n] > 1 || !over[n]) {
			t.Errorf("%s was shown the end of alert %s %d times; the alert says that it is over: %v", name, n, ends[n], over[n])
		}
	}
}
