package bot

import (
	"slices"
	"strconv"
	"strings"

	"starling/bot/when"
	"starling/locales"
	"starling/locales/markup"
)

// arguments reads what was typed after a command. What is wrong is said with an example that works.
func (t *Turn) arguments(n *node, rest string) (Args, error) {
	a := Args{Raw: rest, vals: map[string]any{}}
	example := locales.Safe(t.Locales().Text(t.Lang, "example."+strings.Join(n.path, ".")))
	wrong := func(what any) error { return Refuse(Wrong{What: what, Example: example}) }
	for i, p := range n.Params {
		if rest == "" {
			if p.Optional {
				continue
			}
			return a, wrong(Missing{Param: locales.Term("param." + p.Name)})
		}
		var typed string
		switch {
		case p.Type == ParamChoice && i == len(n.Params)-1: // some choices have several words: "en parte"
			typed, rest = rest, ""
		case p.Type == ParamWord || p.Type == ParamNumber || p.Type == ParamChoice || p.Type == ParamCode:
			typed, rest = cut(rest)
		default:
			typed, rest = rest, ""
		}
		v, problem, err := t.argument(p, typed)
		if err != nil {
			return a, err
		}
		if problem != nil {
			return a, wrong(problem)
		}
		a.vals[p.Name] = v
	}
	if rest != "" && len(n.subs) > 0 {
		first, _ := cut(rest)
		if w := n.nearest(first, t.Lang); w.node != nil {
			return a, Refuse(DidYouMean{Command: t.e.suggest(w, t.Lang)})
		}
		example = t.e.Spell(t.Lang, "starling") + " " + locales.Safe(strings.TrimPrefix(string(t.e.Spell(t.Lang, n.path...)), "/"))
	}
	if rest != "" && len(n.Params) > 0 || rest != "" && n.Do != nil && len(n.Params) == 0 {
		return a, wrong(TooMuch{Text: markup.Truncate(rest, 60)})
	}
	return a, nil
}

// argument reads one parameter: its value, or what was wrong with it.
func (t *Turn) argument(p Param, typed string) (value, problem any, err error) {
	short := markup.Truncate(typed, 60)
	switch p.Type {
	case ParamText, ParamWord:
		return typed, nil, nil
	case ParamNumber:
		n, err := strconv.Atoi(markup.Digits(typed))
		if err != nil || n < 0 {
			return nil, NotANumber{Text: short}, nil
		}
		return n, nil, nil
	case ParamChoice:
		if v, ok := t.e.choice(p.Choices, typed); ok {
			return v, nil, nil
		}
		var names []any
		for _, c := range p.Choices {
			names = append(names, ChoiceName{Word: locales.Safe(t.e.word("choice."+c, t.Lang))})
		}
		return nil, NotAChoice{Text: short, Choices: names}, nil
	case ParamCode:
		recs, err := t.recordsTyped(typed, p.Kinds...)
		if err != nil {
			return nil, nil, err
		}
		switch len(recs) {
		case 0:
			return nil, NoSuchRecord{Code: locales.Code(strings.ToUpper(short))}, nil
		case 1:
			return recs[0], nil, nil
		}
		var codes []any
		for _, r := range recs {
			name := ""
			if c, err := t.Chapter(r.Chapter); err != nil {
				return nil, nil, err
			} else if c != nil {
				name = c.Name
			}
			codes = append(codes, CodeOf{Code: r.LongCode(), Chapter: name})
		}
		return nil, SeveralRecords{Codes: codes}, nil
	case ParamLanguage:
		if l, ok := locales.LanguageNamed(typed); ok {
			return l.Code, nil, nil
		}
		var known []any
		for _, l := range locales.Languages() {
			known = append(known, LanguageName{Lang: locales.Lang(l.Code)})
		}
		return nil, NoSuchLanguage{Text: short, Known: known}, nil
	case ParamZone:
		places := when.FindZone(typed)
		if len(places) == 0 {
			return nil, NoSuchZone{Text: short}, nil
		}
		return places[0].Zone, nil, nil
	case ParamPerson:
		p, err := t.findPerson(typed)
		if p == nil && err == nil {
			return nil, NoSuchPerson{Text: short}, nil
		}
		return p, nil, err
	case ParamChapter:
		c, err := t.FindChapter(t.Room, typed)
		if c == nil && err == nil {
			return nil, NoSuchChapter{Text: short}, nil
		}
		return c, nil, err
	case ParamCommand:
		if info, ok := t.e.FindCommand(typed); ok {
			return strings.Join(info.Path, " "), nil, nil
		}
		return nil, NoSuchCommand{Text: short}, nil
	}
	panic("unknown parameter type of " + p.Name)
}

