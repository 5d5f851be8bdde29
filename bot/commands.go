package bot

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"

	"starling/locales"
	"starling/locales/markup"
)

// node is a command with its place in the table.
type node struct {
	Command
	path []string
	subs []*node
	// words are all words for its sub-commands, folded, in every language.
	words map[string]word
}

type word struct {
	node *node
	lang string // of the word; the first that has it
	text string // as it is written there
}

// Info is a command as help, documentation and completion see it.
type Info struct {
	Command
	Path []string
}

// commandTable is what every part that names, finds or describes a command reads.
type commandTable struct {
	root  node
	names map[string]bool   // what the bot is called, folded
	help  map[string]string // words that ask for help, folded, with their language; clients keep some for themselves after a slash
}

// buildTable makes the table; it fails when two commands share a word in any language.
func buildTable(caps []Capability, l *locales.Bundle, name string) (*commandTable, error) {
	t := &commandTable{names: map[string]bool{markup.FoldWord(name): true, "starling": true}, help: map[string]string{}}
	all := l.Words("word.help")
	for _, lang := range locales.Languages() {
		for _, w := range all[lang.Code] {
			if _, ok := t.help[markup.FoldWord(w)]; !ok {
				t.help[markup.FoldWord(w)] = lang.Code
			}
		}
	}
	for _, c := range caps {
		for _, cmd := range c.Commands {
			t.root.subs = append(t.root.subs, makeNode(cmd, nil))
		}
	}
	return t, t.root.index(l)
}

func makeNode(c Command, above []string) *node {
	n := &node{Command: c, path: append(slices.Clone(above), c.Name)}
	for _, s := range c.Sub {
		n.subs = append(n.subs, makeNode(s, n.path))
	}
	return n
}

func (n *node) index(l *locales.Bundle) error {
	n.words = map[string]word{}
	for _, s := range n.subs {
		key := "command." + strings.Join(s.path, ".")
		all := l.Words(key)
		for _, lang := range locales.Languages() {
			for _, w := range all[lang.Code] {
				f := markup.FoldWord(w)
				if old, ok := n.words[f]; ok && old.node != s {
					return fmt.Errorf("the word %q (%s) means both %s and %s", w, lang.Code, strings.Join(old.node.path, " "), strings.Join(s.path, " "))
				} else if !ok {
					n.words[f] = word{s, lang.Code, w}
				}
			}
		}
		if err := s.index(l); err != nil {
			return err
		}
	}
	return nil
}

// at finds a command by its path of English names.
func (t *commandTable) at(path ...string) *node {
	n := &t.root
	for _, p := range path {
		i := slices.IndexFunc(n.subs, func(s *node) bool { return s.Name == p })
		if i < 0 {
			return nil
		}
		n = n.subs[i]
	}
	return n
}

// Spell writes a command in a language's own words: "/necesidades compartir".
func (e *Engine) Spell(lang string, path ...string) locales.Safe {
	var b strings.Builder
	for i := range path {
		w := e.cfg.Locales.Words("command." + strings.Join(path[:i+1], "."))[lang]
		if len(w) == 0 {
			w = []string{path[i]}
		}
		if i == 0 {
			b.WriteString("/")
		} else {
			b.WriteString(" ")
		}
		b.WriteString(w[0])
	}
	return locales.Safe(b.String())
}

// Commands lists the whole table, parents before their sub-commands.
func (e *Engine) Commands() []Info {
	var all []Info
	var walk func(n *node)
	walk = func(n *node) {
		for _, s := range n.subs {
			all = append(all, Info{s.Command, s.path})
			walk(s)
		}
	}
	walk(&e.commands.root)
	return all
}

// descriptions lists the commands as clients offer them: those that short help names, each with all that follows it as one line.
// Their sub-commands have none of their own: people go on typing, as they would without.
func (e *Engine) descriptions() (all []Description) {
	for _, n := range e.commands.root.subs {
		if n.Hidden {
			continue
		}
		d := Description{Name: n.Name, Help: e.cfg.Locales.Text(e.cfg.Lang, "help."+n.Name), Line: e.example(n)}
		for _, lang := range locales.Languages() {
			for _, w := range e.cfg.Locales.Words("command." + n.Name)[lang.Code] {
				if w != n.Name && !slices.Contains(d.Words, w) && !strings.ContainsFunc(w, unicode.IsSpace) {
					d.Words = append(d.Words, w)
				}
			}
		}
		all = append(all, d)
	}
	return all
}

// example is what may follow a command: that of the command itself, without the command.
func (e *Engine) example(n *node) string {
	_, rest := cut(e.cfg.Locales.Text(e.cfg.Lang, "example."+n.Name))
	return rest
}

// FindCommand finds a command by any of its words in any language ("needs list", "/necesidades").
func (e *Engine) FindCommand(text string) (Info, bool) {
	n, _, _, _ := e.commands.match(strings.TrimLeft(strings.TrimSpace(text), "/!"), true)
	if n == nil {
		return Info{}, false
	}
	return Info{n.Command, n.path}, true
}

