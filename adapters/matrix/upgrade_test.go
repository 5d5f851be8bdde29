package matrix

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/bot"
)

const nextID = "!next:example.org"

// answer is an answer to /sync with rooms that the bot is in, and invitations.
func answer(joined []string, invited ...string) string {
	return fmt.Sprintf(`{"rooms":{"join":{%s},"invite":{%s}}}`, strings.Join(joined, ","), strings.Join(invited, ","))
}

// here is one room of it.
func here(rid string, state []string, timeline ...string) string {
	return fmt.Sprintf(`%q:{"state":{"events":[%s]},"timeline":{"events":[%s]}}`, rid, strings.Join(state, ","), strings.Join(timeline, ","))
}

func invitedBy(person, rid string, more ...string) string {
	return fmt.Sprintf(`%q:{"invite_state":{"events":[%s]}}`, rid, strings.Join(append(more, member(botID, "invite", fmt.Sprintf(`"sender":%q`, person))), ","))
}

func tombstone(next string) string {
	return here(roomID, nil, ev("m.room.tombstone", ana, `{"replacement_room":"`+next+`"}`, `"state_key":""`))
}

// successor is the room that roomID was upgraded to, in which the bot has just come.
func successor(rid string, more ...string) string {
	create := ev("m.room.create", ana, `{"room_version":"12","predecessor":{"room_id":"`+roomID+`"}}`, `"state_key":""`)
	return here(rid, slices.Concat([]string{create, member(ana, "join"), member("@ben:example.org", "join")}, more), member(botID, "join"))
}

func rule(kind, key, value string) string {
	return ev(kind, ana, fmt.Sprintf(`{%q:%q}`, key, value), `"state_key":""`)
}

var (
	public   = rule("m.room.join_rules", "join_rule", "public")
	private  = rule("m.room.join_rules", "join_rule", "invite")
	readable = rule("m.room.history_visibility", "history_visibility", "world_readable")
	shared   = rule("m.room.history_visibility", "history_visibility", "shared")
)

func (h *homeserver) leftRoom(rid string) func() bool {
	return func() bool { return h.called(rid+"/leave") != nil }
}

func (h *homeserver) wentTo(rid string) {
	h.t.Helper()
	h.until("the join", func() bool { return h.called("/join/"+rid) != nil })
}

func isRoom(rid string) func(bot.Incoming) bool {
	return func(in bot.Incoming) bool { return in.Kind == bot.KindRoom && in.Room == rid }
}

