package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"starling/bot"
	"starling/locales"
)

type manCmd struct{}

func (manCmd) Run(k *kong.Kong, c *cli) error {
	return c.throwaway(defaultConfig(), func(e *bot.Engine, b *locales.Bundle) error { return manPage(os.Stdout, k.Model, e.Commands(), b) })
}

// roff makes a text safe in a man page.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// manPage writes starling(1) from the command line's model and the table of the bot's own commands.
func manPage(to io.Writer, app *kong.Application, commands []bot.Info, b *locales.Bundle) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, `.TH STARLING 1 "" "Starling %s" "User Commands"
.SH NAME
starling \- a chat bot for the rooms of autonomous chapters
.SH SYNOPSIS
.B starling
.RI [ command ]
.RI [ flags ]
.SH DESCRIPTION
Starling carries needs, alerts, a calendar and shared principles between Matrix rooms and Signal groups, and nothing that a room did not ask for.
Without a command it opens the console: demo rooms in this terminal.
.SH COMMANDS
`, roff(version))
	for _, n := range app.Leaves(true) {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff("starling "+strings.TrimPrefix(n.Path(), "starling ")), roff(n.Help))
		for _, f := range n.Flags {
			fmt.Fprintf(w, ".RS\n.TP\n.B %s\n%s\n.RE\n", roff(f.String()), roff(f.Help))
		}
	}
	fmt.Fprint(w, ".SH FLAGS OF ALL COMMANDS\n")
	for _, f := range app.Flags {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(f.String()), roff(f.Help))
	}
	fmt.Fprint(w, ".SH IN CHAT\nWhat people say to the bot, in any of its languages; here in English. In a direct chat the word alone is enough.\n")
	for _, c := range commands {
		if c.Do == nil {
			continue
		}
		key := strings.Join(c.Path, ".")
		fmt.Fprintf(w, ".TP\n.B %s\n%s. For example: %s\n", roff("/"+strings.Join(c.Path, " ")), roff(b.Text(locales.Source, "help."+key)), roff(b.Text(locales.Source, "example."+key)))
	}
	fmt.Fprint(w, `.SH FILES
.TP
.I config.toml
The configuration, in the working directory or as named with \-\-config. The one that ships holds every key at its default.
.TP
.I starling.db, starling.key
In the state directory: all that the bot keeps, and the key that it is sealed with.
.TP
.I crypto.db, crypto.key
In the state directory: the Matrix device. Never restore them from a copy.
.TP
.I matrix\-recovery\-key.txt
In the state directory, until it is moved elsewhere: the way back into the bot's Matrix identity.
.TP
.I matrix\-appservice.yaml
In the state directory: the registration as an application service.
.SH EXIT STATUS
0 when all is well, 1 when something is not (for
.B starling doctor\fR: when something does not work), 78 when only an operator can mend it, such as a configuration that is wrong or a login that has ended, 80 when the command line was not understood.
`)
	return w.Flush()
}
