package when

import (
	"slices"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"

	"starling/locales/markup"
)

// Place is a city, or what a time zone is named after, with its IANA time zone.
type Place struct{ City, Zone string }

// FindZone returns the places that text can name, the most populous first: an IANA name ("Europe/Paris") or a city in
// any of the languages ("Lille", "القاهرة", "Nova York"). None when it is not known; several only where a name is
// shared by cities whose clocks differ.
func FindZone(text string) []Place {
	if tooLong(text, maxPhrase) {
		return nil
	}
	g := loadGazetteer()
	k := placeKey(text)
	if p, ok := g.zones[k]; ok {
		return []Place{p}
	}
	found := g.cities[k]
	if bare, ok := strings.CutPrefix(k, "ال"); ok && found == nil {
		found = g.cities[bare]
	} else if found == nil {
		found = g.cities["ال"+k]
	}
	return slices.Clone(found)
}

// gazetteer maps folded names to places.
type gazetteer struct {
	cities map[string][]Place
	zones  map[string]Place // by IANA name
}

var loadGazetteer = sync.OnceValue(func() gazetteer {
	g := gazetteer{cities: map[string][]Place{}, zones: map[string]Place{"utc": {"UTC", "UTC"}, "gmt": {"UTC", "UTC"}}}
	// cities.toml comes first: it holds the order among cities that share a name.
	for _, file := range []string{"cities", "zones"} {
		raw, err := tables.ReadFile("tables/" + file + ".toml")
		if err != nil {
			panic(err)
		}
		var t struct {
			Cities [][]string `toml:"cities"`
			Names  []string   `toml:"names"`
		}
		if err := toml.Unmarshal(raw, &t); err != nil {
			panic(err) // the tables are part of the program: a test loads them
		}
		for _, row := range t.Cities {
			p := Place{City: row[1], Zone: row[0]}
			for _, name := range row[1:] {
				k := placeKey(name)
				same := func(q Place) bool { return q.Zone == p.Zone }
				if !slices.ContainsFunc(g.cities[k], same) {
					g.cities[k] = append(g.cities[k], p)
				}
			}
			if file == "zones" {
				g.zones[placeKey(p.Zone)] = p
			}
		}
		for _, name := range t.Names {
			if _, ok := g.zones[placeKey(name)]; !ok {
				city := name[strings.LastIndexByte(name, '/')+1:]
				g.zones[placeKey(name)] = Place{City: strings.ReplaceAll(city, "_", " "), Zone: name}
			}
		}
	}
	return g
})

// placeKey folds the name of a place: no case, no diacritics, no hyphens and apostrophes.
func placeKey(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_'’.,", r) {
			return ' '
		}
		return r
	}, markup.FoldWord(s))
	return strings.Join(strings.Fields(s), " ")
}
