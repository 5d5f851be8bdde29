package needs

import "starling/locales"

// What is said. Each is a locale entry needs.<snake_case type>.
type (
	// The questions, and an example of an answer to each.
	AskWhat    struct{}
	AskWords   struct{}
	AskMany    struct{}
	AskDue     struct{}
	AskDay     struct{}
	AskPlace   struct{}
	AskUrgency struct{}
	AskWhom    struct{}
	HintMany   struct{}
	HintDue    struct{}
	HintPlace  struct{}
	HintWhom   struct{}

	// BadMany and BadDue say why an answer was not understood.
	BadMany struct{ Hint any }
	BadDue  struct {
		Reason locales.Term
		Hint   any
	}

	// Heard says how a text was understood, in parts.
	Heard struct{ Parts []any }
	// Bold is the one thing to see of it.
	Bold struct{ Text string }
	// ForPeople, ForFamilies, ForHouseholds, ForChildren and ForWhom say for how many.
	ForPeople     struct{ Count int }
	ForFamilies   struct{ Count int }
	ForHouseholds struct{ Count int }
	ForChildren   struct{ Count int }
	ForWhom       struct{ Text string }
	// By is by when; Late that it was due then.
	By   struct{ Day any }
	Late struct{ Day any }
	// NoHurry, NoPlace and NoMany: what was left open.
	NoHurry struct{}
	NoPlace struct{}
	NoMany  struct{}
	// Here and AskFor say whom to answer.
	Here   struct{}
	AskFor struct{ Name string }
	// Place and Words are shown as they were typed.
	Place struct{ Text string }
	Words struct{ Text string }
	// What is a need in one line.
	What struct {
		Category locales.Term // "" for other
		For      any
		Text     string
	}

	// Review shows the whole before it is saved.
	Review struct {
		Lines []any
		Stays any
	}
	// Line is one line of it.
	Line struct {
		Number int
		Text   any
	}
	// StaysHere, StaysRoom and StaysChapter say who will see it.
	StaysHere    struct{}
	StaysRoom    struct{ Room any }
	StaysChapter struct{ Chapter string }
	// Saved ends the dialogue.
	Saved struct{ Code locales.Code }
	// Raised tells the room of a need that was raised in a direct chat.
	Raised struct {
		Code    locales.Code
		Urgency locales.Term
		Lines   []any
	}

	// List is the open needs, the most urgent first.
	List struct {
		Count  int
		Code   locales.Code // of the first
		Lines  []any
		More   any
		Hidden any
	}
	// Listed is one of them.
	Listed struct {
		Code    locales.Code
		Urgency locales.Term
		What    any
		By      any
	}
	// More says how many are on later pages.
	More struct{ Count, Page int }
	// Hidden says how many came from encrypted rooms and are not shown in this one.
	Hidden struct{ Count int }
	// None says that none is open.
	None struct{ Hidden any }

	// Shown is one need, whole.
	Shown struct {
		Code  locales.Code
		State any
		Lines []any
		Open  bool
	}
	// OpenAs and ClosedAs are its state.
	OpenAs   struct{ Urgency locales.Term }
	ClosedAs struct {
		Outcome locales.Term
		Day     locales.Day
	}
	// Item is one line of what is shown.
	Item struct{ Text any }

	// Closed ends a need.
	Closed struct {
		Code    locales.Code
		Outcome locales.Term
	}
	// AlreadyClosed, WhoMayClose, NotOurs, OnlyEncrypted and RaiseThere say why something cannot be done.
	AlreadyClosed struct {
		Code    locales.Code
		Outcome locales.Term
		Day     locales.Day
	}
	WhoMayClose struct {
		Code  locales.Code
		Names []string
	}
	NotOurs       struct{ Code locales.Code }
	OnlyEncrypted struct{ Code locales.Code }
	RaiseThere    struct{ Room any }
)

var messages = []any{
	AskWhat{}, AskWords{}, AskMany{}, AskDue{}, AskDay{}, AskPlace{}, AskUrgency{}, AskWhom{}, HintMany{}, HintDue{}, HintPlace{}, HintWhom{},
	BadMany{}, BadDue{}, Heard{}, Bold{}, ForPeople{}, ForFamilies{}, ForHouseholds{}, ForChildren{}, ForWhom{}, By{}, Late{}, NoHurry{},
	NoPlace{}, NoMany{}, Here{}, AskFor{}, Place{}, Words{}, What{}, Review{}, Line{}, StaysHere{}, StaysRoom{}, StaysChapter{}, Saved{}, Raised{},
	List{}, Listed{}, More{}, Hidden{}, None{}, Shown{}, OpenAs{}, ClosedAs{}, Item{}, Closed{}, AlreadyClosed{}, WhoMayClose{}, NotOurs{},
	OnlyEncrypted{}, RaiseThere{},
}
