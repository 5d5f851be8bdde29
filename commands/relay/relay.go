// Package relay decides who hears whom. A room asks to hear a chapter, the chapter's moderators say yes or no, and either side
// ends it at once: nothing crosses from one chapter to another without both.
//
// A chapter that did not choose to be listed can be asked by who knows its whole name. Until it says yes, nothing that the
// asking room reads tells whether there is such a chapter at all.
package relay

import (
	"embed"
	"time"

	"go.mau.fi/util/dbutil"

	"starling/bot"
)

//go:embed upgrades/*.sql
var upgrades embed.FS

const (
	// topicAsk is the question to the followed chapter; its ref is an ask's.
	topicAsk = "relay.ask"
	// waits is how long a question waits for an answer.
	waits = 14 * 24 * time.Hour
	// pause is how long a no stands before the same chapter can ask again.
	pause = 24 * time.Hour
	// remembers is how long an answer is remembered: as long as the question can be answered a second time, and who was
	// sent away is asked about even where following is open.
	remembers = 30 * 24 * time.Hour
)

// Capability is /relay.
func Capability() bot.Capability {
	chapter := []bot.Param{{Name: "chapter", Type: bot.ParamText}}
	onOff := []bot.Param{{Name: "switch", Type: bot.ParamChoice, Choices: []string{"on", "off"}}}
	return bot.Capability{
		Name: "relay",
		Commands: []bot.Command{{
			Name: "relay", Where: bot.InRoom, Do: overview,
			Sub: []bot.Command{
				{Name: "follow", Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Sends, Chapter: true, Params: chapter, Do: follow},
				{Name: "unfollow", Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Changes, Chapter: true, Params: chapter, Do: unfollow},
				{Name: "followers", Who: bot.Moderators, Where: bot.InRoom, Chapter: true, Do: followers},
				{Name: "allow", Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Sends, Chapter: true, Params: chapter, Do: allow},
				{Name: "remove", Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Changes, Chapter: true, Params: chapter, Do: remove},
				{Name: "open", Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Changes, Chapter: true, Params: onOff, Do: setOpen},
				{Name: "listed", Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Changes, Chapter: true, Params: onOff, Do: setListed},
			},
		}},
		Messages: messages,
		Topics:   map[string]func(*bot.Turn, string, bot.Answer) error{topicAsk: answered},
		Upgrades: dbutil.BuildUpgradeTable().WithFSPath(upgrades, "upgrades").Finish(),
		Tables: []bot.Table{{
			Name: "relay_asks", Forget: bot.Nothing[bot.PersonID], Expire: lapse, Export: bot.NothingToExport, Rebuild: bot.NothingToRebuild,
		}},
	}
}

// own is the chapter of the room that a turn is about.
func own(t *bot.Turn) (*bot.Chapter, error) { return t.Chapter(t.Room.Chapter) }

// deciding is the own chapter, if this room may decide for it.
func deciding(t *bot.Turn) (*bot.Chapter, error) {
	c, err := own(t)
	if err != nil {
		return nil, err
	}
	if !t.Room.Speaks {
		return nil, bot.Refuse(NotDeciding{Chapter: c.Name})
	}
	return c, nil
}
