package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
)

// TestAThousandTimes has one person send each command a thousand times at once, as it stands in its example. She is answered a bounded
// number of times, what is kept of it is bounded, and nothing breaks.
func TestAThousandTimes(t *testing.T) {
	const times = 1000
	dbtest.File(t)
	h := wholeHouse(t)
	perMinute := defaultConfig().Limits.PersonPerMinute
	s := onRig(t, bot.Limits{Person: perMinute, Room: defaultConfig().Limits.RoomPerMinute}, nil)
	rows := func() map[string]int {
		count := map[string]int{}
		s.do(func(tx *bot.Tx) error {
			var tables []string
			err := tx.Each(`SELECT name FROM sqlite_master WHERE type = 'table'`, nil, func(row bot.Row) error {
				var name string
				err := row.Scan(&name)
				tables = append(tables, name)
				return err
			})
			for _, name := range tables {
				var n int
				if _, e := tx.One(`SELECT COUNT(*) FROM "`+name+`"`, nil, &n); e != nil {
					return e
				}
				count[name] = n
			}
			return err
		})
		return count
	}
	for i, c := range h.commands {
		name := strings.Join(c.Path, " ")
		room, person := fmt.Sprintf("!flood%d", i), fmt.Sprintf("@mal%d", i)
		r := rig.Room{ID: room, Name: name, Encrypted: true, Members: []rig.Member{{Person: person, Name: "mal", Moderator: true}, {Person: fmt.Sprintf("@kim%d", i), Name: "kim"}}}
		s.do((rig.Home{Adapter: "matrix", Room: r, Lang: "en", Zone: "Europe/London", Chapter: fmt.Sprintf("Chapter %d", i), Since: s.clock.Now().Add(-100 * time.Hour)}).SetUp)
		if err := s.net.Create(r); err != nil {
			t.Fatal(err)
		}
		s.settle()
		before := rows()
		for range times {
			if _, err := s.net.Say(rig.Said{Room: room, Person: person, Text: h.bundle.Text("en", "example."+strings.Join(c.Path, "."))}); err != nil {
				t.Fatal(err)
			}
		}
		s.settle()
		said := 0
		for _, m := range s.net.Messages(room) {
			if m.Author == rig.Bot {
				said++
			}
		}
		if most := 2*perMinute + 1; said == 0 || said > most { // a few answer twice: in the room and in its thread
			t.Errorf("/%s: %d answers to %d calls, want 1 to %d", name, said, times, most)
		}
		for table, n := range rows() {
			if grown := n - before[table]; grown > 8*perMinute {
				t.Errorf("/%s: %d new rows in %s because of %d calls", name, grown, table, times)
			}
		}
	}
}