// recordsTyped finds what a typed code can mean in this turn. In a direct chat about no room in particular it is looked for in
// every room that she shares with the bot, and among what she wrote herself, wherever that was.
func (t *Turn) recordsTyped(typed string, kinds ...string) ([]*Record, error) {
	found, err := t.FindRecords(t.Room, typed, kinds...)
	if err != nil || !t.Room.Direct || t.Person == nil {
		return found, err
	}
	rooms, err := t.RoomsOf(t.Person.ID)
	if err != nil {
		return nil, err
	}
	mine, err := t.RecordsOf(t.Person.ID)
	if err != nil {
		return nil, err
	}
	more := slices.DeleteFunc(mine, func(r *Record) bool { return !r.meant(typed, kinds) })
	for _, room := range rooms {
		there, err := t.FindRecords(room, typed, kinds...)
		if err != nil {
			return nil, err
		}
		more = append(more, there...)
	}
	for _, r := range more {
		if !slices.ContainsFunc(found, func(o *Record) bool { return o.ID == r.ID }) {
			found = append(found, r)
		}
	}
	return found, nil
}

// choice finds which value a word in any language stands for.
func (e *Engine) choice(values []string, typed string) (string, bool) {
	f := markup.FoldWord(trimEnd(typed))
	for _, v := range values {
		if f == markup.FoldWord(v) {
			return v, true
		}
		for _, words := range e.cfg.Locales.Words("choice." + v) {
			if slices.ContainsFunc(words, func(w string) bool { return markup.FoldWord(w) == f }) {
				return v, true
			}
		}
	}
	return "", false
}

// word is the first word of a word list in a language.
func (e *Engine) word(key, lang string) string {
	if w := e.cfg.Locales.Words(key)[lang]; len(w) > 0 {
		return w[0]
	}
	return key[strings.LastIndexByte(key, '.')+1:]
}

// findPerson finds a member of the room by mention or name; nil when none or several fit.
func (t *Turn) findPerson(typed string) (*Person, error) {
	if t.In != nil && len(t.In.Mentions) > 0 {
		return t.personAt(t.In.Adapter, t.In.Mentions[0])
	}
	typed = strings.TrimPrefix(typed, "@")
	if p, err := t.personAt(t.Room.Adapter, "@"+typed); err != nil || p != nil {
		return p, err
	}
	if p, err := t.personAt(t.Room.Adapter, typed); err != nil || p != nil {
		return p, err
	}
	members, err := t.Members(t.Room.ID)
	if err != nil {
		return nil, err
	}
	var found *Person
	for _, m := range members {
		p, err := t.Tx.Person(m.Person)
		if err != nil {
			return nil, err
		}
		if p != nil && markup.FoldWord(p.Name) == markup.FoldWord(typed) {
			if found != nil {
				return nil, nil
			}
			found = p
		}
	}
	return found, nil
}

// wordLists are the words that mean the same in every dialogue, folded, of all languages.
type wordLists struct {
	yes, no, back, skip, cancel map[string]bool
}

func loadWords(l *locales.Bundle) *wordLists {
	set := func(key string) map[string]bool {
		m := map[string]bool{}
		for _, words := range l.Words(key) {
			for _, w := range words {
				m[markup.FoldWord(w)] = true
			}
		}
		return m
	}
	return &wordLists{set("word.yes"), set("word.no"), set("word.back"), set("word.skip"), set("word.cancel")}
}

// answer reads a text or a reaction.
func (w *wordLists) answer(in *Incoming) Answer {
	if in.Kind == KindReactionOn || in.Kind == KindReactOff {
		emoji := markup.Reaction(in.Text)
		return Answer{Emoji: emoji, On: in.Kind == KindReactionOn, Yes: emoji == "✅", No: emoji == "❌"}
	}
	f := strings.TrimRight(markup.FoldWord(in.Text), ".!?")
	emoji := markup.Reaction(in.Text) // ✅ typed as a message is as good as a word
	return Answer{Text: in.Text, Typed: true, On: true, Yes: w.yes[f] || emoji == "✅", No: w.no[f] || emoji == "❌"}
}
