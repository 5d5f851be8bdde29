package rig

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
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

// Target is the message of the bot that a reply or reaction is meant for, of all in a room in order: the one that shows a code,
// else its last to that person, else its last to nobody in particular or that can be pressed, else its last.
func Target(all []Message, person, code string, pressed func(Message) bool) (Message, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(m Message) bool { return m.Author != Bot })
	if len(all) == 0 {
		return Message{}, errors.New("the bot has said nothing")
	}
	fits := []func(Message) bool{
		func(m Message) bool { return m.To == person },
		// What was answered to somebody else is hardly meant, unless there are reactions under it to press.
		func(m Message) bool { return m.To == "" || pressed(m) },
		func(Message) bool { return true },
	}
	if code != "" {
		fits = []func(Message) bool{func(m Message) bool {
			return slices.Contains(shortCode.FindAllString(m.Text, -1), strings.ToUpper(code))
		}}
	}
	for _, fits := range fits {
		for _, m := range slices.Backward(all) {
			if fits(m) {
				return m, nil
			}
		}
	}
	return Message{}, fmt.Errorf("nothing that the bot said shows %s", code)
}

// Thread is the root of the thread in which the bot last spoke to a person, of all messages in a room in order, else of that in
// which it spoke last, else its last message, below which one begins.
func Thread(all []Message, person string) (root string, err error) {
	last, err := Target(all, person, "", func(Message) bool { return false })
	if err != nil {
		return "", err
	}
	for _, m := range slices.Backward(all) {
		if m.Author == Bot && m.Thread != "" && m.To == person {
			return m.Thread, nil
		}
	}
	return cmp.Or(last.Thread, last.ID), nil
}
