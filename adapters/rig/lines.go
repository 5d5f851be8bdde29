package rig

import (
	"io"
	"strings"
)

// Line is one line of a conversation with those that continue it, for players on other networks than the rig's.
type Line struct {
	No   int
	Raw  []string // as it stands
	Acts []Act    // none for comments and blank lines
}

// Act is one thing that a line makes happen.
type Act struct {
	Directive string // "room"; "" for what a person does
	Words     []string
	Options   map[string]string

	Room            string // "lille"; of a direct chat the person
	Direct          bool
	Person          string
	Moderator       bool   // she becomes one before she does it
	Verb            string // says, replies, reacts, unreacts, edits, deletes, attaches
	Code            string // what it is done to; "" for what the bot said last
	Emoji           string
	InThread, Clear bool
	Text            string
}

// Lines reads a conversation.
func Lines(script string) ([]Line, error) {
	var all []Line
	s := newScanner(strings.NewReader(script))
	for {
		l, err := s.next(false)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		one := Line{No: l.no, Raw: l.raw}
		for _, a := range l.acts {
			one.Acts = append(one.Acts, Act{
				Directive: a.directive, Words: a.words, Options: a.opts,
				Room: a.room, Direct: a.direct, Person: a.person, Moderator: a.moderator,
				Verb: a.verb, Code: a.code, Emoji: a.emoji, InThread: a.thread, Clear: a.clear, Text: a.text,
			})
		}
		all = append(all, one)
	}
}
