package rig

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// line is one line of a conversation, with those that continue it.
type line struct {
	no   int
	raw  []string // as it stands
	acts []act    // none for comments and blank lines
}

// act is one thing that a line makes happen: a directive, or what a person does.
type act struct {
	directive string // "room"; "" for what a person does
	words     []string
	opts      map[string]string // key=value

	room      string // "lille"; of a direct chat the person
	direct    bool
	person    string
	moderator bool
	verb      string // says, replies, reacts, unreacts, edits, deletes, attaches
	code      string // what it is done to
	emoji     string
	file      string
	thread    bool
	clear     bool
	again     bool
	unsigned  bool
	sent      string
	text      string
}

// directives says how many words each takes, without the key=value pairs.
var directives = map[string]struct{ min, max int }{
	"clock": {1, 1}, "seed": {1, 1}, "limits": {0, 0}, "advance": {1, 1}, "stop": {0, 0}, "restart": {0, 0},
	"network": {1, 1}, "room": {1, 2}, "invite": {1, 2}, "join": {2, 2}, "leave": {2, 2}, "promote": {2, 2}, "demote": {2, 2},
	"remove": {1, 1}, "upgrade": {1, 1}, "timer": {2, 2},
	"down": {2, 2}, "slow": {2, 2}, "refuse": {3, 3}, "limit": {2, 2}, "nokey": {1, 1}, "key": {1, 1},
	"notice": {2, 4}, "translator": {1, 6}, "serve": {2, 2}, "crash": {1, 1}, "silence": {0, 0},
}

// plainDirectives are those that can be followed on real servers, too.
var plainDirectives = []string{"clock", "advance", "restart", "seed", "room", "invite", "join", "leave", "promote", "demote", "remove", "silence"}

// Plain tells whether a conversation needs nothing but servers, people and a bot whose clock can be set: no faults, no second
// network, nothing outside, so that it can be held on real servers, too.
func Plain(script string) bool { return plain(script, false) }

// plain is Plain; two allows for a second network.
func plain(script string, two bool) bool {
	s := newScanner(strings.NewReader(script))
	for {
		l, err := s.next(false)
		if err != nil {
			return err == io.EOF
		}
		for _, a := range l.acts {
			if two && a.directive == "network" && a.opts["like"] == "signal" {
				continue
			}
			if a.directive != "" && !slices.Contains(plainDirectives, a.directive) || a.opts["on"] != "" && !two || a.directive == "invite" && strings.HasPrefix(a.words[0], "@") ||
				a.again || a.unsigned || a.sent != "" || a.file != "" {
				return false
			}
		}
	}
}

// scanner reads a conversation line by line.
type scanner struct {
	r      *bufio.Reader
	no     int
	peeked *string
	err    error
}

func newScanner(r io.Reader) *scanner { return &scanner{r: bufio.NewReader(r)} }

func (s *scanner) read() (string, error) {
	if s.peeked != nil {
		l := *s.peeked
		s.peeked = nil
		return l, nil
	}
	if s.err != nil {
		return "", s.err
	}
	l, err := s.r.ReadString('\n')
	s.err = err
	if l == "" && err != nil {
		return "", err
	}
	return strings.TrimRight(l, "\r\n"), nil
}

// next gives the next line; io.EOF at the end. Where somebody types the lines (live), a line is whole as it comes: nothing
// says yet whether another will continue it.
func (s *scanner) next(live bool) (*line, error) {
	first, err := s.read()
	if err != nil {
		return nil, err
	}
	s.no++
	l := &line{no: s.no, raw: []string{first}}
	text := first
	for !live && strings.HasPrefix(first, "[") {
		more, err := s.read()
		if err != nil {
			break
		}
		if !strings.HasPrefix(more, "  ") {
			s.peeked = &more
			break
		}
		s.no++
		l.raw = append(l.raw, more)
		text += "\n" + more[2:]
	}
	if l.acts, err = parseLine(text); err != nil {
		return l, fmt.Errorf("line %d: %w", l.no, err)
	}
	return l, nil
}

func parseLine(text string) ([]act, error) {
	switch {
	case strings.TrimSpace(text) == "", strings.HasPrefix(text, "#"):
		return nil, nil
	case strings.HasPrefix(text, "["):
		a, err := parseDeed(text)
		return []act{a}, err
	case !strings.HasPrefix(text, "@"):
		return nil, fmt.Errorf("%q is no comment (#), no directive (@) and nothing that somebody says ([room] name: …)", cut(text, 40))
	}
	var acts []act
	for i, one := range strings.Split(text, " · @") {
		if i == 0 {
			one = one[1:]
		}
		a, err := parseDirective(one)
		if err != nil {
			return nil, err
		}
		acts = append(acts, a)
	}
	return acts, nil
}

