package matrix

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// requests lists what was said to other devices about room keys.
func (h *homeserver) requests(action string) (bodies []string) {
	for _, c := range h.calls {
		if strings.Contains(c.Path, "/sendToDevice/m.room_key_request/") && strings.Contains(c.Body, `"action":"`+action+`"`) {
			bodies = append(bodies, c.Body)
		}
	}
	return bodies
}

// movable gives the account a clock that can be moved while the adapter runs.
func movable(acc *account) (move func(time.Duration)) {
	start, ahead := time.Now(), atomic.Int64{}
	acc.cfg.Now = func() time.Time { return start.Add(time.Duration(ahead.Load())) }
	return func(d time.Duration) { ahead.Add(int64(d)) }
}

func notices(in *inbox) (all []bot.Incoming) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, i := range in.got {
		if i.Kind == bot.KindNotice {
			all = append(all, i)
		}
	}
	return all
}

func TestLateKeyIsAskedForOnceAndTakenBack(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	move := movable(acc)
	a, in, s := acc.open(), newInbox(), newSpeaker(t)
	stop := acc.run(a, in)
	ask := func() int {
		a.askForKeys(t.Context())
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.requests("request"))
	}
	h.push(settled(encryption()))
	h.push(inRoom(nil, []string{s.says("one"), s.says("two")}))
	h.handed("s2")
	if n := ask(); n != 0 {
		t.Errorf("asked %d times at once: keys often come a sync later", n)
	}
	move(askAfter)
	if n := ask(); n != 1 {
		t.Fatalf("asked %d times for one key, want once", n)
	}
	// More that was said with the same key is no reason to ask again, nor is a restart.
	h.push(inRoom(nil, []string{s.says("three")}))
	h.handed("s3")
	stop()
	a = acc.open()
	acc.run(a, in)
	move(askAfter)
	if n := ask(); n != 1 {
		t.Errorf("asked %d times for one key, want once", n)
	}
	h.mu.Lock()
	request := h.requests("request")[0]
	h.mu.Unlock()
	for _, part := range []string{ana, botID, s.session.ID().String(), roomID, `"requesting_device_id":"DEV"`} {
		if !strings.Contains(request, part) {
			t.Errorf("the request does not name %s: %s", part, request)
		}
	}

	s.hands(a)
	h.push(inRoom(nil, []string{text(ana, "clear")}))
	in.until(t, "three", textIs("three"))
	h.handed("s4")
	ask()
	h.mu.Lock()
	defer h.mu.Unlock()
	cancelled := h.requests("request_cancellation")
	if len(cancelled) != 1 || !strings.Contains(cancelled[0], requestID(t, request)) {
		t.Errorf("taken back: %q", cancelled)
	}
}

func requestID(t *testing.T, body string) string {
	t.Helper()
	var call struct {
		Messages map[id.UserID]map[id.DeviceID]struct {
			ID string `json:"request_id"`
		} `json:"messages"`
	}
	if err := json.Unmarshal([]byte(body), &call); err != nil || call.Messages[ana]["*"].ID == "" {
		t.Fatalf("%v in %s", err, body)
	}
	return `"request_id":"` + call.Messages[ana]["*"].ID + `"`
}

