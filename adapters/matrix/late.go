package matrix

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// What cannot be read for want of its room key is kept for holdFor, as it came. Its key is asked for once, and when a minute
// has not brought it, its sender hears of it once. When it comes after all, what she said is answered as if it had come then.
const (
	// askAfter is how long a late key may take before its sender is asked for it: it often comes one sync later.
	askAfter = 5 * time.Second
	// tellAfter is how long it may take before its sender is told.
	tellAfter = time.Minute
	// tellAgain is how long somebody is not told again in a room: what the bot cannot read may never have been for it.
	tellAgain = 24 * time.Hour

	// What strangers can make the bot do with ciphertext that nobody can read: so many keys are asked of one sender in
	// holdFor, and so many people of a room are told in an hour.
	maxAsked = 20
	maxTold  = 3
)

// Messages lists what the adapter says to people; each is a locale entry matrix.<snake_case type>.
func Messages() []any { return []any{GaveUp{}, Missed{}, NotFollowed{}, Unreadable{}} }

// Unreadable tells somebody that her message could not be read.
type Unreadable struct{}

// keyRequest is one that was sent.
type keyRequest struct {
	Session id.SessionID
	Sender  id.UserID
}

// id names the request, so that it can be taken back after a restart, too. A key is asked for once.
func (k keyRequest) id() string { return "starling." + k.Session.String() }

// askForKeys asks the senders of held events, and the bot's other devices, for keys that are late, and takes back what was asked
// for and has come. Each key is asked for once.
func (a *Adapter) askForKeys(ctx context.Context) {
	a.arrivedMu.Lock()
	settled := a.settled
	a.settled = nil
	a.arrivedMu.Unlock()
	for _, k := range settled {
		if err := a.takeBack(ctx, k); err != nil {
			// Whoever still has the request sends a key that is there: nothing is lost.
			a.log.Debug().Err(clean(err)).Msg("A request for a room key could not be taken back")
		}
	}
	late, err := a.store.heldUnasked(ctx, a.cfg.Now().Add(-askAfter))
	if err != nil {
		a.log.Warn().Err(clean(err)).Msg("Held messages could not be read")
		return
	}
	for _, evt := range late {
		if evt.Content.ParseRaw(event.EventEncrypted) != nil {
			continue
		}
		c := evt.Content.AsEncrypted()
		k := keyRequest{c.SessionID, evt.Sender}
		err := a.mach.SendRoomKeyRequest(ctx, evt.RoomID, c.SenderKey, c.SessionID, k.id(), map[id.UserID][]id.DeviceID{evt.Sender: {"*"}, a.me: {"*"}})
		if err == nil {
			err = a.store.markAsked(ctx, k)
		}
		if err != nil {
			a.log.Warn().Err(clean(err)).Msg("A late room key could not be asked for")
			return
		}
	}
}

func (a *Adapter) takeBack(ctx context.Context, k keyRequest) error {
	content := &event.Content{Parsed: &struct {
		Action event.KeyRequestAction `json:"action"`
		ID     string                 `json:"request_id"`
		Device id.DeviceID            `json:"requesting_device_id"`
	}{event.KeyRequestActionCancel, k.id(), a.cli.DeviceID}}
	_, err := a.cli.SendToDevice(ctx, event.ToDeviceRoomKeyRequest, &mautrix.ReqSendToDevice{
		Messages: map[id.UserID]map[id.DeviceID]*event.Content{k.Sender: {"*": content}, a.me: {"*": content}},
	})
	return err
}

// tellSenders tells whom the bot could not read, and of invitations that it could not take.
func (a *Adapter) tellSenders(ctx context.Context, in bot.Inbox) {
	if err := a.tellGivenUp(ctx, in); err != nil && ctx.Err() == nil {
		a.log.Warn().Err(clean(err)).Msg("Nobody could be told yet of a room that could not be joined; trying again soon")
	}
	now := a.cfg.Now()
	hourAgo := now.Add(-time.Hour)
	late, err := a.store.heldUntold(ctx, now.Add(-tellAfter), hourAgo)
	if err != nil {
		a.log.Warn().Err(clean(err)).Msg("Held messages could not be read")
		return
	}
	for _, evt := range late {
		told, err := a.store.toldSince(ctx, evt.RoomID, hourAgo)
		if err == nil && told >= maxTold {
			continue // she is told within the next hours
		}
		if err == nil {
			err = in.Deliver(ctx, a.unreadable(evt))
		}
		if err == nil {
			err = a.store.markTold(ctx, evt.RoomID, evt.Sender, now)
		}
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn().Err(clean(err)).Msg("Somebody could not be told that her message cannot be read; trying again soon")
			}
			return
		}
	}
}

