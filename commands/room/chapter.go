package room

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"starling/bot"
	"starling/locales"
	"starling/locales/markup"
)

type (
	// Named says what the chapter is called now; NameTaken that another is called so, UnfitName that nobody could read it, MyName that it is the bot's,
	// NotSpeaking that this room may not decide that.
	Named     struct{ Name string }
	NameTaken struct {
		Name string
		Join locales.Safe // the command that asks to join that chapter; "" where that makes no sense
	}
	UnfitName   struct{ Max int }
	MyName      struct{}
	NotSpeaking struct{ Chapter string }
	// NoChapter and InChapter: why a room cannot leave or join.
	NoChapter struct{}
	InChapter struct {
		Chapter string
		Leave   locales.Safe
	}
	// JoinAsked, AlreadyAsked and NobodyThere answer who asked to join a chapter.
	JoinAsked    struct{ Chapter string }
	AlreadyAsked struct{ Chapter string }
	NobodyThere  struct{ Chapter string }
	// JoinQuestion asks a chapter's first room whether another may join.
	JoinQuestion struct {
		Room      any
		Count     int // people in it
		Encrypted bool
		Word      bool // yes must be typed
		Speak     locales.Safe
	}
	// JoinGranted and JoinDenied tell the room that asked; LetIn and KeptOut the room that answered, NotAsked that there is
	// nothing to answer any more.
	JoinGranted struct {
		Chapter string
		Speaks  bool
	}
	JoinDenied struct{ Chapter string }
	LetIn      struct {
		Room   any
		Speaks bool
	}
	KeptOut  struct{ Room any }
	NotAsked struct{}
	// LeaveQuestion and LeftChapter: taking a room out of its chapter. Last says that the chapter ends with it.
	LeaveQuestion struct {
		Chapter string
		Last    bool
	}
	LeftChapter struct{ Chapter string }
	// GoodbyeQuestion and Goodbye: the bot leaves the room.
	GoodbyeQuestion struct {
		Chapter string
		Last    bool
	}
	Goodbye struct{}
)

// maxName is how many characters the name of a chapter may have.
const maxName = 60

// chapterName makes one line of what was typed, without the signs that the bot sets itself, and refuses what cannot be told from
// other names.
func chapterName(t *bot.Turn, text string) (string, error) {
	name := strings.ReplaceAll(markup.Line(text), " · ", " ")
	name = markup.Line(strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.So, unicode.Sk, unicode.Me) { // no buttons, no mark of an alert
			return -1
		}
		return r
	}, name))
	if t.IsMyName(name) {
		return "", bot.Refuse(MyName{})
	}
	if len([]rune(name)) > maxName || !strings.ContainsFunc(name, unicode.IsLetter) || markup.Fold(name) == "" {
		return "", bot.Refuse(UnfitName{Max: maxName})
	}
	return name, nil
}

func name(t *bot.Turn, a bot.Args) error {
	name, err := chapterName(t, a.Text("name"))
	if err != nil {
		return err
	}
	err = nameChapter(t, name)
	if errors.Is(err, bot.ErrNameTaken) {
		taken := NameTaken{Name: name}
		if t.Room.Chapter == "" {
			taken.Join = t.Command("room", "join")
		}
		return bot.Refuse(taken)
	}
	if err != nil {
		return err
	}
	return done(t, Named{Name: name})
}

// nameChapter gives the room's chapter a name, and a room without one a chapter.
func nameChapter(t *bot.Turn, name string) error {
	c, err := t.Chapter(t.Room.Chapter)
	if err != nil {
		return err
	}
	if c == nil {
		delete(t.Room.Settings, settingJoining)
		_, err := t.NewChapter(t.Room, name)
		return err
	}
	if !t.Room.Speaks {
		return bot.Refuse(NotSpeaking{Chapter: c.Name})
	}
	c.Name = name
	return t.SaveChapter(c)
}

func join(t *bot.Turn, a bot.Args) error {
	now, err := t.Chapter(t.Room.Chapter)
	if err != nil {
		return err
	}
	if now != nil {
		return bot.Refuse(InChapter{Chapter: now.Name, Leave: t.Command("room", "leave")})
	}
	c, err := t.ChapterNamed(a.Text("name"))
	if err != nil {
		return err
	}
	if c == nil {
		return bot.Refuse(bot.NoSuchChapter{Text: markup.Truncate(a.Text("name"), maxName)})
	}
	if err := t.May(bot.Sends); err != nil {
		return err
	}
	if err := askToJoin(t, c); err != nil {
		return err
	}
	return done(t, JoinAsked{Chapter: c.Name})
}

// joinLife is how long a chapter may take to answer.
const joinLife = 7 * 24 * time.Hour

// joining is the chapter that a room is waiting for; "" when it waits for none.
func joining(r *bot.Room, now time.Time) (chapter string) {
	id, at, _ := strings.Cut(r.Settings[settingJoining], " ")
	asked, err := strconv.ParseInt(at, 10, 64)
	if err != nil || now.Sub(time.Unix(asked, 0)) > joinLife {
		return ""
	}
	return id
}

