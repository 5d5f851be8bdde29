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
		ev(fenceType.Type, botID, `{"name":"another"}`),
		ev(fenceType.Type, botID, fence),
	}))
	if got := <-done; got.id != "$before" || got.err != nil {
		t.Errorf("the repetition gave %v, want the event that was there", got)
	}
	echo := in.until(t, "the echo", func(in bot.Incoming) bool { return in.Kind == bot.KindEcho })
	if echo.Target != "x-1" || echo.ID != "$before" || echo.Room != roomID {
		t.Errorf("the engine is told %+v", echo)
	}
	// What never came is sent, without another fence, until a call fails of which nobody knows whether it was carried out.
	if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x-2", Room: roomID, Kind: bot.OutMessage, Text: "lost", Again: true}); err != nil {
		t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.calls) != 2 || !strings.Contains(h.calls[1].Path, transaction("x-2")) {
		t.Errorf("calls %v, want a fence and one message", h.calls)
	}
}

// A call of which nobody knows whether it was carried out may come down behind the fence that let an earlier repetition pass.
func TestALostAnswerNeedsAFenceOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		code   int
		body   string
		fences int
	}{
		"a proxy's word":   {502, `<html>`, 2},
		"no word":          {0, ``, 2},
		"a word too many":  {200, `{"event_id":"$half`, 2},
		"nothing that was": {200, `{}`, 2},
		"a refusal":        {429, `{"errcode":"M_LIMIT_EXCEEDED"}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHomeserver(t)
			a, _, _ := inRun(t, h, settled())
			again := func() error {
				done := make(chan error, 1)
				h.mu.Lock()
				fences := h.count(fenceType.Type)
				h.mu.Unlock()
				go func() {
					_, err := a.Send(t.Context(), bot.Outgoing{ID: "x-1", Room: roomID, Kind: bot.OutMessage, Text: "alert", Again: true})
					done <- err
				}()
				for {
					h.mu.Lock()
					changed, body := h.mu.changed, ""
					if h.count(fenceType.Type) > fences {
						fences++
						body = h.calls[len(h.calls)-1].Body
					}
					h.mu.Unlock()
					if body != "" {
						h.push(inRoom(nil, []string{ev(fenceType.Type, botID, body)}))
					}
					select {
					case err := <-done:
						return err
					case <-changed:
					}
				}
			}
			if err := again(); err != nil {
				t.Fatal(err)
			}
			h.mu.Lock()
			h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/m.room.message/") {
					return false
				}
				if c.code == 0 {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(c.code)
				fmt.Fprint(w, c.body)
				return true
			}
			h.mu.Unlock()
			if err := again(); err == nil {
				t.Fatal("that counts as sent")
			}
			h.mended()
			if err := again(); err != nil {
				t.Fatal(err)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if n := h.count(fenceType.Type); n != c.fences {
				t.Errorf("%d fences, want %d", n, c.fences)
			}
		})
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
