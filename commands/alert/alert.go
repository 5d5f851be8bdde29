// Package alert carries an urgent message from one room to every room that asked to hear its chapter, framed in each
// room's language, and tells the origin what arrived where and who can help. What goes out in a room's name is confirmed
// in that room, by the rule that its moderators chose.
package alert

import (
	"embed"

	"go.mau.fi/util/dbutil"

	"starling/bot"
)

//go:embed upgrades/*.sql
var upgradeFiles embed.FS

const kind = "alert"

// Topics and timers.
const (
	topicPreview = "alert.preview" // what the origin sees: first the preview, later what became of it
	topicAnswer  = "alert.answer"  // an alert in a room that it reached
	timerLapse   = "alert.lapse"   // nobody confirmed in time
)

// Capability is /alert.
func Capability() bot.Capability {
	code := bot.Param{Name: "code", Type: bot.ParamCode, Kinds: []string{kind}}
	return bot.Capability{
		Name: "alert",
		Commands: []bot.Command{{
			Name: "alert", Where: bot.InRoom, Chapter: true, Do: raise,
			Params: []bot.Param{{Name: "alert", Type: bot.ParamText, Optional: true}},
			Sub: []bot.Command{
				{Name: "list", Where: bot.InRoom, Do: list},
				{Name: "status", Where: bot.InRoom, Params: []bot.Param{code}, Do: status},
				{Name: "clear", Where: bot.InRoom, Chapter: true, Do: clearAlert,
					Params: []bot.Param{code, {Name: "words", Type: bot.ParamText, Optional: true}}},
			},
		}},
		Messages:  messages,
		Kinds:     []bot.RecordKind{{Name: kind, Letter: "A", Index: index, Settled: settled, Withdrawn: withdrawn}},
		Dialogues: []bot.Dialogue{raising},
		Topics: map[string]func(*bot.Turn, string, bot.Answer) error{
			topicPreview: previewAnswer,
			topicAnswer:  alertAnswer,
		},
		Timers:   map[string]func(*bot.Turn, string) error{timerLapse: lapse},
		Upgrades: dbutil.BuildUpgradeTable().WithFSPath(upgradeFiles, "upgrades").Finish(),
		Tables:   []bot.Table{answersTable},
	}
}
