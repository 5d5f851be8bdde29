package locales

import (
	"bytes"
	"fmt"
	"strings"
	texttemplate "text/template"
	"unicode"
	"unicode/utf8"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"github.com/nicksnyder/go-i18n/v2/i18n/template"

	"starling/locales/markup"
)

// parser is go-i18n's text template with our functions for one language. An entry belongs to one language and its functions
// never change, so that parsed templates can be kept (go-i18n keeps none that have functions).
type parser struct{ funcs texttemplate.FuncMap }

func newParser(b *Bundle, lang string) parser {
	join := func(key string) func([]string) (string, error) {
		return func(items []string) (string, error) { return b.join(lang, items, key, key) }
	}
	return parser{funcs: texttemplate.FuncMap{
		"lines":   func(items []string) string { return strings.Join(items, "\n") },
		"dots":    func(items []string) string { return strings.Join(items, " · ") },
		"commas":  join("list.comma"),
		"list":    func(items []string) (string, error) { return b.join(lang, items, "list.middle", "list.and") },
		"iSound":  iSound,
		"capital": capital,
	}}
}

// iSound reports whether a word starts with the sound i, before which the Spanish "y" becomes "e": "Ana e Inés".
func iSound(s string) bool {
	s = strings.TrimLeft(markup.FoldWord(markup.Plain(markup.Parse(s))), "\"'«(")
	if strings.HasPrefix(s, "h") {
		s = s[1:]
		return strings.HasPrefix(s, "i") && !strings.HasPrefix(s, "ia") && !strings.HasPrefix(s, "ie") && !strings.HasPrefix(s, "io")
	}
	return strings.HasPrefix(s, "i") && !strings.HasPrefix(s, "io")
}

// capital writes the first letter large, for what begins a line. It looks past the isolate around what people typed.
func capital(s string) string {
	bare := strings.TrimLeft(s, "\u2066\u2067\u2068")
	r, n := utf8.DecodeRuneInString(bare)
	if !unicode.IsLower(r) {
		return s
	}
	return s[:len(s)-len(bare)] + string(unicode.ToTitle(r)) + bare[n:]
}

func (p parser) Cacheable() bool { return true }

func (p parser) Parse(src, left, right string) (template.ParsedTemplate, error) {
	t, err := p.parse(src, left, right)
	return parsed{t}, err
}

func (p parser) parse(src, left, right string) (*texttemplate.Template, error) {
	// missingkey=error: else a variable that is missing is written as "<no value>".
	return texttemplate.New("").Delims(left, right).Option("missingkey=error").Funcs(p.funcs).Parse(src)
}

type parsed struct{ *texttemplate.Template }

func (t parsed) Execute(data any) (string, error) {
	var buf bytes.Buffer
	if err := t.Template.Execute(&buf, data); err != nil {
		return "", err
	}
	return buf.String(), nil
}

func checkTemplates(p parser, m *i18n.Message) error {
	for form, src := range forms(m) {
		if _, err := p.parse(src, m.LeftDelim, m.RightDelim); err != nil {
			return fmt.Errorf("%s (%s): %w", m.ID, form, err)
		}
	}
	return nil
}

// join puts items together: the last with the entry last, those before with the entry middle.
func (b *Bundle) join(lang string, items []string, middle, last string) (string, error) {
	if len(items) == 0 {
		return "", nil
	}
	text := items[0]
	for i, item := range items[1:] {
		key := middle
		if i == len(items)-2 {
			key = last
		}
		var err error
		if text, err = b.localize(lang, key, map[string]any{"Start": text, "Next": item}, nil); err != nil {
			return "", err
		}
	}
	return text, nil
}
