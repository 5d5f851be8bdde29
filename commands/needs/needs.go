// Package needs asks what is needed before anybody offers help, and keeps the answer. A guided dialogue, or one line that
// says it all, ends in a record that the room, and the other rooms of its chapter, can list, show and close.
//
// What is typed freely is read as far as it is sure (category, for how many, by when, where) and shown before it counts.
// How urgent something is, only people say.
package needs

import (
	"encoding/json"
	"fmt"
	"time"

	"starling/bot"
)

// Kind is the records' kind.
const Kind = "need"

// keep is how long a need is kept after it is due, or closed.
const keep = 30 * 24 * time.Hour

// States of a need.
const (
	open   = "open"
	closed = "closed"
)

// Outcomes with which a need is closed.
const (
	met       = "met"
	partly    = "partly"
	withdrawn = "withdrawn"
)

// other is the category of what none of the words tells.
const other = "other"

// categories in the order in which they are offered; other is the last.
var categories = []string{"food", "shelter", "health", "legal", "money", "digital", other}

// urgencies are 1 (life or safety) to urgencies (when possible).
const urgencies = 4

// Limits, in characters.
const (
	maxText  = 500
	maxMany  = 80
	maxPlace = 120
	maxName  = 60
)

// need is the body of a record.
type need struct {
	Category string    `json:"category"`
	Text     string    `json:"text,omitempty"`
	Many     string    `json:"many,omitempty"`  // for how many, as it was answered; "" when the text says it, or nobody knows
	Count    int       `json:"count,omitempty"` // the number in it, or in the text
	Unit     string    `json:"unit,omitempty"`  // what is counted: people, families, households, children; "" for things
	Day      string    `json:"day,omitempty"`   // by when, a whole day: 2026-11-27
	Due      time.Time `json:"due,omitzero"`    // by when; the end of Day
	Place    string    `json:"place,omitempty"`
	Urgency  int       `json:"urgency"`
	Contact  string    `json:"contact,omitempty"` // whom to answer; "": in the room, without names
	Outcome  string    `json:"outcome,omitempty"` // once closed
	Closed   time.Time `json:"closed,omitzero"`
}

func (n need) state() string {
	if n.Outcome == "" {
		return open
	}
	return closed
}

// expires is when its words are erased.
func (n need) expires(now time.Time) time.Time {
	if n.Outcome == "" && n.Due.After(now) {
		now = n.Due
	}
	return now.Add(keep)
}

func index(body json.RawMessage) (string, time.Time) {
	var n need
	if err := json.Unmarshal(body, &n); err != nil {
		return "", time.Time{}
	}
	return n.state(), n.Due
}

func body(r *bot.Record) (n need, err error) {
	if err = json.Unmarshal(r.Body, &n); err != nil {
		err = fmt.Errorf("need %s: %w", r.ID, err)
	}
	return n, err
}

// Capability is /needs.
func Capability() bot.Capability {
	code := bot.Param{Name: "code", Type: bot.ParamCode, Kinds: []string{Kind}}
	return bot.Capability{
		Name: "needs",
		Commands: []bot.Command{{
			Name: "needs", Where: bot.InRoom, Do: raise,
			Params: []bot.Param{{Name: "need", Type: bot.ParamText, Optional: true}},
			Sub: []bot.Command{
				{Name: "list", Where: bot.InRoom, Do: list, Params: []bot.Param{{Name: "page", Type: bot.ParamNumber, Optional: true}}},
				{Name: "show", Where: bot.InRoom, Do: show, Params: []bot.Param{code}},
				{Name: "close", Where: bot.InRoom, Effect: bot.Changes, Do: closeNeed, Params: []bot.Param{code,
					{Name: "outcome", Type: bot.ParamChoice, Optional: true, Choices: []string{met, partly, withdrawn}}}},
			},
		}},
		Messages:  messages,
		Kinds:     []bot.RecordKind{{Name: Kind, Letter: "N", Index: index}},
		Dialogues: []bot.Dialogue{dialogue},
	}
}
