package when

import (
	"testing"
	"time"
)

// sentAt is when the phrases of the tests were sent: a Monday, 16:00 in Madrid.
var sentAt = time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)

func inZone(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

func testOptions(lang string) Options {
	return Options{Langs: []string{lang}, Zone: inZone("Europe/Madrid"), Now: sentAt}
}

func TestTablesLoad(t *testing.T) {
	for _, lang := range languages {
		if _, err := load(lang); err != nil {
			t.Error(err)
		}
	}
}
