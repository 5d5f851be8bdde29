package bot

import "starling/locales"

// What the engine itself says. Each is a locale entry bot.<snake_case type>.
type (
	// Question is one step of a dialogue as people see it.
	Question struct {
		Before  any // what was understood or went wrong before it
		Ask     any
		Hint    any // an example of an answer
		Step    int
		Of      int // how many questions there are; 0 = too few to count
		Choices []any
		First   bool
		Quote   bool // only a reply to it is an answer, for want of threads
		Back    bool
		Skip    bool
		Review  bool // it is the last look at the whole: Ask is the review
		Word    bool // yes must be typed
	}
	// Numbered is one choice: "1 food".
	Numbered struct {
		Number int
		Label  any
	}
	// Left ends a dialogue without a trace.
	Left struct{}
	// CannotSkip says that the question cannot be skipped.
	CannotSkip struct{}
	// FirstStep says that there is nothing to go back to.
	FirstStep struct{}
	// PickOne says that the answer was none of the choices.
	PickOne struct{ Last int }
	// TextOnly answers a voice message or photo in an open dialogue.
	TextOnly struct{}
	// TooLong says how long a text may be.
	TooLong struct{ Count int }
	// Empty says that nothing readable was in it.
	Empty struct{}
	// DidYouMean offers the nearest command.
	DidYouMean struct{ Command locales.Safe }
	// NotUnderstood is said to who clearly spoke to the bot.
	NotUnderstood struct{ Help locales.Safe }
	// Wrong says what was wrong with a command and shows one that works.
	Wrong struct {
		What    any
		Example locales.Safe
	}
	// Missing, NotANumber …: what was wrong with one parameter.
	Missing    struct{ Param locales.Term }
	NotANumber struct{ Text string }
	NotAChoice struct {
		Text    string
		Choices []any
	}
	NoSuchRecord   struct{ Code locales.Code }
	SeveralRecords struct{ Codes []any }
	NoSuchLanguage struct {
		Text  string
		Known []any
	}
	NoSuchZone    struct{ Text string }
	NoSuchPerson  struct{ Text string }
	NoSuchChapter struct{ Text string }
	NoSuchCommand struct{ Text string }
	TooMuch       struct{ Text string }
	// OnlyModerators names who may.
	OnlyModerators struct{ Names []string }
	// NeedsChapter, CommandOff, Stranger: why a command does not work here.
	NeedsChapter struct{ Join locales.Safe }
	CommandOff   struct{}
	Stranger     struct{}
	// WhichRoom asks what a command in a direct chat is about.
	WhichRoom struct{}
	RoomName  struct{ Name string }
	// NamelessRoom is a room without a name.
	NamelessRoom struct{}
	// ClearText says why a message in an encrypted room was not obeyed.
	ClearText struct{}
	// NotInRoom, Unsigned and StillSo: why a yes or a command does not count, or not yet; see Turn.May.
	NotInRoom struct{}
	Unsigned  struct{}
	StillSo   struct {
		At   any // locales.Clock or locales.Time
		Word bool
	}
	// StillWanted asks the same about a command that came late.
	StillWanted struct {
		At      any
		Command locales.Safe
		Text    string
	}
	// TooMany is said once to a person, or a room, who asks more than the limits allow; see limits.go.
	TooMany struct{ Room bool }
	// NotStored says that a command waits because nothing can be written down.
	NotStored struct{}
	// NoLonger stands where an answer was for somebody who must not read it any more.
	NoLonger struct{}
	// TakenBack stands for words that were taken back before anybody knew whether they had arrived; it is deleted at once.
	TakenBack struct{}
	// NotReached tells a room that what it asked of a chapter cannot be delivered there.
	NotReached struct{ Chapter string }
	// Joined is several answers in one message; see join.go.
	Joined struct{ Messages []any }
	// Broken is the apology after an error of ours.
	Broken struct{}
	// Perhaps marks a message that may have been shown before.
	Perhaps struct{ Message any }
	// Undelivered tells a room that something it sent cannot reach a chapter, or several.
	Undelivered struct {
		Code    locales.Code
		Chapter string
		Others  []string
	}
	// NotThere tells who said something in a direct chat that the room that it is for cannot be shown it.
	NotThere struct{ Code locales.Code }
	// Revoked tells a room that something was not sent: who confirmed it may not any more.
	Revoked struct{ Code locales.Code }
	// Restored tells a room that something it sent may not have reached everybody: the bot comes from a backup.
	Restored struct{ Code locales.Code }
	// AskWithdraw asks the author who deleted the message behind a record.
	AskWithdraw struct{ Code locales.Code }
	// Withdrawn and Kept end that question.
	Withdrawn struct{ Code locales.Code }
	Kept      struct{ Code locales.Code }
	// AskedDone says that what moderators agreed to is done, or could not be.
	AskedDone struct{ Failed bool }
	// Vanishes says that something is kept no longer than this room's messages.
	Vanishes struct {
		Code  locales.Code
		After locales.Span
	}
	// TypeYes says that this room wants a typed yes.
	TypeYes struct{}
	// CodeOf is a record and its chapter in a list.
	CodeOf struct {
		Code    locales.Code
		Chapter string
	}
	// ChapterName is a chapter's name as a room reads it, see NameIn.
	ChapterName struct {
		Name string
		Mark locales.Code
	}
	// LanguageName is a language's own name.
	LanguageName struct{ Lang locales.Lang }
	// ChoiceName is one of a parameter's choices.
	ChoiceName struct{ Word locales.Safe }
)

var engineMessages = []any{
	Question{}, Numbered{}, Left{}, CannotSkip{}, FirstStep{}, PickOne{}, TextOnly{}, TooLong{}, Empty{}, DidYouMean{}, NotUnderstood{}, Wrong{},
	Missing{}, NotANumber{}, NotAChoice{}, NoSuchRecord{}, SeveralRecords{}, NoSuchLanguage{}, NoSuchZone{}, NoSuchPerson{}, NoSuchChapter{},
	NoSuchCommand{}, TooMuch{}, OnlyModerators{}, NeedsChapter{}, CommandOff{}, Stranger{}, WhichRoom{}, RoomName{}, NamelessRoom{},
	ClearText{}, NotInRoom{}, Unsigned{}, StillSo{}, StillWanted{}, TooMany{}, NotStored{}, NoLonger{}, TakenBack{}, NotReached{}, Joined{}, Broken{}, Perhaps{}, Undelivered{}, NotThere{}, Revoked{}, Restored{}, AskWithdraw{}, Withdrawn{}, Kept{}, AskedDone{}, Vanishes{}, TypeYes{}, CodeOf{}, ChapterName{}, LanguageName{}, ChoiceName{},
}

// Refusal is an error with two voices: what the person reads, and, wrapped, what the operator does.
type Refusal struct {
	Message any
	Cause   error
	opts    []PostOption // how it is posted, besides
	stale   bool         // it asks again what was said long ago
}

func (r *Refusal) Error() string {
	if r.Cause != nil {
		return r.Cause.Error()
	}
	return "refused"
}

func (r *Refusal) Unwrap() error { return r.Cause }

// Refuse undoes what the handler did and says msg instead.
func Refuse(msg any) error { return &Refusal{Message: msg} }
