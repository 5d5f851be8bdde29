package locales

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template/parse"
	"time"
	"unicode"

	"github.com/nicksnyder/go-i18n/v2/i18n"

	"starling/locales/markup"
)

// plurals are the categories that CLDR gives a language for whole numbers, each with one that belongs to it.
func plurals(lang string) map[string]int {
	switch lang {
	case "es", "fr", "pt":
		return map[string]int{"one": 1, "many": 1_000_000, "other": 2}
	case "ar":
		return map[string]int{"zero": 0, "one": 1, "two": 2, "few": 3, "many": 11, "other": 100}
	}
	return map[string]int{"one": 1, "other": 2}
}

// isMessage reports whether a key must have a registered type: it has exactly one dot, and is none of the lists of words
// and patterns. Deeper keys (needs.urgency.1) are terms: entries without a type.
func isMessage(key string) bool {
	head, rest, _ := strings.Cut(key, ".")
	if strings.Contains(rest, ".") {
		return false
	}
	return !slices.Contains([]string{"word", "command", "param", "example", "term", "span", "list", "date", "help", "choice"}, head)
}

// CheckEntry compares an entry with the English one that it translates (for English, with itself) and returns all that is
// wrong with it: plural forms, variables, templates, white space, exclamation marks.
func CheckEntry(lang string, english, m *i18n.Message) []error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s (%s): "+format, append([]any{m.ID, lang}, args...)...))
	}
	p := newParser(nil, lang)
	texts, source := forms(m), forms(english)
	want := []string{"other"}
	if len(source) > 1 {
		want = want[:0]
		for _, c := range categories {
			if _, ok := plurals(lang)[c]; ok {
				want = append(want, c)
			}
		}
	}
	for _, c := range categories {
		if _, ok := texts[c]; ok != slices.Contains(want, c) {
			fail("plural forms must be exactly %s", strings.Join(want, ", "))
			break
		}
	}
	needed, err := variables(p, english, english.Other)
	if err != nil {
		fail("English: %v", err)
		return errs
	}
	for _, c := range categories {
		src, ok := texts[c]
		if !ok {
			continue
		}
		used, err := variables(p, m, src)
		if err != nil {
			fail("%s: %v", c, err)
			continue
		}
		for v := range needed {
			// "no hours", "one hour" and the Arabic dual say their number themselves.
			if !used[v] && !(v == "Count" && slices.Contains([]string{"zero", "one", "two"}, c)) {
				fail("%s: lacks {{.%s}}", c, v)
			}
		}
		for v := range used {
			if !needed[v] {
				fail("%s: has {{.%s}}, which English has not", c, v)
			}
		}
		if got, want := edges(src), edges(english.Other); got != want {
			fail("%s: white space around it is %q, in English %q", c, got, want)
		}
		if got, want := strings.Count(src, "\n"), strings.Count(english.Other, "\n"); got > want+1 || got < want-1 {
			fail("%s: %d line breaks, in English %d", c, got, want)
		}
		if exclaims(src) {
			fail("%s: exclamation mark", c)
		}
		if strings.ContainsRune(src, '\uFFFD') {
			fail("%s: broken UTF-8", c)
		}
	}
	return errs
}

// variables are the names of the fields that a template uses.
func variables(p parser, m *i18n.Message, src string) (map[string]bool, error) {
	t, err := p.parse(src, m.LeftDelim, m.RightDelim)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	var walk func(n parse.Node)
	walk = func(n parse.Node) {
		switch n := n.(type) {
		case *parse.ListNode:
			if n != nil {
				for _, c := range n.Nodes {
					walk(c)
				}
			}
		case *parse.ActionNode:
			walk(n.Pipe)
		case *parse.PipeNode:
			for _, c := range n.Cmds {
				walk(c)
			}
		case *parse.CommandNode:
			for _, a := range n.Args {
				walk(a)
			}
		case *parse.FieldNode:
			used[n.Ident[0]] = true
		case *parse.VariableNode:
			if n.Ident[0] == "$" && len(n.Ident) > 1 {
				used[n.Ident[1]] = true
			}
		case *parse.IfNode:
			walk(n.Pipe)
			walk(n.List)
			walk(n.ElseList)
		case *parse.RangeNode:
			walk(n.Pipe)
			walk(n.List)
			walk(n.ElseList)
		case *parse.WithNode:
			walk(n.Pipe)
			walk(n.List)
			walk(n.ElseList)
		}
	}
	if t.Tree != nil {
		walk(t.Root)
	}
	return used, nil
}

// edges is the white space at both ends of a text.
func edges(s string) string {
	start := s[:len(s)-len(strings.TrimLeftFunc(s, unicode.IsSpace))]
	end := s[len(strings.TrimRightFunc(s, unicode.IsSpace)):]
	return start + "|" + end
}

// exclaims reports an exclamation mark that is not the start of a command such as !needs.
func exclaims(s string) bool {
	if strings.ContainsAny(s, "¡！") {
		return true
	}
	rs := []rune(s)
	for i, c := range rs {
		if c != '!' {
			continue
		}
		if i > 0 && (unicode.IsLetter(rs[i-1]) || unicode.IsDigit(rs[i-1]) || rs[i-1] == '}') {
			return true
		}
		if i+1 == len(rs) || !unicode.IsLetter(rs[i+1]) && rs[i+1] != '{' && rs[i+1] != '`' {
			return true
		}
	}
	return false
}

