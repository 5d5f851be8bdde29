package rig

import (
	"testing"
	"time"

	"starling/bot"
)

func TestDescribe(t *testing.T) {
	file := &bot.FileOut{Name: "plan.png", Type: "image/png", Description: "the \"plan\"", Data: make([]byte, 3600)}
	for _, c := range []struct {
		out   bot.Outgoing
		marks []string
		want  string
	}{
		{bot.Outgoing{Kind: bot.OutMessage, Text: "one\ntwo"}, nil, "starling: one\n  two"},
		{bot.Outgoing{Kind: bot.OutMessage, Text: "one"}, []string{"rings", "thread A-2M8X"}, "starling (rings, thread A-2M8X): one"},
		{bot.Outgoing{Kind: bot.OutEdit, Text: "- a\n- b"}, nil, "starling edits: - a\n  - b"},
		{bot.Outgoing{Kind: bot.OutReaction, Text: "✅"}, nil, "starling reacts ✅"},
		{bot.Outgoing{Kind: bot.OutDelete}, nil, "starling deletes"},
		{bot.Outgoing{Kind: bot.OutLeave}, nil, "starling leaves"},
		{bot.Outgoing{Kind: bot.OutFile, File: file}, nil, `starling sends plan.png (image/png, 4 kB, "the \"plan\"")`},
	} {
		if got := describe(Event{Outgoing: c.out}, c.marks); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestEventsOfOneInstantComeInTheOrderOfTheirRows(t *testing.T) {
	now := time.Unix(0, 0)
	all := []Event{
		{Outgoing: bot.Outgoing{ID: "x-10"}, At: now},
		{Outgoing: bot.Outgoing{ID: "x-2"}, At: now.Add(time.Second)},
		{Outgoing: bot.Outgoing{ID: "x-9"}, At: now},
	}
	sortEvents(all)
	if all[0].ID != "x-9" || all[1].ID != "x-10" || all[2].ID != "x-2" {
		t.Errorf("%v", all)
	}
}

func TestDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0,
		"": -1, "d": -1, "-1h": -1, "-1d": -1, "1d-1h": -1, "week": -1, "1x": -1, "1.5d": -1,
	} {
		got, err := Duration(s)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("Duration(%q) = %v, %v", s, got, err)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int]string{0: "0 B", 999: "999 B", 1000: "1 kB", 3600: "4 kB", 2_500_000: "2.5 MB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestTheClockCallsInOrder(t *testing.T) {
	start := time.Unix(0, 0)
	c := NewClock(start)
	called := make(chan string, 4)
	c.AfterFunc(2*time.Second, func() { called <- "second" })
	c.AfterFunc(time.Second, func() { called <- "first" })
	stop := c.AfterFunc(time.Second, func() { called <- "never" })
	stop()
	c.AfterFunc(0, func() { called <- "at once" })
	if got := <-called; got != "at once" {
		t.Errorf("called %s", got)
	}
	for _, want := range []string{"first", "second"} {
		if !c.step(start.Add(time.Minute)) {
			t.Fatal("nothing was due")
		}
		if got := <-called; got != want {
			t.Errorf("called %s, want %s", got, want)
		}
	}
	if c.step(start.Add(time.Minute)) || !c.Now().Equal(start.Add(time.Minute)) {
		t.Errorf("the clock stands at %v", c.Now())
	}
}
