package starling

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"starling/bot"
	"starling/locales"
)

// Docs writes the table of commands as a page in English, with the names in all languages.
func Docs(w io.Writer, commands []bot.Info, b *locales.Bundle) error {
	page := bufio.NewWriter(w)
	fmt.Fprint(page, `# Commands

Made from the table of commands by `+"`go test -run TestDocs . -update`"+`; do not edit.

A command begins with `+"`/` or `!`"+`, or with the bot's name: `+"`starling: needs`"+`. In a direct chat the word alone is enough. Every name works in
every room, whatever its language. What stands in brackets may be left out.
`)
	for _, c := range commands {
		key := strings.Join(c.Path, ".")
		if len(c.Path) == 1 {
			fmt.Fprintf(page, "\n## /%s\n\n%s.\n", c.Name, sentence(b.Text(locales.Source, "help."+key)))
			fmt.Fprint(page, "\n| command | who | what it does | for example |\n| --- | --- | --- | --- |\n")
		}
		if c.Do != nil {
			fmt.Fprintf(page, "| `/%s`%s | %s | %s | `%s` |\n", strings.Join(c.Path, " "), params(c, b), who(c), cell(b.Text(locales.Source, "help."+key)),
				cell(b.Text(locales.Source, "example."+key)))
		}
		if ends(commands, c) {
			names(page, commands, c.Path[0], b)
		}
	}
	return page.Flush()
}

// names writes the table of native names of a command and its sub-commands.
func names(w io.Writer, commands []bot.Info, top string, b *locales.Bundle) {
	fmt.Fprint(w, "\n| |")
	for _, l := range locales.Languages() {
		fmt.Fprintf(w, " %s |", l.Name)
	}
	fmt.Fprint(w, "\n| --- |"+strings.Repeat(" --- |", len(locales.Languages()))+"\n")
	for _, c := range commands {
		if c.Path[0] != top {
			continue
		}
		fmt.Fprintf(w, "| %s |", c.Name)
		words := b.Words("command." + strings.Join(c.Path, "."))
		for _, l := range locales.Languages() {
			fmt.Fprintf(w, " %s |", strings.Join(words[l.Code], ", "))
		}
		fmt.Fprintln(w)
	}
}

// ends is whether no further row belongs to the same command.
func ends(commands []bot.Info, c bot.Info) bool {
	for i, o := range commands {
		if strings.Join(o.Path, " ") == strings.Join(c.Path, " ") {
			return i+1 == len(commands) || len(commands[i+1].Path) == 1
		}
	}
	return false
}

func params(c bot.Info, b *locales.Bundle) string {
	var s strings.Builder
	for _, p := range c.Params {
		name := b.Text(locales.Source, "param."+p.Name)
		if p.Optional {
			name = "[" + name + "]"
		}
		s.WriteString(" _" + name + "_")
	}
	return s.String()
}

func who(c bot.Info) string {
	if c.Who == bot.Moderators {
		return "moderators"
	}
	return "anyone"
}

// cell keeps a text from ending its cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func sentence(s string) string {
	r := []rune(s)
	return strings.ToUpper(string(r[:min(1, len(r))])) + string(r[min(1, len(r)):])
}
