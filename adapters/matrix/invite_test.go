package matrix

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/id"

	"starling/bot"
)

func TestWhoMayInvite(t *testing.T) {
	tests := []struct {
		rules  string
		person id.UserID
		want   bool
	}{
		{"", ana, false},
		{"@ana:example.org", ana, true},
		{"@ana:example.org", "@ana:example.org.evil.net", false},
		{"@ben:example.org @ana:example.org", ana, true},
		{":example.org", ana, true},
		{":example.org", "@ana:sub.example.org", false},
		{":example.org", "@ana:evilexample.org", false},
		{":localhost:8448", "@ana:localhost:8448", true},
		{"*", "@anyone:anywhere.net", true},
		{"example.org", ana, false},
	}
	for _, tt := range tests {
		a := &Adapter{cfg: Config{Invite: strings.Fields(tt.rules)}}
		if got := a.mayInvite(tt.person); got != tt.want {
			t.Errorf("%q lets %s invite: %v", tt.rules, tt.person, got)
		}
	}
}

func invite(rid, by, more string) string {
	return fmt.Sprintf(`{"rooms":{"invite":{%q:{"invite_state":{"events":[%s]}}}}}`, rid,
		ev("m.room.member", by, `{"membership":"invite"`+more+`}`, `"state_key":"`+botID+`"`))
}

