package markup

import (
	"html"
	"strings"
	"unicode/utf16"
)

// HTML is d as Matrix's org.matrix.custom.html: only br, strong, em, code, a with href, ul and li.
func HTML(d Doc) string {
	var b strings.Builder
	for i, block := range d.Blocks {
		if block.List {
			b.WriteString("<ul>")
			for _, item := range block.Items {
				b.WriteString("<li>")
				writeHTML(&b, item)
				b.WriteString("</li>")
			}
			b.WriteString("</ul>")
			continue
		}
		var text strings.Builder
		writeHTML(&text, block.Items[0])
		s := text.String()
		// A list stands apart by itself: the blank line beside it would be one too many.
		if i > 0 {
			s = strings.TrimPrefix(s, "<br>")
		}
		if i < len(d.Blocks)-1 {
			s = strings.TrimSuffix(s, "<br>")
		}
		b.WriteString(s)
	}
	return b.String()
}

func writeHTML(b *strings.Builder, nodes []Node) {
	wrap := func(open, end string, n Node) {
		b.WriteString(open)
		writeHTML(b, n.Children)
		b.WriteString(end)
	}
	for _, n := range nodes {
		switch n.Kind {
		case Text:
			b.WriteString(htmlText(n.Text))
		case Code:
			b.WriteString("<code>" + htmlText(n.Text) + "</code>")
		case Bold:
			wrap("<strong>", "</strong>", n)
		case Italic:
			wrap("<em>", "</em>", n)
		case Link:
			wrap(`<a href="`+html.EscapeString(n.URL)+`">`, "</a>", n)
		}
	}
}

func htmlText(s string) string {
	return strings.ReplaceAll(html.EscapeString(s), "\n", "<br>")
}

// Plain is d without any markup: links as "text (address)", list items as "- ". Isolates stay.
func Plain(d Doc) string {
	var b strings.Builder
	walk(d, func(s string) { b.WriteString(s) }, func(Kind) {}, func(Kind) {})
	return b.String()
}

// ANSI is d for a terminal, with ECMA-48 select graphic rendition sequences for what is bold, italic, code or a link.
// It holds no other escape or control characters.
func ANSI(d Doc) string {
	on := map[Kind]string{Bold: "\x1b[1m", Italic: "\x1b[3m", Code: "\x1b[36m", Link: "\x1b[4m"}
	off := map[Kind]string{Bold: "\x1b[22m", Italic: "\x1b[23m", Code: "\x1b[39m", Link: "\x1b[24m"}
	var b strings.Builder
	walk(d, func(s string) { b.WriteString(s) },
		func(k Kind) { b.WriteString(on[k]) },
		func(k Kind) { b.WriteString(off[k]) })
	return b.String()
}

// Style is a stretch of text that is Bold, Italic or Code. Start and Length are in UTF-16 code units, as Signal counts.
type Style struct {
	Start, Length int
	Kind          Kind
}

// Styles is [Plain] with the styles beside it, in the order in which they end.
func Styles(d Doc) (string, []Style) {
	var b strings.Builder
	var styles []Style
	var starts []int // of what is open
	at := 0
	walk(d, func(s string) {
		b.WriteString(s)
		for _, r := range s {
			at += utf16.RuneLen(r)
		}
	}, func(Kind) {
		starts = append(starts, at)
	}, func(k Kind) {
		start := starts[len(starts)-1]
		starts = starts[:len(starts)-1]
		if k != Link && at > start {
			styles = append(styles, Style{Start: start, Length: at - start, Kind: k})
		}
	})
	return b.String(), styles
}

// walk gives the plain text of d piece by piece, and tells when a kind begins and ends.
func walk(d Doc, text func(string), enter, leave func(Kind)) {
	indent := "\n"
	var nodes func([]Node)
	nodes = func(list []Node) {
		for _, n := range list {
			if n.Kind == Text {
				text(strings.ReplaceAll(n.Text, "\n", indent))
				continue
			}
			enter(n.Kind)
			if n.Kind == Code {
				text(strings.ReplaceAll(n.Text, "\n", indent))
			}
			nodes(n.Children)
			leave(n.Kind)
			if n.Kind == Link && !saysAddress(n) {
				text(" (" + lri + n.URL + pdi + ")")
			}
		}
	}
	for i, block := range d.Blocks {
		if i > 0 {
			text("\n")
		}
		if !block.List {
			indent = "\n"
			nodes(block.Items[0])
			continue
		}
		indent = "\n  "
		for j, item := range block.Items {
			if j > 0 {
				text("\n")
			}
			text("- ")
			nodes(item)
		}
	}
}

// saysAddress reports whether a link's own words are its address.
func saysAddress(link Node) bool {
	if len(link.Children) != 1 {
		return false
	}
	said := link.Children[0].Text
	return said == link.URL || "mailto:"+said == link.URL || "https://"+said == link.URL
}
