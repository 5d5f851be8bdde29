package bot

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"go.mau.fi/util/dbutil"
)

// Capability is one thing that the bot can do: its commands, and what else of it the engine calls. It is a value;
// main.go lists them.
type Capability struct {
	Name     string
	Commands []Command
	// Messages are the structs that it says; the key of each is <package>.<snake_case type>.
	Messages []any
	// Kinds are the records that it keeps.
	Kinds     []RecordKind
	Dialogues []Dialogue
	// Topics handle answers (reactions, replies) to messages posted under a topic, and results of jobs.
	Topics map[string]func(*Turn, string, Answer) error
	// Timers handle scheduled rows that are due.
	Timers map[string]func(*Turn, string) error
	// Bare is asked about short texts that people say to no one in particular in a room. It gives the topic that such a text
	// answers where the whole room was asked something, else "". It must keep nothing; nil: it is never asked.
	Bare func(tx *Tx, room *Room, text string) (topic string)
	// Joined is called when the bot has just come into a room on an invitation, Left when it is no longer in one.
	Joined, Left func(*Turn) error
	// Upgrades is the list of the package's own tables, by version; its version table is named after the capability.
	Upgrades dbutil.UpgradeTable
	// Tables says of each own table how it is forgotten, expired, exported and rebuilt.
	Tables []Table
}

// Table is what every table with a person or a free text in it must be able to do. A hook that does not apply is Nothing,
// never nil: a test reads the schema and demands each.
type Table struct {
	Name string
	// Forget erases what this person left in it.
	Forget func(ctx context.Context, tx *Tx, person PersonID) error
	// Expire erases what is past its time.
	Expire func(ctx context.Context, tx *Tx, now time.Time) error
	// Export writes what it holds of a chapter as JSON lines.
	Export func(ctx context.Context, tx *Tx, chapter string, w io.Writer) error
	// Rebuild makes it anew from the records; Nothing where it is not computed from them.
	Rebuild func(ctx context.Context, tx *Tx) error
}

// Who may call a command.
type Who int

const (
	Anyone     Who = iota // who is in the room
	Moderators            // of the room that it is about
)

// Where a command may be called.
type Where int

const (
	Anywhere Where = iota // in a room, or in a direct chat, about nothing in particular
	InRoom                // about a room: in it, or in a direct chat by somebody of that room (asked which, if several)
)

// Command is one row of the table of commands: help, native names, completion, permissions, "did you mean" and the
// generated documentation all read it. Its words are the locale entries command.<path>, its one-line help help.<path>,
// an example that works example.<path>, its parameters' names param.<name>.
type Command struct {
	Name  string
	Who   Who
	Where Where
	// Chapter says that the room must belong to one.
	Chapter bool
	// Effect is how far it reaches what Do does at once, see Turn.May.
	Effect Effect
	Params []Param
	Sub    []Command
	// Do runs it; nil where only its sub-commands do something.
	Do func(*Turn, Args) error
	// Hidden keeps it out of the short help (it is still in its parent's).
	Hidden bool
}

// ParamType says how a parameter is read.
type ParamType int

const (
	ParamText     ParamType = iota // all the rest, as typed (cleaned, at most MaxText)
	ParamWord                      // one word
	ParamNumber                    // a whole number, in any digits
	ParamChoice                    // one of Choices, by its locale words (choice.<value>) in any language
	ParamCode                      // a short code: a record, of one of Kinds, that this room may see
	ParamLanguage                  // one of the shipped languages
	ParamZone                      // IANA name or a city
	ParamPerson                    // a mention, or the name of a member of the room
	ParamChapter                   // a chapter by name (listed, own, followed or following) or its id's first four characters
	ParamCommand                   // a command, by any of its words
)

// Param is one parameter, in the order in which it is typed.
type Param struct {
	Name     string
	Type     ParamType
	Optional bool
	Choices  []string // for Choice: the values; their words are the locale entries choice.<value>, several split by |
	Kinds    []string // for Code: the record kinds; empty = any
}

