package markup

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns the same string for names that a reader could take for one another: NFKC, letter case, look-alikes of
// Latin, Cyrillic, Greek and Arabic script, 1 with l and I, 0 with O; spaces, hyphens and punctuation are dropped.
// It is only for comparison. A name made of punctuation alone folds to "".
func Fold(s string) string {
	s = norm.NFKD.String(cases.Fold().String(norm.NFKC.String(Digits(Clean(s)))))
	var b strings.Builder
	var prev rune
	for _, r := range s {
		if to, ok := lookalikes[r]; ok {
			r = to
		} else if to, ok := arabicLetters[r]; ok {
			r = to
		}
		switch {
		case r == '\u0307' && prev == 'l': // the dot of İ and i
			continue
		case unicode.In(r, unicode.P, unicode.Z, unicode.C, unicode.Variation_Selector), isArabicMark(r):
			continue
		}
		prev = r
		b.WriteRune(r)
	}
	return norm.NFC.String(b.String())
}

// FoldWord returns the same string for two ways to type a word, so that commands, answers and names of days can be
// compared: NFKC, letter case, digits, no diacritics, one form of alef, yeh, kaf, heh and taa marbuta, no harakat or
// tatweel, no skin tones, straight quotes and hyphens, single spaces.
func FoldWord(s string) string {
	s = norm.NFKD.String(cases.Fold().String(norm.NFKC.String(Digits(Clean(s)))))
	var b strings.Builder
	for _, r := range s {
		if isSkinTone(r) || isArabicMark(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) ||
			unicode.In(r, unicode.Mn) && (isDiacritic(r) || unicode.Is(unicode.Hebrew, r)) {
			continue
		}
		if to, ok := arabicLetters[r]; ok {
			r = to
		}
		if to, ok := plainLetters[r]; ok {
			b.WriteString(to)
			continue
		}
		b.WriteRune(r)
	}
	return norm.NFC.String(strings.Join(strings.Fields(b.String()), " "))
}

// Digits turns every decimal digit of any script into its ASCII form.
func Digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= unicode.MaxASCII || !unicode.Is(unicode.Nd, r) {
			return r
		}
		// The digits of a script stand in order, and every range of them starts with a zero.
		for _, t := range unicode.Nd.R16 {
			if lo := rune(t.Lo); lo <= r && r <= rune(t.Hi) {
				return '0' + (r-lo)%10
			}
		}
		for _, t := range unicode.Nd.R32 {
			if lo := rune(t.Lo); lo <= r && r <= rune(t.Hi) {
				return '0' + (r-lo)%10
			}
		}
		return r
	}, s)
}

// Reaction returns the canonical form of a reaction: without U+FE0F and skin tone, one emoji for yes (✅), one for no
// (❌) and one raised hand (✋), keycaps as numbers.
func Reaction(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Variation_Selector, r) || isSkinTone(r) {
			return -1
		}
		return r
	}, s))
	switch s {
	case "👍", "✔", "☑":
		return "✅"
	case "👎", "✖", "❎":
		return "❌"
	case "🖐":
		return "✋"
	case "🔟":
		return "10"
	}
	return strings.TrimSuffix(s, "\u20E3")
}

func isSkinTone(r rune) bool { return r >= 0x1F3FB && r <= 0x1F3FF }

// isArabicMark reports harakat, Koranic signs and tatweel: ways to write a word, not part of it.
func isArabicMark(r rune) bool {
	return r == '\u0640' || r == '\u0670' || r >= 0x064B && r <= 0x065F || r >= 0x0610 && r <= 0x061A || r >= 0x06D6 && r <= 0x06ED && unicode.IsMark(r)
}

// arabicLetters gives letters that different keyboards type for the same one. Hamza on a seat has been decomposed.
var arabicLetters = map[rune]rune{
	'\u0671': 'ا', '\u0649': 'ي', '\u06CC': 'ي', '\u06D0': 'ي', '\u06CD': 'ي', '\u06D2': 'ي', '\u06A9': 'ك', '\u06AA': 'ك',
	'\u0629': 'ه', '\u06C1': 'ه', '\u06BE': 'ه', '\u06D5': 'ه', '\u06C3': 'ه', '\u06C0': 'ه',
}

// plainLetters are letters whose stroke or shape is no combining mark, and typographic punctuation.
var plainLetters = map[rune]string{
	'ı': "i", 'ø': "o", 'ł': "l", 'đ': "d", 'ð': "d", 'ħ': "h", 'ŧ': "t", 'æ': "ae", 'œ': "oe", 'þ': "th",
	'’': "'", '‘': "'", 'ʼ': "'", '´': "'", '`': "'", '′': "'", '‐': "-", '‑': "-", '‒': "-", '–': "-", '—': "-", '−': "-",
}

// lookalikes is the part of UTS #39's confusables that people can type, after case folding: a letter stands here if its
// small or its capital form looks like the Latin one.
var lookalikes = map[rune]rune{
	'1': 'l', 'i': 'l', 'ı': 'l', '|': 'l', 'ɩ': 'l', 'ɪ': 'l', 'ǀ': 'l', 'ӏ': 'l', 'і': 'l', 'ι': 'l', 'ا': 'l',
	'0': 'o', 'о': 'o', 'ο': 'o', 'ס': 'o', 'օ': 'o',
	'а': 'a', 'α': 'a', 'ɑ': 'a',
	'в': 'b', 'β': 'b', 'ь': 'b', 'ʙ': 'b',
	'с': 'c', 'ϲ': 'c', 'ᴄ': 'c',
	'ԁ': 'd',
	'е': 'e', 'ε': 'e', 'є': 'e', 'ҽ': 'e',
	'ɡ': 'g', 'ԍ': 'g',
	'н': 'h', 'η': 'h', 'һ': 'h', 'ʜ': 'h',
	'ј': 'j', 'ϳ': 'j',
	'к': 'k', 'κ': 'k', 'ҝ': 'k', 'қ': 'k', 'ᴋ': 'k',
	'м': 'm', 'μ': 'm', 'ᴍ': 'm',
	'ν': 'n', 'ո': 'n', 'п': 'n',
	'р': 'p', 'ρ': 'p',
	'ԛ': 'q', 'գ': 'q',
	'г': 'r', 'ʀ': 'r',
	'ѕ': 's', 'ꜱ': 's',
	'т': 't', 'τ': 't', 'ᴛ': 't',
	'υ': 'y', 'у': 'y', 'ү': 'y', 'γ': 'y', 'ʏ': 'y',
	'ѵ': 'v', 'ᴠ': 'v',
	'ԝ': 'w', 'ѡ': 'w', 'ω': 'w', 'ᴡ': 'w',
	'х': 'x', 'χ': 'x',
	'ζ': 'z', 'ᴢ': 'z',
	'\u0326': '\u0327', // comma and cedilla below
}