func TestUpgradedRoomIsFollowedInWhateverOrderItIsHeardOf(t *testing.T) {
	for _, tt := range []struct {
		name, next string
		play       func(h *homeserver, in *inbox, restart func(), next string)
	}{
		{"the tombstone", nextID, func(h *homeserver, _ *inbox, _ func(), next string) {
			h.push(answer([]string{tombstone(next)}))
			h.wentTo(next)
			h.push(answer([]string{successor(next, encryption())}))
		}},
		{"a restart in between", nextID, func(h *homeserver, _ *inbox, restart func(), next string) {
			h.push(answer([]string{tombstone(next)}))
			h.wentTo(next)
			restart()
			h.push(answer([]string{successor(next, encryption())}))
		}},
		{"the tombstone, and an invitation by whoever", nextID, func(h *homeserver, _ *inbox, _ func(), next string) {
			h.push(answer([]string{tombstone(next)}, invitedBy("@eve:evil.net", next)))
			h.wentTo(next)
			h.push(answer([]string{successor(next, encryption())}))
		}},
		{"an invitation by whoever, and then the tombstone", nextID, func(h *homeserver, _ *inbox, _ func(), next string) {
			h.push(answer(nil, invitedBy("@eve:evil.net", next, ev("m.room.create", ana, `{"predecessor":{"room_id":"`+roomID+`"}}`, `"state_key":""`))))
			h.push(answer(nil, invitedBy("@eve:evil.net", "!other:example.org", ev("m.room.create", ana, `{"predecessor":{"room_id":"!any:example.org"}}`, `"state_key":""`))))
			h.until("another invitation is declined", h.leftRoom("!other:example.org"))
			h.push(answer([]string{tombstone(next)}))
			h.wentTo(next)
			h.push(answer([]string{successor(next, encryption())}))
		}},
		{"invited before it hears of the upgrade", nextID, func(h *homeserver, in *inbox, _ func(), next string) {
			h.push(answer(nil, invitedBy(ana, next)))
			h.wentTo(next)
			h.push(answer([]string{successor(next, encryption())}))
			in.until(h.t.(*testing.T), "the new room", isRoom(next))
			h.push(answer([]string{tombstone(next)}))
		}},
		{"there and upgraded at once", nextID, func(h *homeserver, _ *inbox, _ func(), next string) {
			h.push(answer(nil, invitedBy(ana, next)))
			h.wentTo(next)
			h.push(answer([]string{tombstone(next), successor(next, encryption())}))
		}},
		{"upgraded and there at once", "!zoom:example.org", func(h *homeserver, _ *inbox, _ func(), next string) { // rooms are read in the order of their ids
			h.push(answer(nil, invitedBy(ana, next)))
			h.wentTo(next)
			h.push(answer([]string{tombstone(next), successor(next, encryption())}))
		}},
		{"given up and then invited", nextID, func(h *homeserver, _ *inbox, _ func(), next string) {
			h.push(answer([]string{tombstone(next)}))
			h.wentTo(next)
			h.push(fmt.Sprintf(`{"rooms":{"leave":{%q:{}}}}`, next))
			h.push(answer(nil, invitedBy("@eve:evil.net", next)))
			h.until("the second join", func() bool { return h.count("/join/"+next) > 1 })
			h.push(answer([]string{successor(next, encryption())}))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHomeserver(t)
			acc := newAccount(t, h)
			in := newInbox()
			stop := acc.run(acc.open(), in)
			h.push(settled(encryption(), private))
			in.until(t, "the room", isRoom(roomID))
			tt.play(h, in, func() { stop(); acc.run(acc.open(), in) }, tt.next)
			got := in.until(t, "that the room replaces the other", func(in bot.Incoming) bool {
				return isRoom(tt.next)(in) && in.RoomChange.Replaces == roomID
			})
			if c := got.RoomChange; c.Fresh || !c.Joined || !c.Encrypted || len(c.Members) != 2 {
				t.Errorf("%+v", c)
			}
			h.until("the bot leaves the old room", h.leftRoom(roomID))
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.leftRoom(tt.next)() {
				t.Error("the bot leaves the new room")
			}
		})
	}
}

func TestNoRoomIsFollowedToAWeakerOne(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new []string
		follows  bool
	}{
		{"as encrypted", []string{encryption()}, []string{encryption()}, true},
		{"not encrypted", []string{encryption()}, nil, false},
		{"encrypted now", nil, []string{encryption()}, true},
		{"open to all", []string{encryption(), private}, []string{encryption(), public}, false},
		{"closed, and nobody knows how it was", nil, []string{private}, true},
		{"open, and nobody knows how it was", nil, []string{public}, false},
		{"as open", []string{public}, []string{public}, true},
		{"readable by all", []string{public, shared}, []string{public, readable}, false},
		{"as readable", []string{public, readable}, []string{private, readable}, true},
		{"made from another", nil, []string{ev("m.room.create", ana, `{"predecessor":{"room_id":"!other:example.org"}}`, `"state_key":""`)}, false},
		{"made from none", nil, []string{ev("m.room.create", ana, `{}`, `"state_key":""`)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, in := running(t, tt.old...)
			// What an invitation says of the room proves nothing.
			h.push(answer([]string{tombstone(nextID)}, invitedBy("@eve:evil.net", nextID, encryption())))
			h.wentTo(nextID)
			h.push(answer([]string{successor(nextID, tt.new...)}))
			if tt.follows {
				in.until(t, "the new room", isRoom(nextID))
				h.until("the bot leaves the old room", h.leftRoom(roomID))
				return
			}
			told := in.until(t, "the word", func(in bot.Incoming) bool { return in.Kind == bot.KindNotice })
			if told.Room != roomID || told.Notice.Operators || told.Notice.Message != (NotFollowed{Here: true}) {
				t.Errorf("%+v says %+v", told, told.Notice)
			}
			h.until("the bot leaves the new room", h.leftRoom(nextID))
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.leftRoom(roomID)() {
				t.Error("the bot leaves the old room")
			}
		})
	}
}

