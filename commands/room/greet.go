package room

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"starling/bot"
	"starling/locales"
	"starling/locales/markup"
)

type (
	// Greeting is the first message in a room; the languages stand at its end.
	Greeting struct{ Languages []any }
	// DirectGreeting is the first message in a direct chat.
	DirectGreeting struct {
		Stranger  bool
		Help      locales.Safe
		Language  locales.Safe
		Languages []any
	}
	// Again greets a room that was set up before.
	Again struct{ Room, Help locales.Safe }
	// AlreadySet answers who chose a language after somebody else had.
	AlreadySet struct {
		Lang   locales.Lang
		Change locales.Safe
	}
)

// askedFor is how long a bare number in a room counts as its answer to the greeting. Replies and reactions count longer.
const askedFor = 48 * time.Hour

// greet says hello where the bot has just come in.
func greet(t *bot.Turn) error {
	if t.Room.Settings[settingGreeted] != "" || t.Room.Direct && t.Person == nil {
		return nil // a network may tell twice that the bot came in
	}
	if err := set(t, settingGreeted, strconv.FormatInt(t.Now().Unix(), 10)); err != nil {
		return err
	}
	switch {
	case t.Room.Direct:
		rooms, err := t.RoomsOf(t.Person.ID)
		if err != nil {
			return err
		}
		return t.Done(DirectGreeting{Stranger: len(rooms) == 0, Help: t.Command("starling"), Language: t.Command("my", "language"), Languages: languageNames()})
	case t.Room.Lang != "":
		return t.Done(Again{Room: t.Command("room"), Help: t.Command("starling")})
	}
	var err error
	if t.Lang, err = inviterLang(t); err != nil {
		return err
	}
	var g Greeting
	for i, l := range languageNames() {
		g.Languages = append(g.Languages, bot.Numbered{Number: i + 1, Label: l})
	}
	return t.Done(g, bot.Topic(topicGreeting, ""))
}

// inviterLang is the language of the room that the inviter used last, or of one that she is in; else what she chose for herself.
func inviterLang(t *bot.Turn) (string, error) {
	if t.Room.Inviter == 0 {
		return t.Lang, nil
	}
	p, err := t.Tx.Person(t.Room.Inviter)
	if err != nil || p == nil {
		return t.Lang, err
	}
	rooms, err := t.RoomsOf(p.ID)
	if err != nil {
		return t.Lang, err
	}
	lang := ""
	for _, r := range rooms {
		if r.Lang != "" && (lang == "" || r.ID == p.LastRoom) {
			lang = r.Lang
		}
	}
	switch {
	case lang != "":
		return lang, nil
	case p.Lang != "":
		return p.Lang, nil
	}
	return t.Lang, nil
}

// bareAnswer takes "2" or "español", said to nobody in a room that was just greeted, for an answer.
func bareAnswer(tx *bot.Tx, room *bot.Room, text string) string {
	if room.Lang != "" || room.Settings[settingGreeted] == "" {
		return ""
	}
	asked, err := strconv.ParseInt(room.Settings[settingGreeted], 10, 64)
	if err != nil || tx.Now().Sub(time.Unix(asked, 0)) > askedFor {
		return ""
	}
	if _, ok := numbered(text); ok {
		return topicGreeting
	}
	for _, l := range locales.Languages() {
		if markup.FoldWord(l.Name) == word(text) {
			return topicGreeting
		}
	}
	return ""
}

func word(text string) string { return strings.TrimRight(markup.FoldWord(text), ".") }

// numbered gives the language with the number that a text or reaction is.
func numbered(text string) (lang string, ok bool) {
	n, err := strconv.Atoi(markup.Digits(word(text)))
	if all := locales.Languages(); err == nil && n >= 1 && n <= len(all) {
		return all[n-1].Code, true
	}
	return "", false
}

// greetingAnswer takes the language that a moderator chose and goes on with the other questions.
func greetingAnswer(t *bot.Turn, _ string, a bot.Answer) error {
	lang, ok := numbered(a.Emoji)
	if a.Typed {
		if lang, ok = numbered(a.Text); !ok {
			var l locales.Language
			l, ok = locales.LanguageNamed(word(a.Text))
			lang = l.Code
		}
	}
	switch {
	case !a.On, !ok && !a.Typed: // people may like a greeting
		return nil
	case !t.Moderator():
		if !ok || a.Row == 0 {
			return nil
		}
		t.Lang = lang // if that is what she speaks
		return saySoOnce(t)
	case !ok:
		return bot.Refuse(bot.NoSuchLanguage{Text: markup.Truncate(a.Text, 60), Known: languageNames()})
	case t.Room.Lang == lang:
		return nil // two moderators, one answer
	case t.Room.Lang != "":
		return t.Done(AlreadySet{Lang: locales.Lang(t.Room.Lang), Change: t.Command("room", "language")})
	}
	if err := t.May(bot.Changes); err != nil {
		return err
	}
	if err := setLanguage(t, lang); err != nil {
		return err
	}
	return t.Start(dialogueSetup, bot.Draft{"language": lang})
}

// saySoOnce tells a room, the first time, who may answer; many may have tried.
func saySoOnce(t *bot.Turn) error {
	first, err := t.Once(fmt.Sprintf("who may set up %d", t.Room.ID))
	if err != nil || !first {
		return err
	}
	var refusal *bot.Refusal
	if err := t.OnlyModerators(); !errors.As(err, &refusal) {
		return err
	}
	return t.Done(refusal.Message, bot.Topic(topicGreeting, "")) // who may can answer this as well
}

// tidy forgets what was asked in a room that the bot is no longer in.
func tidy(t *bot.Turn) error {
	delete(t.Room.Settings, settingJoining)
	return set(t, settingGreeted, "")
}
