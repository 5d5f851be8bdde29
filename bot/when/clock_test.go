package when

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestClockChanges reads times around the days on which clocks change.
func TestClockChanges(t *testing.T) {
	const withOffset = "2006-01-02T15:04-07:00"
	for _, c := range []struct{ zone, now, text, want string }{
		{"Europe/Madrid", "2026-03-28T19:00+01:00", "in 24 hours", "2026-03-29T20:00+02:00"},
		{"Europe/Madrid", "2026-03-28T19:00+01:00", "in 1 day at 19:00", "2026-03-29T19:00+02:00"},
		{"Europe/Madrid", "2026-03-28T12:00+01:00", "tomorrow 19:00", "2026-03-29T19:00+02:00"},
		{"Europe/Madrid", "2026-03-28T12:00+01:00", "tomorrow 02:30", "gap"},
		{"Europe/Madrid", "2026-03-28T12:00+01:00", "tomorrow at 2:30", "gap"},
		{"Europe/Madrid", "2026-03-28T12:00+01:00", "2026-03-29 02:00", "gap"},
		{"Europe/Madrid", "2026-03-28T12:00+01:00", "2026-03-29 03:00", "2026-03-29T03:00+02:00"},
		{"Europe/Madrid", "2026-03-28T12:00+01:00", "2026-03-29T02:30+01:00", "2026-03-29T02:30+01:00"},
		{"Europe/Madrid", "2026-10-24T12:00+02:00", "tomorrow 02:30", "2026-10-25T02:30+02:00 | 2026-10-25T02:30+01:00"},
		{"Europe/Madrid", "2026-10-24T12:00+02:00", "tomorrow 03:00", "2026-10-25T03:00+01:00"},
		{"Europe/Madrid", "2026-10-24T12:00+02:00", "tomorrow 24:00", "2026-10-26T00:00+01:00"},
		{"Europe/Madrid", "2026-10-25T02:30+02:00", "in 1 hour", "2026-10-25T02:30+01:00"},
		{"Europe/Madrid", "2026-10-25T02:45+02:00", "today 02:30", "2026-10-25T02:30+01:00"},
		{"Europe/Madrid", "2026-10-24T20:00+02:00", "in 24 hours", "2026-10-25T19:00+01:00"},
		{"America/Montreal", "2026-03-07T12:00-05:00", "tomorrow 02:15", "gap"},
		{"America/Montreal", "2026-03-07T12:00-05:00", "tomorrow 19:00", "2026-03-08T19:00-04:00"},
		{"America/Montreal", "2026-03-07T19:00-05:00", "in 24 hours", "2026-03-08T20:00-04:00"},
		{"America/Montreal", "2026-10-31T12:00-04:00", "tomorrow 01:30", "2026-11-01T01:30-04:00 | 2026-11-01T01:30-05:00"},
		{"America/Montreal", "2026-10-31T12:00-04:00", "tomorrow at 1:30", "2026-11-01T01:30-04:00 | 2026-11-01T01:30-05:00 | 2026-11-01T13:30-05:00"},
		{"Africa/Cairo", "2026-04-23T12:00+02:00", "tomorrow", "2026-04-24T01:00+03:00"}, // no midnight on that day
		{"Africa/Cairo", "2026-04-23T12:00+02:00", "tomorrow 00:30", "gap"},
		{"Africa/Cairo", "2026-04-23T12:00+02:00", "today 24:00", "gap"},
		{"America/Santiago", "2026-09-05T12:00-04:00", "2026-09-06", "2026-09-06T01:00-03:00"},
		{"Australia/Lord_Howe", "2026-10-03T12:00+10:30", "tomorrow 02:15", "gap"}, // half an hour only
		{"Pacific/Apia", "2026-11-23T12:00+13:00", "friday 19:00", "2026-11-27T19:00+13:00"},
	} {
		now, err := time.Parse(withOffset, c.now)
		if err != nil {
			t.Fatal(err)
		}
		r := Parse(c.text, Options{Langs: []string{"en"}, Zone: inZone(c.zone), Now: now})
		var got []string
		for _, rd := range r.Readings {
			got = append(got, rd.At.Format(withOffset))
		}
		if r.Problem != None {
			got = append(got, string(r.Problem))
		}
		if strings.Join(got, " | ") != c.want {
			t.Errorf("%s, %s: %q: got %q, want %q", c.zone, c.now, c.text, got, c.want)
		}
	}
}

