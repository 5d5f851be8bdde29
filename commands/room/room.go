// Package room is what a room decides about itself: its language, its chapter, its time zone, who may raise alerts, what is off
// and who is not listened to; and what one person decides for herself. It also greets where the bot has just been invited.
package room

import (
	"starling/bot"
	"starling/locales"
)

// Settings of a room that only this package reads.
const (
	settingGreeted = "greeted" // when the bot said hello, in seconds since 1970
	settingJoining = "joining" // the chapter that the room asked to join, and when
)

// Names of topics and dialogues; they are stored.
const (
	topicGreeting = "room.greet"
	topicJoin     = "room.join"

	dialogueSetup   = "room.setup"
	dialogueZone    = "room.zone"
	dialogueLeave   = "room.leave"
	dialogueGoodbye = "room.goodbye"
)

// Capability gives the commands /room and /my, and the greeting.
func Capability() bot.Capability {
	return bot.Capability{
		Name:      "room",
		Messages:  messages,
		Commands:  []bot.Command{roomCommand, myCommand},
		Dialogues: []bot.Dialogue{setupDialogue, zoneDialogue, leaveDialogue, goodbyeDialogue},
		Topics:    map[string]func(*bot.Turn, string, bot.Answer) error{topicGreeting: greetingAnswer, topicJoin: joinAnswer},
		Bare:      bareAnswer,
		Joined:    greet,
		Left:      tidy,
	}
}

var roomCommand = bot.Command{
	Name: "room", Where: bot.InRoom, Do: show,
	Sub: []bot.Command{
		changing("setup", setup),
		changing("name", name, bot.Param{Name: "name"}),
		changing("language", language, bot.Param{Name: "language", Type: bot.ParamLanguage}),
		changing("timezone", timezone, bot.Param{Name: "city"}),
		changing("alerts", alerts, bot.Param{Name: "who", Type: bot.ParamChoice, Choices: []string{"anyone", "two", "moderators"}}),
		changing("join", join, bot.Param{Name: "name"}),
		changing("leave", leave),
		changing("pause", pause),
		changing("resume", resume),
		changing("off", off, bot.Param{Name: "command", Type: bot.ParamCommand}),
		changing("on", on, bot.Param{Name: "command", Type: bot.ParamCommand}),
		changing("ignore", ignore, bot.Param{Name: "person", Type: bot.ParamPerson, Optional: true}),
		changing("heed", heed, bot.Param{Name: "person", Type: bot.ParamPerson}),
		changing("confirm", confirm, bot.Param{Name: "how", Type: bot.ParamChoice, Choices: []string{"word", "reaction"}}),
		changing("goodbye", goodbye),
	},
}

// changing is a sub-command that changes the room.
func changing(name string, do func(*bot.Turn, bot.Args) error, params ...bot.Param) bot.Command {
	return bot.Command{Name: name, Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Changes, Params: params, Do: do}
}

var myCommand = bot.Command{
	Name: "my", Do: mine, Hidden: true,
	Sub: []bot.Command{
		{Name: "language", Effect: bot.Changes, Params: []bot.Param{{Name: "language", Type: bot.ParamLanguage}}, Do: myLanguage},
		{Name: "timezone", Effect: bot.Changes, Params: []bot.Param{{Name: "city"}}, Do: myTimezone},
	},
}

var messages = []any{
	About{}, Settings{}, LanguageSet{}, ZoneSet{}, RaiseSet{}, ConfirmSet{}, Paused{}, Resumed{}, TurnedOff{}, TurnedOn{}, CannotTurnOff{},
	Ignored{}, Heeded{}, IgnoredPeople{}, CannotIgnore{},
	AskLanguage{}, AskChapter{}, ChapterHint{}, NameKnown{}, AskPart{}, JoinIt{}, AnotherName{}, AskCity{}, CityHint{}, AskWhichCity{}, Place{}, SoFar{}, Ready{},
	Greeting{}, DirectGreeting{}, Again{}, AlreadySet{},
	Named{}, NameTaken{}, UnfitName{}, MyName{}, NotSpeaking{}, NoChapter{}, InChapter{}, JoinAsked{}, AlreadyAsked{}, NobodyThere{},
	JoinQuestion{}, JoinGranted{}, JoinDenied{}, LetIn{}, KeptOut{}, NotAsked{}, LeaveQuestion{}, LeftChapter{}, GoodbyeQuestion{}, Goodbye{},
	Mine{}, NothingKept{}, MyLanguage{}, MyZone{},
}

// About puts the room's name before what is said of it in a direct chat.
type About struct{ Room, Message any }

// done answers; elsewhere than in the room itself it says which room was meant.
func done(t *bot.Turn, msg any) error {
	if t.Here.ID != t.Room.ID {
		msg = About{Room: t.Room.Called(), Message: msg}
	}
	return t.Done(msg)
}

// raise says who may raise an alert, in words.
func raise(room *bot.Room) locales.Term {
	who := room.Settings[bot.SettingRaise]
	if who == "" {
		who = "two"
	}
	return locales.Term("room.raise." + who)
}
