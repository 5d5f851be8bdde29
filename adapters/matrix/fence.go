package matrix

import (
	"context"
	"crypto/rand"
	"time"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// A homeserver may still be storing what the bot sent in the moment in which it was killed, or in which the connection broke, and not
// every one knows the transaction id again: Dendrite remembers it only if the caller lived to hear the answer, and an application
// service has none that counts. So before a repetition the bot sends an event that no client shows. Once that has come down, so has
// all that was sent to the room before it, and the engine has been told what needs no repetition.

// fence is such an event, under way or come down.
type fence struct {
	name   string
	passed chan struct{}
}

// fenceType is the type of that event.
var fenceType = event.Type{Type: "org.starling.fence", Class: event.MessageEventType}

const (
	// fenceFor is how long the event is waited for; then the repetition is the lesser evil.
	fenceFor = 20 * time.Second
	// maxEchoes is how many own messages are remembered at least.
	maxEchoes = 1000
)

// passFence returns when all has come down that was sent to a room and may not have been answered: by an earlier process, or before
// closeFence.
func (a *Adapter) passFence(ctx context.Context, rid id.RoomID) error {
	a.echoMu.Lock()
	f := a.fences[rid]
	if f == nil {
		f = &fence{rand.Text(), make(chan struct{})}
		a.fences[rid] = f
	}
	a.echoMu.Unlock()
	select {
	case <-f.passed:
		return nil
	default:
	}
	_, err := a.sendEvent(ctx, rid, fenceType, map[string]any{"name": f.name}, "fence-"+f.name)
	if hasCode(err, "M_FORBIDDEN") {
		return nil // nor could anything else be sent
	}
	if err != nil {
		return err
	}
	late := time.NewTimer(fenceFor)
	defer late.Stop()
	select {
	case <-f.passed:
	case <-late.C:
		a.log.Warn().Str("room", a.cfg.Hash(rid.String())).Msg("What was sent before does not come down; something may be said twice")
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// closeFence has a room's next repetition wait for a new fence: what failed now may come down behind the last one.
func (a *Adapter) closeFence(rid id.RoomID) {
	a.echoMu.Lock()
	defer a.echoMu.Unlock()
	delete(a.fences, rid)
}

// fenceIs tells whether a room's repetitions wait for the fence of that name.
func (a *Adapter) fenceIs(rid id.RoomID, name string) bool {
	a.echoMu.Lock()
	defer a.echoMu.Unlock()
	f := a.fences[rid]
	return f != nil && f.name == name
}

// openFences lets repetitions pass in rooms whose fence came down in a batch that is stored.
func (a *Adapter) openFences(down map[id.RoomID]string) {
	a.echoMu.Lock()
	defer a.echoMu.Unlock()
	for rid, name := range down {
		f := a.fences[rid]
		if f == nil || f.name != name {
			continue
		}
		select {
		case <-f.passed:
		default:
			close(f.passed)
		}
	}
}

// heard notes which of the bot's own messages came down, by Outgoing.ID: the engine may ask for one of them until it has stored
// what it is told.
func (a *Adapter) heard(echoes map[string]id.EventID) {
	a.echoMu.Lock()
	defer a.echoMu.Unlock()
	if len(a.echoes[0]) > maxEchoes {
		a.echoes[1], a.echoes[0] = a.echoes[0], map[string]id.EventID{}
	}
	for outID, eid := range echoes {
		a.echoes[0][outID] = eid
	}
}

// echo gives the event as which an Outgoing has come down.
func (a *Adapter) echo(outID string) (eid id.EventID, ok bool) {
	a.echoMu.Lock()
	defer a.echoMu.Unlock()
	if eid, ok = a.echoes[0][outID]; !ok {
		eid, ok = a.echoes[1][outID]
	}
	return eid, ok
}
