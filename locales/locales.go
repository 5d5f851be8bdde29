// Package locales holds every string that people read, in every language the bot speaks, and turns messages into text.
//
// A message is a Go struct; its fields are the data, its type names the entry in active.<lang>.toml. It stays data until it
// is delivered, so one message becomes many texts: each reader sees it in her own language and time zone, and rows that an
// older release stored still read. What people typed is a plain string and is made harmless here, once, for every network.
package locales

import "starling/locales/markup"

// Language is one that the bot speaks.
type Language struct {
	Code string // BCP 47, e.g. "es"
	Name string // what its speakers call it, e.g. "español"
	RTL  bool   // written from right to left
}

// Languages lists the bot's languages in the order in which they are offered to people.
func Languages() []Language {
	return []Language{
		{Code: "en", Name: "English"},
		{Code: "es", Name: "español"},
		{Code: "fr", Name: "français"},
		{Code: "pt", Name: "português"},
		{Code: "de", Name: "Deutsch"},
		{Code: "ar", Name: "العربية", RTL: true},
		{Code: "ku", Name: "kurdî"},
	}
}

// otherNames are further names by which people ask for a language.
func otherNames(code string) []string {
	switch code {
	case "en":
		return []string{"english", "ingles", "anglais", "englisch", "إنجليزي", "الإنجليزية", "inglizi", "ingilizi", "ingilizce"}
	case "es":
		return []string{"spanish", "castellano", "castella", "espagnol", "spanisch", "espanhol", "إسباني", "الإسبانية", "spani"}
	case "fr":
		return []string{"french", "frances", "franzosisch", "franzoesisch", "فرنسي", "الفرنسية", "fransi"}
	case "pt":
		return []string{"portuguese", "portugues", "portugais", "portugiesisch", "brasileiro", "برتغالي", "البرتغالية", "portugali", "portekizi"}
	case "de":
		return []string{"german", "aleman", "allemand", "alemao", "ألماني", "الألمانية", "almani"}
	case "ar":
		return []string{"arabic", "arabe", "arabisch", "عربي", "عربية", "erebi"}
	case "ku":
		return []string{"kurdish", "kurmanji", "kurmanci", "kurdo", "kurde", "curdo", "kurdisch", "كردي", "الكردية"}
	}
	return nil
}

// LanguageNamed finds a language by its code, its own name or its name in one of the others.
// Case and diacritics do not matter.
func LanguageNamed(s string) (Language, bool) {
	s = markup.FoldWord(s)
	if s == "" {
		return Language{}, false
	}
	for _, l := range Languages() {
		if s == l.Code || s == markup.FoldWord(l.Name) {
			return l, true
		}
		for _, name := range otherNames(l.Code) {
			if s == markup.FoldWord(name) {
				return l, true
			}
		}
	}
	return Language{}, false
}

// language is the one with that very code.
func language(code string) (Language, bool) {
	for _, l := range Languages() {
		if l.Code == code {
			return l, true
		}
	}
	return Language{}, false
}