func (a *Adapter) unreadable(evt *event.Event) bot.Incoming {
	out := bot.Incoming{
		Kind: bot.KindNotice, Room: evt.RoomID.String(), Person: evt.Sender.String(), ReplyTo: evt.ID.String(),
		Sent: time.UnixMilli(evt.Timestamp), Received: a.cfg.Now(),
		Notice: &bot.Notice{Message: Unreadable{}, Key: "unreadable " + evt.Sender.String(), Again: tellAgain},
	}
	if evt.Content.ParseRaw(event.EventEncrypted) == nil {
		out.Thread = evt.Content.AsEncrypted().RelatesTo.GetThreadParent().String()
	}
	return out
}

// release forgets an event that has been read, or never will be.
func (a *Adapter) release(ctx context.Context, eid id.EventID) error {
	var k keyRequest
	var asked bool
	err := a.store.own.QueryRow(ctx, `DELETE FROM matrix_held WHERE event_id = $1 RETURNING session_id, sender, asked`, eid).Scan(&k.Session, &k.Sender, &asked)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return err
	}
	a.arrivedMu.Lock()
	defer a.arrivedMu.Unlock()
	if asked && (len(a.settled) == 0 || a.settled[len(a.settled)-1] != k) {
		a.settled = append(a.settled, k)
	}
	return nil
}

// hold keeps an event that cannot be decrypted yet.
func (s *store) hold(ctx context.Context, evt *event.Event, session id.SessionID, now time.Time) error {
	data, err := json.Marshal(evt)
	if err != nil {
		return err
	}
	_, err = s.own.Exec(ctx, `
		INSERT INTO matrix_held (event_id, room_id, session_id, sender, event, held_at, asked)
		SELECT $1, $2, $3, $4, $5, $6, EXISTS (SELECT 1 FROM matrix_held WHERE session_id = $3 AND sender = $4 AND asked)
		WHERE (SELECT COUNT(*) FROM matrix_held WHERE room_id = $2) < $7
			AND (SELECT COUNT(*) FROM matrix_held WHERE room_id = $2 AND sender = $4) < $8
		ON CONFLICT (event_id) DO NOTHING
	`, evt.ID, evt.RoomID, session, evt.Sender, string(data), now.UnixMilli(), maxHeld, maxHeldOf)
	return err
}

// heldUnasked lists one event for each key that has been waited for since before the given time and that nobody has been asked for.
func (s *store) heldUnasked(ctx context.Context, before time.Time) ([]*event.Event, error) {
	rows, err := s.own.Query(ctx, `
		SELECT event FROM matrix_held h WHERE NOT asked AND held_at <= $1
			AND (SELECT COUNT(DISTINCT session_id) FROM matrix_held o WHERE o.sender = h.sender AND o.asked) < $2
		GROUP BY sender, session_id ORDER BY MIN(held_at) LIMIT 10`, before.UnixMilli(), maxAsked)
	return dbutil.NewRowIterWithError(rows, scanHeld, err).AsList()
}

func (s *store) markAsked(ctx context.Context, k keyRequest) error {
	_, err := s.own.Exec(ctx, `UPDATE matrix_held SET asked = true WHERE session_id = $1 AND sender = $2`, k.Session, k.Sender)
	return err
}

// heldUntold gives the latest event of each person in each room that has waited since before the given time, of whose messages
// there she has not been told. Rooms in which enough people have been told since hourAgo have to wait.
func (s *store) heldUntold(ctx context.Context, before, hourAgo time.Time) ([]*event.Event, error) {
	rows, err := s.own.Query(ctx, `
		SELECT h.event FROM matrix_held h JOIN (
			SELECT MAX(rowid) AS last, MIN(held_at) AS first FROM matrix_held WHERE told_at = 0 AND held_at <= $1
				AND room_id NOT IN (SELECT room_id FROM matrix_held WHERE told_at > $2 GROUP BY room_id HAVING COUNT(DISTINCT sender) >= $3)
			GROUP BY room_id, sender
		) w ON h.rowid = w.last ORDER BY w.first, w.last LIMIT 100`, before.UnixMilli(), hourAgo.UnixMilli(), maxTold)
	return dbutil.NewRowIterWithError(rows, scanHeld, err).AsList()
}

// toldSince is how many people of a room have been told since.
func (s *store) toldSince(ctx context.Context, rid id.RoomID, since time.Time) (n int, err error) {
	err = s.own.QueryRow(ctx, `SELECT COUNT(DISTINCT sender) FROM matrix_held WHERE room_id = $1 AND told_at > $2`, rid, since.UnixMilli()).Scan(&n)
	return
}

func (s *store) markTold(ctx context.Context, rid id.RoomID, sender id.UserID, now time.Time) error {
	_, err := s.own.Exec(ctx, `UPDATE matrix_held SET told_at = $3 WHERE room_id = $1 AND sender = $2 AND told_at = 0`, rid, sender, now.UnixMilli())
	return err
}
