package locales

import (
	_ "embed"
	"fmt"
	"path"
	"strings"
	"time"
	_ "time/tzdata" // a bot must know the zones of its rooms on any machine

	names "github.com/go-playground/locales"
	"github.com/go-playground/locales/ar"
	"github.com/go-playground/locales/de"
	"github.com/go-playground/locales/en"
	"github.com/go-playground/locales/es"
	"github.com/go-playground/locales/fr"
	"github.com/go-playground/locales/pt"

	"starling/locales/markup"
)

// location is a zone by its IANA name; "" is the reader's own.
func (b *Bundle) location(r Reader, zone string) (*time.Location, error) {
	if zone == "" {
		return r.Zone, nil
	}
	if l, ok := b.zones.Load(zone); ok {
		return l.(*time.Location), nil
	}
	if zone == "Local" {
		return nil, fmt.Errorf("no time zone %q", zone)
	}
	l, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("no time zone %q", zone)
	}
	b.zones.Store(zone, l)
	return l, nil
}

//go:embed cities.tsv
var cities string

// readCities reads cities.tsv: by language and zone, where a city is not called as in the name of its zone.
func readCities() map[string]map[string]string {
	byLang := map[string]map[string]string{}
	for _, l := range Languages() {
		byLang[l.Code] = map[string]string{}
	}
	for line := range strings.Lines(cities) {
		zone, row, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(zone, "#") {
			continue
		}
		for i, city := range strings.Split(row, "\t") {
			if city != "" {
				byLang[Languages()[i].Code][zone] = city
			}
		}
	}
	return byLang
}

// City is the city of an IANA time zone, as it stands beside times.
func (b *Bundle) City(lang, zone string) string {
	if city := b.cities[lang][zone]; city != "" {
		return markup.Escape(city)
	}
	city := markup.Escape(strings.ReplaceAll(path.Base(zone), "_", " "))
	if l, _ := language(lang); l.RTL {
		return markup.Isolate(city)
	}
	return city
}

func (b *Bundle) time(r Reader, t Time) (string, error) {
	loc, err := b.location(r, t.Zone)
	if err != nil {
		return "", err
	}
	day, err := b.date(r, t.At.In(loc), loc)
	if err != nil {
		return "", err
	}
	clock, err := b.clock(r, Clock(t))
	if err != nil {
		return "", err
	}
	return b.localize(r.Lang, "date.time", map[string]any{"Date": day, "Clock": clock, "City": b.City(r.Lang, loc.String())}, nil)
}

func (b *Bundle) clock(r Reader, c Clock) (string, error) {
	loc, err := b.location(r, c.Zone)
	if err != nil {
		return "", err
	}
	return b.localize(r.Lang, "date.clock", map[string]any{"Clock": c.At.In(loc).Format("15:04")}, nil)
}

func (b *Bundle) day(r Reader, d Day) (string, error) {
	if d.Year != 0 {
		return b.date(r, time.Date(d.Year, d.Month, d.Day, 12, 0, 0, 0, time.UTC), r.Zone)
	}
	loc, err := b.location(r, d.Zone)
	if err != nil {
		return "", err
	}
	return b.date(r, d.At.In(loc), loc)
}

// date writes the day of t; without the year when that is the present one in loc.
func (b *Bundle) date(r Reader, t time.Time, loc *time.Location) (string, error) {
	weekday, month := b.dateNames(r.Lang, t)
	data := map[string]any{"Weekday": weekday, "Day": t.Day(), "Month": month, "Year": t.Year()}
	if !r.Now.IsZero() && r.Now.In(loc).Year() == t.Year() {
		return b.localize(r.Lang, "date.day", data, nil)
	}
	return b.localize(r.Lang, "date.year", data, nil)
}

// calendar has CLDR's names for a language; nil where the library's are no longer CLDR's.
func calendar(lang string) names.Translator {
	switch lang {
	case "en":
		return en.New()
	case "es":
		return es.New()
	case "fr":
		return fr.New()
	case "pt":
		return pt.New()
	case "de":
		return de.New()
	case "ar":
		return ar.New()
	}
	return nil
}

func (b *Bundle) dateNames(lang string, t time.Time) (weekday, month string) {
	if l := b.calendars[lang]; l != nil {
		return l.WeekdayWide(t.Weekday()), l.MonthWide(t.Month())
	}
	return kurmanjiDays[t.Weekday()], kurmanjiMonths[t.Month()-1]
}

// Of CLDR 48, without the ending (27ê mijdarê, 27ê mijdara 2026an): the library has names that it no longer uses.
var (
	kurmanjiDays   = [7]string{"yekşem", "duşem", "sêşem", "çarşem", "pêncşem", "înî", "şemî"}
	kurmanjiMonths = [12]string{
		"rêbendan", "sibat", "adar", "nîsan", "gulan", "hezîran", "tîrmeh", "tebax", "îlon", "cotmeh", "mijdar", "berfanbar",
	}
)

// span writes a length of time in its two largest units, the second one left out when it is nought.
func (b *Bundle) span(r Reader, d time.Duration) (string, error) {
	units := []struct {
		key string
		len time.Duration
	}{{"span.days", 24 * time.Hour}, {"span.hours", time.Hour}, {"span.minutes", time.Minute}, {"span.seconds", time.Second}}
	d = d.Abs().Round(time.Second)
	first := 0
	for first < len(units)-1 && d < units[first].len {
		first++
	}
	var parts []string
	for _, u := range units[first:min(first+2, len(units))] {
		n := int(d / u.len)
		if n == 0 && len(parts) > 0 {
			break
		}
		d -= time.Duration(n) * u.len
		text, err := b.localize(r.Lang, u.key, map[string]any{"Count": n}, &n)
		if err != nil {
			return "", err
		}
		parts = append(parts, text)
	}
	return b.join(r.Lang, parts, "list.middle", "list.and")
}
