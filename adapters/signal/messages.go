package signal

import "starling/locales"

// Messages lists what the adapter says to people; each is a locale entry signal.<snake_case type>.
func Messages() []any {
	return []any{NotOnSignal{}, Missed{}, NewNumber{}, YourNewNumber{}, WriteAgain{}, MayTrust{}, Captcha{}, Limited{}, Unreadable{}, UnreadableHere{}, Unlinked{}, Expired{}, Down{}}
}

type (
	// NotOnSignal says how many people of a group no longer get anything, for their account is gone.
	NotOnSignal struct{ Count int }
	// Missed says how many people of a group did not get the last message, which others have.
	Missed struct{ Count int }
	// NewNumber says that somebody's safety number changed and was taken.
	NewNumber struct{ Name string }
	// YourNewNumber says so in a direct chat.
	YourNewNumber struct{}
	// WriteAgain says that what somebody wrote before her new safety number was taken did not arrive.
	WriteAgain struct{ Name string }
	// MayTrust asks the moderators whether a safety number that changed is right.
	MayTrust struct{ Name string }
	// Captcha says that Signal wants proof, and how to give it.
	Captcha struct{}
	// Limited says until when Signal takes nothing.
	Limited struct{ Until locales.Clock }
	// Unreadable tells somebody that her message could not be read, UnreadableHere a group of hers.
	Unreadable     struct{}
	UnreadableHere struct{ Name string }
	// Unlinked, Expired and Down tell operators why nothing goes over Signal.
	Unlinked struct{}
	Expired  struct{}
	Down     struct{}
)
