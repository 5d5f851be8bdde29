// Package markup is the small subset of Markdown in which the bot's text is written, and what makes text that people
// typed safe to stand in it.
//
// A text goes one way: what somebody typed passes [Clean] before it is kept and [Escape] and [Isolate] when it is
// placed in a template; [Parse] reads the finished template, and [HTML], [Plain], [ANSI] or [Styles] show it on a
// network. [Fold] and [FoldWord] say when two names or two words are the same to a reader.
package markup

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind says what a [Node] is.
type Kind int

const (
	Text   Kind = iota // plain characters; a line feed is a line break
	Bold               // **…**
	Italic             // _…_
	Code               // `…`; holds Text, no Children
	Link               // […](URL)
)

// Node is a piece of running text.
type Node struct {
	Kind     Kind
	Text     string // of Text and Code
	URL      string // of Link: absolute, http, https or mailto
	Children []Node // of Bold, Italic and Link
}

// Block is a list, or lines of running text.
type Block struct {
	List  bool
	Items [][]Node // the entries of a list; running text is one item
}

// Doc is a parsed text.
type Doc struct{ Blocks []Block }

const (
	fsi = "\u2068" // first strong isolate
	lri = "\u2066" // left-to-right isolate
	pdi = "\u2069" // pop directional isolate

	maxURL = 2048 // octets
)

// Isolate sets s off from the direction of the text around it with U+2068 and U+2069 (UAX #9), the direction being
// that of its own first letter. An isolate ends with its line, so each line has its own.
func Isolate(s string) string { return isolate(fsi, s) }

// IsolateLTR is [Isolate] for what always runs left to right: codes, commands, addresses.
func IsolateLTR(s string) string { return isolate(lri, s) }

func isolate(open, s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = open + line + pdi
		}
	}
	return strings.Join(lines, "\n")
}