// Args are a command's parameters as read. Absent optional ones are zero.
type Args struct {
	Raw  string // everything after the command's words, cleaned
	vals map[string]any
}

// Has is whether an optional parameter was given.
func (a Args) Has(name string) bool { _, ok := a.vals[name]; return ok }

// Text gives a Text, Word, Choice, Language, Zone or CommandName parameter.
func (a Args) Text(name string) string { s, _ := a.vals[name].(string); return s }

// Number gives a Number parameter.
func (a Args) Number(name string) int { n, _ := a.vals[name].(int); return n }

// Record gives a Code parameter.
func (a Args) Record(name string) *Record { r, _ := a.vals[name].(*Record); return r }

// Person gives a Person parameter.
func (a Args) Person(name string) *Person { p, _ := a.vals[name].(*Person); return p }

// Chapter gives a ChapterName parameter.
func (a Args) Chapter(name string) *Chapter { c, _ := a.vals[name].(*Chapter); return c }

// Answer is what somebody said to something that the bot posted: typed, or a reaction.
type Answer struct {
	Text  string // as typed, cleaned; "" for a reaction
	Emoji string // canonical reaction, see markup.Reaction
	On    bool   // a reaction was put on; false: taken off
	Yes   bool   // ✅ or a word for yes, in any language
	No    bool   // ❌ or a word for no
	Typed bool   // not a reaction
	Row   RowID  // the posted message
	Job   *JobResult
}

// Step is one question of a dialogue.
type Step struct {
	Field string
	// Before says what was understood so far; nil where nothing is to be said. Ask is the question itself, one line that is
	// shown in bold. Hint is an example of an answer, or nil. All are registered messages; the engine adds progress, the
	// choices and what can be typed.
	Before, Ask, Hint any
	Choices           []Option
	// Optional steps can be skipped.
	Optional bool
	// Parse reads an answer that is none of the choices and gives the value kept. nil: only choices count when there are
	// any, else the text itself. It may also fill other fields of the draft that Steps was given. An error made by Refuse is
	// said and the question stays open; with ErrUnsettled it is asked again, as Steps then has it.
	Parse func(t *Turn, text string) (string, error)
	// Then is called with the answer: for what counts at once, such as the language of the questions that follow. nil: nothing does.
	Then func(t *Turn, value string) error
}

// ErrUnsettled is what a Step's Parse returns when the answer leaves something to be asked, such as which of two days.
var ErrUnsettled = errors.New("the answer leaves something open")

// Option is one choice of a question.
type Option struct {
	Value string
	Label any // a registered message, or locales.Safe; what people read. Its words count as answers too
	// Words is a locale entry with further words for it, split by |; "" if there are none.
	Words string
}

// Draft is a dialogue under way: the values given so far, by field.
type Draft map[string]string

// Dialogue is a guided conversation with one person: question by question, a review that shows the whole, a yes. It
// outlives restarts.
type Dialogue struct {
	Name string
	// Steps lists the questions in order; they may depend on what was answered so far. Same draft, same steps.
	Steps func(t *Turn, d Draft) []Step
	// Review shows the whole before it counts; nil: Done follows the last answer at once. The engine adds the buttons.
	Review func(t *Turn, d Draft) any
	Done   func(t *Turn, d Draft) error
	// Effect is how far it reaches what Done does; with a Review it is at least Changes.
	Effect Effect
	// MayConfirm, when set, is asked again when the review is confirmed.
	MayConfirm func(t *Turn, d Draft) error
}

// RecordKind says what the engine must know of one kind of record.
type RecordKind struct {
	Name   string // "need"
	Letter string // "N", first of its short codes
	// Index gives a body's state ("open", "closed", …) and the time by which lists sort it (zero = none).
	Index func(body json.RawMessage) (state string, due time.Time)
	// Settled is called when a message about a record was delivered in a room, or can never be; nil: nobody asks.
	Settled func(*Turn, *Record, Delivery) error
	// Withdrawn is called after a record was erased by its author, a moderator, or /forget: to tell rooms that got it.
	Withdrawn func(*Turn, *Record) error
}