// Upgrades mostly take from everybody the power to speak in the old room.
func TestOperatorsHearOfARoomThatIsNotFollowedWhereItCannotBeTold(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	in := newInbox()
	acc.run(acc.open(), in)
	h.push(settled(encryption()))
	h.push(answer(nil, invitedBy(ana, nextID)))
	h.wentTo(nextID)
	h.push(answer([]string{successor(nextID)}))
	fresh := in.until(t, "the new room", isRoom(nextID))
	h.push(answer([]string{here(roomID, nil,
		ev("m.room.tombstone", ana, `{"replacement_room":"`+nextID+`"}`, `"state_key":""`),
		ev("m.room.power_levels", ana, `{"users":{"`+ana+`":100},"events_default":50}`, `"state_key":""`))}))
	told := in.until(t, "the word", func(in bot.Incoming) bool { return in.Kind == bot.KindNotice })
	if told.Room != "" || !told.Notice.Operators || told.Notice.Message != (NotFollowed{}) {
		t.Errorf("%+v says %+v", told, told.Notice)
	}
	if c := fresh.RoomChange; !c.Fresh || c.Replaces != "" {
		t.Errorf("the room that the bot was invited to: %+v", c)
	}
	// Protected as the old one and invited again, it comes with what was set.
	h.push(fmt.Sprintf(`{"rooms":{"leave":{%q:{}}}}`, nextID))
	h.push(answer(nil, invitedBy("@eve:evil.net", nextID)))
	h.until("the second join", func() bool { return h.count("/join/"+nextID) > 1 })
	h.push(answer([]string{successor(nextID, encryption())}))
	in.until(t, "that the room replaces the other", func(in bot.Incoming) bool {
		return isRoom(nextID)(in) && in.RoomChange.Replaces == roomID
	})
	acc.checkLog()
}

func TestARoomThatCannotBeJoinedForADayIsGivenUpAndSomebodyHearsOfIt(t *testing.T) {
	quiet := ev("m.room.power_levels", ana, `{"users":{"`+ana+`":100},"events_default":50}`, `"state_key":""`)
	for _, tt := range []struct {
		name   string
		answer string
		room   string
		want   GaveUp
	}{
		{"invited", answer(nil, invitedBy(ana, nextID)), "", GaveUp{}},
		{"upgraded", answer([]string{tombstone(nextID)}), roomID, GaveUp{Replaced: true, Here: true}},
		{"upgraded and silenced", answer([]string{here(roomID, []string{quiet}, ev("m.room.tombstone", ana, `{"replacement_room":"`+nextID+`"}`, `"state_key":""`))}),
			"", GaveUp{Replaced: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHomeserver(t)
			acc := newAccount(t, h)
			move := movable(acc)
			h.fail(403, `{"errcode":"M_FORBIDDEN"}`, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/join/") })
			h.push(settled())
			h.push(tt.answer)
			in := newInbox()
			stop := acc.run(acc.open(), in)
			h.handed("s2")
			stop()
			a := acc.open() // not run: what it does by itself is done here
			defer a.Close()
			a.doErrands(t.Context())
			a.tellSenders(t.Context(), in)
			if got := notices(in); len(got) != 0 {
				t.Errorf("told at once: %+v", got)
			}
			move(tryFor - time.Second)
			a.doErrands(t.Context())
			move(maxPause * 2)
			a.doErrands(t.Context())
			in.failsOnce() // the engine cannot store it: nothing was said
			for range 3 {
				a.tellSenders(t.Context(), in)
			}
			got := notices(in)
			if len(got) != 1 || got[0].Room != tt.room || got[0].Notice.Message != tt.want || got[0].Notice.Operators != (tt.room == "") {
				t.Fatalf("told %+v, want %+v once in %q", got, tt.want, tt.room)
			}
			if left, err := a.store.errands(t.Context()); err != nil || len(left) != 0 {
				t.Errorf("still to do: %+v, %v", left, err)
			}
		})
	}
}
