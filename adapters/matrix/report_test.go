package matrix

import (
	"net/http"
	"strings"
	"testing"

	"starling/bot"
)

// Operators see whether the homeserver answers, since when something came, and what is wrong, without a name or an id.
func TestOperatorsSeeHowTheConnectionIs(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	a, in := acc.open(), newInbox()
	if r := a.Report(); r.Connected || !r.Received.IsZero() || !r.Sent.IsZero() {
		t.Errorf("before the first sync: %+v", r)
	}
	h.push(settled())
	acc.run(a, in)
	if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x-1", Room: roomID, Kind: bot.OutMessage, Text: "alert"}); err != nil {
		t.Fatal(err)
	}
	if r := a.Report(); !r.Connected || r.Received.IsZero() || r.Sent.IsZero() || r.Trouble != "" {
		t.Errorf("at work: %+v", r)
	}
	down := make(chan struct{})
	var once bool
	h.mu.Lock()
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/sync") {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		if once { // the second time: what became of the first is noted
			select {
			case <-down:
			default:
				close(down)
			}
		}
		once = true
		return true
	}
	h.mu.Unlock()
	h.push(inRoom(nil, []string{text(ana, "wakes the poll")}))
	<-down
	r := a.Report()
	if r.Connected || !strings.Contains(r.Trouble, "502") || strings.ContainsAny(r.Trouble, "@!$") {
		t.Errorf("while the homeserver is down: %+v", r)
	}
	h.mended()
	h.push(inRoom(nil, []string{text(ana, "after")}))
	in.until(t, "what came after", textIs("after"))
	h.until("the next poll", func() bool { return a.Report().Connected })
}