// Check compares all languages with English and all entries with the registered types, and renders every message in every
// language and plural form. It returns everything that is missing, stale or wrong; run it in a test with the full registry.
func Check(b *Bundle) []error {
	var errs []error
	english := b.entries[Source]
	for _, l := range Languages() {
		entries := b.entries[l.Code]
		for _, key := range b.Keys(Source) {
			m := entries[key]
			if m == nil {
				errs = append(errs, fmt.Errorf("%s (%s): missing", key, l.Code))
				continue
			}
			if want := Hash(english[key]); l.Code != Source && m.Hash != want {
				errs = append(errs, fmt.Errorf("%s (%s): stale: English has changed since (hash %q, now %q)", key, l.Code, m.Hash, want))
			}
			errs = append(errs, CheckEntry(l.Code, english[key], m)...)
		}
		for _, key := range b.Keys(l.Code) {
			if english[key] == nil {
				errs = append(errs, fmt.Errorf("%s (%s): English has no such entry", key, l.Code))
			}
		}
	}
	for _, key := range b.Keys(Source) {
		if isMessage(key) && b.reg.Type(key) == nil {
			errs = append(errs, fmt.Errorf("%s: no message type", key))
		}
	}
	for _, key := range b.reg.Keys() {
		if english[key] == nil {
			errs = append(errs, fmt.Errorf("%s: message type without an entry", key))
			continue
		}
		if _, ok := b.reg.Type(key).FieldByName("Count"); !ok && len(forms(english[key])) > 1 {
			errs = append(errs, fmt.Errorf("%s: plural forms, and no field Count", key))
			continue
		}
		errs = append(errs, b.checkRendering(key)...)
	}
	return errs
}

// checkRendering renders a message with samples in all its fields, with text alone, and with nothing.
func (b *Bundle) checkRendering(key string) []error {
	var errs []error
	for _, l := range Languages() {
		if b.entries[l.Code][key] == nil {
			continue
		}
		r := Reader{Lang: l.Code, Zone: time.UTC, Now: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
		for _, n := range plurals(l.Code) {
			for _, filled := range []string{"whole", "with text", "empty"} {
				v := reflect.New(b.reg.Type(key)).Elem()
				if filled != "empty" {
					sample(v, 0)
				}
				if filled == "with text" {
					keepText(v)
				}
				if c := v.FieldByName("Count"); c.IsValid() && c.CanInt() {
					c.SetInt(int64(n))
				}
				text, err := b.Render(r, v.Interface())
				if err == nil && filled != "empty" { // around an empty field bold and code do not close
					err = checkText(text)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%s (%s), Count %d, %s: %w", key, l.Code, n, filled, err))
				}
			}
		}
	}
	return errs
}

// keepText empties all fields that need not be filled: flags, lists, pointers.
func keepText(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool, reflect.Slice, reflect.Pointer:
			f.SetZero()
		}
	}
}

// sampleText is what nobody should type; it must read the same after it was rendered.
const sampleText = "a*b_c`d [e](f:g) <h>"

// sample fills a value so that every field shows.
func sample(v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *Safe:
		*x = "safe"
		return
	case *Code:
		*x = "N-7K3Q"
		return
	case *Term:
		*x = "word.yes"
		return
	case *Lang:
		*x = "ku"
		return
	case *Zone:
		*x = "Europe/Madrid"
		return
	case *Span:
		*x = Span(26 * time.Hour)
		return
	case *time.Time:
		*x = time.Date(2027, 1, 2, 18, 0, 0, 0, time.UTC)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(sampleText)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Interface:
		if reflect.TypeFor[Safe]().AssignableTo(v.Type()) {
			v.Set(reflect.ValueOf(Safe("safe")))
		}
	case reflect.Pointer:
		if depth < 3 {
			v.Set(reflect.New(v.Type().Elem()))
			sample(v.Elem(), depth+1)
		}
	case reflect.Slice:
		if depth < 3 {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			for i := range v.Len() {
				sample(v.Index(i), depth+1)
			}
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Time]() || v.Type() == reflect.TypeFor[Clock]() || v.Type() == reflect.TypeFor[Day]() {
			sample(v.FieldByName("At").Addr().Elem(), depth)
			return
		}
		for i := range v.NumField() {
			sample(v.Field(i), depth+1)
		}
	}
}

// checkText looks for what a rendered text must never hold.
func checkText(text string) error {
	if strings.Contains(text, "<no value>") {
		return errors.New("a variable without a value")
	}
	plain := markup.Plain(markup.Parse(text))
	if n := strings.Count(plain, sampleText); n != strings.Count(plain, "a*b") || n != strings.Count(plain, "(f:g) <h>") {
		return fmt.Errorf("what people typed is not shown as they typed it: %q", plain)
	}
	if strings.Contains(plain, "**") || strings.Contains(strings.ReplaceAll(plain, sampleText, ""), "`") {
		return fmt.Errorf("markup that does not close: %q", plain)
	}
	return nil
}
