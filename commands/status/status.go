// Package status says how the bot is: to everybody whether something waits for their room, and in the rooms of those who run the bot
// how its networks are, as soon as something is wrong with one.
package status

import (
	"starling/bot"
	"starling/locales"
)

// Capability is /status.
func Capability() bot.Capability {
	return bot.Capability{
		Name: "status",
		Commands: []bot.Command{{
			Name: "status", Where: bot.InRoom, Do: show, Hidden: true,
			Sub: []bot.Command{
				{Name: "here", Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Changes, Params: []bot.Param{{Name: "proof", Type: bot.ParamWord, Optional: true}}, Do: here},
				{Name: "off", Who: bot.Moderators, Where: bot.InRoom, Effect: bot.Changes, Do: off},
			},
		}},
		Messages: []any{Overview{}, Waiting{}, Network{}, Here{}, Off{}, NotHere{}, WrongCode{}},
	}
}

// What the capability says. Each is a locale entry status.<snake_case type>.
type (
	// Overview is what /status shows. Networks are shown in operators' rooms only.
	Overview struct {
		Waiting  any
		Networks []any
	}
	// Waiting is how many messages have not reached this room yet.
	Waiting struct{ Count int }
	// Network is how one network is; Trouble is for operators, and in English.
	Network struct {
		Name    locales.Safe
		Well    bool
		Trouble string
	}
	// Here and Off say whether the room hears of the bot's troubles from now on, NotHere that it did not.
	Here    struct{}
	Off     struct{}
	NotHere struct{}
	// WrongCode says where the right one is shown.
	WrongCode struct{}
)

func show(t *bot.Turn, _ bot.Args) error {
	n, err := t.WaitingIn(t.Room.ID)
	if err != nil {
		return err
	}
	o := Overview{Waiting: Waiting{Count: n}}
	if t.Room.Settings[bot.SettingOperators] == "yes" {
		for _, n := range t.Networks() {
			if n.Report != nil {
				o.Networks = append(o.Networks, Network{Name: locales.Safe(n.Name), Well: n.Report.Connected && n.Report.Trouble == "", Trouble: n.Report.Trouble})
			}
		}
	}
	return t.Done(o)
}

func here(t *bot.Turn, args bot.Args) error {
	if !t.OperatorCode(args.Text("proof")) {
		return bot.Refuse(WrongCode{})
	}
	t.Room.Settings[bot.SettingOperators] = "yes"
	if err := t.SaveRoom(t.Room); err != nil {
		return err
	}
	return t.Done(Here{})
}

func off(t *bot.Turn, _ bot.Args) error {
	if t.Room.Settings[bot.SettingOperators] != "yes" {
		return bot.Refuse(NotHere{})
	}
	delete(t.Room.Settings, bot.SettingOperators)
	if err := t.SaveRoom(t.Room); err != nil {
		return err
	}
	return t.Done(Off{})
}
