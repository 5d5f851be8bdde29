package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	statements = regexp.MustCompile("`((?:SELECT|UPDATE|DELETE|INSERT)[^`]*)`")
	parameter  = regexp.MustCompile(`\$(\d+)`)
	wholeTable = regexp.MustCompile(`^SCAN (\S+)`)
)

// What reads a whole table that grows with what people say: at the start, once an hour, or when an operator asks.
var rare = []string{
	"SELECT id, room, lane, priority, kind, target, after, not_before, tried", // what waits, at the start
	"UPDATE outbox SET data = NULL, state = CASE",                             // restoring
	"SELECT DISTINCT o.origin, r.id, r.code FROM outbox o",
	"UPDATE outbox SET state = $1 WHERE state = $2",
	"SELECT COUNT(*) FROM outbox WHERE state = $1", // status
	"DELETE FROM members WHERE NOT present",        // housekeeping
	"SELECT id FROM people WHERE NOT EXISTS",
	"DELETE FROM alert_answers WHERE NOT EXISTS",
	"DELETE FROM relay_asks WHERE state",
}

// A bot with a hundred thousand records answers as fast as one with ten: no statement that people cause reads a whole table.
func TestNoStatementReadsAWholeTable(t *testing.T) {
	dir := t.TempDir()
	if err := opened(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", filepath.Join(dir, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	seen := 0
	for _, pattern := range []string{"bot/*.go", "commands/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range statements.FindAllStringSubmatch(string(source), -1) {
				scans, ok := plan(db, found[1])
				if !ok {
					continue // a part of one, or PostgreSQL's
				}
				seen++
				for _, table := range scans {
					t.Errorf("%s reads the whole of %s: %s", file, table, found[1])
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("%d statements were looked at", seen)
	}
}

// plan lists the tables of which SQLite would read all.
func plan(db *sql.DB, statement string) (scans []string, ok bool) {
	last := 0
	for _, m := range parameter.FindAllStringSubmatch(statement, -1) {
		n, _ := strconv.Atoi(m[1]) // it is digits
		last = max(last, n)
	}
	args := make([]any, last)
	for i := range args {
		args[i] = 1
	}
	rows, err := db.Query("EXPLAIN QUERY PLAN "+parameter.ReplaceAllString(statement, "?$1"), args...)
	if err != nil {
		return nil, false
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, false
		}
		if m := wholeTable.FindStringSubmatch(detail); m != nil && !strings.Contains(detail, "outbox_waiting") && !strings.Contains(detail, "outbox_lists") && grows(m[1], statement) {
			scans = append(scans, m[1])
		}
	}
	return scans, rows.Err() == nil
}

// grows is whether a table, or what a statement calls so, grows with what people say.
func grows(name, statement string) bool {
	for _, r := range rare {
		if strings.HasPrefix(statement, r) {
			return false
		}
	}
	named := regexp.MustCompile(`\b(\w+) (?:AS )?` + regexp.QuoteMeta(name) + `\b`)
	tables := []string{name}
	for _, m := range named.FindAllStringSubmatch(statement, -1) {
		tables = append(tables, m[1])
	}
	for _, table := range tables {
		switch table {
		case "outbox", "records", "bodies", "members", "people", "dialogues", "seen", "timers", "alert_answers", "relay_asks":
			return true
		}
	}
	return false
}