func parseDirective(text string) (act, error) {
	fields, err := splitWords(text)
	if err != nil {
		return act{}, err
	}
	if len(fields) == 0 {
		return act{}, fmt.Errorf("@ alone is no directive")
	}
	a := act{directive: fields[0], opts: map[string]string{}}
	takes, ok := directives[a.directive]
	if !ok {
		return a, fmt.Errorf("there is no directive @%s", a.directive)
	}
	for _, f := range fields[1:] {
		key, value, isOpt := strings.Cut(f, "=")
		if isOpt && key != "" && a.directive != "translator" && a.directive != "serve" {
			a.opts[key] = value
			continue
		}
		a.words = append(a.words, f)
	}
	if len(a.words) < takes.min || len(a.words) > takes.max {
		return a, fmt.Errorf("@%s takes %d to %d words, not %d", a.directive, takes.min, takes.max, len(a.words))
	}
	known := map[string][]string{
		"limits": {"person", "room"}, "network": {"like"}, "notice": {"name"}, "invite": {"by", "on", "members"},
		"room": {"on", "lang", "tz", "chapter", "members", "follows", "timer"},
	}[a.directive]
	for key := range a.opts {
		if !slices.Contains(known, key) {
			return a, fmt.Errorf("@%s knows no %s=", a.directive, key)
		}
	}
	return a, nil
}

// splitWords splits at spaces; double quotes hold together what has some.
func splitWords(s string) ([]string, error) {
	var words []string
	var b strings.Builder
	quoted, begun := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case unicode.IsSpace(r) && !quoted:
			if begun {
				words = append(words, b.String())
			}
			b.Reset()
			begun = false
		default:
			b.WriteRune(r)
			begun = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quotation mark is not closed")
	}
	if begun {
		words = append(words, b.String())
	}
	return words, nil
}

var deed = regexp.MustCompile(`(?s)^\[(@?)([^\]\s]+)\] +([^\s:*]+)(\*?)(.*)$`)

// parseDeed reads what a person does: "[room] name: text" and its other forms.
func parseDeed(text string) (act, error) {
	m := deed.FindStringSubmatch(text)
	if m == nil {
		return act{}, fmt.Errorf("%q is not like \"[room] name: …\"", cut(text, 40))
	}
	a := act{direct: m[1] != "", room: m[2], person: m[3], moderator: m[4] != "", verb: "says"}
	rest := m[5]
	wrong := func(what string) (act, error) { return a, fmt.Errorf("what %s does: %s", a.person, what) }
	for {
		rest = strings.TrimLeft(rest, " \n")
		if strings.HasPrefix(rest, "(") {
			mark, after, ok := strings.Cut(rest[1:], ")")
			if !ok {
				return wrong("a bracket is not closed")
			}
			switch sent, isSent := strings.CutPrefix(mark, "sent "); {
			case mark == "clear":
				a.clear = true
			case mark == "again":
				a.again = true
			case mark == "unsigned":
				a.unsigned = true
			case isSent:
				a.sent = sent
			default:
				return wrong("there is no mark (" + mark + ")")
			}
			rest = after
			continue
		}
		if after, ok := strings.CutPrefix(rest, ":"); ok {
			if a.verb == "reacts" || a.verb == "unreacts" || a.verb == "deletes" {
				return wrong(a.verb + " takes no text")
			}
			a.text = strings.TrimPrefix(after, " ")
			return a, nil
		}
		if strings.TrimSpace(rest) == "" {
			break
		}
		word := rest
		if i := strings.IndexAny(rest, " \n:("); i >= 0 {
			word = rest[:i]
		}
		rest = rest[len(word):]
		switch {
		case a.verb == "says" && word == "in" && strings.HasPrefix(rest, " thread"):
			a.thread = true
			rest = strings.TrimPrefix(rest, " thread")
		case a.verb == "says" && slices.Contains([]string{"replies", "reacts", "unreacts", "edits", "deletes", "attaches"}, word):
			a.verb = word
		case (a.verb == "reacts" || a.verb == "unreacts") && a.emoji == "":
			a.emoji = word
		case a.verb == "attaches" && a.file == "":
			a.file = word
		case word == "to" && slices.Contains([]string{"replies", "reacts", "unreacts"}, a.verb) && a.code == "":
			rest = strings.TrimLeft(rest, " \n")
			a.code = rest
			if i := strings.IndexAny(rest, " \n:("); i >= 0 {
				a.code = rest[:i]
			}
			rest = rest[len(a.code):]
			if a.code == "" {
				return wrong("to what is not said")
			}
		default:
			return wrong("not understood from " + fmt.Sprintf("%q", cut(word+rest, 30)))
		}
	}
	switch {
	case (a.verb == "reacts" || a.verb == "unreacts") && a.emoji == "":
		return wrong("with which emoji is not said")
	case a.verb == "attaches" && a.file == "":
		return wrong("which file is not said")
	case a.verb == "says" || a.verb == "replies" || a.verb == "edits":
		return wrong("the colon and what is said are missing")
	}
	return a, nil
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
