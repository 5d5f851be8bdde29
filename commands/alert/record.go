package alert

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"starling/bot"
	"starling/locales"
	"starling/locales/markup"
)

// CAP 1.2, 3.2.1 msgType and 3.2.2 urgency.
const (
	typeAlert  = "Alert"
	typeCancel = "Cancel"

	immediate = "Immediate"
	expected  = "Expected"
	future    = "Future"
)

// States of a record of this kind.
const (
	stateDraft   = "draft"   // waits for a confirmation
	stateSent    = "sent"    // an alert on its way or arrived
	stateOver    = "over"    // an alert that was cleared
	stateClear   = "clear"   // a confirmed all-clear
	stateDropped = "dropped" // withdrawn or not confirmed in time; without its words
)

// keep is how long an alert is kept once it is no longer current.
const keep = 30 * 24 * time.Hour

// body is what an alert says, in the terms of CAP 1.2. A Cancel is a record of its own that names its alert.
type body struct {
	MsgType     string    `json:"msgType"`
	Urgency     string    `json:"urgency,omitempty"`
	Description string    `json:"description,omitempty"` // as typed
	Language    string    `json:"language,omitempty"`    // of the words that raised it; "" when not sure
	Zone        string    `json:"zone,omitempty"`        // of that room
	Sent        time.Time `json:"sent,omitzero"`
	Expires     time.Time `json:"expires,omitzero"` // until when it is current
	References  string    `json:"references,omitempty"`
	State       string    `json:"state"`
	Cleared     time.Time `json:"cleared,omitzero"`
}

func index(raw json.RawMessage) (string, time.Time) {
	var b body
	if json.Unmarshal(raw, &b) != nil {
		return stateDropped, time.Time{}
	}
	return b.State, b.Expires
}

func read(r *bot.Record) (body, error) {
	var b body
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return b, fmt.Errorf("alert %s: %w", r.ID, err)
	}
	return b, nil
}

// load gives a record and its body; nil when it is gone.
func load(t *bot.Turn, id string) (*bot.Record, body, error) {
	r, err := t.Record(id)
	if err != nil || r == nil {
		return nil, body{}, err
	}
	b, err := read(r)
	return r, b, err
}

// urgencies in the order in which they are offered.
var urgencies = []string{immediate, expected, future}

func urgencyTerm(u string) locales.Term { return locales.Term("alert.urgency." + strings.ToLower(u)) }

// urgencyWords is the entry with the words that people use for it.
func urgencyWords(u string) string { return "choice.alert_" + strings.ToLower(u) }

// mark is the one emoji of an alert.
func mark(urgency string) locales.Safe {
	switch urgency {
	case immediate:
		return "🔴"
	case expected:
		return "🟠"
	}
	return "🟡"
}

// current is how long an alert stays in the list when nobody clears it.
func current(urgency string) time.Duration {
	switch urgency {
	case immediate:
		return 24 * time.Hour
	case expected:
		return 48 * time.Hour
	}
	return 7 * 24 * time.Hour
}

// maxLines is how many lines of typed text are shown as lines; the rest stands on the last.
const maxLines = 12

// quote sets what was typed off line by line, so that no line of it can pass for one of ours.
func quote(text string) []any {
	var lines []string
	for line := range strings.Lines(markup.Clean(text)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) > maxLines {
		lines = append(lines[:maxLines-1], strings.Join(lines[maxLines-1:], " / "))
	}
	quoted := make([]any, len(lines))
	for i, line := range lines {
		quoted[i] = Quote{Text: line}
	}
	return quoted
}

// short is one line of what was typed, for lists.
func short(text string) string {
	return markup.Truncate(strings.Join(strings.Fields(text), " "), 60)
}

// zoneOf names a room's zone; a room that set none is read in UTC.
func zoneOf(r *bot.Room) string {
	if r.Zone == "" {
		return "UTC"
	}
	return r.Zone
}

// times says when something was, at the origin and, where clocks differ, for who reads it.
func times(at time.Time, origin string, reader *bot.Room) Moment {
	m := Moment{There: locales.Clock{At: at, Zone: origin}}
	there, err := time.LoadLocation(origin)
	if err != nil {
		there = time.UTC
	}
	_, a := at.In(there).Zone()
	_, b := at.In(reader.Location()).Zone()
	if a != b {
		m.Here = locales.Clock{At: at}
	}
	return m
}
