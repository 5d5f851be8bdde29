package matrix

import (
	"context"
	"net/http"
	"time"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// A homeserver may still be storing what the bot sent in the moment in which it was killed, and not every one knows the
// transaction id again: Dendrite remembers it only if the caller lived to hear the answer. So before the first repetition in a
// room the bot sends an event that no client shows. Once that has come down, so has all that was sent before it, and the
// engine has been told what needs no repetition.

// fenceType is the type of that event.
var fenceType = event.Type{Type: "org.starling.fence", Class: event.MessageEventType}

const (
	// fenceFor is how long the event is waited for; then the repetition is the lesser evil.
	fenceFor = 20 * time.Second
	// maxEchoes is how many own messages are remembered at least.
	maxEchoes = 1000
)

// passFence returns when all has come down that an earlier process sent to a room.
func (a *Adapter) passFence(ctx context.Context, rid id.RoomID) error {
	a.echoMu.Lock()
	passed := a.fences[rid]
	if passed == nil {
		passed = make(chan struct{})
		a.fences[rid] = passed
	}
	a.echoMu.Unlock()
	select {
	case <-passed:
		return nil
	default:
	}
	_, err := a.sendEvent(ctx, rid, fenceType, map[string]any{"process": a.process}, "fence-"+a.process)
	if httpStatus(err) == http.StatusForbidden {
		return nil // nor could anything else be sent
	}
	if err != nil {
		return err
	}
	late := time.NewTimer(fenceFor)
	defer late.Stop()
	select {
	case <-passed:
	case <-late.C:
		a.log.Warn().Str("room", a.cfg.Hash(rid.String())).Msg("What was sent before the start does not come down; something may be said twice")
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// isFence tells whether an own event is the fence of this process.
func (a *Adapter) isFence(evt *event.Event) bool {
	process, _ := evt.Content.Raw["process"].(string)
	return evt.Type.Type == fenceType.Type && process == a.process
}

// openFences lets repetitions pass in rooms whose fence came down in a batch that is stored.
func (a *Adapter) openFences(rooms []id.RoomID) {
	a.echoMu.Lock()
	defer a.echoMu.Unlock()
	for _, rid := range rooms {
		if passed := a.fences[rid]; passed != nil {
			select {
			case <-passed:
			default:
				close(passed)
			}
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
