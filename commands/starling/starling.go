// Package starling is the bot's help: what it can do here, for this person, and how one command is used. It reads the table of
// commands that everything else reads, so that help and bot cannot disagree.
package starling

import (
	"strings"

	"starling/bot"
	"starling/locales"
)

// Capability gives the command /starling.
func Capability() bot.Capability {
	return bot.Capability{
		Name:     "starling",
		Messages: []any{Help{}, Line{}, Explanation{}},
		Commands: []bot.Command{{
			Name:   "starling",
			Params: []bot.Param{{Name: "command", Type: bot.ParamCommand, Optional: true}},
			Do:     help,
		}},
	}
}

type (
	// Help lists what can be done here by this person.
	Help struct {
		Direct   bool
		Stranger bool         // shares no room with the bot
		Setup    locales.Safe // the command that sets this room up, when nobody has and this person may
		Lines    []any
		More     []any // commands that need no line of their own
		One      locales.Safe
	}
	// Line is one command in a list.
	Line struct {
		Command locales.Safe
		Help    locales.Term
	}
	// Explanation is about one command.
	Explanation struct {
		Command    locales.Safe
		Help       locales.Term
		Off        bool
		Subs       []any        // lines
		Words      []any        // the sub-commands' names, where there are too many for a line each
		One        locales.Safe // explains one of Words
		Moderators bool         // it is for those who moderate
		Theirs     []any        // sub-commands that are for those who moderate only
		Example    locales.Safe
	}
)

// maxLines is how many sub-commands get a line each; more fill a phone.
const maxLines = 7

func help(t *bot.Turn, a bot.Args) error {
	v, err := viewer(t)
	if err != nil {
		return err
	}
	if a.Has("command") {
		return t.Done(v.explain(strings.Fields(a.Text("command"))))
	}
	h := Help{Direct: t.Here.Direct, Stranger: v.stranger}
	if v.moderator && t.Room.Lang == "" && !t.Room.Direct {
		h.Setup = t.Command("room", "setup")
	}
	for _, c := range t.Commands() {
		switch {
		case len(c.Path) > 1 || c.Name == "starling" || !v.may(c):
		case c.Hidden && !v.stranger:
			h.More = append(h.More, spelled(t, c))
		case !c.Hidden:
			h.Lines = append(h.Lines, line(t, c))
			if h.One == "" {
				h.One = v.explaining(c.Path)
			}
		}
	}
	return t.Done(h)
}

// view is what one person may do here.
type view struct {
	t         *bot.Turn
	stranger  bool
	moderator bool
	chapter   bool
}

func viewer(t *bot.Turn) (view, error) {
	v := view{t: t, moderator: t.Moderator(), chapter: t.Room.Chapter != ""}
	if !t.Here.Direct {
		return v, nil
	}
	rooms, err := t.RoomsOf(t.Person.ID)
	if err != nil {
		return v, err
	}
	v.stranger = len(rooms) == 0
	for _, r := range rooms {
		m, err := t.Tx.Member(r.ID, t.Person.ID)
		if err != nil {
			return v, err
		}
		v.moderator = v.moderator || m != nil && m.Moderator
		v.chapter = v.chapter || r.Chapter != ""
	}
	return v, nil
}

// may is whether it makes sense to offer a command.
func (v view) may(c bot.Info) bool {
	return !v.t.Room.Off(c.Path[0]) && (v.moderator || c.Who != bot.Moderators) && (v.chapter || !c.Chapter) && (!v.stranger || c.Where != bot.InRoom)
}

func (v view) explain(path []string) Explanation {
	t := v.t
	x := Explanation{Off: t.Room.Off(path[0])}
	var subs []bot.Info
	for _, c := range t.Commands() {
		switch {
		case strings.Join(c.Path, " ") == strings.Join(path, " "):
			x.Command, x.Help, x.Moderators = t.Command(path...), key("help", path), c.Who == bot.Moderators
			x.Example = locales.Safe(t.Locales().Text(t.Lang, string(key("example", path))))
		case len(c.Path) != len(path)+1 || strings.Join(c.Path[:len(path)], " ") != strings.Join(path, " "):
		case c.Who == bot.Moderators && !v.moderator:
			x.Theirs = append(x.Theirs, last(t, c.Path))
		default:
			subs = append(subs, c)
		}
	}
	for _, c := range subs {
		if len(subs) > maxLines {
			x.Words = append(x.Words, last(t, c.Path))
		} else {
			x.Subs = append(x.Subs, line(t, c))
		}
	}
	if x.Example == x.Command {
		x.Example = "" // it says no more than the first line
	}
	if len(x.Words) > 0 {
		x.One = v.explaining(subs[0].Path)
	}
	return x
}

// explaining writes the command that explains another: "/starling room setup".
func (v view) explaining(path []string) locales.Safe {
	return v.t.Command("starling") + " " + locales.Safe(strings.TrimPrefix(string(v.t.Command(path...)), "/"))
}

func line(t *bot.Turn, c bot.Info) Line {
	return Line{Command: t.Command(c.Path...), Help: key("help", c.Path)}
}

func spelled(t *bot.Turn, c bot.Info) locales.Safe { return "`" + t.Command(c.Path...) + "`" }

// last writes the last word of a command as code.
func last(t *bot.Turn, path []string) locales.Safe {
	words := strings.Fields(string(t.Command(path...)))
	return locales.Safe("`" + words[len(words)-1] + "`")
}

func key(kind string, path []string) locales.Term {
	return locales.Term(kind + "." + strings.Join(path, "."))
}