// call is a message read as a command.
type call struct {
	node   *node
	rest   string
	lang   string // of the words used
	named  bool   // the bot was named, mentioned or spoken to
	called bool   // by its name, at the beginning of the text
	sigil  bool   // it began with / or !
	word   string // the first word, when it is no command
}

// read looks whether a text is meant as a command. spoken says that the bot is certainly meant (mentioned, direct).
func (t *commandTable) read(text string, spoken bool) call {
	c := call{named: spoken}
	s := strings.TrimSpace(text)
	if after, ok := t.stripName(s); ok {
		s, c.named, c.called = after, true, true
	}
	switch {
	case strings.HasPrefix(s, "//"):
		s, c.sigil = s[2:], true
	case strings.HasPrefix(s, "/"), strings.HasPrefix(s, "!"):
		s, c.sigil = s[1:], true
	case strings.HasPrefix(s, "／"), strings.HasPrefix(s, "！"):
		s, c.sigil = s[3:], true
	}
	if !c.sigil && !c.named {
		return c
	}
	c.node, c.rest, c.lang, c.word = t.match(s, c.named)
	return c
}

// stripName takes the bot's name off the beginning: "starling: needs", "@starling needs".
func (t *commandTable) stripName(s string) (string, bool) {
	first, rest := cut(s)
	bare := strings.TrimRight(strings.TrimPrefix(first, "@"), ":,،;")
	if i := strings.IndexByte(bare, ':'); i > 0 { // @starling:example.org
		bare = bare[:i]
	}
	if bare == "" || !t.names[markup.FoldWord(bare)] || first == bare && rest == "" {
		return s, bare != "" && t.names[markup.FoldWord(bare)] && strings.HasPrefix(first, "@")
	}
	return rest, true
}

// match finds the longest command at the beginning of s. Where the bot is not surely meant, "!?" and "!h" are no call for help.
func (t *commandTable) match(s string, meant bool) (n *node, rest, lang, first string) {
	first, rest = cut(s)
	if at := strings.IndexByte(first, '@'); at > 0 { // /needs@bot:server, of this bot or of another
		local, _, _ := strings.Cut(first[at+1:], ":")
		if !meant && !t.names[markup.FoldWord(local)] {
			return nil, "", "", first
		}
		first = first[:at]
	}
	w, ok := t.root.find(first)
	if !ok && (meant || utf8.RuneCountInString(first) > 2) {
		help, asked := t.help[markup.FoldWord(first)]
		if !asked {
			help, asked = t.help[markup.FoldWord(trimEnd(first))]
		}
		if asked {
			w = word{t.at("starling"), help, first}
		}
	}
	if w.node == nil {
		return nil, "", "", first
	}
	n, lang = w.node, w.lang
	for {
		next, after := cut(rest)
		w, ok := n.find(next)
		if !ok || next == "" {
			return n, rest, lang, first
		}
		n, rest = w.node, after
	}
}

// find is the sub-command that a word means, in any language; a sentence may end with it.
func (n *node) find(typed string) (w word, ok bool) {
	if w, ok = n.words[markup.FoldWord(typed)]; !ok {
		w, ok = n.words[markup.FoldWord(trimEnd(typed))]
	}
	return w, ok
}

// trimEnd takes the punctuation off the end of a word.
func trimEnd(word string) string { return strings.TrimRight(word, ".,:;!?…،؛؟") }

// cut splits off the first word.
func cut(s string) (first, rest string) {
	s = strings.TrimSpace(s)
	i := strings.IndexFunc(s, unicode.IsSpace)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// nearest is the sub-command whose word is at most two letters away; its node is nil when none is. Words of lang go first.
func (n *node) nearest(typed, lang string) (best word) {
	f := markup.FoldWord(typed)
	length := utf8.RuneCountInString(f)
	if length < 3 || length > 40 {
		return best
	}
	limit := 2
	if length < 6 {
		limit = 1
	}
	// The same every time: by distance, then the reader's own words, then the order of the table and of the alphabet.
	rank := func(d int, w word) string {
		foreign := 1
		if w.lang == lang {
			foreign = 0
		}
		return fmt.Sprintf("%d %d %04d %s", d, foreign, slices.Index(n.subs, w.node), w.text)
	}
	first := ""
	for folded, w := range n.words {
		d := levenshtein.ComputeDistance(f, folded)
		if r := rank(d, w); d <= limit && (first == "" || r < first) {
			first, best = r, w
		}
	}
	return best
}

// suggest writes the nearest command as it is called in a language: by the word that was nearly typed, when that is one of its.
func (e *Engine) suggest(w word, lang string) locales.Safe {
	spelled := e.Spell(lang, w.node.path...)
	if w.lang != lang {
		return spelled
	}
	return locales.Safe(string(spelled)[:strings.LastIndexAny(string(spelled), "/ ")+1] + w.text)
}
