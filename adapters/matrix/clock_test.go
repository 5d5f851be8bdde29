package matrix

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/id"
)

// waiting gives an account with a message that cannot be read yet, a room that cannot be joined and a gap that cannot be filled.
func waiting(t *testing.T) (acc *account, move func(time.Duration)) {
	h := newHomeserver(t)
	acc = newAccount(t, h)
	move = movable(acc)
	h.fail(500, `{}`, func(r *http.Request) bool { return messages(r) || strings.Contains(r.URL.Path, "/join/") })
	in := newInbox()
	stop := acc.run(acc.open(), in)
	h.push(settled(encryption()))
	h.push(`{"rooms":{"invite":{"!next:example.org":{"invite_state":{"events":[` +
		ev("m.room.member", ana, `{"membership":"invite"}`, `"state_key":"`+botID+`"`) + `]}}}}}`)
	h.push(inRoom(nil, []string{newSpeaker(t).says("x")}, `"limited":true`, `"prev_batch":"p1"`))
	h.handed("s3")
	stop()
	return acc, move
}

// remains counts what still waits.
func remains(t *testing.T, a *Adapter) (messages, rooms, gaps int) {
	t.Helper()
	errands, err := a.store.errands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	open, err := a.store.openGaps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return held(t, a), len(errands), len(open)
}

// A clock that leaps forward takes nothing away at once, also where the bot is started by it: there is an hour to set it right.
func TestAClockThatLeapsLosesNothingAtOnce(t *testing.T) {
	for name, restart := range map[string]bool{"while the bot runs": false, "before its start": true} {
		t.Run(name, func(t *testing.T) {
			acc, move := waiting(t)
			in := newInbox()
			a := acc.open()
			work := func() {
				a.doErrands(t.Context())
				a.doGaps(t.Context(), in)
				if err := a.forget(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if work(); restart {
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
			}
			move(365 * 24 * time.Hour)
			if restart {
				a = acc.open()
			}
			defer func() { a.Close() }()
			work()
			if err := a.commit(t.Context(), newBatch(), "s4"); err != nil { // what is believed is what is kept
				t.Fatal(err)
			}
			move(leapGrace - time.Minute)
			work()
			if m, r, g := remains(t, a); m != 1 || r != 1 || g != 1 {
				t.Errorf("within the hour %d messages, %d rooms and %d gaps are left, want one of each", m, r, g)
			}
			if seen, err := a.store.seenAt(t.Context()); err != nil || time.Until(seen) > time.Hour {
				t.Errorf("last there: %v, %v", seen, err)
			}
			move(2 * maxPause)
			work()
			if m, r, g := remains(t, a); m != 0 || r != 0 || g != 0 {
				t.Errorf("after it %d messages, %d rooms and %d gaps are left", m, r, g)
			}
		})
	}
}

// What a clock that was ahead has put into the future is due when it has been set back, also where it was for less than a day.
func TestAClockThatIsSetBackHoldsUpNothing(t *testing.T) {
	for _, ahead := range []time.Duration{10 * time.Hour, 365 * 24 * time.Hour} {
		for name, restart := range map[string]bool{"while the bot runs": false, "before its start": true} {
			t.Run(ahead.String()+" "+name, func(t *testing.T) {
				acc, move := waiting(t)
				a := acc.open()
				defer func() { a.Close() }()
				if _, err := a.store.own.Exec(t.Context(), `DELETE FROM matrix_held`); err != nil {
					t.Fatal(err)
				}
				move(ahead)
				b := newBatch()
				evt := asMessage(parse(t, newSpeaker(t).says("y")))
				if err := evt.Content.ParseRaw(evt.Type); err != nil {
					t.Fatal(err)
				}
				b.held = append(b.held, evt)
				b.want(a, id.RoomID("!third:example.org"), wantJoin, "")
				if err := a.commit(t.Context(), b, "s4"); err != nil {
					t.Fatal(err)
				}
				a.doErrands(t.Context())
				a.doGaps(t.Context(), newInbox())
				if restart {
					if err := a.Close(); err != nil {
						t.Fatal(err)
					}
				}
				move(-ahead)
				if restart {
					a = acc.open()
				}
				a.notAhead(t.Context())
				now := acc.cfg.Now()
				errands, err := a.store.errands(t.Context())
				if err != nil || len(errands) != 2 {
					t.Fatalf("%+v, %v", errands, err)
				}
				for _, e := range errands {
					if e.NextTry.After(now) || e.WantedAt.After(now) {
						t.Errorf("a room waits until %v, since %v; it is %v", e.NextTry, e.WantedAt, now)
					}
				}
				gaps, err := a.store.openGaps(t.Context())
				if err != nil || len(gaps) != 1 || gaps[0].NextTry.After(now) {
					t.Errorf("gaps %+v, %v; it is %v", gaps, err, now)
				}
				var at int64
				if err := a.store.own.QueryRow(t.Context(), `SELECT MAX(held_at) FROM matrix_held`).Scan(&at); err != nil || time.UnixMilli(at).After(now) {
					t.Errorf("held since %v, %v; it is %v", time.UnixMilli(at), err, now)
				}
			})
		}
	}
}
