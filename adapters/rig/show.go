package rig

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"starling/bot"
	"starling/locales/markup"
)

var (
	isolates  = strings.NewReplacer("\u2066", "", "\u2067", "", "\u2068", "", "\u2069", "")
	shortCode = regexp.MustCompile(`\b[A-Z]-[0-9A-HJKMNP-TV-Z]{4,}\b`)
)

// Readable writes a text of the bot as people see it, with the marks of the Markdown subset where it is bold, italic or code.
// Isolates are left out; what would look like a mark and is none has a backslash.
func Readable(text string) string {
	var b strings.Builder
	d := markup.Parse(text)
	for i, block := range d.Blocks {
		if i > 0 {
			b.WriteByte('\n')
		}
		for j, item := range block.Items {
			if j > 0 {
				b.WriteByte('\n')
			}
			var one strings.Builder
			readable(&one, item)
			s := one.String()
			if block.List {
				s = "- " + strings.ReplaceAll(s, "\n", "\n  ")
			}
			b.WriteString(s)
		}
	}
	return isolates.Replace(b.String())
}

var looksLikeMark = strings.NewReplacer(`*`, `\*`, "`", "\\`", `_`, `\_`, `[`, `\[`)

func readable(b *strings.Builder, nodes []markup.Node) {
	for _, n := range nodes {
		switch n.Kind {
		case markup.Text:
			b.WriteString(looksLikeMark.Replace(n.Text))
		case markup.Code:
			b.WriteString("`" + n.Text + "`")
		case markup.Bold:
			b.WriteString("**")
			readable(b, n.Children)
			b.WriteString("**")
		case markup.Italic:
			b.WriteString("_")
			readable(b, n.Children)
			b.WriteString("_")
		case markup.Link:
			b.WriteString("[")
			readable(b, n.Children)
			b.WriteString("](" + n.URL + ")")
		}
	}
}

// Row is the outbox row of a call, the last part of its idempotency key. What is delivered at the same instant is printed in the
// order of its rows.
func Row(out bot.Outgoing) int {
	n, err := strconv.Atoi(out.ID[strings.LastIndexByte(out.ID, '-')+1:])
	if err != nil {
		return 0
	}
	return n
}

// sortEvents puts what happened at one instant in the order of its rows.
func sortEvents(all []Event) {
	slices.SortStableFunc(all, func(a, b Event) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return Row(a.Outgoing) - Row(b.Outgoing)
	})
}

// describe says in words what the bot did.
func describe(ev Event, marks []string) string {
	who := "starling"
	if len(marks) > 0 {
		who += " (" + strings.Join(marks, ", ") + ")"
	}
	text := strings.ReplaceAll(Readable(ev.Text), "\n", "\n  ")
	switch ev.Kind {
	case bot.OutEdit:
		return who + " edits: " + text
	case bot.OutDelete:
		return who + " deletes"
	case bot.OutReaction:
		return who + " reacts " + ev.Text
	case bot.OutFile:
		f := ev.File
		return fmt.Sprintf("%s sends %s (%s, %s, %q)", who, f.Name, f.Type, size(len(f.Data)), f.Description)
	case bot.OutLeave:
		return who + " leaves"
	}
	return who + ": " + text
}

func size(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