// Escape neutralises every character of s that [Parse] would act upon, wherever in a template it is placed.
func Escape(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		if strings.HasPrefix(line, "-") || strings.HasPrefix(line, " ") {
			b.WriteByte('\\')
		}
		for _, r := range line {
			if strings.ContainsRune("\\*_`[])", r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Parse reads s. It never fails: what is not understood is text. Invalid UTF-8 becomes U+FFFD and control characters
// other than line feeds are dropped, so that no output holds any.
//
// A backslash takes its meaning from any ASCII punctuation or space after it, inside code as well (unlike CommonMark:
// an escaped name in a template's code must show as typed). "- " at the start of a line makes a list item, which
// lines that start with two spaces continue.
func Parse(s string) Doc {
	var d Doc
	var text []string
	flush := func() {
		if text != nil {
			d.Blocks = append(d.Blocks, Block{Items: [][]Node{inline(strings.Join(text, "\n"), true)}})
			text = nil
		}
	}
	var items [][]string
	flushList := func() {
		if items == nil {
			return
		}
		list := Block{List: true}
		for _, lines := range items {
			list.Items = append(list.Items, inline(strings.Join(lines, "\n"), true))
		}
		d.Blocks = append(d.Blocks, list)
		items = nil
	}
	for line := range strings.SplitSeq(printable(s), "\n") {
		if item, ok := strings.CutPrefix(line, "- "); ok {
			flush()
			items = append(items, []string{item})
			continue
		}
		if more, ok := strings.CutPrefix(line, "  "); ok && items != nil {
			last := len(items) - 1
			items[last] = append(items[last], more)
			continue
		}
		flushList()
		text = append(text, line)
	}
	flush()
	flushList()
	return d
}

// printable makes s valid UTF-8 without control characters, except line feeds.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r != '\n' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// frame is an emphasis that is open, with what it holds so far. The lowest one is the text itself (Kind Text).
type frame struct {
	kind  Kind
	mark  string
	nodes []Node
}

// inline reads running text in one pass: at most one bold and one italic are open at a time, and every look ahead is
// bounded or remembered, so hostile text costs no more than its length.
func inline(s string, links bool) []Node {
	stack := []frame{{kind: Text}}
	var text []byte // not yet in the uppermost frame
	top := func() *frame {
		f := &stack[len(stack)-1]
		if len(text) > 0 {
			f.nodes = appendNode(f.nodes, Node{Text: string(text)})
			text = text[:0]
		}
		return f
	}
	add := func(n Node) {
		f := top()
		f.nodes = appendNode(f.nodes, n)
	}
	// pop turns the uppermost open emphasis into what it was typed as.
	pop := func() {
		f := *top()
		stack = stack[:len(stack)-1]
		add(Node{Text: f.mark})
		for _, n := range f.nodes {
			add(n)
		}
	}
	noCode := false // no backtick closes anything from here on
	for i := 0; i < len(s); {
		if n := escaped(s[i:]); n > 0 {
			text = append(text, s[i+1:i+n]...)
			i += n
			continue
		}
		if s[i] == '`' && !noCode {
			code, n := codeSpan(s[i:])
			noCode = n == 0
			if n > 0 && code != "" {
				add(Node{Kind: Code, Text: code})
				i += n
				continue
			}
		}
		if s[i] == '[' && links {
			if link, n := linkSpan(s[i:]); n > 0 {
				add(link)
				i += n
				continue
			}
		}
		kind, mark := emphasis(s[i:])
		if kind == Text {
			text = append(text, s[i])
			i++
			continue
		}
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[i+len(mark):])
		if i == 0 {
			before = ' '
		}
		if i+len(mark) == len(s) {
			after = ' '
		}
		i += len(mark)
		open := -1
		for j, f := range stack {
			if f.kind == kind {
				open = j
			}
		}
		closes := open > 0 && !unicode.IsSpace(before) && (kind == Bold || !wordy(after))
		opens := open < 0 && !unicode.IsSpace(after) && (kind == Bold || !wordy(before))
		switch {
		case closes:
			for len(stack)-1 > open {
				pop()
			}
			f := *top()
			if len(f.nodes) == 0 {
				add(Node{Text: mark})
				break
			}
			stack = stack[:open]
			add(Node{Kind: kind, Children: f.nodes})
		case opens:
			top()
			stack = append(stack, frame{kind: kind, mark: mark})
		default:
			text = append(text, mark...)
		}
	}
	for len(stack) > 1 {
		pop()
	}
	return top().nodes
}

// appendNode joins neighbouring text.
func appendNode(nodes []Node, n Node) []Node {
	if last := len(nodes) - 1; last >= 0 && n.Kind == Text && nodes[last].Kind == Text {
		nodes[last].Text += n.Text
		return nodes
	}
	return append(nodes, n)
}

// escaped returns the length of the backslash escape that s starts with, or 0.
func escaped(s string) int {
	if len(s) >= 2 && s[0] == '\\' && (s[1] == ' ' || s[1] < utf8.RuneSelf && (unicode.IsPunct(rune(s[1])) || unicode.IsSymbol(rune(s[1])))) {
		return 2
	}
	return 0
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if n := escaped(s[i:]); n > 0 {
			b.WriteString(s[i+1 : i+n])
			i += n
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// until returns the index of the first byte of s, from start on, that is one of stops and not escaped, or -1.
func until(s string, start int, stops string) int {
	for i := start; i < len(s); {
		if n := escaped(s[i:]); n > 0 {
			i += n
			continue
		}
		if strings.IndexByte(stops, s[i]) >= 0 {
			return i
		}
		i++
	}
	return -1
}

func codeSpan(s string) (code string, length int) {
	end := until(s, 1, "`")
	if end < 0 {
		return "", 0
	}
	return unescape(s[1:end]), end + 1
}

func linkSpan(s string) (link Node, length int) {
	mid := until(s, 1, "[]")
	if mid < 2 || !strings.HasPrefix(s[mid:], "](") {
		return Node{}, 0
	}
	rest := s[mid+2:]
	if len(rest) > maxURL {
		rest = rest[:maxURL]
	}
	end := until(rest, 0, ") \n")
	if end < 0 || rest[end] != ')' {
		return Node{}, 0
	}
	target, ok := harmlessURL(unescape(rest[:end]))
	if !ok {
		return Node{}, 0
	}
	return Node{Kind: Link, URL: target, Children: inline(s[1:mid], false)}, mid + 2 + end + 1
}

// harmlessURL returns s in its normal form if a link may lead there: the web or a mail address, no user name posing as
// a host, and not matrix.to, which clients show as a mention.
func harmlessURL(s string) (string, bool) {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", false
	}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" || u.User != nil || strings.EqualFold(strings.TrimSuffix(u.Hostname(), "."), "matrix.to") {
			return "", false
		}
	case "mailto":
		if !strings.Contains(u.Opaque, "@") {
			return "", false
		}
	default:
		return "", false
	}
	return u.String(), true
}

func emphasis(s string) (Kind, string) {
	switch {
	case strings.HasPrefix(s, "**"):
		return Bold, "**"
	case strings.HasPrefix(s, "_"):
		return Italic, "_"
	}
	return Text, ""
}

func wordy(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }
