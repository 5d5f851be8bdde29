package main

import (
	"starling/bot"
	"starling/commands/alert"
	"starling/commands/calendar"
	"starling/commands/forget"
	"starling/commands/needs"
	shared "starling/commands/principles"
	"starling/commands/relay"
	"starling/commands/room"
	"starling/commands/starling"
	"starling/data"
)

// capabilities lists what this bot can do, in the order in which help shows it. A new capability is one line here.
func capabilities(principles []data.Principle) []bot.Capability {
	return []bot.Capability{
		needs.Capability(),
		calendar.Capability(),
		alert.Capability(),
		shared.Capability(principles),
		relay.Capability(),
		room.Capability(),
		forget.Capability(),
		starling.Capability(),
	}
}
