package matrix

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/bot"
	"starling/locales"
)

func TestGapIsFilledBackToWhatIsKnown(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	in := newInbox()
	stop := acc.run(acc.open(), in)
	h.push(settled())
	h.push(inRoom(nil, []string{text(ana, "one", `"event_id":"$one"`)}))
	in.until(t, "one", textIs("one"))
	h.mu.Lock()
	h.messages["p1"] = `{"end":"p2","chunk":[` + text(ana, "four") + `,` + text(ana, "three") + `]}`
	h.messages["p2"] = `{"end":"p3","chunk":[` + text(ana, "two") + `,` + text(ana, "one", `"event_id":"$one"`) + `]}`
	h.messages["p3"] = `{"end":"p4","chunk":[` + text(ana, "long ago") + `]}`
	h.mu.Unlock()
	h.push(inRoom(nil, []string{text(ana, "five")}, `"limited":true`, `"prev_batch":"p1"`))
	in.until(t, "five", textIs("five"))
	stop()
	if got, want := in.texts(), []string{"one", "two", "three", "four", "five"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGapStopsAtADayAndAtTheOwnJoin(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	a := acc.open()
	defer a.Close()
	old := fmt.Sprintf(`"origin_server_ts":%d`, time.Now().Add(-25*time.Hour).UnixMilli())
	page := func(end string, chunk ...string) string {
		return fmt.Sprintf(`{"end":%q,"chunk":[%s]}`, end, strings.Join(chunk, ","))
	}
	h.messages["old"] = page("stale", text(ana, "fresh"), text(ana, "stale", old))
	h.messages["stale"] = page("more", text(ana, "staler", old))
	h.messages["more"] = page("", text(ana, "never asked for"))
	h.messages["join"] = page("more", text(ana, "fresh"),
		member(botID, "join", `"unsigned":{"prev_content":{"membership":"invite"}}`), text(ana, "before"))
	h.messages["forged"] = page("hidden", text(ana, "forged", old), text(ana, "in between"))
	h.messages["hidden"] = page("stale", text(ana, "fresh"))
	for from, want := range map[string][]string{"old": {"fresh"}, "join": {"fresh"}, "forged": {"fresh", "in between"}} {
		found, _, err := a.fillGap(t.Context(), gap{Room: roomID, From: from, Last: "$none", Since: time.Now()})
		var got []string
		for _, evt := range found {
			got = append(got, evt.Content.Raw["body"].(string))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("from %s: %q, %v; want %q", from, got, err, want)
		}
	}
}

func messages(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/messages") }

// Nobody waits for a room whose past cannot be had just now, and what was said there is handed over when it can, once.
func TestGapThatCannotBeFilledIsLeftForLater(t *testing.T) {
	t.Run("a proxy without a server", func(t *testing.T) { filledLater(t, 502, `<html>`) })
	t.Run("a proxy that finds nothing", func(t *testing.T) { filledLater(t, 404, `<html>`) })
	t.Run("an answer without events", func(t *testing.T) { filledLater(t, 200, `{}`) })
}

func filledLater(t *testing.T, code int, body string) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	move := movable(acc)
	in := newInbox()
	stop := acc.run(acc.open(), in)
	h.push(settled())
	h.push(inRoom(nil, []string{text(ana, "one", `"event_id":"$one"`)}))
	in.until(t, "one", textIs("one"))
	h.fail(code, body, messages)
	other := strings.Replace(settled(), roomID, "!other:example.org", 1)
	h.push(other)
	const gap = `"limited":true,"prev_batch":"p1"`
	h.push(strings.Replace(inRoom(nil, []string{text(ana, "three", `"event_id":"$three"`)}, gap), `"join":{`,
		`"join":{"!other:example.org":{"timeline":{"events":[`+text(ana, "elsewhere")+`],`+gap+`}},`, 1))
	in.until(t, "three", textIs("three"))
	in.until(t, "elsewhere", textIs("elsewhere"))
	h.push(inRoom(nil, []string{text(ana, "five")}, `"limited":true`, `"prev_batch":"p2"`))
	in.until(t, "five", textIs("five"))
	h.handed("s5")
	stop()

	a := acc.open() // not run: what it does by itself is done here
	defer a.Close()
	h.mu.Lock()
	h.refuse = nil
	h.messages["p1"] = `{"chunk":[` + text(ana, "two elsewhere") + `]}`
	h.messages["p2"] = `{"chunk":[` + text(ana, "four") + `,` + text(ana, "three", `"event_id":"$three"`) + `,` + text(ana, "two") + `,` +
		text(ana, "one", `"event_id":"$one"`) + `]}`
	h.mu.Unlock()
	move(maxPause * 2)
	in.failsOnce() // the engine cannot store the first of them
	in.mu.Lock()
	in.got = nil
	in.mu.Unlock()
	for range 3 {
		a.doGaps(t.Context(), in)
	}
	got := in.texts()
	slices.Sort(got) // the rooms in any order
	if want := []string{"four", "three", "two", "two elsewhere"}; !slices.Equal(got, want) {
		t.Errorf("handed over late: %q, want %q", got, want)
	}
	if n := len(notices(in)); n != 0 {
		t.Errorf("%d rooms are told that something is missing", n)
	}
	if open, err := a.store.openGaps(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("still open: %+v, %v", open, err)
	}
	if got := token(t, a); got != "s5" {
		t.Errorf("the position is %q", got)
	}
	acc.checkLog()
}

// A room hears of what could not be read for a day, or never will.
func TestRoomHearsWhatIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		waits  bool
	}{
		{"broken", 500, `{}`, true},
		{"forbidden", 403, `{"errcode":"M_FORBIDDEN"}`, false},
		{"not known", 404, `{"errcode":"M_NOT_FOUND"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHomeserver(t)
			h.fail(tt.status, tt.body, messages)
			acc := newAccount(t, h)
			move := movable(acc)
			since := acc.cfg.Now()
			a, in := anHourAway(t, acc, move)
			if tt.waits {
				move(gapFor - time.Minute)
				a.doGaps(t.Context(), in)
				if got := notices(in); len(got) != 0 {
					t.Errorf("told within the day: %+v", got)
				}
				move(maxPause * 2)
			}
			for range 2 {
				a.doGaps(t.Context(), in)
			}
			heardMissing(t, in, since, since.Add(time.Hour))
			if open, err := a.store.openGaps(t.Context()); err != nil || len(open) != 0 {
				t.Errorf("still open: %+v, %v", open, err)
			}
			acc.checkLog()
		})
	}
}

// anHourAway is a bot, not running, that was away from the room for an hour, of which the homeserver has sent only the end; "p1" leads
// back into the rest.
func anHourAway(t *testing.T, acc *account, move func(time.Duration)) (*Adapter, *inbox) {
	t.Helper()
	in := newInbox()
	stop := acc.run(acc.open(), in)
	acc.h.push(settled())
	acc.h.handed("s1")
	stop()
	move(time.Hour)
	stop = acc.run(acc.open(), in)
	acc.h.push(inRoom(nil, []string{text(ana, "now")}, `"limited":true`, `"prev_batch":"p1"`))
	in.until(t, "now", textIs("now"))
	acc.h.handed("s2")
	stop()
	a := acc.open()
	t.Cleanup(func() { a.Close() })
	return a, in
}

// heardMissing checks that the room, and nobody else, was told once that what was said between two times was not read.
func heardMissing(t *testing.T, in *inbox, from, until time.Time) {
	t.Helper()
	got := notices(in)
	if len(got) != 1 || got[0].Room != roomID || got[0].Notice.Operators {
		t.Fatalf("told %+v, want one notice in the room", got)
	}
	missed := got[0].Notice.Message.(Missed)
	near := func(got locales.Time, want time.Time) bool { return got.At.Sub(want).Abs() < time.Minute }
	if !near(missed.From, from) || !near(missed.Until, until) {
		t.Errorf("told %+v, want from %v to %v", missed, from, until)
	}
}

// Of a gap that is too long the newest is read, whether at once or later, and the room hears until when it was not.
func TestRoomHearsWhereALongGapWasCut(t *testing.T) {
	for _, later := range []bool{false, true} {
		h := newHomeserver(t)
		acc := newAccount(t, h)
		move := movable(acc)
		since := acc.cfg.Now()
		at := func(page int) time.Time { return since.Add(time.Hour - time.Duration(page)*30*time.Second) }
		for n := 1; n <= gapPages+10; n++ {
			h.messages[fmt.Sprintf("p%d", n)] = fmt.Sprintf(`{"end":"p%d","chunk":[%s]}`, n+1,
				text(ana, "missed", fmt.Sprintf(`"origin_server_ts":%d`, at(n).UnixMilli())))
		}
		if later {
			h.fail(502, `<html>`, messages)
		}
		a, in := anHourAway(t, acc, move)
		if later {
			h.mended()
			move(maxPause * 2)
			a.doGaps(t.Context(), in)
		}
		if got := len(in.texts()); got != gapPages+1 {
			t.Errorf("later %v: %d texts, want %d and that which came by itself", later, got, gapPages)
		}
		heardMissing(t, in, since, at(gapPages))
		acc.checkLog()
	}
}

// What stands in a gap has come down when that is filled, not when the fence behind it has.
func TestNothingIsRepeatedBeforeTheGapIsFilled(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	move := movable(acc)
	a, in := acc.open(), newInbox()
	h.push(settled())
	acc.run(a, in)
	in.until(t, "the room", func(in bot.Incoming) bool { return in.Kind == bot.KindRoom })
	h.fail(502, `<html>`, messages)
	h.push(inRoom(nil, []string{text(ana, "x")}, `"limited":true`, `"prev_batch":"p1"`))
	in.until(t, "x", textIs("x"))
	done := make(chan string, 1)
	go func() {
		id, err := a.Send(t.Context(), bot.Outgoing{ID: "x-1", Room: roomID, Kind: bot.OutMessage, Text: "alert", Again: true})
		done <- fmt.Sprint(id, err)
	}()
	h.until("the fence", func() bool { return h.called("/send/"+fenceType.Type+"/") != nil })
	h.mu.Lock()
	fence := h.called("/send/").Body
	h.mu.Unlock()
	h.push(inRoom(nil, []string{ev(fenceType.Type, botID, fence), text(ana, "behind")}))
	in.until(t, "behind", textIs("behind"))
	h.handed("s3")
	h.mu.Lock()
	h.refuse = nil
	h.messages["p1"] = `{"chunk":[` + text(botID, "alert", `"event_id":"$before"`, `"unsigned":{"transaction_id":"`+transaction("x-1")+`"}`) + `]}`
	h.mu.Unlock()
	move(maxPause * 2)
	a.doGaps(t.Context(), in)
	if got := <-done; got != "$before<nil>" {
		t.Errorf("the repetition gave %s, want the event that was there", got)
	}
}
