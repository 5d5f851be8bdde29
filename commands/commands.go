// Package commands lists what the bot can do. Each capability is a package of its own below it.
package commands

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
	"starling/commands/status"
	"starling/data"
)

// All lists the capabilities, in the order in which help shows them. A new one is one line here.
func All(principles []data.Principle) []bot.Capability {
	return []bot.Capability{
		needs.Capability(),
		calendar.Capability(),
		alert.Capability(),
		shared.Capability(principles),
		relay.Capability(),
		room.Capability(),
		forget.Capability(),
		status.Capability(),
		starling.Capability(),
	}
}
