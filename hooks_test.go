package main

import (
	"database/sql"
	"path/filepath"
	"slices"
	"testing"

	"starling/bot"
)

// TestEveryTableWithAPersonOrTextInItHasItsHooks reads the schema of the whole bot: who adds a table with a person, a name, an
// address or free text in it says how it is forgotten, expired, exported and rebuilt.
func TestEveryTableWithAPersonOrTextInItHasItsHooks(t *testing.T) {
	dir := t.TempDir()
	e := opened(t, dir)
	hooks := map[string]bot.Table{}
	for _, table := range e.Tables() {
		if _, twice := hooks[table.Name]; twice {
			t.Errorf("the hooks of %s are there twice", table.Name)
		}
		hooks[table.Name] = table
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "starling.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT m.name, MAX(LOWER(c.type) = 'sealed' OR LOWER(c.name) IN ('person', 'author', 'inviter', 'member'))
		FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' GROUP BY m.name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var tables []string
	personal := 0
	for rows.Next() {
		var name string
		var people bool
		if err := rows.Scan(&name, &people); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
		if !people {
			continue
		}
		personal++
		h, ok := hooks[name]
		if !ok {
			t.Errorf("the table %s has people or text in it, and no hooks", name)
		} else if h.Forget == nil || h.Expire == nil || h.Export == nil || h.Rebuild == nil {
			t.Errorf("of the table %s a hook is nil; one that does not apply is bot.Nothing", name)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for name := range hooks {
		if !slices.Contains(tables, name) {
			t.Errorf("there are hooks for %s, and no such table", name)
		}
	}
	if personal < 8 {
		t.Errorf("only %d of %d tables seem to have people or text in them: is the schema read right?", personal, len(tables))
	}
}