func TestInvitationsAreTakenOrDeclined(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	acc.cfg.Invite = append(acc.cfg.Invite, "@op:example.org")
	in := newInbox()
	in.allowance = 1
	acc.run(acc.open(), in)
	h.push(settled())
	h.push(invite("!stranger:evil.net", "@eve:evil.net", ""))
	h.push(invite("!first:example.org", ana, ""))
	h.push(invite("!second:example.org", ana, ""))                              // over the day's limit
	for _, rid := range []string{"!third:example.org", "!fourth:example.org"} { // the operator has no limit
		h.push(invite(rid, "@op:example.org", ""))
	}
	h.until("the answers", func() bool {
		return h.called("!stranger:evil.net/leave") != nil && h.called("/join/!first:example.org") != nil && h.called("!second:example.org/leave") != nil &&
			h.called("/join/!third:example.org") != nil && h.called("/join/!fourth:example.org") != nil
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.called("/join/!stranger") != nil || h.called("/join/!second") != nil {
		t.Errorf("calls %+v", h.calls)
	}
	acc.checkLog()
}

// The inviting homeserver puts together what comes with an invitation, and may say there that somebody else invites.
func TestInvitationsWhoseInviterIsNotClearAreDeclined(t *testing.T) {
	says := func(person, membership string) string {
		return member(botID, membership, fmt.Sprintf(`"sender":%q`, person))
	}
	for _, tt := range []struct {
		name  string
		state []string
		joins bool
	}{
		{"one", []string{says(ana, "invite")}, true},
		{"twice the same", []string{says(ana, "invite"), says(ana, "invite")}, true},
		{"the last is allowed", []string{says("@eve:evil.net", "invite"), says(ana, "invite")}, false},
		{"the first is allowed", []string{says(ana, "invite"), says("@eve:evil.net", "invite")}, false},
		{"it has been there, too", []string{says(ana, "leave"), says(ana, "invite")}, false},
		{"no invitation", []string{says(ana, "join")}, false},
		{"nobody", []string{member(ana, "join")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHomeserver(t)
			acc := newAccount(t, h)
			acc.cfg.Invite = []string{"*"}
			acc.run(acc.open(), newInbox())
			h.push(settled())
			h.push(fmt.Sprintf(`{"rooms":{"invite":{"!new:example.org":{"invite_state":{"events":[%s]}}}}}`, strings.Join(tt.state, ",")))
			h.until("an answer", func() bool { return h.called("!new:example.org") != nil })
			h.mu.Lock()
			defer h.mu.Unlock()
			if joins := h.called("/join/!new:example.org") != nil; joins != tt.joins {
				t.Errorf("joins: %v", joins)
			}
		})
	}
}

// Over federation a join fails at first, and the bot may stop in between.
func TestJoinIsTriedAgainAlsoAfterARestart(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	tries := make(chan struct{}, 10)
	h.fail(502, `{"errcode":"M_UNKNOWN"}`, func(r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/join/") {
			tries <- struct{}{}
			return true
		}
		return false
	})
	h.push(settled())
	h.push(invite("!far:example.org", ana, ""))
	in := newInbox()
	stop := acc.run(acc.open(), in)
	<-tries
	<-tries
	stop()
	h.mended()
	again := newInbox()
	again.allowance = 0 // it was counted when it was accepted
	acc.run(acc.open(), again)
	h.until("the join", func() bool { return h.called("/join/!far:example.org") != nil })
}

func TestDirectInvitation(t *testing.T) {
	h, in := running(t)
	h.push(invite("!dm:example.org", ana, `,"is_direct":true`))
	h.until("the join", func() bool { return h.called("/join/!dm:example.org") != nil })
	h.push(strings.ReplaceAll(inRoom(nil, []string{member(ana, "join"), member(botID, "join"), text(ana, "help")}), roomID, "!dm:example.org"))
	if got := in.until(t, "help", textIs("help")); !got.Direct {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsADirectChat(t *testing.T) {
	two := []string{member(ana, "join"), member(botID, "join")}
	named := ev("m.room.name", ana, `{"name":"Needs"}`, `"state_key":""`)
	for _, tt := range []struct {
		name   string
		state  []string
		direct bool
	}{
		{"two people", two, true},
		{"two people and a name", append([]string{named}, two...), false},
		{"somebody else is invited", append([]string{member("@ben:example.org", "invite")}, two...), false},
		{"three people", append([]string{member("@ben:example.org", "join")}, two...), false},
		{"somebody else has left", append([]string{member("@ben:example.org", "leave")}, two...), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHomeserver(t)
			acc := newAccount(t, h)
			in := newInbox()
			acc.run(acc.open(), in)
			h.push(inRoom(tt.state, nil))
			got := in.until(t, "the room", func(in bot.Incoming) bool { return in.Kind == bot.KindRoom })
			if got.RoomChange.Direct != tt.direct {
				t.Errorf("direct: %v", got.RoomChange.Direct)
			}
		})
	}
}

// A tombstone or another invitation may come while the bot is still about what the one before asked for.
func TestWhatIsWantedMeanwhileIsNotForgotten(t *testing.T) {
	a := alone(t)
	now := time.Now()
	for _, tt := range []struct {
		want string
		end  func(old errand) error
	}{
		{wantJoin, func(old errand) error { old.NextTry = now.Add(time.Hour); return a.store.putErrand(t.Context(), old) }},
		{wantLeave, func(old errand) error { return a.store.endErrand(t.Context(), old) }},
	} {
		now = now.Add(time.Minute)
		if err := a.store.want(t.Context(), roomID, tt.want, "", now); err != nil {
			t.Fatal(err)
		}
		old, err := a.store.errands(t.Context())
		if err != nil || len(old) != 1 {
			t.Fatal(old, err)
		}
		now = now.Add(time.Minute)
		if err := errors.Join(a.store.want(t.Context(), roomID, wantJoin, "", now), tt.end(old[0])); err != nil {
			t.Fatal(err)
		}
		if left, err := a.store.errands(t.Context()); err != nil || len(left) != 1 || left[0].NextTry.UnixMilli() != now.UnixMilli() {
			t.Errorf("left to do: %+v, %v", left, err)
		}
	}
}

func TestARoomIsLeftOnceHoweverOftenThatIsWanted(t *testing.T) {
	a := alone(t)
	now := time.Now()
	for range 2 {
		now = now.Add(time.Minute)
		if err := a.store.want(t.Context(), roomID, wantLeave, "", now); err != nil {
			t.Fatal(err)
		}
	}
	old := errand{Room: roomID, Want: wantLeave, WantedAt: now.Add(-time.Minute)}
	if err := a.store.endErrand(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if again, err := a.store.errands(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("left to do: %+v, %v", again, err)
	}
}
