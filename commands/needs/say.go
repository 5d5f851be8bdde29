package needs

import (
	"fmt"
	"time"

	"starling/locales"
)

func categoryName(c string) locales.Term { return locales.Term("needs.category." + c) }

func urgencyName(u int) locales.Term { return locales.Term(fmt.Sprintf("needs.urgency.%d", u)) }

func outcomeName(o string) locales.Term { return locales.Term("needs.outcome." + o) }

// what says what is needed, with the words that people used. For how many stands with it when those words say it.
func (n need) what() What {
	w := What{Category: categoryName(n.Category), Text: n.Text}
	if n.Category == other && n.Text != "" {
		w.Category = ""
	} else if n.Many == "" {
		w.For = n.forWhom()
	}
	return w
}

// brief is what in a few words, for lists.
func (n need) brief() What {
	if n.Text == "" {
		return What{Category: categoryName(n.Category), For: n.forWhom()}
	}
	w := What{Text: oneLine(n.Text, 60)}
	if n.Many != "" {
		w.For = n.forWhom()
	}
	return w
}

// forWhom says for how many; nil when that is not known, or no people are counted.
func (n need) forWhom() any {
	if who := forMany(n.Count, n.Unit); who != nil {
		return who
	}
	if n.Many != "" {
		return ForWhom{Text: n.Many}
	}
	return nil
}

// by says by when.
func (n need) by() any {
	if n.Due.IsZero() {
		return NoHurry{}
	}
	return By{Day: sayDay(n.Day, n.Due)}
}

// late is whether an open need is past its time.
func (n need) late(now time.Time) bool { return !n.Due.IsZero() && n.Due.Before(now) }

func (n need) whom() any {
	if n.Contact == "" {
		return Here{}
	}
	return AskFor{Name: n.Contact}
}

// lines are all that is known of it, a line each.
func (n need) lines(now time.Time) []any {
	all := []any{n.what()}
	if who := n.forWhom(); who != nil && n.Many != "" {
		all = append(all, who)
	}
	if n.late(now) && n.Outcome == "" {
		all = append(all, Late{Day: sayDay(n.Day, n.Due)})
	} else {
		all = append(all, n.by())
	}
	if n.Place != "" {
		all = append(all, Place{Text: n.Place})
	}
	all = append(all, n.whom())
	for i, line := range all {
		all[i] = Item{Text: line}
	}
	return all
}
