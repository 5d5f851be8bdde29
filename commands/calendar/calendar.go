// Package calendar keeps what is going to happen: events with a date that was read back in full and confirmed, shown in
// each room's own time zone. Terms are those of iCalendar (RFC 5545): SUMMARY, DTSTART, DTEND, STATUS.
package calendar

import (
	"encoding/json"
	"fmt"
	"time"

	"starling/bot"
	"starling/locales"
)

// Kind is the records' kind.
const Kind = "event"

// STATUS of an event, RFC 5545 section 3.8.1.11.
const (
	confirmed = "CONFIRMED"
	cancelled = "CANCELLED"
)

// keep is how long an event is kept after its end.
const keep = 30 * 24 * time.Hour

// maxSummary is how long a summary may be, in characters.
const maxSummary = 200

// event is the body of a record.
type event struct {
	Summary string    `json:"summary"`
	Start   time.Time `json:"dtstart"`        // of a whole day: its first instant in Zone
	End     time.Time `json:"dtend,omitzero"` // first instant after a whole day; zero where nobody said when it ends
	Day     string    `json:"day,omitempty"`  // DTSTART;VALUE=DATE of a whole day: 2026-11-27
	Zone    string    `json:"tzid"`
	Status  string    `json:"status"`
}

// over is when it is past: the end, else an hour after the start.
func (e event) over() time.Time {
	if !e.End.IsZero() {
		return e.End
	}
	return e.Start.Add(time.Hour)
}

// say is its time as a reader in any zone sees it; a whole day is the same day everywhere.
func (e event) say() any {
	if d, err := time.Parse(time.DateOnly, e.Day); err == nil {
		return WholeDay{Day: locales.DayOf(d.Year(), d.Month(), d.Day())}
	}
	return Moment{At: locales.Time{At: e.Start}}
}

func index(body json.RawMessage) (string, time.Time) {
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		return "", time.Time{}
	}
	return e.Status, e.Start
}

func body(r *bot.Record) (e event, err error) {
	if err = json.Unmarshal(r.Body, &e); err != nil {
		err = fmt.Errorf("event %s: %w", r.ID, err)
	}
	return e, err
}

// Capability is /calendar.
func Capability() bot.Capability {
	code := []bot.Param{{Name: "code", Type: bot.ParamCode, Kinds: []string{Kind}}}
	return bot.Capability{
		Name: "calendar",
		Commands: []bot.Command{{
			Name: "calendar", Where: bot.InRoom, Do: list,
			Sub: []bot.Command{
				{Name: "add", Where: bot.InRoom, Do: add, Params: []bot.Param{{Name: "event", Type: bot.ParamText}}},
				{Name: "show", Where: bot.InRoom, Do: show, Params: code},
				{Name: "cancel", Where: bot.InRoom, Do: cancel, Params: code},
			},
		}},
		Messages:  messages,
		Kinds:     []bot.RecordKind{{Name: Kind, Letter: "E", Index: index}},
		Dialogues: []bot.Dialogue{addDialogue, cancelDialogue},
	}
}