func TestSenderIsToldOnceThatHerMessageCannotBeRead(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	move := movable(acc)
	a, in, s := acc.open(), newInbox(), newSpeaker(t)
	stop := acc.run(a, in)
	h.push(settled(encryption()))
	h.push(inRoom(nil, []string{s.says("one"), s.says("two", `"event_id":"$two"`)}))
	h.handed("s2")
	move(59 * time.Second)
	a.tellSenders(t.Context(), in)
	if got := notices(in); len(got) != 0 {
		t.Errorf("told within the minute: %+v", got)
	}
	move(time.Second)
	in.failsOnce() // the engine cannot store it: nothing was said
	a.tellSenders(t.Context(), in)
	a.tellSenders(t.Context(), in)
	a.tellSenders(t.Context(), in)
	told := notices(in)
	if len(told) != 1 || told[0].Room != roomID || told[0].ReplyTo != "$two" || told[0].Person != ana || told[0].Notice.Message != (Unreadable{}) {
		t.Fatalf("told %+v, want one notice to ana about what she said last", told)
	}
	stop()

	a = acc.open()
	acc.run(a, in)
	a.tellSenders(t.Context(), in)
	if got := notices(in); len(got) != 1 {
		t.Errorf("told %d times after a restart", len(got))
	}
	s.hands(a)
	h.push(inRoom(nil, []string{text(ana, "clear")}))
	in.until(t, "clear", textIs("clear"))
	if got := in.texts(); !slices.Equal(got, []string{"one", "two", "clear"}) {
		t.Errorf("when the key has come it reads %q", got)
	}
	acc.checkLog()
}

// In an hour some are told. Whoever is left over is told in the next, and the other rooms do not wait for hers.
func TestWhoIsOneTooManyIsToldInTheNextHour(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	move := movable(acc)
	a, in := acc.open(), newInbox()
	defer a.Close()
	b := newBatch()
	for i := range 150 {
		b.held = append(b.held, asMessage(parse(t, strings.Replace(newSpeaker(t).says("x"), `"sender":"`+ana+`"`, fmt.Sprintf(`"sender":"@p%03d:example.org"`, i), 1))))
	}
	other := asMessage(parse(t, newSpeaker(t).says("x")))
	other.RoomID = "!other:example.org"
	b.held = append(b.held, other)
	for _, evt := range b.held {
		if err := evt.Content.ParseRaw(evt.Type); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.commit(t.Context(), b, "s1"); err != nil {
		t.Fatal(err)
	}
	told := func() (people []string) {
		a.tellSenders(t.Context(), in)
		a.tellSenders(t.Context(), in)
		for _, n := range notices(in) {
			people = append(people, n.Person)
		}
		return people
	}
	move(2 * time.Minute)
	first := []string{"@p000:example.org", "@p001:example.org", "@p002:example.org", ana}
	if got := told(); !slices.Equal(got, first) {
		t.Errorf("at first %q are told, want %q", got, first)
	}
	move(time.Hour - time.Second)
	if got := told(); len(got) != len(first) {
		t.Errorf("%q were told within the hour", got[len(first):])
	}
	move(time.Second)
	if got, want := told(), append(first, "@p003:example.org", "@p004:example.org", "@p005:example.org"); !slices.Equal(got, want) {
		t.Errorf("in the next hour %q, want %q", got, want)
	}
}

// Somebody who sends ciphertext that nobody can read, under many keys and many names, gets little out of the bot.
func TestFloodOfCiphertextCostsLittle(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	move := movable(acc)
	a, in := acc.open(), newInbox()
	acc.run(a, in)
	h.push(settled(encryption()))
	var flood []string
	for i := range 1000 {
		said := newSpeaker(t).says("x")
		if i%50 == 49 {
			said = strings.Replace(said, `"sender":"`+ana+`"`, fmt.Sprintf(`"sender":"@eve%d:example.org"`, i), 1)
		}
		flood = append(flood, said)
	}
	h.push(inRoom(nil, flood))
	h.handed("s2")
	move(2 * time.Minute)
	for range 100 {
		a.askForKeys(t.Context())
		a.tellSenders(t.Context(), in)
	}
	told := map[string]int{}
	for _, n := range notices(in) {
		told[n.Person]++
	}
	if len(told) != maxTold || told[ana] != 1 {
		t.Errorf("told %v, want ana once and %d in all", told, maxTold)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	bySender := map[string]int{}
	for _, r := range h.requests("request") {
		for sender := range strings.SplitSeq(r, `"`) {
			if strings.HasPrefix(sender, "@") && sender != botID {
				bySender[sender]++
			}
		}
	}
	if bySender[ana] != maxAsked {
		t.Errorf("ana was asked for %d keys, want %d", bySender[ana], maxAsked)
	}
	acc.checkLog()
}
