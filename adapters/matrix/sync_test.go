package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

func TestFirstSyncTellsTheRoomAndAnswersNothing(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	in := newInbox()
	in.rooms = []string{"!lost:example.org"}
	h.push(inRoom([]string{
		ev("m.room.create", ana, `{"room_version":"10"}`, `"state_key":""`),
		member(ana, "join"), member("@ben:example.org", "join"), member(botID, "join"),
		ev("m.room.power_levels", ana, `{"users":{"`+ana+`":100}}`, `"state_key":""`),
		encryption(),
	}, []string{text(ana, "/old")}))
	h.push(inRoom(nil, []string{text(ana, "/new")}))
	acc.run(acc.open(), in)
	in.until(t, "/new", textIs("/new"))
	if got := in.texts(); !slices.Equal(got, []string{"/new"}) {
		t.Errorf("texts %q", got)
	}
	lost, here := in.got[0], in.got[1]
	if lost.Room != "!lost:example.org" || lost.RoomChange.Joined {
		t.Errorf("the lost room: %+v", lost)
	}
	want := &bot.RoomChange{Joined: true, Encrypted: true, Members: map[string]bot.MemberInfo{
		ana: {Name: "ana", Moderator: true}, "@ben:example.org": {Name: "ben"},
	}}
	if diff := cmp.Diff(want, here.RoomChange); diff != "" {
		t.Error(diff)
	}
	acc.checkLog()
}

func TestTokenIsHeldBackUntilTheEngineHasStored(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	in := newInbox()
	a := acc.open()
	in.fail = func(try int) error {
		if got := token(t, a); got != fmt.Sprintf("s%d", map[bool]int{true: 1, false: 0}[try > 1]) && !(try == 1 && got == "") {
			t.Errorf("try %d: the position is already %q", try, got)
		}
		if try == 2 {
			return errors.New("disk full in " + roomID)
		}
		return nil
	}
	h.push(settled())
	h.push(inRoom(nil, []string{text(ana, "/needs"), text(ana, "/calendar")}))
	stop := acc.run(a, in)
	in.until(t, "/calendar", textIs("/calendar"))
	h.handed("s2")
	stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	if want := []string{"", "s1", "s1", "s2"}; !slices.Equal(h.asked[:4], want) {
		t.Errorf("asked for %q, want %q", h.asked, want)
	}
	if len(in.tries) != 3 || in.tries[1][0].ID != in.tries[2][0].ID {
		t.Errorf("%d tries", len(in.tries))
	}
	acc.checkLog()
}

func TestNothingFromBeforeTheJoinIsAnswered(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	in := newInbox()
	a := acc.open()
	stop := acc.run(a, in)
	h.push(`{"rooms":{}}`)
	h.push(fmt.Sprintf(`{"rooms":{"invite":{%q:{"invite_state":{"events":[%s]}}}}}`, roomID,
		ev("m.room.member", ana, `{"membership":"invite"}`, `"state_key":"`+botID+`"`)))
	h.until("the join", func() bool { return h.called("/join/"+roomID) != nil })
	// An answer made while the join was under way shows the room without anybody in it.
	h.push(inRoom(nil, []string{ev("m.room.member", ana, `{"membership":"invite"}`, `"state_key":"`+botID+`"`)}))
	joinEvent := member(botID, "join", `"event_id":"$join"`, `"unsigned":{"prev_content":{"membership":"invite"}}`)
	h.push(inRoom(nil, []string{
		ev("m.room.create", ana, `{"room_version":"12"}`, `"state_key":""`),
		member(ana, "join"), member("@ben:example.org", "join"),
		ev("m.room.power_levels", ana, `{"users":{}}`, `"state_key":""`),
		text(ana, "/before"), encryption(), text("@ben:example.org", "/also before"), joinEvent,
		text("@ben:example.org", "/after"),
	}))
	in.until(t, "/after", textIs("/after"))
	change := in.until(t, "the room", func(in bot.Incoming) bool { return in.Kind == bot.KindRoom })
	want := &bot.RoomChange{Joined: true, Fresh: true, Inviter: ana, Encrypted: true, Members: map[string]bot.MemberInfo{
		ana:                {Name: "ana", Moderator: true}, // created a room of version 12: above every power level
		"@ben:example.org": {Name: "ben"},
	}}
	if diff := cmp.Diff(want, change.RoomChange); diff != "" {
		t.Error(diff)
	}
	if change.ID != "$join" {
		t.Errorf("the greeting has the id %q", change.ID)
	}
	if got := in.texts(); !slices.Equal(got, []string{"/after"}) {
		t.Errorf("texts %q", got)
	}
	clear := in.until(t, "/after", textIs("/after"))
	if clear.Encrypted || clear.Trust != bot.TrustUnknown {
		t.Errorf("clear text is taken for encrypted: %+v", clear)
	}
	h.handed("s4")
	stop()
	errands, err := openErrands(t, acc)
	if err != nil || len(errands) != 0 {
		t.Errorf("errands left: %v %v", errands, err)
	}
	acc.checkLog()
}

