package matrix

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/id"

	"starling/bot"
)

var twoCommands = []bot.Description{
	{Name: "needs", Words: []string{"necesidades", "besoins"}, Help: "say what is needed", Line: "food by friday"},
	{Name: "calendar", Words: []string{"calendario"}, Help: "what is on"},
}

const describes = "/state/org.matrix.msc4391.command_description/"

// descriptions counts what was published. The lock is held by the caller.
func (h *homeserver) descriptions() (n int) {
	for _, c := range h.calls {
		if strings.Contains(c.Path, describes) {
			n++
		}
	}
	return n
}

func (h *homeserver) locked(look func() int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return look()
}

func TestCommandsAreDescribedOnceWhereTheRoomLetsIt(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	move := movable(acc)
	a, in := acc.open(), newInbox()
	a.Describe(twoCommands)
	stop := acc.run(a, in)
	h.push(settled())
	<-a.ready
	d := &describing{not: map[id.RoomID]time.Time{}}
	often := func() int {
		for range 10 {
			a.describe(t.Context(), d)
		}
		return h.locked(h.descriptions)
	}
	if n := often(); n != 0 {
		t.Errorf("%d descriptions without the power for them", n)
	}
	power := func(level int) {
		h.push(inRoom(nil, []string{
			ev("m.room.power_levels", ana, fmt.Sprintf(`{"users":{%q:100,%q:%d}}`, ana, botID, level), `"state_key":""`), text(ana, fmt.Sprint("power ", level)),
		}))
		in.until(t, "power", textIs(fmt.Sprint("power ", level)))
	}
	power(50)
	if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x", Room: roomID, Kind: bot.OutMessage, Text: "x"}); err != nil {
		t.Fatal(err)
	}
	if n := often(); n != 0 {
		t.Errorf("%d descriptions while the bot speaks: they are decoration", n)
	}
	move(quietFor)
	if n := often(); n != len(twoCommands) {
		t.Fatalf("%d descriptions, want one for each command", n)
	}
	h.mu.Lock()
	first := h.called(describes)
	if first.Method != http.MethodPut || !strings.Contains(first.Body, `"command":"needs"`) || !strings.Contains(first.Body, `"necesidades"`) {
		t.Errorf("described as %s %s %s", first.Method, first.Path, first.Body)
	}
	h.mu.Unlock()
	stop()

	// The same commands are not described again after a restart, others are.
	a = acc.open()
	a.Describe(twoCommands)
	stop = acc.run(a, in)
	if n := often(); n != len(twoCommands) {
		t.Errorf("%d descriptions after a restart", n)
	}
	stop()
	a = acc.open()
	a.Describe(twoCommands[:1])
	acc.run(a, in)
	// One command is described anew, and that of the other is taken back.
	if n := often(); n != len(twoCommands)+2 {
		t.Errorf("%d descriptions when the commands are others", n)
	}
	h.locked(func() int {
		var all []call
		for _, c := range h.calls {
			if strings.Contains(c.Path, describes) {
				all = append(all, c)
			}
		}
		if calendar, gone := all[1], all[3]; gone.Path != calendar.Path || gone.Body != "{}" {
			t.Errorf("a command that no longer exists is described as %+v", gone)
		}
		return 0
	})
	acc.checkLog()
}

// A homeserver that refuses descriptions, or has limits, is left alone for an hour.
func TestRefusedDescriptionsAreLeftOut(t *testing.T) {
	for _, code := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		h := newHomeserver(t)
		tries := 0
		h.fail(code, `{"errcode":"M_FORBIDDEN"}`, func(r *http.Request) bool {
			if strings.Contains(r.URL.Path, describes) {
				tries++
				return true
			}
			return false
		})
		acc := newAccount(t, h)
		move := movable(acc)
		a, in := acc.open(), newInbox()
		a.Describe(twoCommands)
		acc.run(a, in)
		h.push(inRoom([]string{
			ev("m.room.create", ana, `{"room_version":"10"}`, `"state_key":""`), member(ana, "join"), member(botID, "join"),
			ev("m.room.power_levels", ana, fmt.Sprintf(`{"users":{%q:50}}`, botID), `"state_key":""`),
		}, nil))
		<-a.ready
		d := &describing{not: map[id.RoomID]time.Time{}}
		for _, want := range []int{1, 2} {
			for range 10 {
				a.describe(t.Context(), d)
			}
			if tries != want {
				t.Errorf("%d: tried %d times, want %d", code, tries, want)
			}
			move(describeAgain)
		}
		acc.checkLog()
	}
}
