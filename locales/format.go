package locales

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode"

	"github.com/nicksnyder/go-i18n/v2/i18n"
)

// Source is the language that the others are translated from.
const Source = "en"

// Hash is go-i18n's mark of an English entry's content, as `goi18n merge` computes it: a translation carries the hash of the
// English that it was made from.
func Hash(source *i18n.Message) string {
	h := sha1.New()
	_, _ = io.WriteString(h, source.Description)
	_, _ = io.WriteString(h, source.Other)
	return fmt.Sprintf("sha1-%x", h.Sum(nil))
}

// categories are CLDR's plural categories in the order in which they are written.
var categories = []string{"zero", "one", "two", "few", "many", "other"}

// Format writes entries as a TOML file, sorted by key, so that the same entries always give the same bytes.
func Format(entries map[string]*i18n.Message) []byte {
	keys := make([]string, 0, len(entries))
	for k := range entries {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b bytes.Buffer
	for i, k := range keys {
		if i > 0 {
			b.WriteByte('\n')
		}
		// A quoted key: needs.urgency and needs.urgency.1 can both be entries.
		fmt.Fprintf(&b, "[%q]\n", k)
		m := entries[k]
		line := func(name, text string) {
			if text != "" {
				fmt.Fprintf(&b, "%s = %s\n", name, quote(text))
			}
		}
		line("description", m.Description)
		line("hash", m.Hash)
		line("leftDelim", m.LeftDelim)
		line("rightDelim", m.RightDelim)
		texts := forms(m)
		for _, c := range categories {
			line(c, texts[c])
		}
	}
	return b.Bytes()
}

// quote writes a TOML string that is easy to read: no escapes where they can be avoided, lines as lines.
func quote(s string) string {
	var b strings.Builder
	multi := strings.Contains(s, "\n")
	simple := !strings.ContainsAny(s, "'\n\t\r") && strings.ContainsAny(s, `"\`) && strings.IndexFunc(s, hidden) < 0
	if simple {
		return "'" + s + "'"
	}
	mark := `"`
	if multi {
		mark = `"""`
		b.WriteString(mark + "\n")
	} else {
		b.WriteString(mark)
	}
	for _, c := range s {
		switch {
		case c == '\n' && multi:
			b.WriteRune(c)
		case c == '\\', c == '"' && !multi:
			b.WriteString(`\` + string(c))
		case c == '"':
			b.WriteString(`"`)
		case hidden(c) && c <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04X`, c)
		case hidden(c):
			fmt.Fprintf(&b, `\U%08X`, c)
		default:
			b.WriteRune(c)
		}
	}
	out := b.String()
	if multi {
		head := mark + "\n"
		body := strings.ReplaceAll(out[len(head):], `"""`, `""\"`)
		if strings.HasSuffix(body, `"`) {
			body = body[:len(body)-1] + `\"`
		}
		out = head + body
	}
	return out + mark
}

// hidden is what a reader of the file would not see.
func hidden(c rune) bool {
	return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) && c != '\u200c' || c != ' ' && unicode.IsSpace(c)
}
