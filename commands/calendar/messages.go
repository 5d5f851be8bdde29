package calendar

import "starling/locales"

// What is said. Each is a locale entry calendar.<snake_case type>.
type (
	// The questions, and an example of an answer to each.
	AskSummary  struct{}
	AskWhen     struct{}
	AskWhich    struct{}
	AskTime     struct{}
	HintSummary struct{}
	HintWhen    struct{}
	HintTime    struct{}
	// AllDay is the choice of no hour.
	AllDay struct{}

	// Why and BadWhen say why a text is no date.
	Why     struct{ Reason locales.Term }
	BadWhen struct {
		Reason locales.Term
		Hint   any
	}

	// Moment, WholeDay, OnDay, OClock and OnlyClock are times as they are read.
	Moment    struct{ At locales.Time }
	WholeDay  struct{ Day locales.Day }
	OnDay     struct{ Day locales.Day }
	OClock    struct{ At locales.Time }
	OnlyClock struct{ At locales.Clock }

	// Review reads the whole back before it is saved.
	Review struct {
		Summary string
		When    any
		Time    any
		Chapter string
		Room    any // in a direct chat, where no chapter is
	}
	// Saved ends the dialogue; Added tells the room of an event that was added in a direct chat.
	Saved struct {
		Code    locales.Code
		Summary string
		When    any
	}
	Added struct {
		Code    locales.Code
		Summary string
		When    any
	}

	// Coming is what is coming, Nothing that nothing is.
	Coming struct {
		Zone         locales.Zone
		Lines        []any
		More, Hidden any
	}
	Nothing struct{ More, Hidden any }
	// Listed is one event in it.
	Listed struct {
		Code    locales.Code
		Day     locales.Day
		Clock   any
		Summary string
	}
	// Later says how many come later, Hidden how many came from encrypted rooms.
	Later  struct{ Count int }
	Hidden struct{ Count int }

	// Shown is one event.
	Shown struct {
		Code      locales.Code
		Summary   string
		When      any
		Cancelled bool
	}
	// AskCancel asks before an event is cancelled, Cancelled says that it is.
	AskCancel struct {
		Code    locales.Code
		Summary string
		When    any
	}
	Cancelled struct {
		Code    locales.Code
		Summary string
	}

	// Why something cannot be done.
	AlreadyCancelled struct{ Code locales.Code }
	WhoMayCancel     struct {
		Code  locales.Code
		Names []string
	}
	NotOurs       struct{ Code locales.Code }
	OnlyEncrypted struct{ Code locales.Code }
	Gone          struct{}
	AddThere      struct{}
)

var messages = []any{
	AskSummary{}, AskWhen{}, AskWhich{}, AskTime{}, HintSummary{}, HintWhen{}, HintTime{}, AllDay{}, Why{}, BadWhen{}, Moment{}, WholeDay{}, OnDay{},
	OClock{}, OnlyClock{}, Review{}, Saved{}, Added{}, Coming{}, Nothing{}, Listed{}, Later{}, Hidden{}, Shown{}, AskCancel{}, Cancelled{},
	AlreadyCancelled{}, WhoMayCancel{}, NotOurs{}, OnlyEncrypted{}, Gone{}, AddThere{},
}