// TestISORoundTrip: what is written in ISO 8601 is read as exactly that, in every language.
func TestISORoundTrip(t *testing.T) {
	zones := []string{"UTC", "Europe/Madrid", "America/Montreal", "Africa/Cairo", "Asia/Kolkata", "Pacific/Chatham", "America/St_Johns"}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(1_700_000_000, 2_000_000_000).Draw(t, "now"), 0)
		zone := inZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		at := now.Add(time.Duration(rapid.Int64Range(0, 60*24*365*50).Draw(t, "minutes")) * time.Minute).Truncate(time.Minute).Add(time.Minute).In(zone)
		o := Options{Langs: []string{rapid.SampledFrom(languages[:]).Draw(t, "lang")}, Zone: zone, Now: now}

		r := Parse(at.Format("2006-01-02T15:04-07:00"), o)
		if len(r.Readings) != 1 || !r.Readings[0].At.Equal(at) {
			t.Fatalf("%v with offset: got %v", at, r)
		}
		r = Parse(at.Format("2006-01-02 15:04"), o)
		among := false
		for _, rd := range r.Readings {
			among = among || rd.At.Equal(at)
		}
		if !among || len(r.Readings) > 2 {
			t.Fatalf("%v: got %v", at, r)
		}
		if len(r.Readings) == 2 && r.Readings[0].At.Format("15:04") != r.Readings[1].At.Format("15:04") {
			t.Fatalf("%v: got %v", at, r)
		}
		r = Parse(at.Format("2006-01-02"), o)
		if len(r.Readings) != 1 || !r.Readings[0].AllDay || r.Readings[0].At.In(zone).Format("2006-01-02") != at.Format("2006-01-02") {
			t.Fatalf("%v as a day: got %v", at, r)
		}
	})
}

// FuzzParse: nothing panics, readings lie ahead and are few, and a text is never lost.
func FuzzParse(f *testing.F) {
	for _, rows := range phrases {
		for _, row := range rows {
			f.Add(row[0])
		}
	}
	f.Add("5.12.2026.2027/3-4:5")
	f.Add("'ê'5'ê")
	f.Add("\xff\xfe 12 \u202e friday")
	f.Fuzz(func(t *testing.T, text string) {
		for _, lang := range languages {
			o := testOptions(lang)
			check := func(r Result) {
				if (len(r.Readings) == 0) != (r.Problem != None) || len(r.Readings) > 3 {
					t.Fatalf("%q: %v", text, r)
				}
				for _, rd := range r.Readings {
					if rd.At.Before(o.Now) && !rd.AllDay || rd.Zone == nil {
						t.Fatalf("%q: %v", text, r)
					}
				}
			}
			check(Parse(text, o))
			r, rest, found := Extract(text, o)
			check(r)
			if !found && rest != text || utf8.ValidString(text) && !utf8.ValidString(rest) {
				t.Fatalf("%q: rest %q", text, rest)
			}
			Duration(text, o)
			Open(text, o.Langs)
			if _, _, rest, ok := Quantity(text, o.Langs); !ok && rest != text {
				t.Fatalf("%q: rest %q", text, rest)
			}
		}
		FindZone(text)
	})
}

// TestLongTextIsRefusedAtOnce: what is no date costs nothing, however long it is.
func TestLongTextIsRefusedAtOnce(t *testing.T) {
	for _, piece := range []string{"friday ", "5 ", "next this ", "1/2/", "a ", "في "} {
		text := strings.Repeat(piece, 1<<20/len(piece))
		if r := Parse(text, testOptions("en")); r.Problem != TooLong {
			t.Errorf("%q...: %v", piece, r)
		}
		if _, _, found := Extract(text, testOptions("en")); found {
			t.Errorf("%q...: found", piece)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	o := testOptions("es")
	for b.Loop() {
		Parse("viernes 27 de noviembre a las 19:00", o)
	}
}

func BenchmarkExtract(b *testing.B) {
	o := testOptions("en")
	text := strings.Repeat("bring the 12 next tents on at in for ", 25) + " by saturday"
	for b.Loop() {
		Extract(text, o)
	}
}