func openErrands(t *testing.T, acc *account) ([]errand, error) {
	st, err := openStore(t.Context(), acc.dir, false)
	if err != nil {
		return nil, err
	}
	defer st.close()
	return st.errands(t.Context())
}

// Only a homeserver that says which devices there are can say that this one is lost.
func TestAnAnswerWithoutDevicesIsNoLostDevice(t *testing.T) {
	for _, answer := range []string{`{}`, `{"device_keys":{}}`} {
		h := newHomeserver(t)
		acc := newAccount(t, h)
		h.push(settled())
		in := newInbox()
		stop := acc.run(acc.open(), in)
		in.until(t, "the room", func(in bot.Incoming) bool { return in.Kind == bot.KindRoom })
		stop()
		failed := false
		h.fail(200, answer, func(r *http.Request) bool {
			first := !failed && strings.HasSuffix(r.URL.Path, "/keys/query")
			failed = failed || first
			return first
		})
		acc.run(acc.open(), in)
		h.push(inRoom(nil, []string{text(ana, "still here")}))
		in.until(t, "what follows", textIs("still here"))
	}
}

// Go's decoder takes nothing that is nested deeper than 10,000 levels. What a homeserver takes and passes on is not for it to say.
func TestADeepEventStopsNobody(t *testing.T) {
	h, in := running(t)
	deep := func(open, end string) string {
		return text(ana, "deep", fmt.Sprintf(`"unsigned":{"x":%s"x\"]}\\"%s}`, strings.Repeat(open, 20_000), strings.Repeat(end, 20_000)))
	}
	h.push(inRoom(nil, []string{text(ana, "first"), deep("[", "]"), deep(`{"\"":`, "}"), text(ana, "last")}))
	in.until(t, "what stands beside it", textIs("last"))
	h.messages["p1"] = `{"chunk":[` + text(ana, "missed") + `,` + deep("[", "]") + `]}`
	h.push(inRoom(nil, []string{text(ana, "now")}, `"limited":true`, `"prev_batch":"p1"`))
	in.until(t, "what stands behind it", textIs("now"))
	if got, want := in.texts(), []string{"first", "deep", "deep", "last", "deep", "missed", "now"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Dendrite takes events that it cannot put into an answer to /sync, and then fails for all rooms whatever rooms the filter leaves out.
func TestARoomThatBreaksTheSyncStopsNobody(t *testing.T) {
	const other = "!other:example.org"
	h, in := newHomeserver(t), newInbox()
	h.fail(500, `{"message":"Internal Server Error"}`, func(r *http.Request) bool {
		q := r.URL.Query()
		return strings.HasSuffix(r.URL.Path, "/sync") && q.Get("since") == "s2" && strings.Contains(q.Get("filter"), "m.room.message")
	})
	acc := newAccount(t, h)
	acc.run(acc.open(), in)
	h.push(settled())
	h.push(strings.ReplaceAll(settled(), roomID, other))
	h.mu.Lock()
	h.messages["s3"] = `{"chunk":[` + text(ana, "asked") + `]}` // of both rooms
	h.mu.Unlock()
	h.push(strings.ReplaceAll(inRoom([]string{encryption()}, nil), roomID, other))
	h.push(inRoom(nil, []string{text(ana, "now")}))
	in.until(t, "what follows", textIs("now"))
	if got, want := in.texts(), []string{"asked", "asked", "now"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	in.until(t, "the state of the other room", func(i bot.Incoming) bool {
		return i.Room == other && i.RoomChange != nil && i.RoomChange.Encrypted
	})
	acc.checkLog()
}

// An answer of 30 MB, and one with a thousand rooms, are read, in memory that goes with their size.
func TestHugeAnswersAreRead(t *testing.T) {
	const rooms = 1_000
	for name, answer := range map[string]func() string{
		"one event": func() string { return inRoom(nil, []string{text(ana, strings.Repeat("x", 30<<20))}) },
		"many rooms": func() string {
			var all strings.Builder
			for n := range rooms {
				one := strings.TrimSuffix(strings.TrimPrefix(settled(), `{"rooms":{"join":{`), "}}}")
				all.WriteString(strings.ReplaceAll(one, roomID, fmt.Sprintf("!r%d:example.org", n)) + ",")
			}
			return `{"rooms":{"join":{` + strings.TrimSuffix(all.String(), ",") + `}}}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHomeserver(t)
			acc := newAccount(t, h)
			in := newInbox()
			huge := answer()
			var before, after runtime.MemStats
			acc.run(acc.open(), in)
			runtime.ReadMemStats(&before)
			h.push(huge)
			h.push(settled())
			h.push(inRoom(nil, []string{text(ana, "still here")}))
			in.until(t, "what follows", textIs("still here"))
			runtime.ReadMemStats(&after)
			if used, most := int(after.TotalAlloc-before.TotalAlloc), 10*len(huge)+100<<20; used > most {
				t.Errorf("reading %d MB took %d MB of memory in all, want at most %d", len(huge)>>20, used>>20, most>>20)
			}
		})
	}
}

func TestShallowLeavesTheRestAlone(t *testing.T) {
	in := strings.Repeat("[", maxDepth-1)
	out := strings.Repeat("]", maxDepth-1)
	for text, want := range map[string]string{
		`{"a":[1,"[[{\"\\"],"b":{}}`:         `{"a":[1,"[[{\"\\"],"b":{}}`,
		in + `[]` + out:                      in + `[]` + out,
		in + `[[],{"]":"\"}"},[[[]]]]` + out: in + `[0,0,0]` + out,
		`{"half`:                             `{"half`,
		`"\`:                                 `"\`,
		``:                                   ``,
	} {
		if got := string(shallow([]byte(text))); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestMalformedEventsStopNobody(t *testing.T) {
	h, in := running(t)
	h.push(inRoom(nil, []string{
		`{"type":7}`, `null`, `"x"`,
		ev("m.room.message", ana, `{"msgtype":["m.text"],"body":{"a":1}}`),
		ev("m.room.message", ana, `"text"`),
		ev("m.room.message", ana, `{"msgtype":"m.text","body":"x"}`, `"msc4354_sticky":"x"`),
		ev("m.room.encrypted", ana, `{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":5}`),
		ev("m.room.encrypted", ana, `{}`),
		ev("m.room.power_levels", ana, `{"users":"all"}`, `"state_key":""`),
		text(ana, "fine"),
	}))
	in.until(t, "fine", textIs("fine"))
	if got := in.texts(); !slices.Equal(got, []string{"fine"}) {
		t.Errorf("texts %q", got)
	}
}

// Whatever the adapter or its library stumbles over, it is passed over, and the database is not left locked.
func TestAnEventThatMakesTheBotStumble(t *testing.T) {
	a := alone(t)
	v := &visit{a: a, b: newBatch(), r: nil, announced: true} // a room that is not there: whoever looks at it panics
	err := a.store.txn(t.Context(), func(ctx context.Context) error {
		return v.read(ctx, parse(t, encryption()), true)
	})
	if err != nil {
		t.Errorf("an event: %v", err)
	}
	if err := a.store.txn(t.Context(), func(context.Context) error { panic("what follows") }); !errors.Is(err, errStumbled) {
		t.Errorf("a transaction: %v", err)
	}
	if err := a.store.putRoom(t.Context(), &room{ID: roomID, Membership: joined}); err != nil {
		t.Errorf("the database afterwards: %v", err)
	}
}

func TestMembersAndPowerAreFollowed(t *testing.T) {
	h, in := running(t)
	h.push(inRoom(nil, []string{
		member("@cem:example.org", "join"),
		ev("m.room.power_levels", ana, `{"users":{"`+ana+`":100,"@cem:example.org":50}}`, `"state_key":""`),
		member("@ben:example.org", "leave"),
		ev("m.room.name", ana, `{"name":"New"}`, `"state_key":""`),
		encryption(),
		text(ana, "end"),
	}))
	in.until(t, "end", textIs("end"))
	var told []string
	for _, in := range in.got[1:] {
		switch in.Kind {
		case bot.KindMember:
			told = append(told, fmt.Sprintf("%s %+v", in.Person, *in.Member))
		case bot.KindRoom:
			told = append(told, fmt.Sprintf("%s encrypted=%v cem=%v", in.RoomChange.Name, in.RoomChange.Encrypted, in.RoomChange.Members["@cem:example.org"]))
		}
	}
	want := []string{
		"@cem:example.org {Joined:true Moderator:false}",
		"Needs encrypted=false cem={cem true}",
		"@ben:example.org {Joined:false Moderator:false}",
		"New encrypted=false cem={ false}",
		"New encrypted=true cem={ false}",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

func TestLoggedOutStopsTheBotWithTheRemedy(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	h.push(settled())
	h.fail(401, `{"errcode":"M_UNKNOWN_TOKEN","error":"`+botID+`"}`, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/sync") })
	a := acc.open()
	defer a.Close()
	if err := a.Run(t.Context(), newInbox()); !errors.Is(err, ErrLoggedOut) {
		t.Errorf("Run ended with %v", err)
	}
	acc.checkLog()
}

func TestRunEndsWithItsContext(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	h.push(settled())
	in := newInbox()
	stop := acc.run(acc.open(), in)
	in.until(t, "the room", func(in bot.Incoming) bool { return in.Kind == bot.KindRoom })
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}

func TestRoomsAreComparedAfterARestart(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	h.push(settled())
	in := newInbox()
	stop := acc.run(acc.open(), in)
	in.until(t, "the room", func(in bot.Incoming) bool { return in.Kind == bot.KindRoom })
	h.handed("s1")
	stop()

	in = newInbox()
	in.rooms = []string{"!gone:example.org"} // an engine that lost one room and kept another too long
	acc.run(acc.open(), in)
	here := in.until(t, "the room again", func(in bot.Incoming) bool { return in.Room == roomID })
	if c := here.RoomChange; !c.Joined || c.Fresh || c.Name != "Needs" || len(c.Members) != 2 {
		t.Errorf("%+v", c)
	}
	if gone := in.until(t, "the gone room", func(in bot.Incoming) bool { return in.Room == "!gone:example.org" }); gone.RoomChange.Joined {
		t.Errorf("%+v", gone.RoomChange)
	}
}

func TestKickedAndAlone(t *testing.T) {
	h, in := running(t, encryption())
	h.push(inRoom(nil, []string{member("@ben:example.org", "leave"), member(ana, "leave")}))
	h.until("the bot leaves", func() bool { return h.called(roomID+"/leave") != nil })
	h.push(fmt.Sprintf(`{"rooms":{"leave":{%q:{}}}}`, roomID))
	gone := in.until(t, "the bot is gone", func(in bot.Incoming) bool { return in.Kind == bot.KindRoom && !in.RoomChange.Joined })
	if gone.Room != roomID {
		t.Errorf("%+v", gone)
	}
}

func TestRoomThatWasEncryptedStaysSo(t *testing.T) {
	a := alone(t)
	r := &room{ID: roomID, Membership: joined, Encrypted: true}
	ctx := t.Context()
	if err := a.store.putRoom(ctx, r); err != nil {
		t.Fatal(err)
	}
	r.Encrypted = false
	if err := a.store.putRoom(ctx, r); err != nil {
		t.Fatal(err)
	}
	b := newBatch()
	if err := a.leftRoom(ctx, b, roomID); err != nil {
		t.Fatal(err)
	}
	if err := a.commit(ctx, b, "s"); err != nil {
		t.Fatal(err)
	}
	if secret, err := a.mustEncrypt(ctx, id.RoomID(roomID), false); !secret || err != nil {
		t.Errorf("encrypted: %v, %v", secret, err)
	}
}

// Nobody can fill a room's share of what is held until a key comes, nor all together more than that.
func TestHostileFloodIsBounded(t *testing.T) {
	a := alone(t)
	b := newBatch()
	hold := func(sender string, n int) {
		for i := range n {
			evt := asMessage(parse(t, ev("m.room.encrypted", sender, fmt.Sprintf(`{"algorithm":"m.megolm.v1.aes-sha2","session_id":"s%d","ciphertext":"x"}`, i))))
			if err := evt.Content.ParseRaw(evt.Type); err != nil {
				t.Fatal(err)
			}
			b.held = append(b.held, evt)
		}
	}
	hold("@eve:example.org", maxHeld+10)
	hold(ana, 1)
	if err := a.commit(t.Context(), b, "s1"); err != nil {
		t.Fatal(err)
	}
	if n := held(t, a); n != maxHeldOf+1 {
		t.Errorf("%d events held of eve, who sent hundreds, and ana, who sent one", n)
	}
	for i := range maxHeld / maxHeldOf {
		hold(fmt.Sprintf("@eve%d:example.org", i), maxHeldOf)
	}
	if err := a.commit(t.Context(), b, "s2"); err != nil {
		t.Fatal(err)
	}
	if n := held(t, a); n != maxHeld {
		t.Errorf("%d events held", n)
	}
}

func TestGarbageFromTheHomeserver(t *testing.T) {
	h, in := running(t)
	h.push(`{"rooms":{"join":{"!x:y":null},"invite":{"!x:y":null},"leave":{"!x:y":null}},"to_device":{"events":[null,{"type":"m.room.encrypted","content":{"algorithm":"m.olm.v1.curve25519-aes-sha2"}}]},"account_data":{"events":[{"type":"m.direct","content":{"a":5,"b":[7,""]}}]}}`)
	h.push(inRoom(nil, []string{text(ana, "fine")}))
	in.until(t, "fine", textIs("fine"))
}
