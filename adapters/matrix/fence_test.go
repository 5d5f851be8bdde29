package matrix

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"starling/bot"
)

// What a killed bot had just sent may come down only after the next one has begun: nothing is repeated before that is known.
func TestNothingIsRepeatedBeforeTheFence(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	a, in := acc.open(), newInbox()
	h.push(settled())
	acc.run(a, in)
	type sent struct {
		id  string
		err error
	}
	done := make(chan sent, 1)
	go func() {
		id, err := a.Send(t.Context(), bot.Outgoing{ID: "x-1", Room: roomID, Kind: bot.OutMessage, Text: "alert", Again: true})
		done <- sent{id, err}
	}()
	h.until("the fence", func() bool { return h.called("/send/"+fenceType.Type+"/") != nil })
	h.mu.Lock()
	fence := h.called("/send/").Body
	h.mu.Unlock()

	h.push(inRoom(nil, []string{
		text(botID, "alert", `"event_id":"$before"`, `"unsigned":{"transaction_id":"`+transaction("x-1")+`"}`),
		ev(fenceType.Type, botID, `{"process":"another"}`),
		ev(fenceType.Type, botID, fence),
	}))
	if got := <-done; got.id != "$before" || got.err != nil {
		t.Errorf("the repetition gave %v, want the event that was there", got)
	}
	echo := in.until(t, "the echo", func(in bot.Incoming) bool { return in.Kind == bot.KindEcho })
	if echo.Target != "x-1" || echo.ID != "$before" || echo.Room != roomID {
		t.Errorf("the engine is told %+v", echo)
	}
	// What never came is sent, without another fence.
	if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x-2", Room: roomID, Kind: bot.OutMessage, Text: "lost", Again: true}); err != nil {
		t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.calls) != 2 || !strings.Contains(h.calls[1].Path, transaction("x-2")) {
		t.Errorf("calls %v, want a fence and one message", h.calls)
	}
}

func TestAFirstTryNeedsNoFenceAndARefusedOneHoldsUpNothing(t *testing.T) {
	h := newHomeserver(t)
	a, _, _ := inRun(t, h, settled())
	h.fail(http.StatusForbidden, `{"errcode":"M_FORBIDDEN"}`, func(r *http.Request) bool { return strings.Contains(r.URL.Path, fenceType.Type) })
	for _, again := range []bool{false, true} {
		if _, err := a.Send(t.Context(), bot.Outgoing{ID: fmt.Sprint(again), Room: roomID, Kind: bot.OutMessage, Text: "x", Again: again}); err != nil {
			t.Error(err)
		}
	}
}
