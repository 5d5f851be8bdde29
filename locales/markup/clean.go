package markup

import (
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"
)

const (
	zwnj = '\u200C'
	zwj  = '\u200D'
	vs16 = '\uFE0F' // emoji presentation

	maxDiacritics = 3 // on one letter, of those that fit every script; Vietnamese and IPA need as many
	maxMarks      = 6 // on one letter in all; Tibetan and Burmese need as many
)

// Clean makes what people typed harmless to keep and to show: valid UTF-8 in NFC, lines ended by line feeds, no control
// characters, nothing that turns the direction of other text, nothing invisible (joiners stay where emoji and scripts
// need them), no towers of combining marks, at most one blank line at a time, no space around. It is idempotent.
func Clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	// What one step drops can bring together what another would have changed. As marks are few on each letter, this ends
	// after two or three rounds.
	for {
		t := tidyLines(norm.NFC.String(dropTricks(s)))
		if t == s {
			return s
		}
		s = t
	}
}

// Line is Clean on one line: for names, which could otherwise bring lines of their own into what is said.
func Line(s string) string { return strings.Join(strings.Fields(Clean(s)), " ") }

// dropTricks takes out what is invisible, and marks beyond the limits.
func dropTricks(s string) string {
	runes := []rune(s)
	var b strings.Builder
	b.Grow(len(s))
	var prev rune             // the last one kept
	diacritics, marks := 0, 0 // since the last letter
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		var next rune
		if i+1 < len(runes) {
			next = runes[i+1]
		}
		switch {
		case r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029':
			r = '\n'
		case r == '\t' || r == '\u2800' || unicode.Is(unicode.Zs, r) && r != '\u00A0' && r != '\u202F':
			r = ' '
		case r == zwnj && !needsZWNJ(prev, next), r == zwj && !needsZWJ(prev, next):
			continue
		case r == zwnj || r == zwj:
		case r == vs16:
			keycap := strings.ContainsRune("0123456789#*", prev) && next == '\u20E3'
			if !keycap && !isEmoji(prev) {
				continue
			}
		case r == '\U0001F3F4':
			if tags := flagTags(runes[i+1:]); tags != nil {
				b.WriteRune(r)
				b.WriteString(string(tags))
				prev = tags[len(tags)-1]
				i += len(tags)
				continue
			}
		case r != '\n' && unicode.IsControl(r), isInvisible(r):
			continue
		}
		if stacks(r) {
			if isDiacritic(r) {
				diacritics++
			}
			marks++
			if diacritics > maxDiacritics && isDiacritic(r) || marks > maxMarks {
				continue
			}
		} else if r != zwnj && r != zwj {
			diacritics, marks = 0, 0
		}
		b.WriteRune(r)
		prev = r
	}
	return b.String()
}

// tidyLines takes spaces off the ends of lines, collapses runs of blank lines, and trims.
func tidyLines(s string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		if n := len(lines); line == "" && n > 0 && lines[n-1] == "" {
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// isInvisible reports whether r shows nothing, or only changes how others show. Joiners and U+FE0F are not among them:
// they depend on their neighbours.
func isInvisible(r rune) bool {
	switch r {
	case zwnj, zwj, vs16:
		return false
	case '\u00AD', '\u034F', '\u115F', '\u1160', '\u17B4', '\u17B5', '\u3164', '\uFFA0',
		'\uFFFC': // what Signal puts in the place of a mention
		return true
	}
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Noncharacter_Code_Point) && !visibleFormat(r)
}

// visibleFormat reports the format characters (Cf) that do show: number and verse signs, Egyptian joiners and the like.
func visibleFormat(r rune) bool {
	return unicode.Is(unicode.Prepended_Concatenation_Mark, r) || r >= 0x13430 && r <= 0x1343F
}

// stacks reports marks that are drawn onto the letter before them.
func stacks(r rune) bool {
	return r != vs16 && unicode.In(r, unicode.Mn, unicode.Me) || unicode.Is(unicode.Mc, r) && norm.NFC.PropertiesString(string(r)).CCC() != 0
}

func isDiacritic(r rune) bool {
	return unicode.Is(unicode.Inherited, r) || r >= 0x0483 && r <= 0x0489
}

// needsZWNJ follows RFC 5892, appendix A.1, in a simpler form: between letters of a joining or an Indic script.
func needsZWNJ(prev, next rune) bool {
	return joins(prev) && joins(next)
}

// needsZWJ is for emoji made of several, and after a virama (RFC 5892, appendix A.2).
func needsZWJ(prev, next rune) bool {
	if isEmoji(next) {
		return isEmoji(prev) || prev == vs16
	}
	return isVirama(prev) && joins(next)
}

func isVirama(r rune) bool { return r > 0x7F && norm.NFC.PropertiesString(string(r)).CCC() == 9 }

func joins(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsMark(r)) && unicode.In(r, unicode.Arabic, unicode.Syriac, unicode.Mongolian,
		unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil,
		unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer, unicode.Myanmar)
}

// isEmoji covers the blocks in which emoji stand (UTS #51); the other symbols in them do no harm.
func isEmoji(r rune) bool {
	switch r {
	case '\u00A9', '\u00AE', '\u203C', '\u2049', '\u2122', '\u2139', '\u3030', '\u303D', '\u3297', '\u3299':
		return true
	}
	return r >= 0x2190 && r <= 0x2BFF && r != '\u2800' || r >= 0x1F000 && r <= 0x1FAFF
}

// flagTags returns the tag characters with which s starts if they make a black flag that of England, Scotland or
// Wales: the only ones in use (UTS #51). All other tags are hidden text.
func flagTags(s []rune) []rune {
	for _, region := range []string{"gbeng", "gbsct", "gbwls"} {
		tags := make([]rune, 0, 6)
		for _, r := range region {
			tags = append(tags, 0xE0000+r)
		}
		tags = append(tags, 0xE007F)
		if len(s) >= len(tags) && string(s[:len(tags)]) == string(tags) {
			return tags
		}
	}
	return nil
}

// Truncate cuts s to at most n characters as people count them (grapheme clusters, UAX #29), the last of them "…".
// It is for text before Escape and Isolate.
func Truncate(s string, n int) string {
	if n <= 0 {
		return ""
	}
	cut := 0 // octets of the first n-1 characters
	state := -1
	for i, rest := 0, s; rest != ""; i++ {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if i < n-1 {
			cut += len(cluster)
		}
		if i == n {
			return strings.TrimRightFunc(s[:cut], unicode.IsSpace) + "…"
		}
	}
	return s
}
