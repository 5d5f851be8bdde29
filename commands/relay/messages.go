package relay

import "starling/locales"

var messages = []any{
	Overview{}, NoChapter{}, Hears{}, HeardBy{}, NotHeard{}, Since{}, NotDeciding{},
	OwnChapter{}, Already{}, Asked{}, AskedIf{}, AskedBefore{}, SaidNo{}, OutOfReach{}, HearsNow{}, HeardNow{},
	AskToHear{}, Agreed{}, AgreedThere{}, Declined{}, DeclinedThere{}, Decided{}, NoLongerAsked{}, YesOrNo{}, Lapsed{},
	Unfollowed{}, TakenBack{}, HearsNothing{}, Followers{}, NotAsking{}, NotFollowing{}, Removed{}, RemovedThere{},
	Opened{}, Closed{}, Listed{}, Unlisted{},
}

// What the capability says. Each is a locale entry relay.<snake_case type>. Own is the chapter of the room that reads,
// Chapter the other one; both read as a bot.ChapterName. Clear is whether what comes from encrypted rooms stays out, because
// the room that would hear it is not encrypted.
type (
	// Overview is what /relay shows.
	Overview struct {
		Hears     Hears
		Waiting   []any // Since: whom this room has asked
		Heard     any   // HeardBy or NotHeard
		Asking    []any // who asks to hear this chapter; only for who may decide
		No        any   // the first of them, if a no would end nothing else
		Deciding  bool
		Own       any
		Listed    bool
		Open      bool
		Others    []any // listed chapters that this room does not hear
		Moderator bool
	}
	// NoChapter is said in a room that belongs to none.
	NoChapter struct{}
	// Hears lists whom a room hears.
	Hears struct {
		Chapters []any
		Paused   bool
	}
	// HeardBy says how many chapters hear this one, to moderators also which; NotHeard that none does.
	HeardBy struct {
		Own      any
		Count    int
		Chapters []any
	}
	NotHeard struct{ Own any }
	// Since is a chapter that was asked, and when.
	Since struct {
		Chapter any
		Day     locales.Day
	}
	// NotDeciding: the room may not speak for its chapter.
	NotDeciding struct{ Chapter string }

	// OwnChapter, Already, Asked, AskedIf, AskedBefore, SaidNo, OutOfReach, HearsNow: what becomes of an ask.
	OwnChapter struct{ Own any }
	Already    struct{ Chapter any }
	Asked      struct{ Chapter any }
	// AskedIf is the same whether or not there is such a chapter.
	AskedIf     struct{ Name string }
	AskedBefore struct {
		Chapter any
		Day     locales.Day
	}
	SaidNo struct {
		Chapter any
		Again   locales.Time
	}
	OutOfReach struct{ Chapter any }
	HearsNow   struct {
		Chapter any
		Clear   bool
	}
	// HeardNow tells a chapter that is open who hears it now.
	HeardNow struct {
		Own, Chapter any
		Clear        bool
	}

	// AskToHear is the question. Another: other rooms of that chapter hear this one already. Word: yes must be typed.
	AskToHear struct {
		Own, Chapter any
		Another      bool
		Clear        bool
		Word         bool
	}
	Agreed struct {
		Own, Chapter any
		Clear        bool
	}
	AgreedThere struct {
		Chapter any
		Clear   bool
	}
	// Declined: Told is whether the other side learns of it.
	Declined struct {
		Own, Chapter any
		Told         bool
	}
	DeclinedThere struct{ Chapter any }
	// Decided answers who comes later than another moderator.
	Decided struct {
		Chapter any
		Yes     bool
	}
	NoLongerAsked struct{}
	YesOrNo       struct{ Word bool }
	// Lapsed tells the asking room that nobody answered.
	Lapsed struct{ Chapter any }

	Unfollowed struct{ Chapter any }
	TakenBack  struct{ Chapter any }
	// HearsNothing is the same whether or not there is such a chapter.
	HearsNothing struct{ Name string }

	// Followers is what /relay followers shows.
	Followers struct {
		Heard   any // HeardBy or NotHeard
		Asking  []any
		No      any // as in Overview
		Example any // one that can be removed; nil when there is none
	}
	NotAsking    struct{ Name string }
	NotFollowing struct{ Name string }
	Removed      struct{ Own, Chapter any }
	RemovedThere struct{ Chapter any }

	// Opened, Closed, Listed, Unlisted: what the chapter chose. Hidden: it is not listed.
	Opened struct {
		Own    any
		Hidden bool
	}
	Closed   struct{ Own any }
	Listed   struct{ Own any }
	Unlisted struct{ Own any }
)