// askToJoin puts the question to the chapter's first room. One is open at a time: nobody is flooded with them.
func askToJoin(t *bot.Turn, c *bot.Chapter) error {
	if id := joining(t.Room, t.Now()); id != "" {
		asked, err := t.Chapter(id)
		if err != nil {
			return err
		}
		if asked != nil {
			return bot.Refuse(AlreadyAsked{Chapter: asked.Name})
		}
	}
	first, err := t.Tx.Room(c.Room)
	if err != nil {
		return err
	}
	if !first.Joined {
		return bot.Refuse(NobodyThere{Chapter: c.Name})
	}
	members, err := t.Members(t.Room.ID)
	if err != nil {
		return err
	}
	if err := set(t, settingJoining, fmt.Sprintf("%s %d", c.ID, t.Now().Unix())); err != nil {
		return err
	}
	q := JoinQuestion{Room: t.Room.Called(), Count: len(members), Encrypted: t.Room.Encrypted, Word: first.ConfirmByWord(), Speak: speakWord(t, first.Lang)}
	opts := []bot.PostOption{bot.Topic(topicJoin, fmt.Sprint(t.Room.ID)), bot.Origin(t.Room.ID)}
	if !q.Word {
		opts = append(opts, bot.Buttons("✅", "❌"))
	}
	_, err = t.Post(first.ID, q, opts...)
	return err
}

// speakWord is the word that lets a room in and speak for the chapter.
func speakWord(t *bot.Turn, lang string) locales.Safe {
	words := t.Locales().Words("choice.speak")
	if len(words[lang]) == 0 {
		lang = t.Lang
	}
	return locales.Safe(words[lang][0])
}

// joinAnswer takes the answer of the chapter's first room.
func joinAnswer(t *bot.Turn, ref string, a bot.Answer) error {
	speak := false
	for _, words := range t.Locales().Words("choice.speak") {
		speak = speak || a.Typed && slices.ContainsFunc(words, func(w string) bool { return markup.FoldWord(w) == word(a.Text) })
	}
	if !a.On || !a.Yes && !a.No && !speak {
		return nil // talk about it is not an answer
	}
	if !t.Moderator() {
		return t.OnlyModerators()
	}
	if a.Yes && !a.Typed && t.Room.ConfirmByWord() {
		return bot.Refuse(bot.TypeYes{})
	}
	id, err := strconv.ParseInt(ref, 10, 64)
	if err != nil {
		return err
	}
	asking, err := t.Tx.Room(bot.RoomID(id))
	if err != nil {
		return err
	}
	c, err := t.Chapter(t.Room.Chapter)
	if err != nil {
		return err
	}
	if c == nil || !asking.Joined || asking.Chapter != "" || joining(asking, t.Now()) != c.ID {
		return t.Done(NotAsked{})
	}
	effect := bot.Sends // who is let in sees what the chapter keeps
	if a.No {
		effect = bot.Changes
	}
	if err := t.May(effect); err != nil {
		return err
	}
	delete(asking.Settings, settingJoining)
	told := any(JoinDenied{Chapter: c.Name})
	answer := any(KeptOut{Room: asking.Called()})
	if !a.No {
		asking.Chapter, asking.Speaks = c.ID, speak
		told, answer = JoinGranted{Chapter: c.Name, Speaks: speak}, LetIn{Room: asking.Called(), Speaks: speak}
	}
	if err := t.SaveRoom(asking); err != nil {
		return err
	}
	if _, err := t.Post(asking.ID, told); err != nil {
		return err
	}
	return t.Done(answer)
}

func leave(t *bot.Turn, _ bot.Args) error {
	if t.Room.Chapter == "" {
		return bot.Refuse(NoChapter{})
	}
	return t.Start(dialogueLeave, nil)
}

func goodbye(t *bot.Turn, _ bot.Args) error { return t.Start(dialogueGoodbye, nil) }

// ending says which chapter a room would leave, and whether it is its last room.
func ending(t *bot.Turn) (chapter string, last bool) {
	c, err := t.Chapter(t.Room.Chapter)
	if err != nil {
		panic(err)
	}
	if c == nil {
		return "", false
	}
	rooms, err := t.RoomsOfChapter(c.ID)
	if err != nil {
		panic(err)
	}
	return c.Name, len(rooms) < 2
}

func noSteps(*bot.Turn, bot.Draft) []bot.Step { return nil }

func stillModerates(t *bot.Turn, _ bot.Draft) error {
	if !t.Moderator() {
		return t.OnlyModerators()
	}
	return nil
}

var leaveDialogue = bot.Dialogue{
	Name:  dialogueLeave,
	Steps: noSteps,
	Review: func(t *bot.Turn, _ bot.Draft) any {
		chapter, last := ending(t)
		return LeaveQuestion{Chapter: chapter, Last: last}
	},
	MayConfirm: stillModerates,
	Done: func(t *bot.Turn, _ bot.Draft) error {
		if t.Room.Chapter == "" {
			return bot.Refuse(NoChapter{}) // somebody was quicker
		}
		chapter, _ := ending(t)
		if err := t.LeaveChapter(t.Room); err != nil {
			return err
		}
		return done(t, LeftChapter{Chapter: chapter})
	},
}

var goodbyeDialogue = bot.Dialogue{
	Name:  dialogueGoodbye,
	Steps: noSteps,
	Review: func(t *bot.Turn, _ bot.Draft) any {
		chapter, last := ending(t)
		return GoodbyeQuestion{Chapter: chapter, Last: last}
	},
	MayConfirm: stillModerates,
	Done: func(t *bot.Turn, _ bot.Draft) error {
		if t.Room.Chapter != "" {
			if err := t.LeaveChapter(t.Room); err != nil {
				return err
			}
		}
		if t.Here.ID != t.Room.ID {
			if err := t.Done(Goodbye{}); err != nil {
				return err
			}
		}
		last, err := t.Say(Goodbye{})
		if err != nil {
			return err
		}
		return t.Leave(t.Room.ID, last)
	},
}
