package alert

import (
	"starling/bot"
	"starling/locales"
)

var messages = []any{
	AskText{}, TextExample{}, AskUrgency{}, UrgencyName{}, Quote{}, Moment{},
	Preview{}, Rooms{}, OfChapters{}, InLanguages{}, Withheld{}, Place{}, AskedThere{}, ClearPreview{}, ClearTo{},
	Dropped{}, Lapsed{}, AnotherPerson{}, TooNew{}, NotSpeaking{}, NoReach{}, NotOurs{}, NotSent{}, AlreadyOver{}, ClearSent{},
	Sent{}, OnItsWay{}, Reached{}, Closed{}, Alert{}, Over{}, AllClear{}, TookBack{}, Status{}, InRooms{}, CanHelp{}, List{}, Item{}, Nothing{}, Hidden{}, OnlyEncrypted{}, SayThere{},
}

// What the capability says. Each is a locale entry alert.<snake_case type>.
type (
	// AskText and AskUrgency are the two questions.
	AskText     struct{}
	TextExample struct{}
	AskUrgency  struct{}
	UrgencyName struct{ Urgency locales.Term }

	// Quote is one line that somebody typed.
	Quote struct{ Text string }
	// Moment is a time of day at the origin and, where it differs, here.
	Moment struct {
		There locales.Clock
		Here  any
	}

	// Preview shows what would go where.
	Preview struct {
		Mark      locales.Safe
		Urgency   locales.Term
		Lines     []any
		Rooms     Rooms
		Chapters  OfChapters
		Languages any // InLanguages; nil when none is known
		Places    []any
		More      int
		Withheld  any
		Chapter   bot.ChapterName
		Confirm   locales.Term
	}
	Rooms       struct{ Count int }
	OfChapters  struct{ Count int }
	InLanguages struct{ Count int }
	// Withheld counts the rooms that get nothing because they are not encrypted.
	Withheld struct{ Count int }
	// Place is a chapter, or a room of the own one, and the languages in which it reads.
	Place struct {
		Name  any
		Langs []any
	}
	// AskedThere tells who raised one in a direct chat where it is confirmed.
	AskedThere struct{ Room string }
	// ClearPreview shows an all-clear before it goes out.
	ClearPreview struct {
		Code    locales.Code
		Alert   []any
		Lines   []any
		To      any // ClearTo; nil when nobody got the alert
		Confirm locales.Term
	}
	ClearTo struct{ Count int }

	// Dropped and Lapsed take the place of a preview that was not confirmed.
	Dropped struct{}
	Lapsed  struct{}
	// AnotherPerson, TooNew: who may confirm under the rule of two.
	AnotherPerson struct{}
	TooNew        struct{}
	// NotSpeaking, NoReach: why nothing can be raised here.
	NotSpeaking struct {
		Chapter bot.ChapterName
		Room    string
		Leave   locales.Safe
		Join    locales.Safe
	}
	NoReach struct {
		Chapter  bot.ChapterName
		Withheld any
		Follow   locales.Safe
	}
	// NotOurs, NotSent, AlreadyOver: why an alert cannot be cleared.
	NotOurs     struct{ Chapter bot.ChapterName }
	NotSent     struct{}
	AlreadyOver struct{ Code locales.Code }
	// OnlyEncrypted, SayThere: what is said in encrypted rooms stays in such.
	OnlyEncrypted struct{ Code locales.Code }
	SayThere      struct{}
	// ClearSent takes the place of a ClearPreview.
	ClearSent struct{ Code locales.Code }

	// Sent is what the origin sees of its alert; its numbers move.
	Sent struct {
		Code     locales.Code
		Urgency  locales.Term
		Lines    []any
		Progress any // OnItsWay or Reached
		Failed   int
		Seen     int
		Help     int
	}
	OnItsWay struct{ Count int }
	Reached  struct {
		Delivered int
		Count     int
	}
	// Closed is what the origin sees once its alert is over.
	Closed struct {
		Code     locales.Code
		At       locales.Clock
		Lines    []any
		Progress any
		Seen     int
		Help     int
	}

	// Alert is the alert as a room that hears it reads it; Over is the same once it was cleared, AllClear the word about that.
	Alert struct {
		Mark    locales.Safe
		Chapter bot.ChapterName
		Urgency locales.Term
		At      Moment
		Lines   []any
		In      any // the language of the text, where it is not the reader's
		Code    locales.Code
	}
	Over struct {
		Chapter bot.ChapterName
		At      Moment
		Lines   []any
		In      any
		Code    locales.Code
	}
	AllClear struct {
		Chapter bot.ChapterName
		At      Moment
		Lines   []any
		In      any
		Code    locales.Code
	}
	// TookBack tells rooms that an alert's words were erased, which is no all-clear.
	TookBack struct {
		Chapter bot.ChapterName
		Code    locales.Code
	}

	// Status says where an alert has arrived.
	Status struct {
		Code    locales.Code
		Urgency locales.Term
		At      locales.Time
		Over    any
		Lines   []any
		Arrived []any
		Waiting []any
		Failed  []any
		Seen    int
		Help    int
		From    []any // who can help, by chapter
	}
	// InRooms is a chapter and how many of its rooms, CanHelp a chapter and how many of its people.
	InRooms struct {
		Name  any
		Count int
	}
	CanHelp struct {
		Name  any
		Count int
	}

	// List shows the alerts that are current here.
	List struct {
		Items  []any
		More   int
		Hidden any
	}
	// Hidden counts those that came from encrypted rooms.
	Hidden struct{ Count int }
	Item   struct {
		Mark    locales.Safe
		Code    locales.Code
		Chapter bot.ChapterName
		Day     locales.Day
		Clock   locales.Clock
		Text    string
	}
	Nothing struct{ Hidden any }
)
