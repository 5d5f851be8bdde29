package bot_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

func TestOperatorsSeeHowTheBotIs(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	h.start()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.engine.ServeStatus(ctx); err != nil {
		t.Fatal(err)
	}
	h.room("!room", "ana")
	h.tap.calls(func(_ context.Context, out bot.Outgoing) error {
		if strings.Contains(out.Text, "never") {
			return &bot.SendError{Err: errors.New("refused"), Permanent: true}
		}
		if strings.Contains(out.Text, "closed") {
			return &bot.SendError{Err: errors.New("too fast"), Account: true, After: time.Hour}
		}
		return nil
	}, nil)
	h.post("!room", "hello")
	h.post("!room", "never")
	h.settle()
	h.post("!room", "closed", bot.Rings())
	h.settle()
	h.post("!room", "later", bot.NotBefore(start.Add(time.Hour)))
	h.post("!room", "secret words")
	h.advance(2 * time.Minute)

	got, err := bot.AskHealth(ctx, h.dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"alert": 1, "answer": 1, "reminder": 0, "decoration": 0}
	for _, w := range got.Waiting {
		if w.Rows != want[w.Priority] {
			t.Errorf("%s: %d wait, want %d", w.Priority, w.Rows, want[w.Priority])
		}
		if w.Rows > 0 && got.Now.Sub(w.Oldest) < 2*time.Minute {
			t.Errorf("%s: the oldest waits since %v at %v", w.Priority, w.Oldest, got.Now)
		}
	}
	if len(got.Networks) != 1 {
		t.Fatalf("networks %+v", got.Networks)
	}
	n := got.Networks[0]
	if n.Sent != 1 || n.Failed != 2 || got.SetAside != 1 || got.Rooms != 1 || got.Started.IsZero() || n.Closed.Before(got.Now) {
		t.Errorf("%+v, set aside %d, rooms %d", n, got.SetAside, got.Rooms)
	}
	var codes []string
	for _, trouble := range got.Troubles() {
		codes = append(codes, trouble.Code)
	}
	slices.Sort(codes)
	if want := []string{"alerts-late", n.Name + "-closed"}; !slices.Equal(codes, want) {
		t.Errorf("troubles %v, want %v", codes, want)
	}
	all, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hello", "secret", "!room", "ana"} {
		if strings.Contains(string(all), secret) {
			t.Errorf("%q stands in %s", secret, all)
		}
	}
}

func TestWhatANetworkSaysOfItselfIsTrouble(t *testing.T) {
	for _, tt := range []struct {
		report bot.Report
		code   string
	}{
		{bot.Report{Connected: true}, ""},
		{bot.Report{}, "matrix-trouble"},
		{bot.Report{Connected: true, Trouble: "log in again"}, "matrix-trouble"},
	} {
		h := bot.Health{Networks: []bot.Network{{Name: "matrix", Report: &tt.report}}}
		code := ""
		for _, trouble := range h.Troubles() {
			code += trouble.Code
		}
		if code != tt.code {
			t.Errorf("%+v gives %q, want %q", tt.report, code, tt.code)
		}
	}
}
